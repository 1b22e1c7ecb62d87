/** What `ls` shows of what it has heard. */
import assert from "node:assert/strict";
import { endNotes, type Listed } from "../../lib/tools/probing.ts";
import { listingJson, renderListing } from "../../lib/tools/ls.ts";
import type { ServerFacts } from "../../lib/wire/probe.ts";

const FACTS: ServerFacts = {
  version: "0.1.0",
  deno: "2.9.6",
  protocols: [2],
  host: "edge-3",
  pid: 7,
  site: "berlin",
  up: 15_120_000,
  time: 0,
  tunnels: 3,
  opening: 0,
  limit: 16_384,
  services: [
    { name: "db", up: true },
    { name: "web", up: false, why: "Dial web:80: refused" },
  ],
  more: 0,
  state: "ready",
};

const ONE: Listed = {
  report: { id: "hwnn6gl8bn", sealed: false, facts: FACTS },
  ms: 5.57,
  ahead: -90_000,
};

Deno.test("ls shows a line for each server, and notes what is wrong", () => {
  const other: Listed = {
    report: {
      id: "abc",
      sealed: false,
      facts: {
        ...FACTS,
        worker: 2,
        site: undefined,
        services: [],
        more: 40,
        state: "draining",
      },
    },
    ms: 123,
    ahead: 10,
  };
  const least = {
    report: { id: "xyz", sealed: true },
    ms: 1,
    ahead: undefined,
  };
  assert.equal(
    renderListing({ servers: [ONE, other, least], notes: ["and more"] }),
    `\
ID          HOST      SITE    VERSION  TUNNELS     UP     RTT  SERVICES
hwnn6gl8bn  edge-3    berlin  0.1.0    3/16384  4h12m  5.57ms  db, web(down)
abc         edge-3#2          0.1.0    3/16384  4h12m   123ms  (draining) 40
                                                               services
xyz                                                    1.00ms  sealed
note: and more
note: web is out of order at hwnn6gl8bn: Dial web:80: refused
note: this clock is 1m30s ahead of that of hwnn6gl8bn
note: xyz takes sealed opens only, and tells more to clients with a key (--secret-key, --server-key)
`,
  );
  const { servers } = JSON.parse(
    listingJson({ servers: [ONE, least], notes: [] }),
  );
  assert.deepEqual(
    servers.map((
      { id, host, rtt_ms, clock_ahead_ms, sealed }: Record<string, unknown>,
    ) => [id, host, rtt_ms, clock_ahead_ms, sealed]),
    [
      ["hwnn6gl8bn", "edge-3", 5.57, -90_000, false],
      ["xyz", undefined, 1, undefined, true],
    ],
  );
});

for (
  const [all, one, found, pattern] of [
    ["nobody", "nobody", false, /^no server listens on A or O: start one/],
    ["denied", "nobody", false, /^NATS refuses what is published to A: allow/],
    ["nobody", "old", false, /^a server on O answers that is too old/],
    [undefined, undefined, false, /^no server answered within 2s$/],
    ["nobody", undefined, false, /^no server answered within 2s$/],
    [undefined, undefined, true, undefined],
    ["denied", undefined, true, /^NATS refuses what is published to A: allow/],
  ] as const
) {
  Deno.test(`ls says what is known of why: ${all}, ${one}, ${found}`, () => {
    const ends = new Map(
      [["A", all], ["O", one]].flatMap(([subject = "", end]) =>
        end === undefined ? [] : [[subject, end as "nobody"]]
      ),
    );
    const [note = "", ...others] = endNotes({
      ...{ all: "A", one: "O", ends, found, timeout: 2_000 },
    });
    if (pattern === undefined) assert.equal(note, "");
    else assert.match(note, pattern);
    assert.deepEqual(others, []);
  });
}
