/** What is said of a text that is no key. */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { keyProblem } from "../../lib/seal/key_problem.ts";

const pair = nkeys.createCurve();
const seed = new TextDecoder().decode(pair.getSeed());
const shown = pair.getPublicKey();
const user = nkeys.createUser();

Deno.test("keyProblem() has nothing against a key of its kind", () => {
  assert.equal(keyProblem("seed", seed), undefined);
  assert.equal(keyProblem("public", shown), undefined);
});

Deno.test("keyProblem() says what a text is instead, and shows nothing of it", () => {
  const mistyped = (text: string): string =>
    text.slice(0, -5) + (text.at(-5) === "A" ? "B" : "A") + text.slice(-4);
  for (
    const [kind, text, problem] of [
      ["seed", shown, /^it is a public key/],
      ["public", seed, /^it is a secret seed/],
      ["public", seed.slice(0, -1), /^it is a secret seed/],
      ["seed", "", /^it does not begin with SX/],
      ["public", "", /^it does not begin with X/],
      ["seed", new TextDecoder().decode(user.getSeed()), /begin with SX.*NATS/],
      ["public", user.getPublicKey(), /begin with X.*NATS/],
      ["seed", seed.slice(0, -1), /^it has 57 characters.* has 58$/],
      ["public", `${shown}A`, /^it has 57 characters.* has 56$/],
      ["public", shown.slice(0, 9).padEnd(56, "a"), /^it has characters other/],
      ["seed", `${seed} `, /^it has characters other/],
      ["seed", mistyped(seed), /^its check sum is wrong/],
      ["public", mistyped(shown), /^its check sum is wrong/],
      ["seed", seed.slice(1), /^it does not begin with SX/],
    ] as const
  ) {
    const said = keyProblem(kind, text) ?? "";
    assert.match(said, problem);
    for (let at = 2; at + 4 <= text.length; at++) {
      assert.ok(!said.includes(text.slice(at, at + 4)) || at > 50, said);
    }
  }
});
