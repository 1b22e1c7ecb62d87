/**
 * The sealed open: one request, in which the target is secret and the client
 * proves who it is, and one answer, in which the server does; after it both
 * have the keys of the tunnel.
 *
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import type { Endpoints } from "../base/address.ts";
import { type ErrorCode, isErrorCode, type Reason } from "../base/errors.ts";
import type { SealKeys } from "./frames.ts";
import { KEY_BYTES, type KeyPair, keyPairOf } from "./keys.ts";
import { formatEndpoints, parseEndpoints, SEAL_SCHEME } from "../wire/open.ts";
import {
  reportFromJson,
  reportToJson,
  type ServerReport,
} from "../wire/probe.ts";
import { hmac, Initiator, Responder, sha256, SUITE } from "./noise.ts";

/** Bytes of the code over the first message that shows whom it is for. */
const MAC_BYTES = 16;

/** Longest text of what is asked for, in bytes: a name of 255, a port, two addresses of 64 with their zones, and a span. */
const MAX_ASKED_BYTES = 512;

/** Before the line with the ends of the application's connection. */
const ENDPOINTS = "source ";

/** Before the line with the span at the client. */
const TRACE = "traceparent ";

/** Bytes of the time before the target. */
const TIME_BYTES = 8;

/** A secret of zeros stands for none (9.2 of the Noise framework). */
export const NO_PSK: Uint8Array = new Uint8Array(KEY_BYTES);

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const MAC_LABEL = encoder.encode("sproxy mac");

/** Fills with bytes that nobody can guess. */
export type Random = (bytes: Uint8Array) => Uint8Array;

/** What is said of an open in the clear, and must not be changed on the way. */
export interface OpenContext {
  /** The subject of opens, without the client. */
  readonly requestSubject: string;
  /** The prefix of data subjects. */
  readonly dataPrefix: string;
  /** Token of the client process. */
  readonly client: string;
  /** Number of the tunnel. */
  readonly number: number;
  /** Credit for the server, in bytes. */
  readonly window: number;
  /** The form of the frames within. */
  readonly codec: string;
}

/** What a server answers to a sealed open. */
export type SealedAnswer =
  /** The target is connected. */
  | {
    readonly type: "open";
    /** Connection ID. */
    readonly id: string;
    /** Credit for the client, in bytes. */
    readonly window: number;
  }
  /** It is not, for this reason. */
  | { readonly type: "refused"; readonly reason: Reason }
  /** The clocks are too far apart; `time` is the server's, in ms since 1970. */
  | { readonly type: "clock"; readonly time: number }
  /** It asked for nothing, and hears how the server does. */
  | { readonly type: "report"; readonly report: ServerReport };

/** What a process has to seal with. */
export interface SealIdentity {
  /** Its own key pair. */
  readonly key: KeyPair;
  /** A secret that all processes of the deployment have beside; {@linkcode NO_PSK} for none. */
  readonly psk: Uint8Array;
}

/** What only the server is to know. */
export interface Asked {
  /** What to connect to. */
  readonly target: string;
  /** When this was written, in ms since 1970. */
  readonly time: number;
  /** The application's connection; undefined for one of a Unix socket. */
  readonly endpoints?: Endpoints | undefined;
  /** The span at the client that the tunnel is a part of. */
  readonly traceparent?: string | undefined;
}

/** One open at the client: what it sends, and what the answer to it means. */
export class SealedAsk {
  /** The body's data of the request. */
  readonly data: Uint8Array;
  readonly #handshake: Initiator;

  private constructor(data: Uint8Array, handshake: Initiator) {
    this.data = data;
    this.#handshake = handshake;
  }

  /**
   * Asks the holder of the public key `server` to connect to `target`, at `time`
   * (ms since 1970, as the server's clock has it); undefined for a key that is none.
   */
  static make(
    { key, psk }: SealIdentity,
    server: Uint8Array,
    open: OpenContext & Asked,
    random: Random,
  ): SealedAsk | undefined {
    const handshake = new Initiator({
      prologue: prologueOf(open),
      local: key,
      ephemeral: keyPairOf(random(new Uint8Array(KEY_BYTES))),
      psk,
      remote: server,
    });
    const time = new DataView(new ArrayBuffer(TIME_BYTES));
    time.setFloat64(0, open.time);
    const { target, endpoints, traceparent } = open;
    const text = [
      target,
      ...(endpoints === undefined
        ? []
        : [ENDPOINTS + formatEndpoints(endpoints)]),
      ...(traceparent === undefined ? [] : [TRACE + traceparent]),
    ].join("\n");
    const message = handshake.write(
      Buffer.concat([new Uint8Array(time.buffer), encoder.encode(text)]),
    );
    if (message === undefined) return undefined;
    const mac = macOf(server, message);
    return new SealedAsk(Buffer.concat([message, mac]), handshake);
  }

  /** What the server says in its answer; undefined if it is not from the holder of the key. */
  read(
    data: Uint8Array,
  ): { readonly answer: SealedAnswer; readonly keys: SealKeys } | undefined {
    const read = this.#handshake.read(data);
    const answer = read && decodeAnswer(read.payload);
    return answer && {
      answer,
      keys: { send: read.fromInitiator, receive: read.fromResponder },
    };
  }
}

/** An open whose sender is known, and which may have come before. */
export interface OpenedAsk {
  /** The client's public key: who it is. */
  readonly client: Uint8Array;
  /** What no other open has in common with it. */
  readonly id: string;
  /** When it was sealed, by the client's clock, in ms since 1970. */
  readonly sealedAt: number;
  /** What is asked for. */
  readonly target: string;
  /** The application's connection, as the client says. */
  readonly endpoints: Endpoints | undefined;
  /** The span at the client that the tunnel is a part of, as the client says. */
  readonly traceparent: string | undefined;
  /** Seals the one answer to it; undefined when there was one. */
  readonly answer: (
    answer: SealedAnswer,
  ) =>
    | { readonly data: Uint8Array; readonly keys: SealKeys }
    | undefined;
}

