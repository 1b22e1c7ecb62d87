/** Opens for services and sites: where they are asked for, and what is told when nobody answers. */
import assert from "node:assert/strict";
import { Sealer } from "../../lib/client/sealer.ts";
import type { Destination } from "../../lib/base/target.ts";
import { NO_PSK, SealedGate } from "../../lib/seal/open.ts";
import { encodeRefusal } from "../../lib/wire/open.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { CLIENT_SEAL, KEYS, random } from "../support/shell_pair.ts";
import { OpensBench, REFUSED, unseal } from "./opens_bench.ts";

const DB: Destination = { target: { service: "db" } };
const DB_AT: Destination = { target: { service: "db" }, site: "edge" };
const ADDRESS_AT: Destination = {
  target: { host: "h", port: 1 },
  site: "edge",
};
const UNIX: Destination = { target: { path: "/run/x" } };
const ENDPOINTS = {
  source: { host: "10.0.0.9", port: 50_000 },
  destination: { host: "10.0.0.1", port: 8080 },
};

const NO_SERVICE = encodeRefusal(
  { code: "no-such-service", text: "there are: web" },
  "s",
);

/** A bench whose servers listen on `patterns`. */
function served(...patterns: readonly string[]): OpensBench {
  const bench = new OpensBench({}, "elsewhere");
  for (const pattern of patterns) bench.serve(pattern);
  return bench;
}

Deno.test("an open goes to the subject of its service and site, and says where the application is", async () => {
  for (
    const [destination, subject] of [
      [DB, "proxy.request.svc.db.c"],
      [DB_AT, "proxy.request.at.edge.svc.db.c"],
      [ADDRESS_AT, "proxy.request.at.edge.c"],
      [UNIX, "proxy.request.c"],
    ] as const
  ) {
    const bench = served(subject);
    await bench.start({ ...destination, endpoints: ENDPOINTS });
    assert.deepEqual(bench.asked.map((asked) => asked.subject), [subject]);
    const { request } = bench.asked[0] ?? {};
    assert.deepEqual(request?.target, destination.target);
    assert.deepEqual(request?.native?.endpoints, ENDPOINTS);
    await bench.accept(0);
    assert.equal(bench.opened.length, 1, subject);
  }
});

Deno.test("a sealed open has within it what it is for, and nothing of that in the clear", async () => {
  const clock = new FakeClock();
  const sealer = new Sealer({ seal: CLIENT_SEAL, clock, random });
  const bench = new OpensBench({ clock, codec: "binary", sealer });
  bench.serve("proxy.request.svc.db.*");
  await bench.start({ ...DB, endpoints: ENDPOINTS });
  const [asked] = bench.asked;
  assert.ok(asked !== undefined);
  assert.equal(asked.request.native?.endpoints, undefined);
  const gate = new SealedGate({ keys: [KEYS.server], psk: NO_PSK, random });
  const read = unseal(gate, asked);
  assert.deepEqual([read?.target, read?.endpoints], ["svc:db", ENDPOINTS]);
});

Deno.test("where nobody offers a service, another server is asked once, and says why", async () => {
  for (
    const [destination, general] of [
      [DB, "proxy.request.c"],
      [DB_AT, "proxy.request.at.edge.c"],
    ] as const
  ) {
    const bench = served(general);
    await bench.start(destination);
    assert.deepEqual(bench.asked.map(({ subject }) => subject), [general]);
    assert.deepEqual(bench.asked[0]?.request.target, destination.target);
    await bench.answer(0, NO_SERVICE);
    assert.deepEqual(bench.codes, ["no-such-service"]);
    assert.equal(bench.failed[0]?.reason.text, "there are: web");
    // That is no reason not to ask for the service first the next time.
    bench.serve("proxy.request.svc.db.*");
    bench.serve("proxy.request.at.edge.svc.db.*");
    await bench.start(destination);
    assert.match(bench.asked[1]?.subject ?? "", /\.svc\.db\.c$/);
  }
});

Deno.test("a server that does not offer a service any more leaves it to another, and the end is told by one that knows", async () => {
  const gone = encodeRefusal({ code: "draining", text: "no more" }, "gone");
  const service = "proxy.request.svc.db.c";
  const other = served(service, "proxy.request.c");
  await other.start(DB);
  await other.answer(0, gone);
  assert.deepEqual(other.asked[1]?.subject, service);
  assert.deepEqual(other.asked[1]?.request.native?.not, ["gone"]);
  await other.accept(1);
  assert.equal(other.opened.length, 1);
  const nobody = served("proxy.request.c");
  const listening = nobody.serve(service);
  await nobody.start(DB);
  listening[Symbol.dispose]();
  await nobody.answer(0, gone);
  assert.deepEqual(nobody.asked[1]?.subject, "proxy.request.c");
  await nobody.answer(1, NO_SERVICE);
  assert.equal(nobody.failed[0]?.reason.code, "no-such-service");
});

