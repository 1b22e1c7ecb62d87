/** What is counted and logged of tunnels of which one side takes nothing. */
import assert from "node:assert/strict";
import { JsonMessage } from "../../lib/wire/json.ts";
import { encodeMessage } from "../../lib/wire/message.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { Pair } from "../support/shell_pair.ts";

const MIB = 1 << 20;

/** Stalled tunnels as the client and as the server count them. */
function counts({ client, server }: Pair): readonly [number, number] {
  return [client.ingress.session.stalled, server.egress.session.stalled];
}

/** Has a stalled socket take one piece. */
async function takeOne(socket: FakeSocket): Promise<void> {
  const { received } = socket;
  socket.flow();
  while (socket.received === received) await Promise.resolve();
  socket.stall();
}

/** A pair with one tunnel, and what is logged of its stalls. */
class Stage extends Pair {
  readonly log = captureLog();
  app = new FakeSocket();
  target = new FakeSocket();
  #seen = 0;

  /** A tunnel whose `reader` takes nothing of what its far side sends. */
  static async start(
    reader: "app" | "target",
    sent: Uint8Array | string,
  ): Promise<Stage> {
    const stage = new Stage();
    const { app, target } = await stage.open();
    Object.assign(stage, { app, target });
    stage[reader].stall();
    (reader === "app" ? target : app).send(sent);
    return stage;
  }

