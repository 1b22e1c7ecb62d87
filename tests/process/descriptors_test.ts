/** How many tunnels are allowed by how many descriptors. */
import assert from "node:assert/strict";
import { RunError } from "../../lib/base/errors.ts";
import {
  type Consumers,
  planDescriptors,
} from "../../lib/process/descriptors.ts";
import { FewDescriptors } from "../support/few_descriptors.ts";

const DEFAULTS: Consumers = {
  workers: 1,
  listeners: 1,
  status: true,
  maxTunnels: 16_384,
};

/** What a process with `limit` descriptors plans, of which the runtime has 25. */
function plan(
  limit: number,
  consumers: Partial<Consumers> = {},
): ReturnType<typeof planDescriptors> {
  const source = new FewDescriptors(limit, 25);
  const result = planDescriptors({ ...DEFAULTS, ...consumers }, source);
  assert.equal(source.taken.size, 25);
  return result;
}

Deno.test("planDescriptors() leaves what NATS, the status and the runtime need", () => {
  for (const limit of [64, 256, 1_024]) {
    const { tunnels = 0, statusConnections, notice } = plan(limit);
    assert.ok(statusConnections >= 2 && statusConnections <= 32);
    const spare = limit - 25 - tunnels - statusConnections;
    assert.ok(tunnels >= 10 && spare >= 10, `${limit}: ${tunnels}`);
    assert.deepEqual(notice.about, { files: limit, tunnels });
    assert.equal(notice.level, "info");
    assert.match(notice.text, /^the limit on open files allows fewer tunnels/);
  }
});

Deno.test("planDescriptors() gives the status port's share to tunnels where there is none", () => {
  const { tunnels = 0, statusConnections } = plan(256);
  const without = plan(256, { status: false }).tunnels ?? 0;
  assert.ok(without >= tunnels + statusConnections);
});

Deno.test("planDescriptors() keeps a share for those at front-ends that have not asked, where there are any", () => {
  assert.equal(plan(256).strangers, 0);
  for (const [limit, most] of [[64, 4], [256, 28], [3_000, 256]] as const) {
    const { tunnels = 0, strangers } = plan(limit, {
      strangers: true,
      maxTunnels: 1_000_000,
    });
    assert.equal(strangers, most);
    const without = plan(limit, { maxTunnels: 1_000_000 }).tunnels ?? 0;
    assert.equal(without - tunnels, strangers);
  }
  const workers = plan(9_000, { strangers: true, workers: 4 });
  assert.equal(workers.strangers, 4 * 256);
  assert.equal(
    planDescriptors({ ...DEFAULTS, strangers: true }, undefined).strangers,
    256,
  );
});

Deno.test("planDescriptors() counts each worker's own", () => {
  const one = plan(1_024).tunnels ?? 0;
  const two = plan(1_024, { workers: 2 }).tunnels ?? 0;
  const four = plan(1_024, { workers: 4 }).tunnels ?? 0;
  assert.ok(one > two && two > four && four > 850);
  assert.ok(two - four >= 2 * (6 + 5), "two threads with their connections");
});

Deno.test("planDescriptors() warns where there are too few for anything, and tries all the same", () => {
  for (const workers of [1, 3]) {
    const { tunnels, notice } = plan(40, { workers });
    assert.equal(tunnels, workers);
    assert.equal(notice.level, "warn");
    assert.match(notice.text, /ulimit -n/);
  }
});

Deno.test("planDescriptors() sets no limit where all tunnels find room", () => {
  const { tunnels, statusConnections, notice } = plan(20_000);
  assert.equal(tunnels, undefined);
  assert.equal(statusConnections, 32);
  assert.equal(notice.text, "open files are enough for all tunnels");
  assert.deepEqual(notice.about, { tunnels: 16_384 });
  const few = plan(64, { maxTunnels: 5 });
  assert.equal(few.notice.text, "open files are enough for all tunnels");
  assert.deepEqual(few.notice.about, { files: 64, tunnels: 5 });
});

Deno.test("planDescriptors() says so where it cannot know", () => {
  const { tunnels, notice } = planDescriptors(DEFAULTS, undefined);
  assert.equal(tunnels, undefined);
  assert.match(notice.text, /is not known/);
});

Deno.test("a plan that is made again counts with what was there at first, and refuses what leaves nothing", () => {
  const first = plan(256);
  const again = first.again({ ...DEFAULTS, listeners: 11 });
  assert.equal(again.tunnels, (first.tunnels ?? 0) - 40);
  assert.equal(first.again(DEFAULTS).tunnels, first.tunnels);
  assert.deepEqual(
    first.again({ ...DEFAULTS, strangers: true }).strangers,
    plan(256, { strangers: true }).strangers,
  );
  assert.throws(
    () => again.again({ ...DEFAULTS, listeners: 60 }),
    (error) =>
      error instanceof RunError &&
      /^60 places to listen at leave too few open files/.test(error.message),
  );
  // Where there were too few from the start, no more is not worse.
  const poor = plan(40, { listeners: 3 });
  assert.equal(poor.notice.level, "warn");
  assert.equal(poor.again({ ...DEFAULTS, listeners: 2 }).tunnels, 1);
  // Without a limit that is known nothing is refused here.
  const rich = plan(1_000_000);
  const many = rich.again({ ...DEFAULTS, listeners: 1_000 });
  assert.deepEqual([many.tunnels, many.notice.level], [undefined, "info"]);
  assert.equal(
    planDescriptors(DEFAULTS, undefined).again({ ...DEFAULTS, listeners: 9 })
      .tunnels,
    undefined,
  );
});
