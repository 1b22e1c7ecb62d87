/** Whether any server answers a client: over a bus, with servers played by the test. */
import assert from "node:assert/strict";
import type { Destination } from "../../lib/base/target.ts";
import { Prober } from "../../lib/client/prober.ts";
import { RequestSubjects } from "../../lib/client/request_subjects.ts";
import { ServerWatch } from "../../lib/client/server_watch.ts";
import type { BusMessage } from "../../lib/nats/bus.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import {
  encodeAccept,
  encodeRefusal,
  type OpenMessage,
} from "../../lib/wire/open.ts";
import { encodeReport } from "../../lib/wire/probe.ts";
import { parseId } from "../../lib/wire/subjects.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { MemoryBroker } from "../support/memory_bus.ts";
import { random, SUBJECTS } from "../support/shell_pair.ts";

const ADDRESS: Destination = { target: { host: "db", port: 5432 } };
const SERVICE: Destination = { target: { service: "db" } };

/** A server as it answers a probe. */
const NEW = encodeReport({ id: "abc", sealed: false });
/** One that knows no probes. */
const OLD = encodeRefusal({ code: "protocol", text: "no target" }, "s");

/** A watch, and servers played by the test. */
class Bench implements Disposable {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly bus = this.broker.connect();
  readonly requests = new RequestSubjects(SUBJECTS, "c");
  readonly watch: ServerWatch;
  /** Subjects that were asked on. */
  asked: string[] = [];
  readonly #prober: Prober;

  constructor({ allowsV1 = true } = {}) {
    const { bus, clock, requests } = this;
    this.#prober = new Prober({
      ...{ bus, clock, random, subjects: SUBJECTS, token: "c" },
    });
    this.watch = new ServerWatch({
      ...{ bus, clock, requests, allowsV1 },
      prober: this.#prober,
    });
    this.bus.subscribe("p.data.to_client.c.>", (message) => {
      const id = parseId(SUBJECTS.idOf("client", message.subject) ?? "");
      assert.ok(id && this.#prober.receive(id, message));
    });
    this.broker.filter = ({ subject }) => {
      if (subject.startsWith("proxy.")) this.asked.push(subject);
      return true;
    };
  }

  /** A server that hears these subjects, and answers so. */
  serve(
    pattern: string,
    answer: OpenMessage | undefined,
    where = "probe",
  ): Disposable {
    const bus = this.broker.connect();
    return bus.subscribe(pattern, (message: BusMessage) => {
      if (answer === undefined) return;
      const subject = message.reply.replace(".probe.", `.${where}.`);
      const { headers, body } = answer;
      bus.publish(subject, new JsonMessage(body), { headers });
    });
  }

  async follow(...destinations: readonly Destination[]): Promise<void> {
    this.watch.follow(destinations);
    await this.broker.settled();
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, () => this.broker.settled());
  }

  /** Times it was asked on this subject within `ms` ms. */
  async askedIn(
    ms: number,
    ...subjects: readonly string[]
  ): Promise<number> {
    this.asked = [];
    await this.wait(ms);
    return this.asked.filter((one) =>
      subjects.length === 0 || subjects.includes(one)
    ).length;
  }

  [Symbol.dispose](): void {
    this.watch[Symbol.dispose]();
    this.#prober[Symbol.dispose]();
    assert.equal(this.clock.timers, 0);
  }
}

for (
  const [what, pattern, answer, where] of [
    ["a server", "proxy.request.*", NEW, "probe"],
    ["an older server", "proxy.request.*", OLD, "open"],
    [
      "a server that hears the shared subject only",
      "proxy.request",
      NEW,
      "probe",
    ],
    ["a version 1 server", "proxy.request", encodeAccept({ id: "x" }), "probe"],
  ] as const
) {
  Deno.test(`ready by the answer of ${what}, which is asked about every ten seconds`, async () => {
    using bench = new Bench();
    using _server = bench.serve(pattern, answer, where);
    assert.equal(bench.watch.problem, undefined);
    await bench.follow(ADDRESS);
    assert.equal(bench.watch.problem, undefined);
    assert.deepEqual(bench.watch.counts, { destinations: 1, answered: 1 });
    const asked = await bench.askedIn(
      100_000,
      pattern === "proxy.request" && answer === NEW
        ? "proxy.request"
        : "proxy.request.c",
    );
    assert.ok(asked >= 7 && asked <= 13, `${asked}`);
    assert.equal(bench.watch.problem, undefined);
  });
}

Deno.test("a version 1 server, which takes each probe for an open, is asked once a minute at most", async () => {
  using bench = new Bench();
  using _server = bench.serve("proxy.request", encodeAccept({ id: "x" }));
  await bench.follow(ADDRESS);
  const asked = await bench.askedIn(300_000, "proxy.request");
  assert.ok(asked >= 3 && asked <= 5, `${asked}`);
});

Deno.test("without a server it is not ready at once, asks often, and is ready within some seconds of one", async () => {
  using bench = new Bench();
  await bench.follow(ADDRESS);
  assert.match(
    bench.watch.problem ?? "",
    /no server listens on proxy\.request/,
  );
  const asked = await bench.askedIn(10_000);
  assert.ok(asked >= 2, `${asked}`);
  using _server = bench.serve("proxy.request.*", NEW);
  await bench.wait(11_000);
  assert.equal(bench.watch.problem, undefined);
});

