/** What becomes of listeners from one configuration to the next, also over random histories. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatPlace, type Place } from "../../lib/base/place.ts";
import { formatDestination } from "../../lib/base/target.ts";
import type { WayIn } from "../../lib/config/ways_in.ts";
import {
  continuations,
  listeningOrder,
  mayCollide,
  wayChanges,
} from "../../lib/process/way_changes.ts";
import { parseRun } from "../support/option_values.ts";

function waysOf(...args: readonly string[]): readonly WayIn[] {
  return parseRun("client", args).config.client.forwards;
}

/** Forwards of these texts; `name=` before one is its name. */
function forwards(...texts: readonly string[]): readonly WayIn[] {
  return texts.flatMap((text) => {
    const [, name, rest = ""] = /^(?:(\w+)=)?(.*)$/.exec(text) ?? [];
    return waysOf("-L", rest).map((way) =>
      "front" in way || name === undefined ? way : { ...way, name }
    );
  });
}

Deno.test("a place that stays goes on as it was, whatever it leads to; others come and go", () => {
  for (
    const [before, after, from] of [
      [["1:a:1"], ["1:a:1"], [0]],
      [["1:a:1", "2:b:1"], ["2:b:1", "1:a:1"], [1, 0]],
      [["1:a:1"], ["1:b:1"], [0]],
      [["x=1:a:1"], ["y=1:a:1"], [0]],
      [["1:a:1"], ["2:a:1"], [undefined]],
      [["1:a:1"], ["*:1:a:1"], [undefined]],
      [["/a:a:1"], ["/a:b:1", "/b:a:1"], [0, undefined]],
      [["1-3:a:1-3"], ["2-4:a:2-4"], [1, 2, undefined]],
      // Any free port is known by its name, and else by where it leads.
      [["0:a:1"], ["0:a:1"], [0]],
      [["0:a:1", "0:a:1"], ["0:a:1"], [0]],
      [["0:a:1"], ["0:a:1", "0:a:1"], [0, undefined]],
      [["0:a:1"], ["0:b:1"], [undefined]],
      [["x=0:a:1"], ["x=0:b:1"], [0]],
      [["x=0:a:1"], ["y=0:a:1"], [undefined]],
      [["0:a:1"], ["127.0.0.1:0:a:1"], [undefined]],
      [["0:a:1", "x=0:a:1"], ["x=0:c:1", "0:a:1"], [1, 0]],
    ] as const
  ) {
    assert.deepEqual(
      continuations(forwards(...before), forwards(...after)),
      from,
      `${before} | ${after}`,
    );
  }
  // A front-end in the place of a forward, and another in its place.
  assert.deepEqual(continuations(waysOf("-L", "1:a:1"), waysOf("-D", "1")), [
    0,
  ]);
  assert.deepEqual(
    continuations(waysOf("-D", "1"), waysOf("--http-proxy", "1")),
    [0],
  );
});

Deno.test("what has changed is told by name, or by place", () => {
  assert.deepEqual(
    wayChanges(
      forwards("1:a:1", "x=2:a:1", "3:a:1", "y=4:a:1"),
      [...forwards("1:a:1", "z=2:a:1", "3:b:1"), ...waysOf("-D", "5")],
    ),
    {
      added: ["localhost:5"],
      removed: ["y"],
      changed: ["z", "localhost:3"],
    },
  );
  assert.deepEqual(
    wayChanges(waysOf("-D", "1"), waysOf("--http-proxy", "1")).changed,
    ["localhost:1"],
  );
});

Deno.test("mayCollide() is true of one port of two addresses alone", () => {
  const at = (text: string) => forwards(`${text}:a:1`)[0]?.listen;
  for (
    const [one, other, collide] of [
      ["1", "*:1", true],
      ["127.0.0.1:1", "[::1]:1", true],
      ["1", "2", false],
      ["0", "127.0.0.1:0", false],
      ["/a", "/a", false],
      ["/a", "1", false],
    ] as const
  ) {
    const [a, b] = [at(one), at(other)];
    assert.ok(a && b);
    assert.equal(mayCollide(a, b), collide, `${one} ${other}`);
  }
});

/** A configuration: at most one forward for each place but port 0, names but once. */
const configuration: fc.Arbitrary<readonly WayIn[]> = fc.uniqueArray(
  fc.record({
    place: fc.constantFrom("1", "2", "*:2", "/a", "/b", "0", "127.0.0.1:0"),
    target: fc.constantFrom("a:1", "b:1"),
    name: fc.option(fc.constantFrom("x", "y", "z"), { nil: undefined }),
    index: fc.nat(3),
  }),
  {
    maxLength: 6,
    selector: ({ place, index }) =>
      place.endsWith("0") ? `${place} ${index}` : place,
  },
).map((all) => {
  const named = new Set<string>();
  return all.flatMap(({ place, target, name }) => {
    const free = name !== undefined && !named.has(name);
    if (free) named.add(name);
    return forwards(`${free ? `${name}=` : ""}${place}:${target}`);
  });
});

Deno.test("whatever the history, what listens is what a fresh start by the last good configuration has", () => {
  interface Listener {
    readonly id: number;
    way: WayIn;
  }
  const text = (way: WayIn): string =>
    `${way.name} ${formatPlace(way.listen)} ${
      "front" in way ? way.front : formatDestination(way)
    }`;
  fc.assert(fc.property(
    fc.array(fc.tuple(configuration, fc.boolean()), { maxLength: 12 }),
    (history) => {
      let ids = 0;
      let open: Listener[] = [];
      let last: readonly WayIn[] = [];
      for (const [wanted, good] of history) {
        // One that cannot be made changes nothing.
        if (!good) continue;
        const from = continuations(open.map(({ way }) => way), wanted);
        const kept = from.filter((at) => at !== undefined);
        assert.equal(new Set(kept).size, kept.length, "one goes on as two");
        const before = new Map(
          open.map(({ id, way }) => [formatPlace(way.listen), id]),
        );
        open = wanted.map((way, at) => {
          const old = from[at] === undefined ? undefined : open[from[at]];
          if (old === undefined) return { id: ids++, way };
          assert.equal(formatPlace(old.way.listen), formatPlace(way.listen));
          return { id: old.id, way };
        });
        // No place with a port of its own changes hands.
        for (const { id, way } of open) {
          const place = formatPlace(way.listen);
          if (place.endsWith(":0") || !before.has(place)) continue;
          assert.equal(before.get(place), id);
        }
        last = wanted;
        // The same again is no change.
        assert.deepEqual(wayChanges(wanted, wanted.toReversed()), {
          ...{ added: [], removed: [], changed: [] },
        });
      }
      assert.deepEqual(open.map(({ way }) => text(way)), last.map(text));
    },
  ));
});

Deno.test("listeningOrder() has those with a port of their own first, which are then given to no other", () => {
  const at = (port: number): Place => ({ host: "localhost", port });
  assert.deepEqual(
    listeningOrder([at(0), at(8080), { path: "/x" }, at(0), at(1)]),
    [1, 2, 4, 0, 3],
  );
  assert.deepEqual(listeningOrder([]), []);
});
