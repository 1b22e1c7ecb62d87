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
import type { Codec } from "./codec.ts";
import { isErrorCode, TunnelError } from "../base/errors.ts";
import {
  checkFrame,
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

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** JSON of the metadata of a DATA frame with three offsets of 16 digits. */
const DATA_METADATA_BYTES = 96;

/** The readable form: a third more bytes, slower, made for eyes and old tools. */
export const jsonCodec: Codec = {
  name: "json",
  encode(id: string, frame: Frame): Encodable {
    return new JsonMessage(encodeMessage(toMessage(id, frame)));
  },
  decode(data: Uint8Array): Frame | undefined {
    return toFrame(decodeMessage(data));
  },
  payloadCapacity(id: string, messageBytes: number): number {
    return dataCapacity(messageBytes, id.length, DATA_METADATA_BYTES);
  },
};

/** A message already encoded; also used for version 1. */
export class JsonMessage implements Encodable {
  readonly #bytes: Uint8Array;

  /** Wraps `bytes`, which must not change afterwards. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Length of the message in bytes. */
  get byteLength(): number {
    return this.#bytes.length;
  }

  /** Copies the message into `target`. */
  encodeInto(target: Uint8Array, at: number): void {
    target.set(this.#bytes, at);
  }
}

function toMessage(id: string, frame: Frame): Message {
  return {
    id,
    reply: "",
    data: frame.type === "data" ? frame.payload : null,
    metadata: toMetadata(frame),
  };
}

function toMetadata(frame: Frame): Record<string, string> {
  switch (frame.type) {
    case "data":
    case "fin":
      return {
        type: frame.type,
        offset: String(frame.offset),
        ack: String(frame.ack),
        limit: String(frame.limit),
      };
    case "ack":
      return {
        type: "ack",
        ack: String(frame.ack),
        limit: String(frame.limit),
        ...(frame.gap ? { gap: "true" } : {}),
      };
    case "reset":
      return {
        type: "reset",
        code: frame.code,
        text: boundedText(frame.text),
      };
    case "ping":
    case "pong": {
      const flag = frame.type === "ping" ? frame.resumed : frame.hold;
      return {
        type: frame.type,
        id: String(frame.id),
        sent: String(frame.sent),
        ack: String(frame.ack),
        limit: String(frame.limit),
        ...(flag
          ? { [frame.type === "ping" ? "resumed" : "hold"]: "true" }
          : {}),
      };
    }
  }
}

function toFrame({ data, metadata }: Message): Frame | undefined {
  const fields = metadata ?? {};
  const type = field(fields, "type");
  switch (type) {
    case "data":
      return checkFrame({
        type,
        offset: number(fields, "offset"),
        ack: number(fields, "ack"),
        limit: number(fields, "limit"),
        payload: data ?? new Uint8Array(0),
      });
    case "fin":
      return checkFrame({
        type,
        offset: number(fields, "offset"),
        ack: number(fields, "ack"),
        limit: number(fields, "limit"),
      });
    case "ack":
      return checkFrame({
        type,
        ack: number(fields, "ack"),
        limit: number(fields, "limit"),
        gap: fields.gap === "true",
      });
    case "reset": {
      const code = field(fields, "code");
      return {
        type,
        code: isErrorCode(code) ? code : "internal",
        text: boundedText(fields.text ?? ""),
      };
    }
    case "ping":
    case "pong": {
      const numbers = {
        id: number(fields, "id", MAX_PING_ID),
        sent: number(fields, "sent"),
        ack: number(fields, "ack"),
        limit: number(fields, "limit"),
      };
      return checkFrame(
        type === "ping"
          ? { type, ...numbers, resumed: fields.resumed === "true" }
          : { type, ...numbers, hold: fields.hold === "true" },
      );
    }
    default:
      return undefined;
  }
}

function boundedText(text: string): string {
  return decoder.decode(resetTextBytes(text));
}

function field(fields: Readonly<Record<string, string>>, name: string): string {
  const text = fields[name];
  if (text === undefined) {
    throw new TunnelError("protocol", `metadata has no ${name}`);
  }
  return text;
}

function number(
  fields: Readonly<Record<string, string>>,
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
