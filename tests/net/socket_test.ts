/** The two forms of a socket: web streams, and a reader and writer without them. */
import assert from "node:assert/strict";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import { dial } from "../../lib/net/dial.ts";
import {
  directOf,
  type DirectSocket,
  type Socket,
  streamsOf,
} from "../../lib/net/socket.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { turn } from "../support/memory_bus.ts";
import { streamPair } from "../support/stream_pair.ts";

/** A socket of ours and the plain connection at its other end. */
async function connected(): Promise<{ ours: Socket; theirs: Deno.TcpConn }> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const [ours, theirs] = await Promise.all([
    dial({ host: "127.0.0.1", port }, {
      pool: new BufferPool(),
      signal: new AbortController().signal,
    }),
    listener.accept(),
  ]);
  return { ours, theirs };
}

Deno.test("a TCP socket's streams read nothing that nobody wants", async () => {
  const { ours, theirs } = await connected();
  await theirs.write(new Uint8Array([1, 2]));
  const { readable } = ours;
  await turn();
  assert.deepEqual(
    (await directOf(ours).reader.read()).value,
    new Uint8Array([1, 2]),
  );
  await readable.cancel();
  assert.equal(await theirs.read(new Uint8Array(1)), null, "cancel closes");
  theirs.close();
});

Deno.test("a TCP socket's streams close it when they fail", async () => {
  let closed = 0;
  const fail = (): Promise<never> => Promise.reject(new Error("broken pipe"));
  const direct: DirectSocket = {
    reader: { read: fail },
    writer: { write: fail, close: fail },
    readLimit: 1,
    close: () => closed++,
  };
  const streams = streamsOf(direct);
  await assert.rejects(new Response(streams.readable).text(), /broken pipe/);
  assert.equal(closed, 1);
  const writer = streams.writable.getWriter();
  await assert.rejects(writer.write(new Uint8Array(1)), /broken pipe/);
  assert.equal(closed, 2);
});

Deno.test("directOf() takes a socket as it is", () => {
  const socket = new FakeSocket();
  assert.equal(directOf(socket), socket);
});

Deno.test("directOf() reads no more than it may, of chunks of any size, and nothing ahead", async () => {
  let pulls = 0;
  const chunks = [new Uint8Array(0), new Uint8Array([1, 2, 3, 4, 5])];
  const readable = new ReadableStream<Uint8Array>({
    pull(controller): void {
      pulls++;
      const chunk = chunks.shift();
      if (chunk === undefined) controller.close();
      else controller.enqueue(chunk);
    },
  }, { highWaterMark: 0 });
  const socket = directOf({ ...streamPair().inner, readable });
  await turn();
  assert.equal(pulls, 0);
  const got: number[][] = [];
  for (const limit of [2, 1, 9]) {
    socket.readLimit = limit;
    const { value } = await socket.reader.read();
    got.push([...value ?? []]);
    assert.equal(value?.buffer.byteLength, value?.length, "it owns its chunk");
  }
  assert.deepEqual(got, [[1, 2], [3], [4, 5]]);
  assert.equal(pulls, 2);
  assert.equal((await socket.reader.read()).done, true);
});

Deno.test("directOf() hands over copies: a chunk may be used again once it is written", async () => {
  const { inner, readable } = streamPair();
  const reader = readable.getReader();
  const { writer } = directOf(inner);
  const chunk = new Uint8Array([1, 2, 3]);
  const reading = reader.read();
  await writer.write(chunk);
  chunk.fill(9);
  assert.deepEqual((await reading).value, new Uint8Array([1, 2, 3]));
});

Deno.test("directOf().close() cancels and aborts, releases its locks, and can be repeated", async () => {
  const seen: string[] = [];
  const pair = {
    remote: "pair",
    readable: new ReadableStream<Uint8Array>({
      cancel: () => void seen.push("cancel"),
    }),
    writable: new WritableStream<Uint8Array>({
      abort: () => void seen.push("abort"),
    }),
  };
  const socket = directOf(pair);
  assert.ok(pair.readable.locked && pair.writable.locked);
  const read = socket.reader.read();
  socket.close();
  socket.close();
  await turn();
  assert.deepEqual(seen.sort(), ["abort", "cancel"]);
  assert.equal((await read).done, true);
  assert.ok(!pair.readable.locked && !pair.writable.locked);
});