  /** The lines about stalls since the last look, without their IDs. */
  lines(): string[] {
    const { records } = this.log;
    const fresh = records.slice(this.#seen);
    this.#seen = records.length;
    return fresh.filter(({ rawMessage }) =>
      /stalled|goes on/.test(String(rawMessage))
    ).map(({ level, rawMessage, properties }) => {
      const { peer, target, why, times } = properties;
      const often = times === undefined ? "" : `, ${times} times`;
      return `${level} ${rawMessage}: ${why} (${peer}, ${target})${often}`;
    });
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.log[Symbol.dispose]();
  }
}

Deno.test("Session tells at both ends that a target takes nothing, and that it does again", async () => {
  using pair = await Stage.start("target", new Uint8Array(4 * MIB));
  await pair.wait(9_000);
  assert.deepEqual(counts(pair), [0, 0]);
  await pair.wait(2_000);
  assert.deepEqual(counts(pair), [1, 1]);
  assert.deepEqual(pair.lines().toSorted(), [
    "warning tunnel stalled: the target at the other end takes nothing, or too little to be seen (application:1, target:5)",
    "warning tunnel stalled: the target takes nothing, or too little to be seen (target:0, target:5)",
  ]);
  const stalls = pair.log.records.filter(({ rawMessage }) =>
    rawMessage === "tunnel stalled"
  ).map(({ properties }) => properties);
  const [there] = stalls.filter(({ sent }) => sent !== undefined);
  const [here] = stalls.filter(({ sent }) => sent === undefined);
  assert.equal(here?.waiting, there?.sent, "all that was sent waits there");
  for (const ms of [here?.ms, there?.ms]) {
    assert.ok(Number(ms) >= 10_000 && Number(ms) < 11_000, `${ms} ms`);
  }
  await pair.wait(60_000);
  assert.deepEqual(pair.lines(), [], "it is told once");
  pair.target.flow();
  await pair.wait(100);
  assert.deepEqual(counts(pair), [0, 0]);
  assert.deepEqual(pair.lines().toSorted(), [
    "info tunnel goes on again: the target at the other end takes bytes again (application:1, target:5)",
    "info tunnel goes on again: the target takes bytes again (target:0, target:5)",
  ]);
});

Deno.test("Session tells the same of an application", async () => {
  using pair = await Stage.start("app", new Uint8Array(4 * MIB));
  await pair.wait(11_000);
  assert.deepEqual(counts(pair), [1, 1]);
  assert.deepEqual(pair.lines().toSorted(), [
    "warning tunnel stalled: the application at the other end takes nothing, or too little to be seen (target:0, target:5)",
    "warning tunnel stalled: the application takes nothing, or too little to be seen (application:1, target:5)",
  ]);
});

Deno.test("Session knows of less than a window only where it waits", async () => {
  using pair = await Stage.start("target", "little");
  await pair.wait(16_000);
  assert.deepEqual(counts(pair), [0, 1]);
});

Deno.test("Session counts every stalled tunnel, also when memory is short", async () => {
  const memoryBudget = MIB;
  using pair = new Pair({ client: { memoryBudget }, server: { memoryBudget } });
  for (let i = 0; i < 20; i++) {
    const { app, target } = await pair.open();
    target.stall();
    app.send(new Uint8Array(2 * MIB));
  }
  await pair.wait(30_000);
  assert.deepEqual(counts(pair), [20, 20]);
});

Deno.test("Session does not count a reader that is slow", async () => {
  using pair = await Stage.start("target", new Uint8Array(8 * MIB));
  await pair.wait(5_000);
  for (let i = 0; i < 20; i++) {
    await takeOne(pair.target);
    await pair.wait(9_000);
    assert.deepEqual(
      counts(pair),
      [0, 0],
      `after ${pair.target.received} bytes`,
    );
  }
  assert.ok(pair.target.received > 0 && pair.target.received < 8 * MIB);
  assert.deepEqual(pair.lines(), []);
});

Deno.test("Session says of a tunnel that stalls again and again only how often, once a minute", async () => {
  using pair = await Stage.start("target", new Uint8Array(16 * MIB));
  await pair.wait(20_000);
  assert.equal(pair.lines().length, 2);
  for (let i = 0; i < 3; i++) {
    await takeOne(pair.target);
    await pair.wait(20_000);
    assert.deepEqual(counts(pair), [1, 1]);
  }
  const told = pair.lines();
  assert.equal(told.filter((line) => line.includes("goes on")).length, 2);
  const again = told.filter((line) => line.includes("stalled"));
  assert.equal(again.length, 2);
  for (const line of again) assert.match(line, /, 3 times$/);
});

Deno.test("Session does not say that a tunnel goes on when NATS is away, its peer silent, or it ends", async () => {
  using pair = await Stage.start("target", new Uint8Array(4 * MIB));
  await pair.wait(11_000);
  assert.equal(pair.lines().length, 2);
  pair.client.bus.cut();
  await pair.wait(1_000);
  assert.deepEqual(counts(pair), [0, 1]);
  pair.client.bus.restore();
  await pair.wait(1_000);
  assert.deepEqual(counts(pair), [1, 1]);
  pair.broker.filter = ({ from }) => from !== pair.server.bus;
  await pair.wait(15_000);
  assert.deepEqual(counts(pair), [0, 1]);
  pair.broker.filter = () => true;
  await pair.wait(6_000);
  assert.deepEqual(counts(pair), [1, 1]);
  pair.target.reset();
  await pair.wait(10_000);
  assert.deepEqual(pair.sizes, [0, 0]);
  assert.deepEqual(counts(pair), [0, 0]);
  assert.deepEqual(pair.lines(), []);
});

Deno.test("Session tells of a version 1 tunnel what waits here", async () => {
  using pair = new Stage();
  const id = "66840b31340ea8b4";
  const peer = pair.broker.connect();
  using _listening = peer.subscribe(`p.data.to_server.${id}`, () => {});
  const socket = new FakeSocket();
  const { session } = pair.client.ingress;
  session.addV1({
    id,
    number: 5,
    socket,
    target: "db:5",
    rate: MIB,
    listenTimeout: 1_000,
  });
  socket.stall();
  const data = new Uint8Array(1_000);
  const message = encodeMessage({ id, reply: "", data, metadata: {} });
  peer.publish(`p.data.to_client.${id}`, new JsonMessage(message));
  await pair.wait(16_000);
  assert.equal(session.stalled, 1);
  socket.flow();
  await pair.wait(100);
  assert.equal(session.stalled, 0);
  assert.deepEqual(pair.lines(), [
    "warning tunnel stalled: the application takes nothing, or too little to be seen (application:1, db:5)",
    "info tunnel goes on again: the application takes bytes again (application:1, db:5)",
  ]);
});