Deno.test("what nobody listens for is told at once, by the subjects", async () => {
  const cases: readonly (readonly [Destination, RegExp])[] = [
    [
      DB,
      /^no server listens on proxy\.request\.c, nor for the service db on proxy\.request\.svc\.db\.c; start one with --service db=…/,
    ],
    [
      DB_AT,
      /^no server @edge listens on proxy\.request\.at\.edge\.c, nor for the service db on proxy\.request\.at\.edge\.svc\.db\.c; start one with --site edge --service db=…/,
    ],
    [
      ADDRESS_AT,
      /^no server @edge listens on proxy\.request\.at\.edge\.c; start one with --site edge/,
    ],
  ];
  for (const [destination, text] of cases) {
    const bench = served("proxy.request.svc.other.*", "proxy.request");
    await bench.start(destination);
    assert.deepEqual(bench.codes, ["no-server"]);
    assert.match(bench.failed[0]?.reason.text ?? "", text);
    // Version 1 servers have never been asked.
    assert.deepEqual(bench.asked, []);
  }
});

Deno.test("who only listens to everything keeps nobody waiting for a service that nobody offers", async () => {
  const bench = served("proxy.request.c");
  // As a monitor: it hears, and says nothing.
  bench.broker.connect().subscribe("proxy.request.>", () => {});
  await bench.start(DB);
  assert.deepEqual(bench.asked, []);
  await bench.wait(1_000);
  assert.deepEqual(bench.asked.map(({ subject }) => subject), [
    "proxy.request.c",
  ]);
  await bench.answer(0, NO_SERVICE);
  assert.deepEqual(bench.codes, ["no-such-service"]);
});

Deno.test("a service whose servers are slow at first is waited for where another says that it is offered", async () => {
  const bench = served("proxy.request.svc.db.*", "proxy.request.c");
  await bench.start(DB);
  await bench.wait(1_000);
  assert.equal(bench.asked[1]?.subject, "proxy.request.c");
  const elsewhere = encodeRefusal({ code: "denied", text: "elsewhere" }, "s");
  await bench.answer(1, elsewhere);
  assert.deepEqual(bench.codes, []);
  assert.equal(bench.asked[2]?.subject, "proxy.request.svc.db.c");
  await bench.accept(0);
  assert.equal(bench.opened.length, 1);
});

Deno.test("once a service has been answered for, silence there means a server that is slow or dead", async () => {
  const bench = served("proxy.request.svc.db.*", "proxy.request.c");
  await bench.start(DB);
  await bench.accept(0);
  await bench.start(DB);
  await bench.wait(4_000);
  assert.deepEqual(bench.asked.map(({ subject }) => subject), [
    "proxy.request.svc.db.c",
    "proxy.request.svc.db.c",
    "proxy.request.svc.db.c",
  ]);
});

Deno.test("one server of a service that cannot reach its target is no reason not to ask another", async () => {
  const bench = served("proxy.request.svc.db.*");
  await bench.start(DB);
  await bench.answer(0, REFUSED);
  assert.deepEqual(bench.codes, []);
  assert.deepEqual(bench.asked[1]?.request.native?.not, ["s"]);
  assert.equal(bench.asked[1]?.subject, "proxy.request.svc.db.c");
});

Deno.test("for 3 s after the link came back a service may be on its way", async () => {
  const bench = served("proxy.request.c");
  bench.bus.cut();
  bench.bus.restore();
  await bench.start(DB);
  await bench.wait(1_000);
  assert.deepEqual([bench.asked, bench.codes], [[], []]);
  bench.serve("proxy.request.svc.db.*");
  await bench.wait(200);
  assert.equal(bench.asked.at(-1)?.subject, "proxy.request.svc.db.c");
});

Deno.test("a broker that refuses the subject of a service says so; others are asked for as ever", async () => {
  const bench = served("proxy.request.c");
  bench.bus.forbidden = (subject) => subject === "proxy.request.svc.db.c";
  await bench.start(DB);
  await bench.answer(0, NO_SERVICE);
  assert.deepEqual(bench.codes, ["no-such-service"]);
  assert.equal(bench.opens.refusal, undefined);
  const site = served();
  site.bus.forbidden = (subject) => subject === "proxy.request.at.edge.c";
  await site.start(ADDRESS_AT);
  assert.deepEqual(site.codes, ["denied"]);
  assert.match(
    site.failed[0]?.reason.text ?? "",
    /proxy\.request\.at\.edge\.c/,
  );
  assert.equal(site.opens.refusal?.code, "denied");
});
