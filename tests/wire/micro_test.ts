/** A process as a service of NATS: its answers, and what is read of others'. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { EndpointCounter } from "../../lib/base/endpoint_counter.ts";
import {
  infoAnswer,
  pingAnswer,
  readInfo,
  type ServiceEndpoint,
  type ServiceFacts,
  serviceSubjects,
  statsAnswer,
} from "../../lib/wire/micro.ts";
import { checkMicro } from "../support/micro_schema.ts";

const FACTS: ServiceFacts = {
  id: "abc123",
  version: "0.1.0",
  metadata: { role: "server", site: undefined },
  started: "2026-11-24T21:20:15.665Z",
};

function endpoint(name: string, data?: object): ServiceEndpoint {
  const counter = new EndpointCounter();
  counter.note(1.5);
  counter.note(0.25, "refused");
  return { name, subject: `a.${name}`, queueGroup: "q", counter, data };
}

Deno.test("a service is asked as all, by its name, and by its ID, for each verb", () => {
  assert.deepEqual(
    serviceSubjects("abc").map(([subject]) => subject),
    ["PING", "INFO", "STATS"].flatMap((verb) => [
      `$SRV.${verb}`,
      `$SRV.${verb}.tcp-sproxy`,
      `$SRV.${verb}.tcp-sproxy.abc`,
    ]),
  );
});

Deno.test("the answers are those of ADR-32", () => {
  const ping = checkMicro("PING", JSON.stringify(pingAnswer(FACTS)));
  assert.deepEqual(ping.metadata, { role: "server" });
  const endpoints = [endpoint("open", { n: 1 }), endpoint("svc-db")];
  const info = checkMicro("INFO", JSON.stringify(infoAnswer(FACTS, endpoints)));
  assert.deepEqual(
    info.endpoints.map(({ name, subject, queue_group }) => [
      ...[name, subject, queue_group],
    ]),
    [["open", "a.open", "q"], ["svc-db", "a.svc-db", "q"]],
  );
  const stats = checkMicro(
    "STATS",
    JSON.stringify(statsAnswer(FACTS, endpoints)),
  );
  assert.deepEqual(stats.endpoints[0], {
    ...{ name: "open", subject: "a.open", queue_group: "q" },
    ...{ num_requests: 2, num_errors: 1, last_error: "refused" },
    ...{ processing_time: 1_750_000, average_processing_time: 875_000 },
    data: { n: 1 },
  });
  assert.ok(
    JSON.stringify(statsAnswer(FACTS, [])).includes(
      '"started":"2026-11-24T21:20:15.665Z"',
    ),
  );
});

Deno.test("what was counted of nothing is nothing", () => {
  const { requests, errors, lastError, time, averageTime } =
    new EndpointCounter();
  assert.deepEqual([requests, errors, lastError, time, averageTime], [
    ...[0, 0, "", 0, 0],
  ]);
});

Deno.test("INFO of an instance is read; of anything else there is nothing", () => {
  const text = JSON.stringify(infoAnswer(FACTS, [endpoint("open")]));
  assert.deepEqual(readInfo(text), {
    id: "abc123",
    version: "0.1.0",
    metadata: { role: "server" },
    subjects: ["a.open"],
  });
  const info = JSON.parse(text);
  for (
    const other of [
      { ...info, name: "other" },
      { ...info, type: "io.nats.micro.v1.ping_response" },
      // It would be two tokens of a subject, or all of them.
      { ...info, id: "a.b" },
      { ...info, id: "*" },
      { ...info, id: ">" },
      { ...info, id: "" },
      { ...info, id: 7 },
    ]
  ) assert.equal(readInfo(JSON.stringify(other)), undefined);
  assert.deepEqual(
    readInfo(
      JSON.stringify({ ...info, metadata: { a: 1, b: "x" }, endpoints: 3 }),
    ),
    { id: "abc123", version: "0.1.0", metadata: { b: "x" }, subjects: [] },
  );
  fc.assert(fc.property(fc.json(), (text) => {
    assert.equal(readInfo(text), undefined);
  }));
  fc.assert(fc.property(fc.string(), (text) => {
    assert.equal(readInfo(text), undefined);
  }));
});