/** What a server reads sealed opens with. */
export interface GateKeys {
  /** Its key pair, and while keys are changed the old and the new. */
  readonly keys: readonly KeyPair[];
  /** A secret that all processes of the deployment have beside; {@linkcode NO_PSK} for none. */
  readonly psk: Uint8Array;
}

/** Where the sealed opens of a server come in. */
export class SealedGate {
  #keys: readonly KeyPair[] = [];
  #macKeys: readonly Uint8Array[] = [];
  #psk = NO_PSK;
  readonly #random: Random;

  /** A gate for the holder of the keys. */
  constructor({ random, ...keys }: GateKeys & { readonly random: Random }) {
    this.#random = random;
    this.setKeys(keys);
  }

  /** From now on opens are for the holder of these. */
  setKeys({ keys, psk }: GateKeys): void {
    this.#keys = keys;
    this.#macKeys = keys.map(({ publicKey }) => macKeyOf(publicKey));
    this.#psk = psk;
  }

  /** Reads the data of an open; undefined where it was sealed for another server, or by nobody who knows the key. */
  read(data: Uint8Array, open: OpenContext): OpenedAsk | undefined {
    const end = data.length - MAC_BYTES;
    if (end <= 0) return undefined;
    const message = data.subarray(0, end);
    const mac = data.subarray(end);
    // What costs a few µs keeps away what costs hundreds.
    const which = this.#macKeys.findIndex((key) =>
      timingSafeEqual(hmac(key, message).subarray(0, MAC_BYTES), mac)
    );
    const local = this.#keys[which];
    if (local === undefined) return undefined;
    const handshake = new Responder({
      prologue: prologueOf(open),
      local,
      ephemeral: keyPairOf(this.#random(new Uint8Array(KEY_BYTES))),
      psk: this.#psk,
    });
    const first = handshake.read(message);
    const asked = first && decodeAsk(first.payload);
    if (first === undefined || asked === undefined) return undefined;
    let answered = false;
    return {
      client: first.remote,
      // The client's ephemeral key, which is new for each.
      id: message.subarray(0, KEY_BYTES).toBase64(),
      sealedAt: asked.time,
      target: asked.target,
      endpoints: asked.endpoints,
      traceparent: asked.traceparent,
      answer: (answer) => {
        // A second one would be under the nonces of the first.
        if (answered) return undefined;
        answered = true;
        const second = handshake.write(encodeAnswer(answer));
        return second && {
          data: second.message,
          keys: { send: second.fromResponder, receive: second.fromInitiator },
        };
      },
    };
  }
}

/** All that is in the clear, each piece with its length before it. */
function prologueOf(open: OpenContext): Uint8Array {
  const pieces = [
    SUITE,
    SEAL_SCHEME,
    open.requestSubject,
    open.dataPrefix,
    open.client,
    open.number.toString(36),
    String(open.window),
    open.codec,
  ].map((piece) => encoder.encode(piece));
  return Buffer.concat(
    pieces.flatMap((piece) => [
      Uint8Array.of(piece.length >> 8, piece.length & 0xff),
      piece,
    ]),
  );
}

function macKeyOf(server: Uint8Array): Uint8Array {
  return sha256(MAC_LABEL, server);
}

function macOf(server: Uint8Array, message: Uint8Array): Uint8Array {
  return hmac(macKeyOf(server), message).subarray(0, MAC_BYTES);
}

function decodeAsk(payload: Uint8Array): Asked | undefined {
  if (
    payload.length < TIME_BYTES ||
    payload.length > TIME_BYTES + MAX_ASKED_BYTES
  ) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset);
  const time = view.getFloat64(0);
  const text = decodeText(payload.subarray(TIME_BYTES));
  if (text === undefined || !Number.isFinite(time)) return undefined;
  // Lines that begin with another word are of a later version.
  const [target = "", ...lines] = text.split("\n");
  const behind = (word: string): string | undefined =>
    lines.find((line) => line.startsWith(word))?.slice(word.length);
  const endpoints = parseEndpoints(behind(ENDPOINTS) ?? "");
  return { target, time, endpoints, traceparent: behind(TRACE) };
}

function encodeAnswer(answer: SealedAnswer): Uint8Array {
  const { type, ...rest } = answer;
  return encoder.encode(JSON.stringify({
    type,
    ...("reason" in rest
      ? { code: rest.reason.code, text: rest.reason.text }
      : "report" in rest
      ? { report: reportToJson(rest.report) }
      : rest),
  }));
}

function decodeAnswer(payload: Uint8Array): SealedAnswer | undefined {
  const said = decodeRecord(payload);
  if (said === undefined) return undefined;
  const { type, id, window, code, text, time } = said;
  if (type === "open" && typeof id === "string" && isCount(window)) {
    return { type, id, window };
  }
  if (type === "clock" && isCount(time)) return { type, time };
  if (type === "refused" && typeof text === "string") {
    return { type, reason: { code: codeOf(code), text } };
  }
  if (type === "report") {
    const report = reportFromJson(said.report);
    return report && { type, report };
  }
  return undefined;
}

function decodeRecord(
  payload: Uint8Array,
): Readonly<Record<string, unknown>> | undefined {
  const text = decodeText(payload);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null
      ? { ...value }
      : undefined;
  } catch {
    return undefined; // of a later version, or a server that is broken
  }
}

function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined; // no UTF-8
  }
}

function codeOf(code: unknown): ErrorCode {
  return typeof code === "string" && isErrorCode(code) ? code : "internal";
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
