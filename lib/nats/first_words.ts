/**
 * What speaks at an address that is said to be a broker's: whatever comes by
 * itself, and where nothing comes, what answers TLS or HTTP.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { dialBroker } from "./dial.ts";
import type { BrokerSocket } from "./socket.ts";

/** What a broker says about itself in its first line, for people. */
export interface BrokerFacts {
  /** Its version. */
  readonly version: string;
  /** What it is called, if it is called anything. */
  readonly name: string | undefined;
  /** Largest payload it takes, in bytes. */
  readonly maxPayload: number | undefined;
  /** Whether it knows headers (2.2 and later). */
  readonly headers: boolean;
  /** Whether it wants a login. */
  readonly wantsLogin: boolean;
  /** Whether it goes on with TLS only, offers it, or knows none. */
  readonly tls: "required" | "offered" | "none";
  /** Whether it wants a certificate from us. */
  readonly wantsCertificate: boolean;
  /** Whether it has JetStream. */
  readonly jetStream: boolean;
  /** The cluster that it belongs to, if any. */
  readonly cluster: string | undefined;
}

/** What speaks there. */
export type FirstWords =
  | { readonly kind: "nats"; readonly facts: BrokerFacts }
  | { readonly kind: "http" | "tls" | "silence" | "closed" }
  /** Something else, which began with these words. */
  | { readonly kind: "other"; readonly words: string };

/** How much of it is looked at: an INFO line of a large cluster has 2 KiB. */
const MOST_BYTES = 16 * 1024;

/** How many characters of something else are shown. */
const SHOWN = 40;

/** The type of a TLS record that carries an alert. */
const TLS_ALERT = 0x15;

/** What `bytes`, which came first, are; undefined while that cannot be told. */
export function firstWordsOf(bytes: Uint8Array): FirstWords | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === TLS_ALERT && (bytes[1] ?? 3) === 3) return { kind: "tls" };
  const text = new TextDecoder("latin1").decode(bytes);
  const end = text.indexOf("\n");
  if (end < 0 && bytes.length < MOST_BYTES) return undefined;
  const [line = ""] = text.split(/\r?\n/, 1);
  if (/^HTTP\/\d/.test(line)) return { kind: "http" };
  const info = /^INFO\s+(\{.*\})\s*$/i.exec(line)?.[1];
  const facts = info === undefined
    ? undefined
    : factsOf(new TextDecoder().decode(Uint8Array.from(info, toByte)));
  return facts === undefined
    ? { kind: "other", words: line.slice(0, SHOWN) }
    : { kind: "nats", facts };
}

function toByte(character: string): number {
  return character.charCodeAt(0);
}

/** What the JSON of an INFO line says; undefined when it is none. */
function factsOf(json: string): BrokerFacts | undefined {
  let info: Record<string, unknown>;
  try {
    info = JSON.parse(json);
  } catch {
    // Something else that begins so.
    return undefined;
  }
  const text = (key: string): string | undefined => {
    const value = info[key];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const id = text("server_id");
  const name = text("server_name");
  const max = info.max_payload;
  return {
    version: text("version") ?? "unknown",
    name: name === id ? undefined : name,
    maxPayload: typeof max === "number" ? max : undefined,
    headers: info.headers === true,
    wantsLogin: info.auth_required === true,
    tls: info.tls_required === true
      ? "required"
      : info.tls_available === true
      ? "offered"
      : "none",
    wantsCertificate: info.tls_verify === true,
    jetStream: info.jetstream === true,
    cluster: text("cluster"),
  };
}

/** Where to listen. */
export interface ListenTo {
  /** IP address, or a name. */
  readonly hostname: string;
  /** Its port. */
  readonly port: number;
  /** How long each of the questions may take to be answered, in ms. */
  readonly patience: number;
  /** Gives it up. */
  readonly signal: AbortSignal;
}

/**
 * Finds out what speaks there.
 *
 * @throws the system's error when nobody can be connected to.
 * @throws the reason of `signal` when it aborts.
 */
export async function listenTo(where: ListenTo): Promise<FirstWords> {
  const first = await hear(where, undefined);
  if (first.kind !== "silence") return first;
  if (await speaksTls(where)) return { kind: "tls" };
  const asked = await hear(where, "GET / HTTP/1.0\r\n\r\n");
  where.signal.throwIfAborted();
  return asked.kind === "closed" ? first : asked;
}

/** What comes after `question`, if anything is to be asked. */
async function hear(
  { hostname, port, patience, signal }: ListenTo,
  question: string | undefined,
): Promise<FirstWords> {
  const time = AbortSignal.timeout(patience);
  const either = AbortSignal.any([signal, time]);
  const dialled = await dialBroker({
    ...{ hostname, port, signal: either, tls: undefined },
  });
  using socket = dialled.socket;
  const close = (): void => socket[Symbol.dispose]();
  either.addEventListener("abort", close, { once: true });
  try {
    if (question !== undefined) {
      await socket.write(new TextEncoder().encode(question));
    }
    return await readWords(socket);
  } catch (error) {
    signal.throwIfAborted();
    if (time.aborted) return { kind: "silence" };
    return { kind: "other", words: messageOf(error) };
  } finally {
    either.removeEventListener("abort", close);
  }
}

async function readWords(socket: BrokerSocket): Promise<FirstWords> {
  const bytes = new Uint8Array(MOST_BYTES);
  let length = 0;
  for (;;) {
    const count = await socket.read(bytes.subarray(length));
    if (count === null) {
      const words = firstWordsOf(bytes.subarray(0, length));
      if (words !== undefined) return words;
      const text = new TextDecoder("latin1").decode(bytes.subarray(0, length));
      return length === 0
        ? { kind: "closed" }
        : { kind: "other", words: text.slice(0, SHOWN) };
    }
    length += count;
    const words = firstWordsOf(bytes.subarray(0, length));
    if (words !== undefined) return words;
  }
}

/** Whether a handshake is answered, whatever is thought of the certificate. */
async function speaksTls(
  { hostname, port, patience, signal }: ListenTo,
): Promise<boolean> {
  const time = AbortSignal.timeout(patience);
  const either = AbortSignal.any([signal, time]);
  try {
    const { startTls } = await dialBroker({
      ...{ hostname, port, signal: either, tls: undefined },
    });
    using _socket = await startTls(hostname);
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (time.aborted) return false;
    return /certificate|UnknownIssuer|NotValidForName/i.test(messageOf(error));
  }
}
