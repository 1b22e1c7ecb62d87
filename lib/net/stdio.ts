/**
 * Standard input and output as the two directions of one connection.
 *
 * @module
 */
import { type BufferPool, SLAB_BYTES } from "../base/buffer_pool.ts";
import { SystemSocket } from "./system_socket.ts";

/** Standard input and output, as far as a connection needs them. */
export interface StdioSource {
  /** Where it reads. */
  readonly stdin: Pick<typeof Deno.stdin, "read">;
  /** Where it writes. */
  readonly stdout: Pick<typeof Deno.stdout, "write">;
}

/**
 * Standard input and output of this process as a connection; large reads borrow
 * buffers of `pool`.
 *
 * The end of input ends that direction alone. The end of what is written ends
 * both: the runtime keeps standard output open for as long as it lives, so its
 * reader sees the end only at that of the process.
 */
export function stdioSocket(
  pool: BufferPool,
  { stdin, stdout }: StdioSource = Deno,
): SystemSocket {
  // Its own: where the end comes first, the system goes on waiting to fill it.
  const buffer = new Uint8Array(SLAB_BYTES);
  let ended = false;
  let onEnded: ((end: null) => void) | undefined;
  const end = (): void => {
    ended = true;
    onEnded?.(null);
  };
  return new SystemSocket({
    read: (room) => {
      if (ended) return Promise.resolve(null);
      // Not a race with one promise for all: that would remember each read.
      const { promise, resolve, reject } = Promise.withResolvers<
        number | null
      >();
      onEnded = resolve;
      stdin.read(buffer.subarray(0, room.length)).then((count) => {
        if (!ended && count !== null) room.set(buffer.subarray(0, count));
        resolve(count);
      }, reject);
      return promise;
    },
    write: (chunk) => stdout.write(chunk),
    closeWrite: () => Promise.resolve(end()),
    close: end,
  }, { pool, remote: "stdio" });
}
