/**
 * Asks the status address of a running process for its snapshot. Not `fetch`:
 * what variables say of proxies is for the network, and a process on this
 * machine is asked by none.
 *
 * @module
 */
import { Deadline } from "../base/abort.ts";
import { type Address, formatAddress, parseIp } from "../base/address.ts";
import { BufferPool } from "../base/buffer_pool.ts";
import { wakefulClock } from "../base/clock.ts";
import type { Secret } from "../base/credentials.ts";
import { messageOf, RunError, TunnelError } from "../base/errors.ts";
import { tryInTurn } from "../base/happy_eyeballs.ts";
import { quote } from "../base/text.ts";
import { dial, lookUp } from "../net/dial.ts";
import { directOf } from "../net/socket.ts";
import type { Snapshot } from "../status/snapshot.ts";

/** How long an answer may take, in ms: as long as the status port gives a connection. */
const ANSWER_MS = 5_000;

/** Longest answer that is read, in bytes: sixteen times the longest there is. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/**
 * The process at `address`, now.
 *
 * @throws {RunError} saying why it cannot be had.
 * @throws the reason of `signal` when it aborts.
 */
export async function askSnapshot(
  address: Address,
  { token, signal }: {
    readonly token: Secret | undefined;
    readonly signal: AbortSignal;
  },
): Promise<Snapshot> {
  const where = formatAddress(address);
  using deadline = new Deadline(signal, {
    clock: wakefulClock,
    ms: ANSWER_MS,
    late: () => new TunnelError("timeout", `no answer in ${ANSWER_MS} ms`),
  });
  let answer: { readonly status: number; readonly body: string };
  try {
    answer = await ask(address, { token, signal: deadline.signal });
  } catch (error) {
    signal.throwIfAborted();
    throw new RunError(
      `Cannot ask the status at ${where}: ${
        whyOf(error)
      }; is the process running, and is that its status address?`,
      { cause: error },
    );
  }
  const { status, body } = answer;
  const value = parseJson(body);
  if (status === 200 && isSnapshot(value)) return value;
  if (status === 401) {
    throw new RunError(
      token === undefined
        ? `The status at ${where} asks for a token: name its file with --status-token`
        : `The status at ${where} does not take the token of --status-token`,
    );
  }
  const reason = isObject(value) && typeof value.reason === "string"
    ? quote(value.reason, 300)
    : `it answered ${status}`;
  throw new RunError(
    status === 403
      ? `The status at ${where} is not shown: ${reason}`
      : `The status at ${where} is none of this program's: ${reason}`,
  );
}

/** Asks, and reads the answer to its end. */
async function ask(
  address: Address,
  { token, signal }: {
    readonly token: Secret | undefined;
    readonly signal: AbortSignal;
  },
): Promise<{ readonly status: number; readonly body: string }> {
  const { host, port } = address;
  const hosts = parseIp(host) === undefined ? await lookUp(host) : [host];
  const pool = new BufferPool();
  const socket = directOf(
    await tryInTurn(hosts, {
      attempt: (host, signal) => dial({ host, port }, { pool, signal }),
      discard: (socket) => socket.close(),
      clock: wakefulClock,
      signal,
    }),
  );
  const close = (): void => socket.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    const head = [
      "GET /snapshot.json HTTP/1.1",
      `host: ${formatAddress(address)}`,
      "connection: close",
      ...(token === undefined
        ? []
        : [`authorization: Bearer ${token.reveal()}`]),
    ];
    await socket.writer.write(
      new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n`),
    );
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await socket.reader.read();
      signal.throwIfAborted();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      if (text.length > MAX_ANSWER_BYTES) throw new Error("it is too long");
    }
    const [, status, body] =
      /^HTTP\/1\.[01] (\d{3}) [^]*?\r\n\r\n([^]*)$/.exec(text) ?? [];
    if (status === undefined || body === undefined) {
      throw new Error("the answer is no HTTP, or ends too early");
    }
    return { status: Number(status), body };
  } finally {
    signal.removeEventListener("abort", close);
    socket.close();
  }
}

/** Why none of its addresses could be had; one is enough to tell. */
function whyOf(error: unknown): string {
  return messageOf(error instanceof AggregateError ? error.errors[0] : error);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether it has what a snapshot of this version has. */
function isSnapshot(value: unknown): value is Snapshot {
  if (!isObject(value)) return false;
  const { process, tunnels, links, total, endings, services, ways } = value;
  return isObject(process) && isObject(total) && isObject(tunnels) &&
    [tunnels.rows, links, endings, services, ways].every(Array.isArray);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
