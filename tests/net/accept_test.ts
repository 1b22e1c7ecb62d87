/** What becomes of connections that come while their listeners end. */
import assert from "node:assert/strict";
import { acceptAll, type Accepting } from "../../lib/net/accept.ts";
import type { SystemConn } from "../../lib/net/system_socket.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { turn } from "../support/memory_bus.ts";

/** A listener that accepts when the test says so; what it gives is not looked at. */
class Door implements Accepting<SystemConn> {
  #next = Promise.withResolvers<SystemConn>();

  accept(): Promise<SystemConn> {
    return this.#next.promise;
  }

  open(): void {
    const { resolve } = this.#next;
    this.#next = Promise.withResolvers();
    resolve({} as SystemConn);
  }

  /** As a listener of the system does when it is closed. */
  close(): void {
    this.#next.reject(new Error("closed"));
  }
}

Deno.test("acceptAll() closes what it has accepted and nobody has asked for when it ends", async () => {
  const doors = [new Door(), new Door()];
  const sockets: FakeSocket[] = [];
  const stop = new AbortController();
  const accepting = acceptAll(doors, () => {
    const socket = new FakeSocket();
    sockets.push(socket);
    return socket;
  }, {
    clock: new FakeClock(),
    onAcceptError: assert.fail,
    signal: stop.signal,
  })[Symbol.asyncIterator]();
  const first = accepting.next();
  doors[0]?.open();
  assert.equal((await first).value, sockets[0]);
  doors[0]?.open();
  doors[1]?.open();
  await turn();
  assert.equal(sockets.length, 3);
  stop.abort();
  let ended = false;
  const end = accepting.next().then(({ done }) => ended = done === true);
  // One more had been on its way.
  doors[1]?.open();
  await turn();
  // The system has the other place yet.
  assert.equal(ended, false);
  doors[0]?.close();
  await end;
  assert.equal(ended, true);
  assert.deepEqual(sockets.map(({ closed }) => closed), [
    false,
    true,
    true,
    true,
  ]);
});
