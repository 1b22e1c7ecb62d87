/** Keys are written as the NATS tools write them. */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import {
  agree,
  formatPublicKey,
  formatSeed,
  keyPairOf,
  parsePublicKey,
  parseSeed,
} from "../../lib/seal/keys.ts";

const PRIVATE = Uint8Array.from({ length: 32 }, (_, i) => (i * 37 + 5) & 0xff);

Deno.test("a seed and its public key are those of nkeys, both ways", () => {
  for (let i = 0; i < 50; i++) {
    const pair = nkeys.createCurve();
    const seed = new TextDecoder().decode(pair.getSeed());
    const ours = parseSeed(seed);
    assert.ok(ours !== undefined, seed);
    assert.equal(formatPublicKey(ours.publicKey), pair.getPublicKey());
    assert.deepEqual(
      parsePublicKey(pair.getPublicKey()),
      Uint8Array.from(ours.publicKey),
    );
  }
  const seed = formatSeed(PRIVATE).reveal();
  assert.match(seed, /^SX/);
  const theirs = nkeys.fromCurveSeed(new TextEncoder().encode(seed));
  assert.equal(
    theirs.getPublicKey(),
    formatPublicKey(keyPairOf(PRIVATE).publicKey),
  );
});

Deno.test("what is no key is told from one", () => {
  const seed = formatSeed(PRIVATE).reveal();
  const shown = formatPublicKey(PRIVATE);
  const user = new TextDecoder().decode(nkeys.createUser().getSeed());
  for (
    const text of [
      "",
      "SX",
      seed.slice(1),
      seed.toLowerCase(),
      `${seed}A`,
      shown,
      user,
      seed.replace(/.$/, "7"),
      "SX\u{1F511}",
    ]
  ) {
    assert.equal(parseSeed(text), undefined, text);
  }
  for (
    const text of [
      "",
      "X",
      seed,
      shown.slice(0, -1),
      shown.toLowerCase(),
      `${shown} `,
      nkeys.createUser().getPublicKey(),
    ]
  ) {
    assert.equal(parsePublicKey(text), undefined, text);
  }
  for (let at = 0; at < seed.length; at++) {
    const letter = seed[at] === "B" ? "C" : "B";
    const typo = seed.slice(0, at) + letter + seed.slice(at + 1);
    assert.equal(parseSeed(typo), undefined, typo);
  }
});

Deno.test("both holders agree, and with keys of small order nobody does", () => {
  const [a, b] = [keyPairOf(PRIVATE), keyPairOf(PRIVATE.toReversed())];
  assert.deepEqual(
    agree(a.privateKey, b.publicKey),
    agree(b.privateKey, a.publicKey),
  );
  // RFC 7748, 6.1 and the list of points of small order: 0, 1 and p.
  const p = new Uint8Array(32).fill(0xff);
  p[0] = 0xed;
  p[31] = 0x7f;
  for (
    const point of [
      new Uint8Array(32),
      Uint8Array.of(1, ...new Uint8Array(31)),
      p,
    ]
  ) {
    assert.equal(agree(a.privateKey, point), undefined);
  }
});