Deno.test("a server that is replaced makes nobody unready; one that is gone does", async () => {
  using bench = new Bench();
  const server = bench.serve("proxy.request.*", NEW);
  await bench.follow(ADDRESS);
  server[Symbol.dispose]();
  await bench.wait(2_000);
  bench.watch.doubt(ADDRESS, "it failed");
  await bench.wait(1);
  assert.ok(bench.watch.lastFailure !== undefined);
  using next = bench.serve("proxy.request.*", NEW);
  await bench.wait(5_000);
  assert.equal(bench.watch.problem, undefined);
  next[Symbol.dispose]();
  await bench.wait(30_000);
  assert.ok(bench.watch.problem !== undefined);
});

Deno.test("opens that are answered spare the probes, and say that servers are there", async () => {
  using bench = new Bench();
  await bench.follow(ADDRESS);
  assert.ok(bench.watch.problem !== undefined);
  bench.requests.answered("proxy.request.c", bench.clock.now());
  assert.equal(bench.watch.problem, undefined);
  for (let second = 0; second < 60; second++) {
    bench.requests.answered("proxy.request.c", bench.clock.now());
    assert.equal(await bench.askedIn(1_000), 0);
  }
});

Deno.test("silence is no server: of a monitor at the third time, and alone on the shared subject only where version 1 will not do", async () => {
  for (const allowsV1 of [true, false]) {
    using bench = new Bench({ allowsV1 });
    const server = bench.serve("proxy.request.*", NEW);
    await bench.follow(ADDRESS);
    server[Symbol.dispose]();
    using _monitor = bench.serve("proxy.request", undefined);
    await bench.wait(60_000);
    assert.equal(bench.watch.problem === undefined, allowsV1);
  }
  using bench = new Bench({ allowsV1: false });
  using _monitor = bench.serve("proxy.>", undefined);
  await bench.follow(ADDRESS);
  assert.equal(bench.watch.problem, "no server has answered yet");
  await bench.wait(2_000);
  assert.match(
    bench.watch.problem ?? "",
    /no server answers on proxy\.request\.c, but whoever listens there does not answer/,
  );
});

Deno.test("where silence proves nothing opens do: one that no server answered, until one does", async () => {
  using bench = new Bench();
  const monitor = bench.serve("proxy.>", undefined);
  await bench.follow(ADDRESS);
  await bench.wait(10_000);
  assert.equal(bench.watch.problem, undefined);
  bench.watch.doubt(ADDRESS, "no server answered the open");
  await bench.wait(10_000);
  assert.equal(bench.watch.problem, "no server answered the open");
  monitor[Symbol.dispose]();
  using _server = bench.serve("proxy.request.*", NEW);
  await bench.wait(15_000);
  assert.equal(bench.watch.problem, undefined);
});

Deno.test("a monitor of the client's own subject hides no server that hears the shared one", async () => {
  using bench = new Bench({ allowsV1: false });
  using _monitor = bench.serve("proxy.request.*", undefined);
  using _server = bench.serve("proxy.request", NEW);
  await bench.follow(ADDRESS);
  await bench.wait(1_100);
  assert.equal(bench.watch.problem, undefined);
  await bench.wait(60_000);
  assert.equal(bench.watch.problem, undefined);
});

Deno.test("a service that nobody offers is told by what servers say of it; ready is who is answered for one destination", async () => {
  using bench = new Bench();
  using _server = bench.serve("proxy.request.*", NEW);
  await bench.follow(SERVICE);
  assert.equal(bench.watch.problem, 'no server offers the service "db"');
  await bench.follow(SERVICE, ADDRESS, ADDRESS);
  assert.equal(bench.watch.problem, undefined);
  assert.deepEqual(bench.watch.counts, { destinations: 2, answered: 1 });
  assert.equal(bench.watch.lastFailure, 'no server offers the service "db"');
});

Deno.test("what NATS refuses, and a server that takes sealed opens only, are reasons", async () => {
  using bench = new Bench();
  bench.bus.forbidden = (subject) => subject.startsWith("proxy.request");
  await bench.follow(ADDRESS);
  await bench.broker.settled();
  assert.equal(
    bench.watch.problem,
    "NATS refuses what is published to proxy.request.c",
  );
  using sealed = new Bench();
  using _server = sealed.serve(
    "proxy.request.*",
    encodeReport({ id: "abc", sealed: true }),
  );
  await sealed.follow(ADDRESS);
  assert.match(sealed.watch.problem ?? "", /sealed opens only/);
});

Deno.test("nothing is asked while NATS is away; once it is back servers have some seconds to be, too", async () => {
  using bench = new Bench();
  const server = bench.serve("proxy.request.*", NEW);
  await bench.follow(ADDRESS);
  server[Symbol.dispose]();
  bench.bus.cut();
  assert.equal(await bench.askedIn(60_000), 0);
  bench.bus.restore();
  assert.ok(await bench.askedIn(2_900) > 0);
  assert.equal(bench.watch.lastFailure, undefined);
  await bench.wait(20_000);
  assert.ok(bench.watch.problem !== undefined);
});

Deno.test("a flood of opens that fail is no flood of probes", async () => {
  using bench = new Bench();
  await bench.follow(ADDRESS);
  bench.asked = [];
  for (let open = 0; open < 1_000; open++) {
    bench.watch.doubt(ADDRESS, "it failed");
    await bench.wait(1);
  }
  assert.ok(bench.asked.length <= 6, `${bench.asked.length}`);
});
