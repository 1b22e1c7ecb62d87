/** The handshake, held against vectors that others published. */
import assert from "node:assert/strict";
import { nodeAead } from "../../lib/seal/aead.ts";
import { keyPairOf } from "../../lib/seal/keys.ts";
import { Initiator, nonceOf, Responder, seal } from "../../lib/seal/noise.ts";

const hex = (text: string): Uint8Array => Uint8Array.fromHex(text);

/** The vector of this suite from cacophony's list, which most implementations test with. */
const VECTOR = {
  prologue: hex("4a6f686e2047616c74"),
  psk: hex("54686973206973206d7920417573747269616e20706572737065637469766521"),
  initStatic: keyPairOf(
    hex("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"),
  ),
  initEphemeral: keyPairOf(
    hex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
  ),
  respStatic: keyPairOf(
    hex("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"),
  ),
  respPublic: hex(
    "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62",
  ),
  respEphemeral: keyPairOf(
    hex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"),
  ),
  first: {
    payload: hex("4c756477696720766f6e204d69736573"),
    message: hex(
      "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79442ec9b09893d0f510791784c10cbc959f25b1766e0def6e301d14fbca1c7790ac829b8b3674f5f649a5f0e98479662cbfbf2b2c47cd4b09fcd266cd29d7cb675f1808849707847840f6d178ec4d3733aa",
    ),
  },
  second: {
    payload: hex("4d757272617920526f746862617264"),
    message: hex(
      "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088439a1b3cebf680b2c74217fcb5eba4ff58a9468cd90c4aca6194f57479b379a7",
    ),
  },
  /** What follows, by turns from the initiator and from the responder. */
  transport: [
    [
      "462e20412e20486179656b",
      "a8fde7a0accec190cd306c5950d4fd8e04a205ec288aa747d8b347",
    ],
    [
      "4361726c204d656e676572",
      "59caddd9984a3bbe24c4fb31a2bd455b7eba3fa0980674b1a3a5f9",
    ],
    [
      "4a65616e2d426170746973746520536179",
      "3b9bfebd210c22ba0cff9de79b4007d7a552fffbf92616881faa8a883e25b80258",
    ],
    [
      "457567656e2042f6686d20766f6e2042617765726b",
      "f37512df1043d564d7c46ac85c53d3b6a9a05724bc297e7142808f217561651217fe85b782",
    ],
  ],
} as const;

const NONE = new Uint8Array(0);

function initiator(changed: Partial<typeof VECTOR> = {}): Initiator {
  const { prologue, psk, initStatic, initEphemeral, respPublic } = {
    ...VECTOR,
    ...changed,
  };
  return new Initiator({
    prologue,
    psk,
    local: initStatic,
    ephemeral: initEphemeral,
    remote: respPublic,
  });
}

function responder(changed: Partial<typeof VECTOR> = {}): Responder {
  const { prologue, psk, respStatic, respEphemeral } = {
    ...VECTOR,
    ...changed,
  };
  return new Responder({
    prologue,
    psk,
    local: respStatic,
    ephemeral: respEphemeral,
  });
}

Deno.test("the published vector of Noise_IKpsk2_25519_ChaChaPoly_SHA256", () => {
  const { first, second } = VECTOR;
  const [a, b] = [initiator(), responder()];
  assert.deepEqual(
    VECTOR.respStatic.publicKey.toHex(),
    VECTOR.respPublic.toHex(),
  );
  const one = a.write(first.payload);
  assert.equal(one?.toHex(), first.message.toHex());
  const got = b.read(first.message);
  assert.equal(got?.payload.toHex(), first.payload.toHex());
  assert.equal(got?.remote.toHex(), VECTOR.initStatic.publicKey.toHex());
  const two = b.write(second.payload);
  assert.equal(two?.message.toHex(), second.message.toHex());
  const end = a.read(second.message);
  assert.equal(end?.payload.toHex(), second.payload.toHex());
  for (const keys of [two, end]) {
    assert.ok(keys !== undefined);
    for (const [i, [plain, sealed]] of VECTOR.transport.entries()) {
      const key = i % 2 === 0 ? keys.fromInitiator : keys.fromResponder;
      const nonce = nonceOf(Math.floor(i / 2));
      assert.equal(seal(key, nonce, NONE, hex(plain)).toHex(), sealed);
      assert.equal(
        nodeAead.open(key, nonce, NONE, hex(sealed))?.toHex(),
        plain,
      );
    }
  }
});

Deno.test("a message with one bit changed, or cut short, is not taken", () => {
  for (const which of ["first", "second"] as const) {
    const { message } = VECTOR[which];
    for (let at = 0; at <= message.length; at++) {
      const changed = at === message.length
        ? message.slice(0, -1)
        : message.slice();
      // The top bit of a key means nothing (RFC 7748, 5), so another is turned.
      if (at < message.length) changed[at] = (changed[at] ?? 0) ^ 1;
      if (which === "first") {
        assert.equal(responder().read(changed), undefined, `byte ${at}`);
      } else {
        const a = initiator();
        a.write(VECTOR.first.payload);
        assert.equal(a.read(changed), undefined, `byte ${at}`);
      }
    }
  }
});

Deno.test("all that both sides must agree on is checked", () => {
  const other = keyPairOf(new Uint8Array(32).fill(7));
  const { first, second } = VECTOR;
  assert.equal(
    responder({ prologue: hex("00") }).read(first.message),
    undefined,
  );
  assert.equal(responder({ respStatic: other }).read(first.message), undefined);
  for (
    const changed of [
      { prologue: hex("00") },
      { psk: new Uint8Array(32) },
      { initStatic: other },
      { initEphemeral: other },
      { respPublic: other.publicKey },
    ]
  ) {
    const a = initiator(changed as Partial<typeof VECTOR>);
    a.write(first.payload);
    assert.equal(a.read(second.message), undefined, Object.keys(changed)[0]);
  }
});

Deno.test("keys of small order are turned away at each place where one comes in", () => {
  const zero = new Uint8Array(32);
  assert.equal(
    initiator({ respPublic: zero } as Partial<typeof VECTOR>).write(NONE),
    undefined,
  );
  const first = VECTOR.first.message.slice();
  first.set(zero);
  assert.equal(responder().read(first), undefined);
  const a = initiator();
  a.write(NONE);
  const second = VECTOR.second.message.slice();
  second.set(zero);
  assert.equal(a.read(second), undefined);
});
