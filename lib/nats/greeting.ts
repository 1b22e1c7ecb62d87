/**
 * The way to a broker up to its greeting: dialled, TLS where it is asked for,
 * its first line read. Nothing of ours has been said by then.
 *
 * @module
 */

import type { WebSocketPlace } from "../base/broker_address.ts";
import type { BrokerProxy } from "../base/broker_proxy.ts";
import { isShortage, messageOf } from "../base/errors.ts";
import { dialBroker } from "./dial.ts";
import { Inbox } from "./inbox.ts";
import { OP } from "./parser.ts";
import { type BrokerInfo, parseBrokerInfo } from "./server_info.ts";
import { passProxy, proxyError } from "./proxy.ts";
import type { BrokerSocket, DialOptions, PlainSocket } from "./socket.ts";
import { openWebSocket, type WebSocketRequest } from "./websocket.ts";

/** A broker that has greeted us and can be worked with. */
export interface Greeted {
  /** The connection to it; disposing of it ends it. */
  readonly socket: BrokerSocket;
  /** What was read of it: its INFO was found last. */
  readonly inbox: Inbox;
  /** What it says about itself. */
  readonly info: BrokerInfo;
  /** Whether the socket speaks TLS. */
  readonly encrypted: boolean;
}

/** Where to dial, and whom to expect there. */
export interface GreetOptions extends DialOptions {
  /** What its certificate must be for. */
  readonly tlsName: string;
  /** The WebSocket within which it speaks; undefined where it does without. */
  readonly websocket: (WebSocketRequest & WebSocketPlace) | undefined;
  /** What connects us to it; undefined where the way is straight. */
  readonly proxy: BrokerProxy | undefined;
}

/**
 * Smallest max_payload of a broker that can be worked with, in bytes: a
 * request with its headers, or a refusal with its sentence, must fit.
 */
const MIN_MAX_PAYLOAD = 4096;

/** What is wrong with a broker's limit, as a clause; undefined when it can be worked with. */
export function limitProblem({ maxPayload }: BrokerInfo): string | undefined {
  return maxPayload >= MIN_MAX_PAYLOAD
    ? undefined
    : `its max_payload of ${maxPayload} bytes is below the ${MIN_MAX_PAYLOAD} that are needed`;
}

/**
 * Connects to a broker and hears its greeting.
 *
 * @throws {Error} what is wrong, as a clause about the broker; nothing is left
 * open then.
 * @throws the reason of the signal when it aborts.
 */
export async function greet(options: GreetOptions): Promise<Greeted> {
  const { tls, tlsName, websocket, proxy, signal } = options;
  const plain = await dialFirst(options);
  let socket = plain.socket;
  let encrypted = false;
  const close = (): void => socket[Symbol.dispose]();
  const secure = async (): Promise<void> => {
    try {
      socket = await plain.startTls(tlsName);
    } catch (error) {
      throw new Error(`TLS failed: ${messageOf(error)}`, { cause: error });
    }
    encrypted = true;
  };
  signal.addEventListener("abort", close, { once: true });
  try {
    signal.throwIfAborted();
    if (proxy !== undefined) {
      const { hostname: host, port } = options;
      await passProxy(socket, { proxy, target: { host, port } });
    }
    if (websocket?.tls ?? tls?.first) await secure();
    signal.throwIfAborted();
    if (websocket !== undefined) {
      socket = await openWebSocket(socket, websocket);
    }
    signal.throwIfAborted();
    const inbox = new Inbox();
    const info = await firstLine(socket, inbox);
    if (!info.headers) throw new Error("it is older than NATS 2.2");
    const problem = limitProblem(info);
    if (problem !== undefined) throw new Error(problem);
    // Of a WebSocket the URL alone says; INFO tells of the plain port.
    const upgrade = tls !== undefined || info.tlsRequired;
    if (websocket === undefined && !encrypted && upgrade) {
      if (!info.tlsOffered) throw new Error("it does not offer TLS");
      if (inbox.hasMore) {
        throw new Error("it sends more before TLS than it may");
      }
      await secure();
    }
    signal.throwIfAborted();
    return { socket, inbox, info, encrypted };
  } catch (error) {
    close();
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", close);
  }
}

/** Connects to what comes first on the way: the broker, or the proxy. */
async function dialFirst(options: GreetOptions): Promise<PlainSocket> {
  const { proxy, signal } = options;
  if (proxy === undefined) return await dialBroker(options);
  const { host: hostname, port } = proxy.address;
  try {
    return await dialBroker({ ...options, hostname, port });
  } catch (error) {
    signal.throwIfAborted();
    // Of a want of descriptors the search makes something else.
    if (isShortage(error)) throw error;
    throw proxyError(proxy, messageOf(error), error);
  }
}

/** Reads until the broker's first line is there. */
async function firstLine(
  socket: BrokerSocket,
  inbox: Inbox,
): Promise<BrokerInfo> {
  for (;;) {
    const count = await socket.read(inbox.room());
    if (count === null) throw new Error("it closed the connection");
    inbox.add(count);
    const op = inbox.next(0);
    if (op === OP.incomplete) continue;
    if (op !== OP.info) throw new Error("it does not begin with INFO");
    return parseBrokerInfo(inbox.argument());
  }
}
