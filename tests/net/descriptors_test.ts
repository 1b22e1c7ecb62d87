/** How descriptors are counted, and how the last ones are kept for NATS. */
import assert from "node:assert/strict";
import { isShortage } from "../../lib/base/errors.ts";
import {
  countDescriptors,
  Reserve,
  systemDescriptors,
  toldDescriptors,
} from "../../lib/net/descriptors.ts";
import { FewDescriptors } from "../support/few_descriptors.ts";

/** What a guest hears who may not take a descriptor. */
function refuses(reserve: Reserve): void {
  assert.throws(() => reserve.check(), (error) => {
    assert.ok(isShortage(error));
    assert.match(String(error), /too many open files/i);
    return true;
  });
}

Deno.test("countDescriptors() finds how many are free, and the limit on all", () => {
  const source = new FewDescriptors(64, 25);
  source.free(7);
  assert.deepEqual(countDescriptors(source, 1_000), { free: 40, limit: 64 });
  assert.equal(source.taken.size, 24);
  assert.deepEqual(countDescriptors(source, 40), {
    free: 40,
    limit: undefined,
  });
  source.exhaust();
  assert.deepEqual(countDescriptors(source, 40), { free: 0, limit: undefined });
});

Deno.test("countDescriptors() keeps none when taking them fails", () => {
  const source = new FewDescriptors(64);
  const { take } = source;
  let left = 5;
  source.take = () => {
    if (left-- === 0) throw new Error("gone");
    return take.call(source);
  };
  assert.throws(() => countDescriptors(source, 10), /gone/);
  assert.equal(source.taken.size, 0);
});

Deno.test("Reserve is lent only where others are too few", () => {
  const source = new FewDescriptors(20, 4);
  using reserve = new Reserve(4, source);
  assert.equal(source.taken.size, 8);
  {
    using _loan = reserve.lend();
    assert.equal(source.taken.size, 8);
    reserve.check();
  }
  source.exhaust();
  assert.ok(reserve.short);
  assert.ok(!reserve.has(1));
  reserve.check();
  {
    using _loan = reserve.lend();
    assert.equal(source.taken.size, 16);
    refuses(reserve);
    assert.ok(reserve.has(4));
    source.take();
    assert.ok(reserve.has(3) && !reserve.has(4));
    source.free(4);
    assert.equal(source.taken.size, 16, "a question takes none");
  }
  assert.equal(source.taken.size, 20);
  reserve.check();
});

Deno.test("Reserve takes what is missing before any guest does", () => {
  const source = new FewDescriptors(12, 4);
  using reserve = new Reserve(4, source);
  source.exhaust();
  let link: number | undefined;
  {
    using _loan = reserve.lend();
    link = source.take();
    assert.notEqual(link, undefined);
  }
  refuses(reserve);
  source.free(10); // a guest's
  reserve.check();
  assert.equal(source.take(), undefined);
});

Deno.test("Reserve has what it lends under a limit that was lowered", () => {
  const source = new FewDescriptors(100, 20);
  using reserve = new Reserve(4, source);
  for (let guest = 0; guest < 30; guest++) source.take();
  source.limit = 30;
  using _loan = reserve.lend();
  assert.equal(source.take(), 20);
});

Deno.test("Reserve that is lent twice is whole when both loans are over", () => {
  const source = new FewDescriptors(8, 4);
  using reserve = new Reserve(4, source);
  const first = reserve.lend();
  const second = reserve.lend();
  for (let i = 0; i < 2; i++) first[Symbol.dispose]();
  refuses(reserve);
  second[Symbol.dispose]();
  reserve.check();
});

Deno.test("Reserve of what cannot be had refuses nobody", () => {
  using none = new Reserve(4, undefined);
  none.check();
  assert.ok(!none.short && none.has(4));
  none.lend()[Symbol.dispose]();

  const few = new FewDescriptors(6, 4);
  {
    using part = new Reserve(4, few);
    refuses(part);
  }
  assert.equal(few.taken.size, 4);

  const source = new FewDescriptors(8, 4);
  using reserve = new Reserve(4, source);
  const loan = reserve.lend();
  source.fault = new Deno.errors.NotFound("it is gone");
  loan[Symbol.dispose]();
  reserve.check();
});

Deno.test("systemDescriptors() gives real ones, which count", {
  ignore: Deno.build.os === "windows",
}, () => {
  const source = systemDescriptors();
  assert.ok(source);
  const one = source.take();
  const other = source.take();
  assert.ok(one !== undefined && other !== undefined && one !== other);
  source.free(one);
  source.free(other);
  assert.equal(countDescriptors(source, 10).free, 10);
});

Deno.test("systemDescriptors() asks for no permission", {
  permissions: { read: false },
}, () => assert.equal(systemDescriptors(), undefined));

Deno.test("systemDescriptors() makes do with the permission of the tasks", {
  permissions: { read: ["."] },
  ignore: Deno.build.os === "windows",
}, () => {
  const source = systemDescriptors();
  assert.ok(source);
  assert.equal(countDescriptors(source, 3).free, 3);
});

Deno.test("toldDescriptors() counts what is open, where Linux and every permission let it", () => {
  const told = toldDescriptors();
  if (Deno.build.os !== "linux") return assert.equal(told, undefined);
  assert.ok(told);
  const { open, limit } = told;
  const before = open();
  // Before Linux 6.2 nobody is told.
  if (before === undefined) return;
  assert.ok(before > 3 && before < (limit ?? Infinity));
  using _one = Deno.openSync("/dev/null");
  using _other = Deno.openSync("/dev/null");
  assert.equal(open(), before + 2);
});

Deno.test({
  name: "toldDescriptors() asks for no permission, and does without",
  permissions: { read: false },
  fn: () => assert.equal(toldDescriptors(), undefined),
});
