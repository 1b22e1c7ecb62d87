/** What an operator asks of an instance. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  askerOn,
  CONTROL_VERBS,
  errorHeaders,
  errorOn,
  readControlRequest,
} from "../../lib/wire/control.ts";
import { isInbox, Subjects } from "../../lib/wire/subjects.ts";

const encoder = new TextEncoder();

function read(verb: (typeof CONTROL_VERBS)[number], text: string): unknown {
  return readControlRequest(verb, encoder.encode(text));
}

Deno.test("requests are objects of JSON, or empty; what is not known in them is passed over", () => {
  assert.deepEqual(read("status", ""), {});
  assert.deepEqual(read("status", " \n"), {});
  assert.deepEqual(read("drain", '{"x":1}'), {});
  assert.deepEqual(read("tunnels", "{}"), {});
  assert.deepEqual(read("tunnels", '{"limit":5}'), { limit: 5 });
  assert.deepEqual(read("kill", '{"id":"a.b.c"}'), { tunnel: "a.b.c" });
});

Deno.test("what is no request says what it should be", () => {
  const wrong: readonly (readonly [
    (typeof CONTROL_VERBS)[number],
    string | Uint8Array,
    RegExp,
  ])[] = [
    ["status", "[]", /an object of JSON, or empty/],
    ["status", "null", /an object/],
    ["status", '"x"', /an object/],
    ["drain", "now", /an object/],
    ["drain", Uint8Array.of(0xff), /an object/],
    ["status", `{"x":"${"y".repeat(1024)}"}`, /an object/],
    ["kill", "", /say which tunnel/],
    ["kill", "{}", /say which tunnel/],
    ["kill", '{"id":7}', /say which tunnel/],
    ["kill", '{"id":""}', /say which tunnel/],
    ["tunnels", '{"limit":0}', /a whole number/],
    ["tunnels", '{"limit":1.5}', /a whole number/],
    ["tunnels", '{"limit":"5"}', /a whole number/],
  ];
  for (const [verb, body, expected] of wrong) {
    const bytes = typeof body === "string" ? encoder.encode(body) : body;
    const request = readControlRequest(verb, bytes);
    assert.ok("error" in request, `${verb} ${body}`);
    assert.equal(request.error.code, 400);
    assert.match(request.error.text, expected);
  }
  fc.assert(fc.property(
    fc.constantFrom(...CONTROL_VERBS),
    fc.uint8Array(),
    (verb, bytes) => void readControlRequest(verb, bytes),
  ));
});

Deno.test("an error travels in the headers that micro services have", () => {
  const error = { code: 404, text: "no tunnel" };
  const headers = new Map(errorHeaders(error));
  assert.deepEqual([...headers.keys()], [
    ...["Nats-Service-Error-Code", "Nats-Service-Error"],
  ]);
  assert.deepEqual(errorOn((name) => headers.get(name)), error);
  assert.equal(errorOn(() => undefined), undefined);
  assert.deepEqual(
    errorOn((name) => name === "Nats-Service-Error-Code" ? "x" : undefined),
    { code: 500, text: "no reason given" },
  );
});

Deno.test("who asks is what they say, and not more than a line of it", () => {
  assert.equal(askerOn(() => undefined), undefined);
  assert.equal(askerOn(() => ""), undefined);
  assert.equal(askerOn(() => "x".repeat(500))?.length, 128);
});

Deno.test("where an instance is controlled", () => {
  const subjects = new Subjects({ request: "proxy.request", prefix: "p.data" });
  const subject = subjects.control("abc", "kill");
  assert.equal(subject, "proxy.request.ctl.abc.kill");
  // No client can be so called that its opens come there.
  assert.equal(subjects.requestOn(subject), undefined);
});

Deno.test("an answer goes to an inbox, and to nothing else that a request names", () => {
  for (
    const reply of [
      "_INBOX.abc",
      "_INBOX.abc.7",
      "_GR_.C1.S1._INBOX.abc",
      "_R_.x.y",
    ]
  ) assert.ok(isInbox(reply, "_INBOX"), reply);
  for (
    const reply of [
      ...["", "_INBOX", "_INBOXES.x", "proxy.request", "$JS.API.STREAM.LIST"],
      ...["p.data.to_client.a.b.1", "_GR_.C1.S1.p.data.to_client.a.b.1"],
      ...["_GR_.C1._INBOX.x", "_INBOX.a b", "_INBOX.*", "_INBOX.>"],
    ]
  ) assert.ok(!isInbox(reply, "_INBOX"), reply);
  assert.ok(isInbox("_I.edge7.x", "_I.edge7"));
  assert.ok(!isInbox("_I.edge8.x", "_I.edge7"));
});
