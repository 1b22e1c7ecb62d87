/** What `doctor` makes of what servers say: each kind of answer, other versions, clocks, and who shares the opens. */
import assert from "node:assert/strict";
import { type Listed, listedAs } from "../../lib/tools/probing.ts";
import { VERSION } from "../../lib/config/cli.ts";
import type { Heard } from "../../lib/client/prober.ts";
import {
  judgeAnswer,
  judgeClocks,
  judgeOthers,
  judgeVersions,
} from "../../lib/tools/doctor_servers.ts";
import type { ServerFacts, ServerReport } from "../../lib/wire/probe.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";

const FACTS: ServerFacts = {
  version: VERSION,
  ...{ deno: "2.9.6", protocols: [2, 1], host: "edge-3", pid: 7 },
  ...{ up: 1, time: 0, tunnels: 0, opening: 0, limit: 9 },
  ...{ services: [], more: 0, state: "ready" },
};

function reportOf(
  facts?: Partial<ServerFacts>,
  more: Partial<ServerReport> = {},
): ServerReport {
  const all = facts && { ...FACTS, ...facts };
  return { id: "id7", sealed: false, ...(all && { facts: all }), ...more };
}

/** A server that is listed, whose clock is so many ms ahead. */
function listed(facts: Partial<ServerFacts>, ahead = 0, id = "id7"): Listed {
  return { ...listedAs(reportOf(facts, { id }), 2), ahead };
}

Deno.test("each answer where opens go: well, worth a warning, or the end", () => {
  const denied = { code: "denied", text: "it knows no client with the key" };
  const limit = { code: "limit", text: "too much" };
  const table = [
    [
      { type: "report", report: reportOf({}) },
      "ok",
      /edge-3 \(id7\) .*5\.0 ms/,
    ],
    [{ type: "report", report: reportOf({ version: "9.1" }) }, "ok", / 9\.1$/],
    [
      {
        type: "report",
        report: reportOf({ state: "not-ready", why: "no room" }),
      },
      "warn",
      /is not-ready: no room$/,
    ],
    [{ type: "report", report: reportOf() }, "ok", /^id7 answers/],
    [
      { type: "report", report: reportOf(undefined, { sealed: true }) },
      "fail",
      /takes sealed opens only$/,
    ],
    [{ type: "refused", reason: denied }, "fail", /knows no client/],
    [{ type: "refused", reason: limit }, "ok", /answers: too much/],
    [{ type: "old" }, "ok", /too old to say/],
    [{ type: "v1" }, "warn", /version 1 answers/],
  ] as const;
  for (const [what, state, found] of table) {
    const verdict = judgeAnswer({ ...what, ms: 5 } as Heard, false);
    assert.equal(verdict.state, state, JSON.stringify(what));
    assert.match(verdict.found, found);
    assert.equal(verdict.todo === undefined, state === "ok");
  }
  const refusing = judgeAnswer({ type: "v1", ms: 5 }, true);
  assert.equal(refusing.state, "fail");
  assert.match(refusing.todo ?? "", /start a version 2 server/);
});

Deno.test("versions of both ends are compared, as far as they are told", () => {
  assert.equal(judgeVersions([], "client"), undefined);
  assert.equal(judgeVersions([listed({})], "client")?.state, "ok");
  const mixed = judgeVersions(
    [listed({}), listed({ version: "9.1" }, 0, "b")],
    "client",
  );
  assert.equal(mixed?.state, "warn");
  assert.match(
    mixed?.found ?? "",
    /this client has .*, edge-3 \(b\) has 9\.1$/,
  );
});

Deno.test("clocks are compared whether tunnels are sealed or not; the worst is told", () => {
  const plain = { ahead: undefined, isSealed: false, answered: true };
  const sealed = { ...plain, isSealed: true };
  assert.equal(judgeClocks([], plain).state, "skipped");
  assert.match(judgeClocks([], sealed).found, /within 1m of the server's/);
  const silent = { ...sealed, answered: false };
  assert.equal(judgeClocks([], silent).state, "skipped");
  const near = judgeClocks([listed({}, 1_500)], plain);
  assert.match(near.found, /within 2s of the server's/);
  const worst = judgeClocks(
    [listed({}, 3_000), listed({}, -7_000, "b")],
    plain,
  );
  assert.equal(worst.state, "warn");
  assert.match(worst.found, /^that of edge-3 \(b\) is 7s behind this one/);
  const far = judgeClocks([], { ...sealed, ahead: 3_600_000 });
  assert.match(far.found, /the server is 1h ahead of this one/);
  assert.match(far.todo ?? "", /round trip more/);
});

Deno.test("at a server: who shares its opens, and whether they are sealed alike", () => {
  const judged = (
    args: readonly string[],
    servers: readonly Listed[],
    older?: "v1" | "old",
    isSealed = false,
  ): ReturnType<typeof judgeOthers> => {
    const { config } = parseRun("server", args, fakeSources({}));
    return judgeOthers(
      config,
      { servers, older },
      isSealed,
    );
  };
  assert.match(judged([], []).found, /^none answers/);
  assert.match(judged([], [], "old").found, /^an older one/);
  assert.equal(judged([], [], "v1").state, "warn");
  assert.match(
    judged([], [listed({})]).found,
    /^1 answer .*: edge-3 \(id7\): /,
  );
  // Of another site it gets no opens of these.
  assert.match(judged([], [listed({ site: "berlin" })]).found, /^none answers/);
  assert.match(
    judged(["--site", "berlin"], [listed({ site: "berlin" })]).found,
    /^1 answer /,
  );
  const sealed = {
    ...listed({}),
    report: reportOf(undefined, { sealed: true }),
  };
  const mixed = judged([], [listed({}, 0, "b"), sealed]);
  assert.equal(mixed.state, "warn");
  assert.match(mixed.found, /^1 that take sealed opens .*: id7$/);
  assert.equal(judged([], [sealed], undefined, true).state, "ok");
});
