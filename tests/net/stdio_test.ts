/** Standard input and output as a connection. */
import assert from "node:assert/strict";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import { stdioSocket } from "../../lib/net/stdio.ts";

/** Input that gives these pieces and then waits for ever, and what is output. */
function streams(...pieces: readonly string[]): {
  readonly stdin: Pick<typeof Deno.stdin, "read">;
  readonly stdout: Pick<typeof Deno.stdout, "write">;
  readonly written: string[];
} {
  const left = pieces.map((piece) => new TextEncoder().encode(piece));
  const written: string[] = [];
  return {
    stdin: {
      read: (room) => {
        const piece = left.shift();
        if (piece === undefined) return new Promise(() => {});
        room.set(piece);
        return Promise.resolve(piece.length === 0 ? null : piece.length);
      },
    },
    stdout: {
      // A pipe takes what there is room for.
      write: (chunk) => {
        written.push(new TextDecoder().decode(chunk.subarray(0, 2)));
        return Promise.resolve(Math.min(chunk.length, 2));
      },
    },
    written,
  };
}

Deno.test("stdioSocket() goes on writing after the end of input", async () => {
  const source = streams("abc", "");
  const socket = stdioSocket(new BufferPool(), source);
  assert.equal(socket.remote, "stdio");
  const { value } = await socket.read();
  assert.equal(new TextDecoder().decode(value), "abc");
  assert.equal((await socket.read()).done, true);
  await socket.writer.write(new TextEncoder().encode("defgh"));
  assert.deepEqual(source.written, ["de", "fg", "h"]);
});

Deno.test("stdioSocket() reads no more when the output has ended, also where it waits for input", async () => {
  for (const end of ["closeWrite", "close"] as const) {
    const socket = stdioSocket(new BufferPool(), streams("abc"));
    await socket.read();
    const waiting = socket.read();
    if (end === "close") socket.close();
    else await socket.writer.close();
    assert.equal((await waiting).done, true);
    assert.equal((await socket.read()).done, true);
  }
});

Deno.test("stdioSocket() fails as its streams do", async () => {
  const broken = new Error("broken");
  const socket = stdioSocket(new BufferPool(), {
    stdin: { read: () => Promise.reject(broken) },
    stdout: { write: () => Promise.reject(broken) },
  });
  await assert.rejects(socket.read(), broken);
  await assert.rejects(socket.writer.write(new Uint8Array(1)), broken);
});
