/** Whether servers answer for a destination, as rounds say. */
import assert from "node:assert/strict";
import { type Round, Watched } from "../../lib/client/watched.ts";

const ROUNDS: Readonly<Record<string, Round>> = {
  a: { type: "answered" },
  u: { type: "unknown" },
  n: { type: "nobody", text: "nobody" },
  s: { type: "silence", text: "silence" },
};

/** Whether it is ready after each of these rounds: `+` and `-`. */
function course(rounds: string): string {
  const watched = new Watched();
  return [...rounds].map((round) => {
    watched.note(ROUNDS[round] ?? { type: "unknown" });
    return watched.problem === undefined ? "+" : "-";
  }).join("");
}

for (
  const [rounds, wanted, why] of [
    ["a", "+", "an answer is ready"],
    ["n", "-", "the first round is believed"],
    ["s", "-", "silence too"],
    ["u", "+", "what proves nothing makes nobody unready"],
    ["an", "++", "one failure does not"],
    ["ann", "++-", "two do"],
    ["anan", "++++", "not with an answer between"],
    ["asss", "+++-", "silence takes three"],
    ["assa", "++++", "and none less"],
    ["asn", "++-", "two in a row, of which the last is certain"],
    ["na", "-+", "the first answer is believed"],
    ["nun", "-++", "what proves nothing is no failure"],
    ["nnsas", "---++", "it does not flicker between kinds of failure"],
  ] as const
) {
  Deno.test(`Watched: ${why} (${rounds})`, () => {
    assert.equal(course(rounds), wanted);
  });
}

Deno.test("Watched tells what failed last, also while that is no reason yet", () => {
  const watched = new Watched();
  assert.equal(watched.problem, "no server has answered yet");
  watched.note({ type: "answered" });
  assert.equal(watched.failures, 0);
  watched.note({ type: "silence", text: "silent" });
  assert.deepEqual([watched.problem, watched.lastFailure], [
    undefined,
    "silent",
  ]);
  assert.equal(watched.failures, 1);
});
