/** Named services and sites at a server: where it listens, what it dials, and what it refuses. */
import assert from "node:assert/strict";
import { TunnelError } from "../../lib/base/errors.ts";
import type { Service } from "../../lib/base/service.ts";
import { formatTarget, type Target } from "../../lib/base/target.ts";
import type { Egress, EgressOptions } from "../../lib/server/server.ts";
import type { Dialler } from "../../lib/server/targets.ts";
import { encodeRequest } from "../../lib/wire/open.ts";
import type { RequestScope } from "../../lib/wire/subjects.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { SUBJECTS } from "../support/shell_pair.ts";
import { EgressBench } from "./server_bench.ts";

const DB: Service = { name: "db", target: { host: "10.0.0.7", port: 5432 } };
const WEB: Service = { name: "web", target: { path: "/run/web.sock" } };
const CHECK = { period: 10_000, timeout: 2_000, failures: 3 };
const CHECKED: Service = { ...DB, check: CHECK };

/** A server whose dials are answered by what the test says of their targets. */
class Stage implements Disposable {
  /** Each dial: what, and for which service and tunnel (a check has none). */
  readonly dials: string[] = [];
  /** Why a target cannot be reached, by how it is written; `never` for no answer. */
  readonly broken = new Map<string, TunnelError | "never">();
  readonly bench: EgressBench;
  #number = 1;

  constructor(options: Partial<EgressOptions> = {}) {
    this.bench = new EgressBench({
      ...options,
      dial: (target, signal, asker) => this.#dial(target, signal, asker),
    });
  }

  get egress(): Egress {
    return this.bench.server.egress;
  }

  /** What the answer to an open for `target` on the subject of this scope says. */
  async ask(target: Target, to: RequestScope = {}): Promise<string> {
    const number = this.#number++;
    const { headers, body } = encodeRequest({
      target,
      native: { client: "c", number, window: 1 << 16, codec: "binary" },
    });
    const before = this.bench.nobody;
    await this.bench.send(headers, body, {
      subject: SUBJECTS.requestOf("c", to),
      reply: SUBJECTS.answerTo("c", number),
    });
    if (this.bench.nobody > before) return "nobody listens";
    const [{ reply } = { reply: undefined }] = this.bench.replies.splice(0);
    return reply?.type === "refused"
      ? `${reply.reason.code}: ${reply.reason.text}`
      : reply?.type ?? "silence";
  }

  /** As many checks as that end. */
  async check(times = 1): Promise<void> {
    // Longer than any jitter makes it, and shorter than two of them.
    for (let at = 0; at < times; at++) await this.bench.wait(11_100);
  }

  async #dial(
    target: Target,
    signal: AbortSignal,
    { service, id }: Dialler,
  ): Promise<FakeSocket> {
    const text = formatTarget(target);
    const use = id === undefined ? "check" : service?.name ?? "itself";
    this.dials.push(`${text} ${use}`);
    const why = this.broken.get(text);
    if (why === "never") {
      const { promise, reject } = Promise.withResolvers<FakeSocket>();
      signal.addEventListener("abort", () => reject(signal.reason));
      return await promise;
    }
    if (why !== undefined) throw why;
    return new FakeSocket();
  }

  [Symbol.dispose](): void {
    this.bench[Symbol.dispose]();
  }
}

const REFUSED = new TunnelError("refused", "Dial 10.0.0.7:5432: refused");

Deno.test("a service is dialled where it is, for who asks on its subject", async () => {
  using stage = new Stage({ services: [DB, WEB] });
  assert.equal(await stage.ask({ service: "db" }, { service: "db" }), "open");
  assert.equal(await stage.ask({ service: "web" }, { service: "web" }), "open");
  assert.equal(await stage.ask({ host: "a", port: 1 }), "open");
  assert.deepEqual(stage.dials, [
    "10.0.0.7:5432 db",
    "unix:/run/web.sock web",
    "a:1 itself",
  ]);
  assert.deepEqual(stage.egress.services, [
    { name: "db", up: true, opened: 1 },
    { name: "web", up: true, opened: 1 },
  ]);
});

