/**
 * The way through a proxy to a broker: SOCKS 5, or HTTP with CONNECT.
 *
 * @module
 */

import {
  type Address,
  formatAddress,
  parseIp,
  withoutZone,
} from "../base/address.ts";
import type { BrokerProxy } from "../base/broker_proxy.ts";
import { messageOf } from "../base/errors.ts";
import { readHead, writeAll } from "./http_head.ts";
import type { BrokerSocket } from "./socket.ts";

/** What a SOCKS 5 proxy says, by its code (RFC 1928, 6). */
const SOCKS_REPLIES: readonly string[] = [
  "",
  "it failed for a reason that it does not tell",
  "its rules do not allow it",
  "no network leads there",
  "the host cannot be reached",
  "the connection was refused",
  "it took too many hops",
  "it can do no CONNECT",
  "it knows no such addresses",
];

/** Numbers of SOCKS 5 (RFC 1928, RFC 1929). */
const VERSION = 5;
const LOGIN_VERSION = 1;
const NO_LOGIN = 0;
const PASSWORD = 2;
const CONNECT = 1;
const IPV4 = 1;
const NAME = 3;
const IPV6 = 4;

const encoder = new TextEncoder();

/**
 * Has `proxy`, to which `socket` leads, connect us to `target`: from then on
 * the socket leads there.
 *
 * @throws {Error} naming the proxy and what is wrong.
 */
export async function passProxy(
  socket: BrokerSocket,
  { proxy, target }: {
    readonly proxy: BrokerProxy;
    readonly target: Address;
  },
): Promise<void> {
  try {
    if (proxy.kind === "http") await connectHttp(socket, proxy, target);
    else await connectSocks(socket, proxy, target);
  } catch (error) {
    throw proxyError(proxy, messageOf(error), error);
  }
}

/** What is wrong with a proxy, or beyond it. */
export function proxyError(
  { address }: BrokerProxy,
  problem: string,
  cause: unknown,
): Error {
  return new Error(`the proxy ${formatAddress(address)}: ${problem}`, {
    cause,
  });
}

async function connectHttp(
  socket: BrokerSocket,
  { login }: BrokerProxy,
  target: Address,
): Promise<void> {
  const place = formatAddress(target);
  const request = [`CONNECT ${place} HTTP/1.1`, `Host: ${place}`];
  if (login !== undefined) {
    const { user, password } = login;
    const pair = encoder.encode(`${user}:${password.reveal()}`);
    request.push(`Proxy-Authorization: Basic ${pair.toBase64()}`);
  }
  await writeAll(socket, encoder.encode(`${request.join("\r\n")}\r\n\r\n`));
  const { status, told } = await readHead(socket);
  if (status === 407) throw new Error(loginProblem(login));
  if (status < 200 || status > 299) {
    throw new Error(`it does not connect us: HTTP ${told}`);
  }
}

async function connectSocks(
  socket: BrokerSocket,
  { login }: BrokerProxy,
  target: Address,
): Promise<void> {
  const methods = login === undefined ? [NO_LOGIN] : [NO_LOGIN, PASSWORD];
  await writeAll(
    socket,
    Uint8Array.of(VERSION, methods.length, ...methods),
  );
  const [version, method = -1] = await readExactly(socket, 2);
  if (version !== VERSION) throw new Error("it answers with no SOCKS 5");
  if (!methods.includes(method)) throw new Error(loginProblem(login));
  if (method === PASSWORD && login !== undefined) {
    const [user, password] = [login.user, login.password.reveal()]
      .map((text) => encoder.encode(text));
    await writeAll(
      socket,
      Uint8Array.of(LOGIN_VERSION, ...lengthAnd(user), ...lengthAnd(password)),
    );
    const [, status] = await readExactly(socket, 2);
    if (status !== 0) throw new Error(loginProblem(login));
  }
  await writeAll(
    socket,
    Uint8Array.of(
      ...[VERSION, CONNECT, 0],
      ...hostBytes(target.host),
      ...[target.port >> 8, target.port & 0xff],
    ),
  );
  const [, reply = 0, , kind] = await readExactly(socket, 4);
  if (reply !== 0) {
    throw new Error(
      `it does not connect us: ${SOCKS_REPLIES[reply] ?? `code ${reply}`}`,
    );
  }
  // Where it connects from, which is its own matter.
  const length = kind === IPV4
    ? 4
    : kind === IPV6
    ? 16
    : (await readExactly(socket, 1))[0] ?? 0;
  await readExactly(socket, length + 2);
}

/** A host as SOCKS has it: an address, or a name that the proxy looks up. */
function hostBytes(host: string): readonly number[] {
  const ip = parseIp(withoutZone(host));
  return ip === undefined
    ? [NAME, ...lengthAnd(encoder.encode(host))]
    : [ip.length === 4 ? IPV4 : IPV6, ...ip];
}

function lengthAnd(bytes: Uint8Array = new Uint8Array()): readonly number[] {
  return [bytes.length, ...bytes];
}

function loginProblem(login: BrokerProxy["login"]): string {
  return login === undefined
    ? "it wants a user and a password: give them in its URL"
    : "it refuses our user and password";
}

/** The next `count` bytes, and none behind them. */
async function readExactly(
  socket: BrokerSocket,
  count: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const some = await socket.read(bytes.subarray(at));
    if (some === null) {
      throw new Error("it closed the connection instead of an answer");
    }
    at += some;
  }
  return bytes;
}
