/** Unix sockets as places to listen at: modes, what is there already, half-close, the end. */
import assert from "node:assert/strict";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import { RunError, TunnelError } from "../../lib/base/errors.ts";
import { dialUnix } from "../../lib/net/dial.ts";
import { holdPath, listenUnix } from "../../lib/net/listen_unix.ts";
import type { SocketListener } from "../../lib/net/socket.ts";
import { SystemSocket } from "../../lib/net/system_socket.ts";
import { FakeClock } from "../support/fake_clock.ts";

const pool = new BufferPool();

/** A path in a folder of its own. */
class Place implements AsyncDisposable {
  readonly folder: string;
  readonly path: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.path = `${folder}/x.sock`;
  }

  static async make(): Promise<Place> {
    return new Place(await Deno.makeTempDir({ prefix: "test-" }));
  }

  listen(path: string = this.path): Promise<SocketListener> {
    return listenUnix({ path }, {
      pool,
      clock: new FakeClock(),
      origin: "--forward",
      onAcceptError: assert.fail,
    });
  }

  async files(): Promise<string[]> {
    const entries = await Array.fromAsync(Deno.readDir(this.folder));
    return entries.map(({ name }) => name);
  }

  /** Leaves a socket there that nobody answers, as a process does that is killed. */
  async leaveStale(): Promise<void> {
    const other = `${this.folder}/other`;
    using _listener = Deno.listen({ transport: "unix", path: other });
    await Deno.rename(other, this.path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("listenUnix() is the owner's alone, and leaves nothing behind", async () => {
  await using place = await Place.make();
  const listener = await place.listen();
  const { mode = 0, isSocket } = await Deno.stat(place.path);
  assert.ok(isSocket);
  assert.equal((mode ?? 0) & 0o777, 0o600);
  assert.equal(listener.address, `unix:${place.path}`);
  const waiting = listener.accept()[Symbol.asyncIterator]().next();
  listener[Symbol.dispose]();
  listener[Symbol.dispose]();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  assert.deepEqual(await place.files(), []);
});

Deno.test("a socket of a Unix listener carries each end of stream by itself", async () => {
  await using place = await Place.make();
  using listener = await place.listen();
  const accepting = listener.accept()[Symbol.asyncIterator]();
  const [theirs, { value: ours }] = await Promise.all([
    Deno.connect({ transport: "unix", path: place.path }),
    accepting.next(),
  ]);
  assert.ok(ours instanceof SystemSocket);
  assert.equal(ours.remote, `unix:${place.path}`);
  await theirs.write(new Uint8Array([1, 2, 3]));
  await theirs.closeWrite();
  assert.deepEqual((await ours.read()).value, new Uint8Array([1, 2, 3]));
  assert.equal((await ours.read()).done, true);
  await ours.writer.write(new Uint8Array([4]));
  await ours.writer.close();
  const room = new Uint8Array(8);
  assert.equal(await theirs.read(room), 1);
  assert.equal(await theirs.read(room), null);
  ours.close();
  theirs.close();
});

Deno.test("listenUnix() takes the place of a socket that nobody answers, and of nothing else", async () => {
  await using place = await Place.make();
  await place.leaveStale();
  assert.deepEqual(await place.files(), ["x.sock"]);
  {
    using listener = await place.listen();
    assert.equal(listener.address, `unix:${place.path}`);
    await assertRefused(
      place,
      "another process listens there; stop it or choose another path",
    );
    // The one that listens was not disturbed.
    (await Deno.connect({ transport: "unix", path: place.path })).close();
  }
  await Deno.writeTextFile(place.path, "precious");
  await assertRefused(
    place,
    "there is a file, which is no socket; choose another path",
  );
  assert.equal(await Deno.readTextFile(place.path), "precious");
  const dangling = `${place.folder}/link`;
  await Deno.symlink("nowhere", dangling);
  await assertRefused(place, "there is a file, which is no socket", dangling);
  await assertRefused(
    place,
    "its folder is not there; make it",
    `${place.folder}/none/x.sock`,
  );
});

Deno.test("holdPath() leaves the path as it was", async () => {
  await using place = await Place.make();
  {
    using _held = await holdPath({ path: place.path }, "--forward");
    assert.deepEqual(await place.files(), ["x.sock"]);
  }
  assert.deepEqual(await place.files(), []);
});

Deno.test({
  name: "listenUnix() says which permission of Deno it takes",
  permissions: { net: true, read: true },
  fn: async () => {
    await assert.rejects(holdPath({ path: "./x.sock" }, "--forward"), {
      message:
        "Cannot listen on --forward unix:./x.sock: no permission to write it (Deno gives it with --allow-write=./x.sock)",
    });
  },
});

/** Asserts that nobody can listen there, in one line that says why. */
async function assertRefused(
  place: Place,
  why: string,
  path: string = place.path,
): Promise<void> {
  await assert.rejects(place.listen(path), (error: unknown) => {
    assert.ok(error instanceof RunError, String(error));
    const start = `Cannot listen on --forward unix:${path}: ${why}`;
    assert.ok(error.message.startsWith(start), error.message);
    return true;
  });
}

Deno.test("dialUnix() connects, both directions end on their own, and the log has its path", async () => {
  await using place = await Place.make();
  using listener = Deno.listen({ transport: "unix", path: place.path });
  const { signal } = new AbortController();
  const socket = await dialUnix(place.path, { pool, signal });
  using _ = { [Symbol.dispose]: () => socket.close() };
  using peer = await listener.accept();
  assert.equal(socket.remote, `unix:${place.path}`);
  await socket.writer.write(new TextEncoder().encode("hello"));
  await socket.writer.close();
  assert.equal(await new Response(peer.readable).text(), "hello");
});

Deno.test("dialUnix() still hears an answer after its own end", async () => {
  await using place = await Place.make();
  using listener = Deno.listen({ transport: "unix", path: place.path });
  const { signal } = new AbortController();
  const socket = await dialUnix(place.path, { pool, signal });
  const peer = await listener.accept();
  await socket.writer.close();
  assert.equal(await peer.read(new Uint8Array(1)), null);
  await peer.write(new TextEncoder().encode("bye"));
  const { value } = await socket.reader.read();
  assert.equal(new TextDecoder().decode(value), "bye");
  peer.close();
  assert.ok((await socket.reader.read()).done);
  socket.close();
});

Deno.test("dialUnix() says in our codes why it cannot", async () => {
  await using place = await Place.make();
  await place.leaveStale();
  await Deno.writeTextFile(`${place.folder}/file`, "");
  const { signal } = new AbortController();
  const cases: readonly (readonly [path: string, code: string, RegExp])[] = [
    [
      `${place.folder}/none`,
      "refused",
      /^Dial unix:\S+\/none: there is no such socket$/,
    ],
    [place.path, "refused", /: connection refused$/],
    [`${place.folder}/file`, "refused", /: connection refused$/],
    [`${place.folder}/file/x`, "unreachable", /: not a directory$/],
  ];
  for (const [path, code, text] of cases) {
    await assert.rejects(dialUnix(path, { pool, signal }), (error) => {
      assert.ok(error instanceof TunnelError);
      assert.equal(error.code, code);
      assert.match(error.text, text);
      return true;
    });
  }
  const reason = new TunnelError("limit", "given up");
  await assert.rejects(
    dialUnix(place.path, { pool, signal: AbortSignal.abort(reason) }),
    reason,
  );
});

Deno.test("dialUnix() names the permissions that Deno wants", {
  permissions: { net: true, read: false, write: false },
}, async () => {
  const { signal } = new AbortController();
  await assert.rejects(dialUnix("/x.sock", { pool, signal }), {
    code: "denied",
    message:
      "Dial unix:/x.sock: not permitted (Deno gives it with --allow-read=/x.sock --allow-write=/x.sock)",
  });
});