Deno.test("a service counts on its own subject, and there nothing else does", async () => {
  using stage = new Stage({ services: [DB, WEB] });
  const cases: readonly (readonly [Target, RequestScope, string])[] = [
    [
      { service: "db" },
      {},
      'denied: the service "db" is to be asked for on proxy.request.svc.db.*, its own subject',
    ],
    [
      { service: "db" },
      { service: "web" },
      'protocol: an open for svc:db came on the subject of the service "web"',
    ],
    [
      { service: "dbx" },
      { service: "db" },
      'protocol: an open for svc:dbx came on the subject of the service "db"',
    ],
    [
      { service: "dbx" },
      {},
      'no-such-service: no service "dbx" is offered; there are: db, web',
    ],
    [
      { host: "10.0.0.7", port: 5432 },
      { service: "db" },
      'protocol: an open for 10.0.0.7:5432 came on the subject of the service "db"',
    ],
    [
      { path: "/run/web.sock" },
      { service: "web" },
      'protocol: an open for unix:/run/web.sock came on the subject of the service "web"',
    ],
    [{ service: "db" }, { service: "db", site: "berlin" }, "nobody listens"],
    [{ service: "db" }, { site: "berlin" }, "nobody listens"],
    [{ service: "dbx" }, { service: "dbx" }, "nobody listens"],
  ];
  for (const [target, scope, said] of cases) {
    assert.equal(await stage.ask(target, scope), said);
  }
  assert.deepEqual(stage.dials, []);
});

Deno.test("a refusal lists the first names, and says how many more there are", async () => {
  const services = Array.from({ length: 23 }, (_, at) => ({
    ...DB,
    name: `s${String(at).padStart(2, "0")}`,
  }));
  using stage = new Stage({ services });
  const said = await stage.ask({ service: "x" });
  assert.match(said, /there are: s00, s01, .*, s19 and 3 more$/);
  using empty = new Stage();
  assert.equal(
    await empty.ask({ service: "x" }),
    'no-such-service: no service "x" is offered; there are none',
  );
});

Deno.test("a server with a site hears that site, and nothing else", async () => {
  using stage = new Stage({ services: [DB], site: "berlin" });
  const site = "berlin";
  const address = { host: "a", port: 1 };
  assert.equal(await stage.ask(address, { site }), "open");
  assert.equal(
    await stage.ask({ service: "db" }, { site, service: "db" }),
    "open",
  );
  for (
    const [target, scope] of [
      [address, {}],
      [address, { site: "paris" }],
      [{ service: "db" }, { service: "db" }],
      [{ service: "db" }, { site: "paris", service: "db" }],
    ] as const
  ) assert.equal(await stage.ask(target, scope), "nobody listens");
  await stage.bench.askV1("_INBOX.v1.1");
  assert.deepEqual(stage.bench.take(), []);
  assert.match(
    await stage.ask({ service: "dbx" }, { site }),
    /there are: db$/,
  );
  assert.equal(stage.egress.missing([]), undefined);
  assert.equal(
    stage.egress.hears([]),
    "proxy.request.at.berlin.*",
  );
});

const OUT_OF_ORDER = "service out of order: opens are left to other servers";

Deno.test("a service with a check is offered once that has succeeded, and until it has failed three times in a row", async () => {
  using log = captureLog();
  using stage = new Stage({ services: [CHECKED] });
  const ask = () => stage.ask({ service: "db" }, { service: "db" });
  const up = () => stage.egress.services[0]?.up;
  assert.equal(up(), false);
  await stage.bench.broker.settled();
  assert.equal(up(), true);
  stage.broken.set("10.0.0.7:5432", REFUSED);
  assert.equal(await ask(), `refused: ${REFUSED.text}`);
  await stage.check(2);
  assert.equal(up(), true);
  await stage.check();
  assert.equal(up(), false);
  assert.equal(await ask(), "nobody listens");
  assert.equal(
    await stage.ask({ service: "db" }),
    `no-such-service: the service "db" is out of order: ${REFUSED.text}`,
  );
  assert.equal(
    await stage.ask({ service: "x" }),
    'no-such-service: no service "x" is offered; there are none',
  );
  stage.broken.set("10.0.0.7:5432", "never");
  await stage.check(3);
  assert.match(
    await stage.ask({ service: "db" }),
    /out of order: its check had no answer in 2000 ms$/,
  );
  stage.broken.clear();
  await stage.check(2);
  assert.equal(await ask(), "open");
  assert.deepEqual(
    log.records.filter(({ category }) => category.at(-1) === "service")
      .map(({ level, rawMessage, properties }) =>
        [
          ...[level, rawMessage, properties.service, properties.why],
          properties.count ?? "",
        ].join(" ").trim()
      ),
    [
      "info service offered db",
      `warning ${OUT_OF_ORDER} db ${REFUSED.text}`,
      `warning ${OUT_OF_ORDER} db its check had no answer in 2000 ms`,
      `warning ${OUT_OF_ORDER} db its check had no answer in 2000 ms 2`,
      "info service offered db",
    ],
  );
});

