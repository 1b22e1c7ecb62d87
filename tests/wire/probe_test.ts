/** Probes and their answers: what is written is read, and what is foreign or hostile does no harm. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  encodeAccept,
  encodeRefusal,
  encodeSealed,
  type HeaderReader,
  MAX_OPEN_BYTES,
  type OpenMessage,
} from "../../lib/wire/open.ts";
import { decodeRequest } from "../../lib/wire/open.ts";
import {
  decodeProbe,
  decodeProbeAnswer,
  encodeProbe,
  encodeReport,
  encodeSealedReport,
  MAX_TOLD_SERVICES,
  PROBE_TEXT,
  type ProbeAnswer,
  reportFromJson,
  reportToJson,
  type ServerFacts,
  type ServerReport,
} from "../../lib/wire/probe.ts";
import { tryParseTarget } from "../../lib/base/target.ts";
import { TunnelError } from "../../lib/base/errors.ts";

const FACTS: ServerFacts = {
  version: "0.1.0",
  deno: "2.9.6",
  protocols: [2, 1],
  host: "edge-3",
  pid: 77,
  worker: 2,
  site: "berlin",
  up: 61_000,
  time: 1_795_000_000_000,
  tunnels: 3,
  opening: 1,
  limit: 16_384,
  services: [
    { name: "db", up: true },
    { name: "web", up: false, why: "Dial web:80: refused" },
  ],
  more: 0,
  state: "not-ready",
  why: "3 tunnels are open",
};

const REPORT: ServerReport = { id: "abc0123456", sealed: false, facts: FACTS };

function headerOf({ headers }: OpenMessage): HeaderReader {
  return (name) => headers.find(([key]) => key === name)?.[1];
}

function read(message: OpenMessage): ProbeAnswer {
  return decodeProbeAnswer(headerOf(message), message.body);
}

Deno.test("a probe is read as it was written, sealed or not", () => {
  for (const sealed of [undefined, Uint8Array.of(1, 2, 3)]) {
    const message = encodeProbe({ client: "c", number: 77, sealed });
    const probe = decodeProbe(headerOf(message), message.body);
    assert.deepEqual(probe, {
      client: "c",
      number: 77,
      ...(sealed && { sealed }),
    });
  }
});

Deno.test("a server that knows no probes refuses one, since it has no target, with protocol", () => {
  const message = encodeProbe({ client: "c", number: 77 });
  assert.throws(
    () => decodeRequest(headerOf(message), message.body),
    (error: unknown) =>
      error instanceof TunnelError && error.code === "protocol" &&
      /remote_host/.test(error.text),
  );
  // Sealed it is an open for what is no target.
  assert.equal(typeof tryParseTarget(PROBE_TEXT), "string");
});

Deno.test("what is no probe that could be answered is none", () => {
  const good = encodeProbe({ client: "c", number: 77 });
  const change = (name: string, value: string): OpenMessage => ({
    ...good,
    headers: good.headers.map((one) => one[0] === name ? [name, value] : one),
  });
  for (
    const message of [
      change("sproxy-client", "a.b"),
      change("sproxy-tunnel", "0"),
      change("sproxy-tunnel", "-1"),
      { ...good, headers: [] },
      { ...good, headers: [...good.headers, ["sproxy-security", "xx"]] },
      {
        headers: [...good.headers, ["sproxy-security", "ik1"]],
        body: new Uint8Array([1]),
      },
      { ...good, body: new Uint8Array(MAX_OPEN_BYTES + 1) },
    ] satisfies OpenMessage[]
  ) {
    const probe = decodeProbe(headerOf(message), message.body);
    assert.equal(probe, undefined, JSON.stringify(message.headers));
  }
});

Deno.test("a report is read as it was written, with all or the least", () => {
  for (const report of [REPORT, { id: "abc", sealed: true }]) {
    const message = encodeReport(report);
    assert.equal(headerOf(message)("sproxy-server"), report.id);
    assert.deepEqual(read(message), {
      type: "report",
      report: JSON.parse(JSON.stringify(report)),
    });
  }
  assert.deepEqual(read(encodeSealedReport("abc", Uint8Array.of(9))), {
    type: "sealed",
    sealed: Uint8Array.of(9),
  });
});

Deno.test("the longest report fits into what is read of an answer, and says how much it leaves out", () => {
  const long = "\u{1F600}".repeat(200);
  const message = encodeReport({
    id: "x".repeat(32),
    sealed: false,
    facts: {
      ...FACTS,
      host: "h".repeat(253),
      site: "s".repeat(32),
      services: Array.from({ length: 256 }, (_, at) => ({
        name: `${"n".repeat(29)}${String(at).padStart(3, "0")}`,
        up: false,
        why: long,
      })),
      why: long,
    },
  });
  assert.ok(message.body.length <= MAX_OPEN_BYTES, `${message.body.length}`);
  const answer = read(message);
  assert.ok(answer.type === "report");
  assert.equal(answer.report.facts?.services.length, MAX_TOLD_SERVICES);
  assert.equal(answer.report.facts?.more, 256 - MAX_TOLD_SERVICES);
});

Deno.test("answers of those who know no probes are told from each other", () => {
  const native = { server: "s", window: 9, codec: "binary" } as const;
  const refusal = (code: "protocol" | "denied"): OpenMessage =>
    encodeRefusal({ code, text: "no" }, "s");
  const cases: readonly (readonly [OpenMessage, string])[] = [
    [refusal("protocol"), "old"],
    [refusal("denied"), "refused"],
    [encodeSealed(Uint8Array.of(1), "s"), "sealed"],
    [encodeAccept({ id: "v1-id" }), "v1"],
    [encodeAccept({ id: "c.s.1", native }), "foreign"],
    [{ headers: [], body: new Uint8Array([1]) }, "foreign"],
    [
      {
        headers: [["sproxy-probe", "1"]],
        body: new TextEncoder().encode("{}"),
      },
      "foreign",
    ],
  ];
  for (const [message, type] of cases) assert.equal(read(message).type, type);
});

Deno.test("whatever comes as a report is read as one or not at all, and what is read is bounded", () => {
  const anything = fc.record({
    id: fc.oneof(fc.string(), fc.constant("abc")),
    version: fc.oneof(fc.string({ maxLength: 500 }), fc.constant("1")),
    services: fc.anything(),
    protocols: fc.anything(),
    pid: fc.anything(),
    host: fc.anything(),
    state: fc.anything(),
    why: fc.string({ maxLength: 500 }),
  }, { requiredKeys: [] });
  fc.assert(fc.property(anything, (value) => {
    const report = reportFromJson(JSON.parse(JSON.stringify(value)));
    if (report === undefined) return;
    assert.ok(JSON.stringify(report).length < MAX_OPEN_BYTES * 2);
    const again = reportFromJson(
      JSON.parse(JSON.stringify(reportToJson(report))),
    );
    assert.deepEqual(
      JSON.parse(JSON.stringify(again)),
      JSON.parse(JSON.stringify(report)),
    );
  }));
});
