/**
 * TCP connections through NATS, from one's own program: opens tunnels to
 * targets that a server of tcp-sproxy dials, and has the codec of what travels.
 *
 * ```ts
 * import { openTunnel } from "@tcp-sproxy/tcp-sproxy";
 *
 * await using tunnel = await openTunnel({
 *   nats: "nats://127.0.0.1:4222",
 *   target: "127.0.0.1:6379",
 * });
 * ```
 *
 * @module
 */
export {
  type OpenTunnel,
  openTunnel,
  type TunnelOptions,
} from "./lib/process/open_tunnel.ts";
export type { StreamPair } from "./lib/net/socket.ts";
export {
  type ErrorCode,
  type Reason,
  RunError,
  TunnelError,
  UsageError,
  WIRE_CODES,
} from "./lib/base/errors.ts";
export {
  type Codec,
  CODEC_NAMES,
  type CodecName,
  codecOf,
  decodeFrame,
} from "./lib/wire/codec.ts";
export type { Encodable } from "./lib/base/encodable.ts";
export type * from "./lib/wire/frame.ts";