Deno.test("a service that was never in order is not offered, and why is said once a minute", async () => {
  using log = captureLog();
  const broken: EgressOptions["dial"] = () => Promise.reject(REFUSED);
  using bench = new EgressBench({ services: [CHECKED], dial: broken });
  await bench.wait(59_000);
  assert.deepEqual(bench.server.egress.services, [
    { name: "db", up: false, opened: 0 },
  ]);
  const warnings = (): unknown[] =>
    log.records.filter(({ level }) => level === "warning")
      .map(({ properties: { count } }) => count);
  assert.deepEqual(warnings(), [undefined]);
  await bench.wait(2_000);
  const [, count, ...more] = warnings();
  assert.ok(Number(count) >= 4, String(count));
  assert.deepEqual(more, []);
});

Deno.test("checks come at their period, more or less, and none after the server drains", async () => {
  using stage = new Stage({ services: [CHECKED] });
  await stage.bench.wait(100_000);
  const { length } = stage.dials;
  assert.ok(length >= 9 && length <= 12, String(length));
  assert.ok(stage.dials.every((dial) => dial === "10.0.0.7:5432 check"));
  await stage.egress.drain();
  await stage.bench.wait(100_000);
  assert.equal(stage.dials.length, length);
  assert.equal(
    await stage.ask({ service: "db" }, { service: "db" }),
    "nobody listens",
  );
});

Deno.test("services come, go and change while the server runs; open tunnels stay", async () => {
  using stage = new Stage({ services: [DB, WEB] });
  assert.equal(await stage.ask({ service: "db" }, { service: "db" }), "open");
  assert.equal(await stage.ask({ service: "web" }, { service: "web" }), "open");
  const subscriptions = stage.bench.broker.subscriptions;
  const moved = { ...DB, target: { host: "10.0.0.8", port: 5432 } };
  const ssh = { name: "ssh", target: { host: "localhost", port: 22 } };
  stage.egress.setServices([moved, ssh]);
  await stage.bench.broker.settled();
  assert.equal(stage.bench.broker.subscriptions, subscriptions);
  assert.equal(stage.egress.session.size, 2);
  assert.equal(
    await stage.ask({ service: "web" }, { service: "web" }),
    "nobody listens",
  );
  assert.equal(await stage.ask({ service: "db" }, { service: "db" }), "open");
  assert.equal(await stage.ask({ service: "ssh" }, { service: "ssh" }), "open");
  assert.deepEqual(stage.dials.slice(2), [
    "10.0.0.8:5432 db",
    "localhost:22 ssh",
  ]);
  assert.deepEqual(stage.egress.services, [
    { name: "db", up: true, opened: 2 },
    { name: "ssh", up: true, opened: 1 },
  ]);
  stage.egress.setServices([]);
  await stage.bench.broker.settled();
  assert.equal(stage.bench.broker.subscriptions, subscriptions - 2);
  assert.equal(await stage.ask({ host: "a", port: 1 }), "open");
});

Deno.test("what was asked for before a service went is for other servers to answer", async () => {
  using stage = new Stage({ services: [DB, WEB] });
  const asked = stage.ask({ service: "db" }, { service: "db" });
  stage.egress.setServices([WEB]);
  assert.equal(
    await asked,
    'draining: the service "db" is not offered here any more',
  );
});

