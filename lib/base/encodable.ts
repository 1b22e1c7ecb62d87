/**
 * What can write itself into an outgoing buffer: how a message reaches the
 * socket without being a byte array of its own before.
 *
 * @module
 */

/** Something that can write itself into an outgoing buffer. */
export interface Encodable {
  /** How many bytes {@linkcode Encodable.encodeInto} writes. */
  readonly byteLength: number;
  /** Writes exactly `byteLength` bytes into `target`, starting at `at`. */
  encodeInto(target: Uint8Array, at: number): void;
}
