/**
 * The original's message: JSON of four fields in this order,
 *
 * ```json
 * {"ID":"…","Reply":"","Data":"<base64>","Metadata":{"type":"close"}}
 * ```
 *
 * `Data` is base64 or null, `Metadata` an object of strings or null. It is
 * the whole of version 1 and the envelope of version 2's JSON codec.
 *
 * @module
 */
import { TunnelError } from "../base/errors.ts";

/** One message of the original, decoded. */
export interface Message {
  /** Connection ID; empty in requests and replies. */
  readonly id: string;
  /** Unused by the original; always empty. */
  readonly reply: string;
  /** The bytes, or null where JSON has null. */
  readonly data: Uint8Array | null;
  /** String to string, or null where JSON has null. */
  readonly metadata: Readonly<Record<string, string>> | null;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Most bytes of data in one message: the original reads into 32 KiB and drops the rest. */
export const V1_MAX_DATA_BYTES = 32 * 1024;

/** Bytes of a message of no ID, data and metadata: `{"ID":"","Reply":"","Data":"","Metadata":null}`. */
const ENVELOPE_BYTES = 46;

/** The bytes of `message`, to the letter as the original writes them. */
export function encodeMessage(message: Message): Uint8Array {
  return encoder.encode(JSON.stringify({
    ID: message.id,
    Reply: message.reply,
    Data: message.data === null ? null : message.data.toBase64(),
    Metadata: message.metadata,
  }));
}

/**
 * Reads a message. Fields that are absent count as empty or null, as in the
 * original's decoder; unknown fields are ignored.
 *
 * @throws {TunnelError} `protocol` when it is no such message.
 */
export function decodeMessage(bytes: Uint8Array): Message {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    throw new TunnelError("protocol", "message is not JSON", { cause });
  }
  if (!isRecord(value)) {
    throw new TunnelError("protocol", "message is not a JSON object");
  }
  return {
    id: stringField(value, "ID"),
    reply: stringField(value, "Reply"),
    data: dataField(value),
    metadata: metadataField(value),
  };
}

/**
 * The most bytes of data that fit in a message of at most `messageBytes`,
 * beside an ID of `idLength` and `metadataBytes` of JSON metadata.
 */
export function dataCapacity(
  messageBytes: number,
  idLength: number,
  metadataBytes: number,
): number {
  const base64 = messageBytes - ENVELOPE_BYTES - idLength - metadataBytes;
  return Math.max(0, Math.floor(base64 / 4) * 3);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function own(value: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] ?? null : null;
}

function stringField(value: Record<string, unknown>, name: string): string {
  const field = own(value, name);
  if (field === null) return "";
  if (typeof field === "string") return field;
  throw new TunnelError("protocol", `field ${name} is not a string`);
}

function dataField(value: Record<string, unknown>): Uint8Array | null {
  const field = own(value, "Data");
  if (field === null) return null;
  if (typeof field !== "string") {
    throw new TunnelError("protocol", "field Data is not a string");
  }
  try {
    return Uint8Array.fromBase64(field);
  } catch (cause) {
    throw new TunnelError("protocol", "field Data is not base64", { cause });
  }
}

function metadataField(
  value: Record<string, unknown>,
): Record<string, string> | null {
  const field = own(value, "Metadata");
  if (field === null) return null;
  if (!isRecord(field)) {
    throw new TunnelError("protocol", "field Metadata is not an object");
  }
  for (const [key, text] of Object.entries(field)) {
    if (typeof text !== "string") {
      throw new TunnelError("protocol", `metadata ${key} is not a string`);
    }
  }
  return field as Record<string, string>;
}
