/** Sealed frames: what is taken, what is not, and that no nonce comes twice. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Encodable } from "../../lib/base/encodable.ts";
import {
  FRAMES_PER_KEY,
  KEY_LIFETIME_MS,
  SEAL_OVERHEAD_BYTES,
  type SealLane,
  TunnelSeal,
} from "../../lib/seal/frames.ts";

const A = new Uint8Array(32).fill(1);
const B = new Uint8Array(32).fill(2);
const SUBJECT = "p.data.to_server.c.s.7";
const SUBJECT_BYTES = new TextEncoder().encode(SUBJECT);

function pair(now = 0): readonly [TunnelSeal, TunnelSeal] {
  return [
    new TunnelSeal({ send: A, receive: B }, now),
    new TunnelSeal({ send: B, receive: A }, now),
  ];
}

function plain(bytes: Uint8Array): Encodable {
  return {
    byteLength: bytes.length,
    encodeInto: (target, at) => target.set(bytes, at),
  };
}

/** The message of a frame. */
function message(
  seal: TunnelSeal,
  text: string,
  { lane = "data", pair = false, subject = SUBJECT, now = 0 }: {
    readonly lane?: SealLane;
    readonly pair?: boolean;
    readonly subject?: string;
    readonly now?: number;
  } = {},
): Uint8Array {
  const frame = new TextEncoder().encode(text);
  const sealed = seal.seal(plain(frame), { lane, pair, subject }, now);
  const bytes = new Uint8Array(sealed.byteLength);
  sealed.encodeInto(bytes, 0);
  return bytes;
}

/** What the other end reads in a message. */
function read(seal: TunnelSeal, bytes: Uint8Array): string | undefined {
  const opened = seal.open(bytes, SUBJECT_BYTES);
  return opened && new TextDecoder().decode(opened.frame);
}

Deno.test("a sealed frame is read at the other end, and nowhere in between", () => {
  const [a, b] = pair();
  for (const lane of ["data", "control"] as const) {
    for (const about of [true, false]) {
      const bytes = message(a, "a secret", { lane, pair: about });
      assert.equal(bytes.length, 8 + SEAL_OVERHEAD_BYTES);
      assert.ok(!new TextDecoder().decode(bytes).includes("secret"));
      assert.equal(a.open(bytes, SUBJECT_BYTES), undefined, "sent back");
      const opened = b.open(bytes, SUBJECT_BYTES);
      assert.equal(opened?.pair, about);
      assert.equal(new TextDecoder().decode(opened.frame), "a secret");
    }
  }
  assert.equal(read(a, message(b, "")), "");
});

Deno.test("the lanes overtake each other; in a lane what is late or repeated is lost", () => {
  const [a, b] = pair();
  const [one, two, three] = ["1", "2", "3"].map((text) => message(a, text));
  const ack = message(a, "ack", { lane: "control" });
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  assert.equal(read(b, one), "1");
  assert.equal(read(b, one), undefined, "repeated");
  assert.equal(read(b, three), "3");
  assert.equal(read(b, ack), "ack");
  assert.equal(read(b, two), undefined, "late");
  assert.equal(read(b, ack), undefined, "repeated");
  assert.equal(read(b, message(a, "4")), "4");
});

Deno.test("no bit of a frame can be changed, nor can it be moved to another tunnel", () => {
  const [a, b] = pair();
  const bytes = message(a, "all of this");
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = bytes.slice();
    const at = bit >> 3;
    changed[at] = (changed[at] ?? 0) ^ (1 << (bit & 7));
    assert.equal(read(b, changed), undefined, `bit ${bit}`);
  }
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(read(b, bytes.subarray(0, length)), undefined);
  }
  assert.equal(read(b, Uint8Array.of(...bytes, 0)), undefined);
  const other = message(a, "for another", { subject: `${SUBJECT}1` });
  assert.equal(read(b, other), undefined);
  assert.equal(read(b, message(a, "after all that")), "after all that");
});

Deno.test("keys change with the hours, and are followed over frames that are lost", () => {
  const [a, b] = pair();
  let now = 0;
  const counters: number[] = [];
  for (let hour = 0; hour < 40; hour++) {
    const bytes = message(a, `hour ${hour}`, { now });
    counters.push(counterOf(bytes));
    // Only one in eight gets through.
    if (hour % 8 === 7) assert.equal(read(b, bytes), `hour ${hour}`);
    now += KEY_LIFETIME_MS;
  }
  assert.deepEqual(counters, counters.map((_, i) => i * FRAMES_PER_KEY));
  for (let i = 0; i < 8; i++) {
    message(a, "lost", { now });
    now += KEY_LIFETIME_MS;
  }
  assert.equal(read(b, message(a, "too far ahead", { now })), undefined);
});

Deno.test("no counter of a lane comes twice, whatever is sent and whenever", () => {
  const step = fc.record({
    lane: fc.constantFrom<SealLane>("data", "control", "express"),
    wait: fc.oneof(fc.constant(0), fc.nat(KEY_LIFETIME_MS / 8)),
    arrives: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const [a, b] = pair();
    const last = { data: -1, control: -1, express: -1 };
    let now = 0;
    for (const { lane, wait, arrives } of steps) {
      now += wait;
      const bytes = message(a, "x", { lane, now });
      const counter = counterOf(bytes);
      assert.ok(counter > last[lane], `${lane} ${counter}`);
      last[lane] = counter;
      if (arrives) assert.equal(read(b, bytes), "x");
    }
  }));
});

function counterOf(bytes: Uint8Array): number {
  return Number(new DataView(bytes.buffer).getBigUint64(2));
}
