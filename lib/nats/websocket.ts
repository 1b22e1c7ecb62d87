/**
 * A broker's WebSocket as a socket: it carries the same stream of bytes as a
 * plain connection. The runtime's own hands over whole messages, and a broker
 * makes one of all that waits for us: 64 MiB, if need be.
 *
 * @module
 */

import { readHead, writeAll } from "./http_head.ts";
import { BATCH_BYTES } from "./outbox.ts";
import type { BrokerSocket } from "./socket.ts";
import { FrameDecoder, FrameEncoder, OPCODE } from "./websocket_frames.ts";

/** What a server appends to the key to show that it knows WebSockets (RFC 6455, 1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Bytes of a key: what the RFC asks for. */
const KEY_BYTES = 16;

/** Most bytes in a frame of ours: what the outbox writes at once. */
const MAX_FRAME = BATCH_BYTES;

/** What is asked for, and where. */
export interface WebSocketRequest {
  /** The `host:port` that was asked for, by which a proxy in front knows whom. */
  readonly authority: string;
  /** From its first slash on. */
  readonly path: string;
}

/**
 * Opens a WebSocket on `socket`, which it uses up.
 *
 * @throws {Error} when the other side does not open it, as a clause about it.
 */
export async function openWebSocket(
  socket: BrokerSocket,
  { authority, path }: WebSocketRequest,
): Promise<BrokerSocket> {
  const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES)).toBase64();
  const request = [
    `GET ${path} HTTP/1.1`,
    `Host: ${authority}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${key}`,
    "Sec-WebSocket-Version: 13",
  ];
  const encoder = new TextEncoder();
  await writeAll(socket, encoder.encode(`${request.join("\r\n")}\r\n\r\n`));
  const head = await readHead(socket);
  if (head.status !== 101) {
    throw new Error(`it opens no WebSocket: HTTP ${head.told}`);
  }
  const hash = await crypto.subtle.digest("SHA-1", encoder.encode(key + GUID));
  if (
    head.header("sec-websocket-accept") !== new Uint8Array(hash).toBase64() ||
    head.header("upgrade").toLowerCase() !== "websocket" ||
    head.header("sec-websocket-extensions") !== ""
  ) {
    throw new Error("it opens no WebSocket as we asked for it");
  }
  return new WebSocketSocket(socket);
}

class WebSocketSocket implements BrokerSocket {
  readonly #socket: BrokerSocket;
  readonly #decoder = new FrameDecoder();
  readonly #encoder = new FrameEncoder((bytes) => {
    crypto.getRandomValues(bytes);
  });
  /** A pong waits to be written. */
  #ponging = false;
  /** Resolves when nothing is being written. */
  #written: Promise<unknown> = Promise.resolve();

  constructor(socket: BrokerSocket) {
    this.#socket = socket;
  }

  async read(target: Uint8Array): Promise<number | null> {
    const decoder = this.#decoder;
    // Nothing would ever come there, and nobody else would have a turn.
    if (target.length === 0) return 0;
    while (!decoder.closed) {
      const count = await this.#socket.read(target);
      if (count === null) return null;
      const size = decoder.decode(target.subarray(0, count));
      if (decoder.ping !== undefined) this.#pong();
      if (size > 0) return size;
    }
    return null;
  }

  async write(bytes: Uint8Array): Promise<number> {
    const part = bytes.subarray(0, MAX_FRAME);
    await this.#send(OPCODE.binary, part);
    return part.length;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  /** Answers the latest ping; not waited for: who pings may be waiting for us to read. */
  #pong(): void {
    const { ping } = this.#decoder;
    if (ping === undefined || this.#ponging) return;
    this.#decoder.ping = undefined;
    this.#ponging = true;
    const done = (): void => {
      this.#ponging = false;
    };
    // Whoever reads or writes next meets the failure, too.
    this.#send(OPCODE.pong, ping).then(done, done);
  }

  /** Writes a frame, after those that are being written. */
  #send(opcode: number, payload: Uint8Array): Promise<void> {
    const sent = this.#written.then(() =>
      writeAll(this.#socket, this.#encoder.encode(opcode, payload))
    );
    // Whoever sends next meets the failure, too.
    this.#written = sent.catch(() => {});
    return sent;
  }
}
