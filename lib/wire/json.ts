/**
 * Frames in readable form: the original's message with the frame's fields as
 * metadata, numbers in decimal.
 *
 * ```json
 * {"ID":"c.s.7","Reply":"","Data":"UElORw0K","Metadata":{"type":"data","offset":"0","ack":"0","limit":"262144"}}
 * ```
 *
 * @module
 */
import type { Encodable } from "../base/encodable.ts";
import { isErrorCode, TunnelError } from "../base/errors.ts";
import {
  checkFrame,
  type Credit,
  type Frame,
  MAX_OFFSET,
  MAX_PING_ID,
  resetTextBytes,
} from "./frame.ts";
import {
  dataCapacity,
  decodeMessage,
  encodeMessage,
  type Message,
} from "./message.ts";

type Fields = Readonly<Record<string, string>>;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** JSON of the metadata of a DATA frame with three offsets of 16 digits. */
const DATA_METADATA_BYTES = 96;

/** The readable form: a third more bytes, slower, made for eyes and old tools. */
export const jsonCodec = {
  /** Which codec this is. */
  name: "json",
  /** The message of `frame` for the tunnel whose connection ID is `id`. */
  encode(id: string, frame: Frame): Encodable {
    const data = frame.type === "data" ? frame.payload : null;
    const metadata = toMetadata(frame);
    return new JsonMessage(encodeMessage({ id, reply: "", data, metadata }));
  },
  decode(data: Uint8Array): Frame | undefined {
    return toFrame(decodeMessage(data));
  },
  payloadCapacity(id: string, messageBytes: number): number {
    return dataCapacity(messageBytes, id.length, DATA_METADATA_BYTES);
  },
} as const;

/** A message already encoded; also used for version 1. */
export class JsonMessage implements Encodable {
  /** Length of the message in bytes. */
  readonly byteLength: number;
  readonly #bytes: Uint8Array;

  /** Wraps `bytes`, which must not change afterwards. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.byteLength = bytes.length;
  }

  /** Copies the message into `target`. */
  encodeInto(target: Uint8Array, at: number): void {
    target.set(this.#bytes, at);
  }
}

/** The fields of `frame`; a flag only if it is set. */
function toMetadata(frame: Frame): Fields {
  const { type } = frame;
  if (type === "reset") {
    return { type, code: frame.code, text: boundedText(frame.text) };
  }
  const ack = String(frame.ack);
  const limit = String(frame.limit);
  if (type === "data" || type === "fin") {
    return { type, offset: String(frame.offset), ack, limit };
  }
  if (type === "ack") {
    return { type, ack, limit, ...(frame.gap ? { gap: "true" } : {}) };
  }
  const probe = {
    type,
    id: String(frame.id),
    sent: String(frame.sent),
    ack,
    limit,
  };
  if (type === "ping") {
    return { ...probe, ...(frame.resumed ? { resumed: "true" } : {}) };
  }
  return { ...probe, ...(frame.hold ? { hold: "true" } : {}) };
}

function toFrame({ data, metadata }: Message): Frame | undefined {
  const fields = metadata ?? {};
  const type = field(fields, "type");
  switch (type) {
    case "data": {
      const payload = data ?? new Uint8Array(0);
      return checkFrame({ type, ...position(fields), payload });
    }
    case "fin":
      return checkFrame({ type, ...position(fields) });
    case "ack":
      return checkFrame({
        type,
        ...credit(fields),
        gap: fields.gap === "true",
      });
    case "reset": {
      const code = field(fields, "code");
      return checkFrame({
        type,
        code: isErrorCode(code) ? code : "internal",
        text: boundedText(fields.text ?? ""),
      });
    }
    case "ping":
    case "pong": {
      const probe = {
        id: number(fields, "id", MAX_PING_ID),
        sent: number(fields, "sent"),
        ...credit(fields),
      };
      return checkFrame(
        type === "ping"
          ? { type, ...probe, resumed: fields.resumed === "true" }
          : { type, ...probe, hold: fields.hold === "true" },
      );
    }
    default:
      return undefined;
  }
}

function position(fields: Fields): Credit & { readonly offset: number } {
  return { offset: number(fields, "offset"), ...credit(fields) };
}

function credit(fields: Fields): Credit {
  return { ack: number(fields, "ack"), limit: number(fields, "limit") };
}

function boundedText(text: string): string {
  return decoder.decode(resetTextBytes(text));
}

function field(fields: Fields, name: string): string {
  const text = fields[name];
  if (text === undefined) {
    throw new TunnelError("protocol", `metadata has no ${name}`);
  }
  return text;
}

function number(
  fields: Fields,
  name: string,
  max: number = MAX_OFFSET,
): number {
  const text = field(fields, name);
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!(value <= max)) {
    throw new TunnelError(
      "protocol",
      `metadata ${name} is not a number from 0 to ${max}`,
    );
  }
  return value;
}
