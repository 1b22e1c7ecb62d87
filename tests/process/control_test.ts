/** What an operator may have an instance do, on a bus in memory. */
import assert from "node:assert/strict";
import { Control } from "../../lib/process/control.ts";
import type { MemoryBus } from "../support/memory_bus.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import { captureLog } from "../support/capture_log.ts";
import {
  CLIENT_SEAL,
  Pair,
  type PairOptions,
  SERVER_SEAL,
  SUBJECTS,
} from "../support/shell_pair.ts";

/** A pair whose server is controlled. */
class Stage implements Disposable {
  readonly pair: Pair;
  readonly asker: MemoryBus;
  readonly control: Control;
  drained = 0;
  #asked = 0;

  constructor(options: PairOptions & { readonly sealed?: boolean } = {}) {
    const { sealed = false, ...pair } = options;
    this.pair = new Pair(pair);
    this.asker = this.pair.broker.connect();
    const { session } = this.pair.server.egress;
    this.control = new Control({
      bus: this.pair.server.bus,
      clock: this.pair.clock,
      inboxPrefix: "_INBOX",
      id: "abc",
      subjects: SUBJECTS,
      sealed,
      session: () => session,
      status: () => ({ state: "ready" }),
      drain: () => void this.drained++,
    });
  }

  /** The answer, with its error headers. */
  async ask(
    verb: string,
    body: unknown = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    const reply = `_INBOX.${++this.#asked}`;
    let answer: Readonly<Record<string, unknown>> = {};
    using _inbox = this.asker.subscribe(reply, ({ data, header, status }) => {
      if (status !== 0) return;
      answer = {
        ...JSON.parse(new TextDecoder().decode(data)),
        code: header("Nats-Service-Error-Code"),
        text: header("Nats-Service-Error"),
      };
    });
    const bytes = new TextEncoder().encode(JSON.stringify(body));
    this.asker.publish(
      SUBJECTS.control("abc", verb),
      new JsonMessage(bytes),
      { reply, headers: [["sproxy-asker", "desk pid 7"]] },
    );
    await this.pair.settle();
    return answer;
  }

  [Symbol.dispose](): void {
    this.control[Symbol.dispose]();
    this.pair[Symbol.dispose]();
  }
}

Deno.test("tunnels tells what is open, kill ends it at both ends and says who asked", async () => {
  using log = captureLog();
  using stage = new Stage();
  const { pair } = stage;
  const { app, target } = await pair.open();
  app.send("question");
  await pair.wait(100);
  const answer = await stage.ask("tunnels");
  assert.equal(answer.type, "io.tcp-sproxy.control.v1.tunnels_response");
  assert.equal(answer.total, 1);
  const [shown] = answer.tunnels as readonly Readonly<
    Record<string, unknown>
  >[];
  assert.ok(shown);
  assert.equal(shown.peer, target.remote);
  assert.equal(shown.received, 8);
  assert.equal(shown.condition, "open");

  const killed = await stage.ask("kill", { id: shown.id });
  assert.equal(killed.code, undefined);
  assert.equal((killed.killed as { id: string }).id, shown.id);
  await pair.wait(1_000);
  assert.equal(pair.server.egress.session.size, 0);
  assert.equal(pair.client.ingress.session.size, 0);
  const lines = log.records.map(({ rawMessage, properties }) =>
    [rawMessage, properties] as const
  );
  const [, why] = lines.find(([msg]) => msg === "an operator ends a tunnel") ??
    [];
  assert.equal(why?.by, "desk pid 7");
  assert.equal(why?.reply, "_INBOX.2");
  const ends = lines.filter(([msg]) => msg === "tunnel closed")
    .map(([, { reason, by, why }]) => [reason, by, why]);
  assert.deepEqual(ends.toSorted(), [
    ["denied", "local", "ended by an operator"],
    ["denied", "peer", "the other end says: ended by an operator"],
  ]);
});

Deno.test("what cannot be done is an error with a code, and counted", async () => {
  using stage = new Stage();
  const missing = await stage.ask("kill", { id: "no.such.1" });
  assert.equal(missing.code, "404");
  assert.equal(missing.text, "no tunnel of this ID is open here");
  assert.equal((await stage.ask("kill")).code, "400");
  assert.equal((await stage.ask("tunnels", { limit: -1 })).code, "400");
  assert.equal((await stage.ask("status", [])).code, "400");
  assert.deepEqual(
    stage.control.endpoints.map(({ name, subject, queueGroup, counter }) => [
      ...[name, subject, queueGroup, counter.requests, counter.errors],
    ]),
    [
      ["status", "proxy.request.ctl.abc.status", "", 1, 1],
      ["tunnels", "proxy.request.ctl.abc.tunnels", "", 1, 1],
      ["kill", "proxy.request.ctl.abc.kill", "", 2, 2],
      ["drain", "proxy.request.ctl.abc.drain", "", 0, 0],
    ],
  );
});

Deno.test("drain answers, then drains; status tells what the process says", async () => {
  using stage = new Stage();
  assert.equal((await stage.ask("status")).state, "ready");
  await stage.pair.open();
  const answer = await stage.ask("drain");
  assert.equal(answer.tunnels, 1);
  assert.equal(stage.drained, 1);
});

Deno.test("tunnels are told up to a limit, and as many as the broker takes", async () => {
  using stage = new Stage();
  for (let i = 0; i < 20; i++) await stage.pair.open();
  const some = await stage.ask("tunnels", { limit: 3 });
  assert.deepEqual([(some.tunnels as unknown[]).length, some.total], [3, 20]);
  stage.pair.server.bus.maxPayload = 2048;
  const few = await stage.ask("tunnels");
  const { length } = few.tunnels as unknown[];
  assert.ok(length > 0 && length <= 10, String(length));
  assert.equal(few.total, 20);
});

Deno.test("where tunnels are sealed the answers, which are not, say no more than the broker sees", async () => {
  using stage = new Stage({
    sealed: true,
    client: { seal: CLIENT_SEAL },
    server: { seal: SERVER_SEAL },
  });
  await stage.pair.open();
  const { tunnels } = await stage.ask("tunnels");
  const [shown] = tunnels as readonly Record<string, unknown>[];
  assert.ok(shown);
  assert.deepEqual(Object.keys(shown).toSorted(), [
    ...["condition", "held", "id", "ms", "received", "sent"],
  ]);
  const killed = await stage.ask("kill", { id: shown.id });
  assert.deepEqual(
    Object.keys(killed.killed as object).toSorted(),
    Object.keys(shown).toSorted(),
  );
});