Deno.test("a service that is in order stays so while it is changed, until its first check fails", async () => {
  using stage = new Stage({ services: [CHECKED] });
  const ask = () => stage.ask({ service: "db" }, { service: "db" });
  await stage.bench.broker.settled();
  assert.equal(await ask(), "open");
  // The check has no answer yet: what it is called, or where it leads, has changed.
  stage.broken.set("10.0.0.7:5432", "never");
  stage.egress.setServices([{ ...CHECKED, description: "orders" }]);
  assert.equal(stage.egress.services[0]?.up, true);
  const moved = { ...CHECKED, target: { host: "10.0.0.8", port: 5432 } };
  stage.broken.set("10.0.0.8:5432", REFUSED);
  stage.egress.setServices([moved]);
  assert.equal(stage.egress.services[0]?.up, true);
  await stage.bench.broker.settled();
  assert.equal(stage.egress.services[0]?.up, false);
  assert.equal(await ask(), "nobody listens");
  // What is out of order does not come into it by a change.
  stage.egress.setServices([{ ...moved, description: "orders" }]);
  assert.equal(await ask(), "nobody listens");
});

Deno.test("what has not changed is not tried anew", async () => {
  using stage = new Stage({ services: [CHECKED] });
  await stage.bench.broker.settled();
  stage.egress.setServices([{ ...CHECKED, check: { ...CHECK } }, WEB]);
  await stage.bench.broker.settled();
  assert.equal(stage.dials.length, 1);
  stage.egress.setServices([{ ...CHECKED, target: { host: "b", port: 1 } }]);
  await stage.bench.broker.settled();
  assert.deepEqual(stage.dials, ["10.0.0.7:5432 check", "b:1 check"]);
});

Deno.test("a server that nobody would hear leaves the groups of its services, too", async () => {
  using stage = new Stage({ services: [DB, CHECKED].slice(0, 1) });
  const { bus } = stage.bench.server;
  const data = SUBJECTS.pattern("server", "server1");
  bus.refuse([data]);
  await stage.bench.broker.settled();
  assert.equal(
    await stage.ask({ service: "db" }, { service: "db" }),
    "nobody listens",
  );
  stage.egress.setServices([DB, WEB]);
  assert.equal(
    await stage.ask({ service: "web" }, { service: "web" }),
    "nobody listens",
  );
  bus.refuse([]);
  await stage.bench.broker.settled();
  for (const service of ["db", "web"]) {
    assert.equal(await stage.ask({ service }, { service }), "open");
  }
});

Deno.test("one place where opens are heard is enough: which refused subscriptions are fatal", () => {
  const cases: readonly (readonly [
    options: Partial<EgressOptions>,
    refused: readonly string[],
    missing: string | undefined,
  ])[] = [
    [{ services: [DB] }, ["proxy.request", "proxy.request.*"], undefined],
    [{ services: [DB] }, ["proxy.request.svc.db.*"], undefined],
    [{ services: [DB] }, ["other"], "other"],
    [
      { services: [DB] },
      ["proxy.request", "proxy.request.*", "proxy.request.svc.db.*"],
      "proxy.request",
    ],
    // What is out of order has no subscription yet.
    [{ services: [CHECKED] }, ["proxy.request", "proxy.request.*"], undefined],
    [
      { site: "berlin" },
      ["proxy.request.at.berlin.*"],
      "proxy.request.at.berlin.*",
    ],
    [
      { site: "berlin", services: [DB] },
      ["proxy.request.at.berlin.*"],
      undefined,
    ],
  ];
  for (const [options, refused, missing] of cases) {
    using stage = new Stage(options);
    assert.equal(stage.egress.missing(refused), missing, refused.join());
  }
});

Deno.test("an open that NATS would not bring on the service's subject is told why", async () => {
  using stage = new Stage({ services: [DB] });
  stage.bench.server.bus.refuse(["proxy.request.svc.db.*"]);
  assert.equal(
    await stage.ask({ service: "db" }),
    'no-such-service: the service "db" cannot be offered: NATS refuses the server\'s subscription to proxy.request.svc.db.*',
  );
});
