/** Targets that are told whose connection they have, and those that break it. */
import assert from "node:assert/strict";
import type { ProxyVersion } from "../../lib/base/service.ts";
import { ProxyParser } from "../../lib/wire/proxy_parser.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import { encodeRequest } from "../../lib/wire/open.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { EgressBench } from "./server_bench.ts";

const ENDPOINTS = {
  source: { host: "192.0.2.7", port: 50_000 },
  destination: { host: "10.0.0.5", port: 80 },
};

/** A server whose one target is told. */
function stage(proxyProtocol: ProxyVersion): {
  readonly bench: EgressBench;
  readonly target: FakeSocket;
} {
  const target = new FakeSocket("10.0.0.9:5");
  const bench = new EgressBench({
    dial: () => Promise.resolve({ socket: target, proxyProtocol }),
  });
  return { bench, target };
}

/** Asks as an application at these endpoints does. */
async function ask(bench: EgressBench, number = 7): Promise<void> {
  const { headers, body } = encodeRequest({
    target: { host: "db", port: 5 },
    native: {
      client: "c",
      number,
      window: 1 << 16,
      codec: "binary",
      endpoints: ENDPOINTS,
    },
  });
  bench.bus.publish("proxy.request.c", new JsonMessage(body), {
    headers,
    reply: `p.data.to_client.c.open.${number.toString(36)}`,
  });
  await bench.broker.settled();
}

Deno.test("Egress: a target hears first whose connection it has, and then the tunnel is open", async () => {
  for (const version of ["v1", "v2"] as const) {
    const { bench, target } = stage(version);
    using _bench = bench;
    await ask(bench);
    const step = new ProxyParser().push(target.bytes);
    assert.deepEqual(step, {
      type: "header",
      endpoints: ENDPOINTS,
      rest: new Uint8Array(0),
    });
    // The ID of the tunnel is in it, where the version has room for one.
    assert.equal(target.text.includes("c.server1.7"), version === "v2");
    assert.deepEqual(bench.take(), ["open"]);
    assert.equal(bench.server.egress.session.size, 1);
  }
});

Deno.test("Egress: of who does not say where the application is, nothing is made up", async () => {
  const { bench, target } = stage("v1");
  using _bench = bench;
  await bench.askV1("_INBOX.old.1");
  assert.equal(target.text, "PROXY UNKNOWN\r\n");
  assert.deepEqual(bench.take(), ["v1"]);
});

Deno.test("Egress: a target that is told nothing hears nothing", async () => {
  const target = new FakeSocket();
  using bench = new EgressBench({
    dial: () => Promise.resolve({ socket: target }),
  });
  await ask(bench);
  assert.equal(target.received, 0);
  assert.deepEqual(bench.take(), ["open"]);
});

Deno.test("Egress: a target that breaks the connection at its header is one that was not reached", async () => {
  const { bench, target } = stage("v2");
  using _bench = bench;
  target.close();
  await ask(bench);
  const [answer] = bench.replies;
  assert.deepEqual(
    answer?.reply.type === "refused" && answer.reply.reason,
    {
      code: "aborted",
      text: "10.0.0.9:5 took no PROXY header: Bad resource ID",
    },
  );
  assert.equal(bench.server.egress.session.size, 0);
  assert.equal(bench.server.egress.opening, 0);
});

Deno.test("Egress: a target that takes no header has 5 s", async () => {
  const { bench, target } = stage("v1");
  using _bench = bench;
  target.stall();
  await ask(bench);
  await bench.wait(4_999);
  assert.equal(target.closed, false);
  bench.take();
  await bench.wait(1);
  assert.equal(target.closed, true);
  assert.deepEqual(bench.take(), ["timeout"]);
  assert.equal(bench.server.egress.opening, 0);
});

Deno.test("Egress: a target that takes no header is given up when the server stops", async () => {
  const { bench, target } = stage("v1");
  using _bench = bench;
  target.stall();
  await ask(bench);
  void bench.server.egress.drain();
  await bench.broker.settled();
  assert.equal(target.closed, true);
  assert.deepEqual(bench.take(), ["draining"]);
});
