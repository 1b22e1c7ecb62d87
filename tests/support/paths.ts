/** Paths to a peer in a certain state. */
import assert from "node:assert/strict";
import { DOUBT_SAMPLES, type PathEstimate } from "../../lib/tunnel/rtt.ts";

/** Makes round trips of 20 ms so long that bulk rests, from 0 on for 3 s. */
export function letRest(path: PathEstimate): void {
  path.sample(20, 0);
  for (let i = 0; i < DOUBT_SAMPLES; i++) path.sample(500, 0);
  assert.ok(path.rests(0));
}
