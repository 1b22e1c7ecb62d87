/**
 * What brokers tell of the way of a message: recorded of nats-server 2.15.1 (a
 * leaf node, its hub and another of its cluster), of ADR-41, and hostile.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  isWhole,
  parseTraceEvent,
  renderTrace,
  type TraceEvent,
} from "../../lib/tools/trace_events.ts";
import { canTrace } from "../../lib/tools/trace.ts";

const RECORDED = await Deno.readTextFile(
  new URL("../testdata/nats/trace-2.15.1.jsonl", import.meta.url),
);

function parse(text: string): TraceEvent {
  const event = parseTraceEvent(new TextEncoder().encode(text));
  assert.ok(event, text);
  return event;
}

const EVENTS = RECORDED.trim().split("\n").map(parse);

const WAY = `\
   0.00ms  broker edge (version 2.15.1)
   0.00ms    from client: proxy.request.svc.db.edge7
   0.06ms    to leaf node "hub"
   0.27ms      broker hub (version 2.15.1, cluster c1)
   0.27ms        from leaf node "edge"
   0.40ms        to route "hub2"
   1.05ms          broker hub2 (version 2.15.1, cluster c1)
   1.05ms            from route "hub"
   1.06ms            to client "tcp-sproxy server vm pid 21306": proxy.request.svc.db.*, queue tcp-sproxy
`;

Deno.test("the way over a leaf node and a cluster is shown as it went, in whatever order its events come", () => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray(EVENTS, { minLength: EVENTS.length }),
      (events) => {
        assert.ok(isWhole(events));
        assert.equal(renderTrace(events), WAY);
      },
    ),
  );
});

Deno.test("a way of which events are missing is not whole, and says where nothing is known", () => {
  const [edge, hub, last] = EVENTS;
  assert.ok(edge && hub && last);
  for (const events of [[], [edge], [edge, hub], [hub, last], [edge, last]]) {
    assert.equal(isWhole(events), false);
  }
  assert.match(
    renderTrace([edge, hub]),
    /to route "hub2"\n.* {2}nothing is known from there on\n$/,
  );
  // What no other event leads to is shown all the same.
  assert.match(renderTrace([edge, last]), /broker hub2/);
  assert.match(renderTrace([hub]), /^ +0\.00ms {2}broker hub /);
});

Deno.test("the example of ADR-41 is read: a gateway, mappings, accounts, JetStream and a refusal", () => {
  const event = parse(JSON.stringify({
    server: { name: "n3-lon", cluster: "lon", ver: "2.11.0" },
    request: { header: { "Nats-Trace-Dest": ["demo"] }, msgsize: 36 },
    hops: 1,
    events: [
      {
        type: "in",
        ts: "2024-02-22T13:18:48.400595984Z",
        kind: 0,
        cid: 5390,
        name: "NATS CLI",
        acc: "one",
        subj: "x",
        error: 'Permissions Violation for Publish to "x"',
      },
      { type: "sm", ts: "2024-02-22T13:18:48.400600000Z", to: "y" },
      {
        type: "si",
        ts: "2024-02-22T13:18:48.400610000Z",
        acc: "two",
        from: "x",
        to: "z",
      },
      { type: "js", ts: "2024-02-22T13:18:48.400620000Z", stream: "S" },
      {
        type: "eg",
        ts: "2024-02-22T13:18:48.400649361Z",
        kind: 2,
        cid: 492,
        name: "n1-sfo",
        hop: "1",
        error: "it does not trace",
      },
    ],
  }));
  assert.ok(isWhole([event]));
  assert.equal(
    renderTrace([event]),
    `\
   0.00ms  broker n3-lon (version 2.11.0, cluster lon)
   0.00ms    from client "NATS CLI": x, account one
   0.00ms      error: Permissions Violation for Publish to "x"
   0.00ms    mapped: to y
   0.01ms    imported as a service: to z, account two
   0.02ms    stored by JetStream: stream S
   0.05ms    to gateway "n1-sfo"
   0.05ms      error: it does not trace
`,
  );
});

Deno.test("a broker where nobody listens says so, and a clock that is behind is told", () => {
  const one = parse(JSON.stringify({
    server: { name: "a" },
    events: [
      { type: "in", ts: "2024-02-22T13:18:48.4Z", kind: 0 },
      { type: "eg", ts: "2024-02-22T13:18:48.5Z", kind: 1, hop: "1" },
    ],
  }));
  const other = parse(JSON.stringify({
    server: { name: "b" },
    request: { header: { "Nats-Trace-Hop": ["1"] } },
    events: [{ type: "in", ts: "2024-02-22T13:18:47.9Z", kind: 1 }],
  }));
  assert.equal(
    renderTrace([one, other]),
    `\
   0.00ms  broker a
   0.00ms    from client
    100ms    to route
     skew      broker b
     skew        from route
     skew        nobody listens there
`,
  );
});

Deno.test("whatever comes as an event does no harm: no circle, no control characters", () => {
  assert.equal(parseTraceEvent(Uint8Array.of(1, 2)), undefined);
  assert.equal(parseTraceEvent(new TextEncoder().encode("null")), undefined);
  const circle = parse(JSON.stringify({
    server: { name: "a\u001b[2J" },
    request: { header: { "nats-trace-hop": ["1"] } },
    events: [{ type: "eg", kind: 9, hop: "1", name: 7, ts: "yesterday" }],
  }));
  // deno-lint-ignore no-control-regex -- that is what is looked for
  assert.doesNotMatch(renderTrace([circle]), /\u001b/);
  const step = fc.record({
    type: fc.anything(),
    kind: fc.anything(),
    name: fc.anything(),
    hop: fc.constantFrom("", "1", "1.1", undefined),
    ts: fc.anything(),
    error: fc.anything(),
  }, { requiredKeys: [] });
  const event = fc.record({
    server: fc.record({ name: fc.string(), ver: fc.anything() }),
    request: fc.anything(),
    events: fc.array(step),
  });
  fc.assert(fc.property(fc.array(event), (values) => {
    const events = values.map((value) => parse(JSON.stringify(value)));
    renderTrace(events);
    isWhole(events);
  }));
});

Deno.test("which versions of nats-server trace messages", () => {
  const versions = ["2.9.10", "2.10.29", "2.11.0", "2.12.1-RC.1", "3.0.0", ""];
  assert.deepEqual(versions.map(canTrace), [
    ...[false, false, true, true, true, false],
  ]);
});
