/** A plain pair of web streams, and the application that holds its other ends. */
import type { Socket } from "../../lib/net/socket.ts";

/** Two identity streams: `inner` for the tunnel, the rest for the application. */
export function streamPair(remote = "streams"): {
  readonly inner: Socket;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
} {
  const up = new TransformStream<Uint8Array, Uint8Array>();
  const down = new TransformStream<Uint8Array, Uint8Array>();
  const inner = { remote, readable: up.readable, writable: down.writable };
  return { inner, readable: down.readable, writable: up.writable };
}
