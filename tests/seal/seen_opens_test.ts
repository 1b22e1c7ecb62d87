/** Sealed opens that come again, too late, or too many. */
import assert from "node:assert/strict";
import { MAX_CLOCK_SKEW_MS, SeenOpens } from "../../lib/seal/seen_opens.ts";

const NOW = Date.UTC(2026, 0, 1);
const EDGE = { client: "edge", sealedAt: NOW, now: NOW };

Deno.test("an open is known as long as it is in time, and is then too old", () => {
  const seen = new SeenOpens();
  const sealedAt = NOW + MAX_CLOCK_SKEW_MS;
  const at = (now: number): string =>
    seen.take("a", { client: "edge", sealedAt, now });
  assert.equal(at(NOW), "new");
  for (let ms = 0; ms <= 2 * MAX_CLOCK_SKEW_MS; ms += 1_000) {
    assert.equal(at(NOW + ms), "repeated", `${ms}`);
  }
  assert.equal(at(NOW + 2 * MAX_CLOCK_SKEW_MS + 1), "clock");
  assert.equal(seen.take("b", EDGE), "new");
});

for (const skew of [-MAX_CLOCK_SKEW_MS - 1, MAX_CLOCK_SKEW_MS + 1]) {
  Deno.test(`an open of a clock that is off by ${skew} ms is not remembered`, () => {
    const seen = new SeenOpens();
    const off = { ...EDGE, sealedAt: NOW + skew };
    assert.equal(seen.take("a", off), "clock");
    assert.equal(seen.take("a", EDGE), "new");
  });
}

Deno.test("a client can fill half of the memory, and another has room then", () => {
  const seen = new SeenOpens();
  let taken = 0;
  while (seen.take(`loud${taken}`, { ...EDGE, client: "loud" }) === "new") {
    taken++;
  }
  assert.equal(taken, 100_000);
  assert.equal(seen.take("loud more", { ...EDGE, client: "loud" }), "full");
  assert.equal(seen.take("quiet", { ...EDGE, client: "quiet" }), "new");
  const later = NOW + 2 * MAX_CLOCK_SKEW_MS + 1;
  assert.equal(
    seen.take("loud", { client: "loud", sealedAt: later, now: later }),
    "new",
  );
});
