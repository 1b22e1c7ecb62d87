import assert from "node:assert/strict";
import { Tombstones } from "../../lib/session/tombstones.ts";

Deno.test("Tombstones.find() tells how a tunnel ended, for 60 s", () => {
  const stones = new Tombstones(30_000);
  const reason = { code: "aborted", text: "reset" } as const;
  stones.add("clean", { ack: 7 }, 0);
  stones.add("cut", { reason }, 30_000);
  assert.deepEqual(stones.find("clean"), { ack: 7 });
  assert.deepEqual(stones.find("cut"), { reason });
  assert.equal(stones.find("never"), undefined);
  stones.sweep(59_999);
  assert.deepEqual(stones.find("clean"), { ack: 7 });
  stones.sweep(60_000);
  assert.equal(stones.find("clean"), undefined);
  assert.deepEqual(stones.find("cut"), { reason });
  stones.sweep(90_000);
  assert.equal(stones.find("cut"), undefined);
});

Deno.test("Tombstones.add() forgets the oldest of more than 4096", () => {
  const stones = new Tombstones(30_000);
  for (let i = 0; i < 5_000; i++) stones.add(`t${i}`, { ack: i }, i);
  assert.equal(stones.find("t903"), undefined);
  assert.deepEqual(stones.find("t904"), { ack: 904 });
  assert.deepEqual(stones.find("t4999"), { ack: 4999 });
});
