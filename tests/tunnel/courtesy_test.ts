import assert from "node:assert/strict";
import {
  COURTEOUS_BYTES,
  Courtesy,
  LEAST_BYTES,
  SHORT_PATH_MS,
  SPEAKS_MS,
} from "../../lib/tunnel/courtesy.ts";
import { PathEstimate } from "../../lib/tunnel/rtt.ts";

Deno.test("Courtesy: bulk has less under way while another tunnel speaks, and only then", () => {
  const courtesy = new Courtesy();
  const bulk = courtesy.guest(new PathEstimate());
  const small = courtesy.guest(new PathEstimate());
  assert.equal(bulk.most(0), Infinity);
  bulk.spoke(0);
  assert.equal(bulk.most(0), Infinity, "it is alone");
  small.spoke(1);
  assert.equal(bulk.most(1), COURTEOUS_BYTES);
  bulk.spoke(2);
  assert.equal(bulk.most(2), COURTEOUS_BYTES, "the other is still there");
  assert.equal(small.most(2), COURTEOUS_BYTES);
  assert.equal(bulk.most(1 + SPEAKS_MS), Infinity);
});

Deno.test("Courtesy: all bulk together has no more, but each a few frames", () => {
  const courtesy = new Courtesy();
  const bulk = courtesy.guest(new PathEstimate());
  courtesy.guest(new PathEstimate()).spoke(0);
  courtesy.bulk = 4;
  assert.equal(bulk.most(0), COURTEOUS_BYTES / 4);
  courtesy.bulk = 1_000;
  assert.equal(bulk.most(0), LEAST_BYTES);
  courtesy.bulk = 0;
  assert.equal(bulk.most(0), COURTEOUS_BYTES);
});

Deno.test("Courtesy: on a long way bulk has what it needs", () => {
  const courtesy = new Courtesy();
  const path = new PathEstimate();
  const bulk = courtesy.guest(path);
  courtesy.guest(path).spoke(0);
  path.sample(SHORT_PATH_MS + 1, 0);
  assert.equal(bulk.most(0), Infinity);
  path.sample(SHORT_PATH_MS, 0);
  assert.equal(bulk.most(0), COURTEOUS_BYTES);
});
