/** A process as a service of NATS, on a bus in memory. */
import assert from "node:assert/strict";
import { NatsService } from "../../lib/process/nats_service.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import { EndpointCounter } from "../../lib/base/endpoint_counter.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { MemoryBroker, type MemoryBus } from "../support/memory_bus.ts";
import { checkMicro } from "../support/micro_schema.ts";

class Stage implements Disposable {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly asker = this.broker.connect();
  readonly bus = this.broker.connect();
  readonly answers: { readonly text: string; readonly reply: string }[] = [];
  readonly #services: NatsService[] = [];

  constructor() {
    this.asker.subscribe("_INBOX.>", ({ data, subject, status }) => {
      if (status !== 0) return;
      const text = new TextDecoder().decode(data);
      this.answers.push({ text, reply: subject });
    });
  }

  serve(id: string, bus: MemoryBus = this.bus, endpoints = 1): NatsService {
    const service = new NatsService({
      ...{ bus, clock: this.clock, inboxPrefix: "_INBOX" },
      facts: {
        id,
        version: "1.2.3",
        metadata: {},
        started: "2026-11-24T21:20:15Z",
      },
      endpoints: () =>
        Array.from({ length: endpoints }, (_, at) => ({
          ...{ name: `e${at}`, subject: "a", queueGroup: "" },
          counter: new EndpointCounter(),
        })),
    });
    this.#services.push(service);
    return service;
  }

  async ask(subject: string, reply = "_INBOX.x"): Promise<void> {
    this.asker.publish(subject, new JsonMessage(new Uint8Array(0)), { reply });
    await this.broker.settled();
  }

  [Symbol.dispose](): void {
    for (const service of this.#services) service[Symbol.dispose]();
  }
}

Deno.test("each instance answers, and one that is asked by its ID alone", async () => {
  using stage = new Stage();
  stage.serve("one");
  stage.serve("two", stage.broker.connect());
  for (const verb of ["PING", "INFO", "STATS"] as const) {
    const subjects = [`$SRV.${verb}`, `$SRV.${verb}.tcp-sproxy`];
    for (const subject of subjects) {
      stage.answers.length = 0;
      await stage.ask(subject);
      const ids = stage.answers.map(({ text }) => checkMicro(verb, text).id);
      assert.deepEqual(ids.toSorted(), ["one", "two"], subject);
    }
    stage.answers.length = 0;
    await stage.ask(`$SRV.${verb}.tcp-sproxy.two`);
    await stage.ask(`$SRV.${verb}.other`);
    assert.deepEqual(
      stage.answers.map(({ text }) => checkMicro(verb, text).id),
      ["two"],
    );
  }
});

Deno.test("nobody is answered but at an inbox: an asker could name a subject that is forbidden to him", async () => {
  using stage = new Stage();
  stage.serve("one");
  const seen: string[] = [];
  stage.broker.filter = ({ subject, from }) => {
    if (from === stage.bus) seen.push(subject);
    return true;
  };
  for (const reply of ["p.data.to_client.a.b.1", "proxy.request", "_INBOX"]) {
    await stage.ask("$SRV.PING", reply);
  }
  assert.deepEqual(seen, []);
  await stage.ask("$SRV.PING", "_INBOX.y");
  assert.deepEqual(seen, ["_INBOX.y"]);
});

Deno.test("a flood is answered at a bounded rate, and not at all while tunnels wait", async () => {
  using stage = new Stage();
  stage.serve("one");
  for (let i = 0; i < 500; i++) await stage.ask("$SRV.INFO");
  assert.equal(stage.answers.length, 20);
  await stage.clock.advance(1_000);
  stage.bus.congested = true;
  await stage.ask("$SRV.PING");
  assert.equal(stage.answers.length, 20);
  stage.bus.congested = false;
  await stage.ask("$SRV.PING");
  assert.equal(stage.answers.length, 21);
});

Deno.test("a broker that refuses the subscriptions is told of on one line, and is no reason not to be ready", async () => {
  using log = captureLog();
  using stage = new Stage();
  stage.bus.unheard = (subject) => subject.startsWith("$SRV.");
  stage.serve("one");
  await stage.broker.settled();
  const lines = log.records.map(({ level, rawMessage }) => [level, rawMessage]);
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.[0], "info");
  assert.match(String(lines[0]?.[1]), /subscribe to \$SRV\.>/);
  assert.deepEqual(stage.bus.refusedSubjects, []);
});

Deno.test("a broker that lets no answer through is told of on one line, and the bus hears of no refusal", async () => {
  using log = captureLog();
  using stage = new Stage();
  stage.bus.forbidden = (subject) => subject.startsWith("_INBOX.");
  const denied: string[] = [];
  stage.bus.onLink(({ type }) => void denied.push(type));
  stage.serve("one");
  for (let i = 0; i < 3; i++) await stage.ask("$SRV.PING");
  assert.deepEqual(denied, []);
  const lines = log.records.map(({ level, rawMessage }) =>
    `${level} ${rawMessage}`
  );
  assert.equal(lines.length, 1, lines.join("\n"));
  assert.match(lines[0] ?? "", /^info NATS lets no answer through/);
});

Deno.test("an answer that is too large for the broker names fewer endpoints, and still is one", async () => {
  using stage = new Stage();
  stage.bus.maxPayload = 4096;
  stage.serve("one", stage.bus, 256);
  await stage.ask("$SRV.STATS");
  await stage.ask("$SRV.INFO");
  const [stats, info] = stage.answers.map(({ text }) => text);
  const { endpoints } = checkMicro("STATS", stats ?? "");
  assert.ok(endpoints.length > 4 && endpoints.length < 32);
  assert.ok(checkMicro("INFO", info ?? "").endpoints.length > 8);
});

Deno.test("what is disposed of answers no more", async () => {
  using stage = new Stage();
  stage.serve("one")[Symbol.dispose]();
  await stage.ask("$SRV.PING");
  assert.deepEqual(stage.answers, []);
});
