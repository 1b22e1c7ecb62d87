/** A connection on which something was said before it was handed on. */
import assert from "node:assert/strict";
import type { DirectSocket } from "../../lib/net/socket.ts";
import { ResumedSocket } from "../../lib/net/resumed_socket.ts";

const NOTHING = new Uint8Array(0);

/** A connection that remembers what is done to it; what is written is held until it is told. */
function fakeConnection(): {
  readonly connection: DirectSocket;
  readonly done: readonly string[];
  readonly held: readonly PromiseWithResolvers<void>[];
} {
  const done: string[] = [];
  const held: PromiseWithResolvers<void>[] = [];
  const hold = (what: string): Promise<void> => {
    done.push(what);
    const each = Promise.withResolvers<void>();
    held.push(each);
    return each.promise;
  };
  const connection: DirectSocket = {
    reader: {
      read: () =>
        Promise.resolve({ done: false, value: Uint8Array.of(7, 8, 9) }),
    },
    writer: {
      write: (chunk = NOTHING) => hold(`write ${chunk.join(" ")}`),
      close: () => hold("end"),
    },
    readLimit: 100,
    close: () => void done.push("close"),
  };
  return { connection, done, held };
}

function resumed(
  connection: DirectSocket,
  unread: Uint8Array,
  greeting: Uint8Array,
): ResumedSocket {
  return new ResumedSocket(connection, { remote: "a:1", unread, greeting });
}

Deno.test("ResumedSocket: what was read before is read again, as much as may be, then what comes", async () => {
  const { connection } = fakeConnection();
  const unread = Uint8Array.of(1, 2, 3, 4, 5);
  const socket = resumed(connection, unread, NOTHING);
  const read: number[][] = [];
  for (const limit of [2, 100, 100]) {
    socket.readLimit = limit;
    const { value = NOTHING } = await socket.reader.read();
    read.push([...value]);
    value.fill(0); // it is the reader's own
  }
  assert.deepEqual(read, [[1, 2], [3, 4, 5], [7, 8, 9]]);
  assert.deepEqual([...unread], [1, 2, 3, 4, 5]);
  assert.equal(connection.readLimit, 100);
  assert.equal(socket.reader, connection.reader);
});

Deno.test("ResumedSocket: the greeting goes before all else, also before the end", async () => {
  const { connection, done, held } = fakeConnection();
  const socket = resumed(connection, NOTHING, Uint8Array.of(1));
  const written = socket.writer.write(Uint8Array.of(2));
  const other = fakeConnection();
  const ended = resumed(other.connection, NOTHING, Uint8Array.of(1))
    .writer.close();
  await Promise.resolve();
  assert.deepEqual(done, ["write 1"]);
  held[0]?.resolve();
  other.held[0]?.resolve();
  await new Promise((resolve) => setTimeout(resolve));
  held[1]?.resolve();
  other.held[1]?.resolve();
  await Promise.all([written, ended]);
  assert.deepEqual(done, ["write 1", "write 2"]);
  assert.deepEqual(other.done, ["write 1", "end"]);
  // From then on it is as if nothing had been.
  assert.equal(socket.writer, connection.writer);
});

Deno.test("ResumedSocket: a greeting that fails fails what is written next, and nothing before", async () => {
  const { connection, held } = fakeConnection();
  const socket = resumed(connection, NOTHING, Uint8Array.of(1));
  held[0]?.reject(new Error("gone"));
  await new Promise((resolve) => setTimeout(resolve));
  await assert.rejects(socket.writer.write(Uint8Array.of(2)), /gone/);
  await assert.rejects(socket.writer.close(), /gone/);
});

Deno.test("ResumedSocket: it closes the connection, and gives streams to whoever asks", async () => {
  const { connection, done } = fakeConnection();
  const socket = resumed(connection, Uint8Array.of(1), NOTHING);
  const reader = socket.readable.getReader();
  assert.deepEqual([...(await reader.read()).value ?? []], [1]);
  assert.deepEqual([...(await reader.read()).value ?? []], [7, 8, 9]);
  socket.close();
  assert.deepEqual(done, ["close"]);
});
