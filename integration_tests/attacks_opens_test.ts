/**
 * What somebody with a connection to the broker tries with opens: answers sent
 * elsewhere, other people's names, floods, rubbish, and pretending to be a server.
 */
import assert from "node:assert/strict";
import { failedOpen, roundTrip } from "./support/chaos_flow.ts";
import {
  type AskOptions,
  cpuOf,
  DOCUMENTED,
  type HostileStage,
  metric,
  startHostile,
} from "./support/hostile.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { RawNats } from "./support/raw_nats.ts";
import {
  type LogEntry,
  type Role,
  startClient,
  startServer,
} from "./support/roles.ts";
import { BlackHole } from "./support/surroundings.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";
import { eventually, soon, told } from "./support/waits.ts";

/** What the servers here may dial, where something is to be refused. */
const ONLY_LOOPBACK = ["--allow-target", "127.0.0.0/8:*"];

/** What they may not. */
const DENIED = "192.0.2.1:1";

/** So many opens a second that none is refused for it. */
const ANY_RATE = ["--max-open-rate", "1000000"];

const decoder = new TextDecoder();

/** Waits until the server has answered all that was asked so far, and the broker has passed it on. */
async function settled(
  { server, evil, admin }: HostileStage,
  subject: string,
): Promise<void> {
  await eventually(
    async () => await metric(server, "sproxy_tunnels_opening") === 0,
    () => "opens are still under way",
  );
  // It is the last in order.
  await evil.open({ target: DENIED, subject });
  await admin.flush();
}

/** How many messages the stream of this name holds. */
async function messagesOf(admin: RawNats, stream: string): Promise<number> {
  const { data } = await admin.request(`$JS.API.STREAM.INFO.${stream}`, "");
  return JSON.parse(decoder.decode(data)).state.messages;
}

for (const publish of ["proxy.request", "proxy.request.evil"]) {
  for (const refuseV1 of [true, false]) {
    integrationTest(
      `attack: who may publish ${publish} and nothing else has a server${
        refuseV1 ? " with --refuse-v1" : ""
      } publish to nobody's subject`,
      async () => {
        await using stage = await startHostile({
          accounts: {
            ...DOCUMENTED,
            server: {}, // it alone could do it
            evil: { ...DOCUMENTED.evil, publish: [publish] },
          },
          config: "jetstream: enabled",
          serverArgs: [...ONLY_LOOPBACK, ...refuseV1 ? ["--refuse-v1"] : []],
        });
        const { admin, evil, echo } = stage;
        for (const [name, subject] of [["X", "x.>"], ["ORDERS", "orders.>"]]) {
          const config = { name, subjects: [subject], storage: "memory" };
          await admin.request(
            `$JS.API.STREAM.CREATE.${name}`,
            JSON.stringify(config),
          );
        }
        for (let i = 0; i < 3; i++) await admin.request("x.1", "kept");
        const heard: string[] = [];
        const hear = ({ subject }: { readonly subject: string }): void =>
          void heard.push(subject);
        const victims = [
          "_INBOX.victim.1",
          "p.data.to_client.honest.open.77",
          "p.data.to_client.honest.server.0",
          "p.data.to_server.honest.server.0",
        ];
        for (const victim of victims) admin.subscribe(victim, hear);
        await admin.flush();
        const replies = [
          "$JS.API.STREAM.PURGE.X",
          "orders.new",
          ...victims,
          "_INBOX",
          "p.data.to_client.evil.open.>",
        ];
        const targets = [echo.address, DENIED, "127.0.0.1:0"];
        let natives = 0;
        for (const reply of replies) {
          for (const target of targets) {
            const request: AskOptions = { target, reply, subject: publish };
            evil.ask(request);
            natives++;
            // An inbox is where version 1 clients are answered.
            if (refuseV1 || !reply.startsWith("_INBOX.")) {
              evil.ask({ ...request, v1: true });
            }
          }
        }
        const answers = await soon(
          "the asker itself is answered",
          evil.answered(natives),
        );
        assert.equal(answers.length, natives);
        await settled(stage, publish);
        assert.equal(await messagesOf(admin, "X"), 3);
        assert.equal(await messagesOf(admin, "ORDERS"), 0);
        assert.deepEqual(heard, []);
        // Those of version 2 only; none was dialled for version 1.
        assert.equal(evil.count(undefined), replies.length);
        assert.equal(echo.accepted, replies.length + 1);
      },
    );
  }
}

/** What makes a limit on tunnels. */
const FEW = 5;
const FEW_TUNNELS = ["--max-tunnels-per-client", String(FEW)];

/** So many connections of the honest client work at once. */
async function expectTunnels(
  { honest }: HostileStage,
  count: number,
): Promise<void> {
  using conns = new DisposableStack();
  for (let i = 0; i < count; i++) {
    const conn = conns.use(await dial(honest.endpoint));
    await soon(`tunnel ${i + 1} of ${count} works`, roundTrip(conn));
  }
}

integrationTest(
  "attack: a fenced client cannot use up the tunnels of another whose name it gives",
  async () => {
    await using stage = await startHostile({ serverArgs: FEW_TUNNELS });
    const { evil, echo, server } = stage;
    const before = echo.accepted;
    for (let i = 0; i < 2 * FEW; i++) {
      evil.ask({ target: echo.address, client: "honest" });
    }
    for (let i = 0; i < 2 * FEW; i++) evil.ask({ target: echo.address });
    await soon("its own opens are answered", evil.answered(2 * FEW));
    assert.equal(evil.count(undefined), FEW);
    assert.equal(evil.count("limit"), FEW);
    assert.equal(echo.accepted - before, FEW);
    assert.equal(
      await metric(server, "sproxy_messages_malformed_total"),
      2 * FEW,
    );
    await expectTunnels(stage, FEW);
  },
);

for (const accounts of ["open", "documented"] as const) {
  integrationTest(
    `attack: on the request subject that all share, other names and no version header are one client (${
      accounts === "open" ? "a broker without permissions" : "accounts"
    })`,
    async () => {
      const { evil: own } = DOCUMENTED;
      await using stage = await startHostile({
        accounts: accounts === "open"
          ? "open"
          : { ...DOCUMENTED, evil: { ...own, publish: ["proxy.request"] } },
        serverArgs: FEW_TUNNELS,
      });
      const { evil, admin, echo } = stage;
      const before = echo.accepted;
      const inboxes = new Set<string>();
      admin.subscribe("_INBOX.evil.*", ({ subject }) => inboxes.add(subject));
      await admin.flush();
      const subject = "proxy.request";
      for (let i = 0; i < 2 * FEW; i++) {
        evil.ask({ target: echo.address, subject, client: `name${i}` });
        const reply = `_INBOX.evil.${i}`;
        evil.ask({ target: echo.address, subject, reply, v1: true });
      }
      const last = await soon(
        "its open is answered",
        evil.open({ target: echo.address, subject }),
      );
      assert.equal(last.code, "limit");
      await soon(
        "all of version 1 are answered",
        eventually(
          () => Promise.resolve(inboxes.size === 2 * FEW),
          () => `${inboxes.size} are`,
        ),
      );
      assert.equal(echo.accepted - before, FEW);
      await expectTunnels(stage, FEW);
    },
  );
}

integrationTest(
  "attack: 1,100 opens of one client to a target that swallows them leave room for another's",
  async () => {
    await using stage = await startHostile({ serverArgs: ANY_RATE });
    const { evil, server, serves } = stage;
    using hole = await BlackHole.open({ hostname: "127.0.0.1", port: 0 });
    const target = `127.0.0.1:${hole.endpoint.port}`;
    for (let i = 0; i < 1_100; i++) evil.ask({ target });
    await evil.answered(76);
    assert.ok(evil.count("limit") >= 76, "its excess is told");
    assert.equal(await metric(server, "sproxy_tunnels_opening"), 1_024);
    for (let i = 0; i < 20; i++) {
      for (let k = 0; k < 50; k++) evil.ask({ target });
      await soon(`open ${i} of the honest client`, serves(), 3_000);
    }
    // What made room was told, too.
    await evil.answered(76 + 20 * 50);
    assert.equal(evil.count("limit"), evil.answers.length);
    const opening = await metric(server, "sproxy_tunnels_opening");
    assert.ok(opening > 1_000, `${opening} are under way`);
  },
);

/** Opens of a flood: two seconds of what once cost 7 MB of log each. */
const FLOOD = 32_000;

/** How many are sent before the broker is asked whether it has them. */
const BURST = 1_000;

/** Asks for `count` tunnels, and waits until `counted`; an honest client opens some meanwhile. */
async function flood(
  { evil, serves }: HostileStage,
  options: AskOptions & {
    readonly count: number;
    readonly counted: () => Promise<unknown>;
  },
): Promise<void> {
  const asking = async (): Promise<void> => {
    for (let sent = 0; sent < options.count; sent += BURST) {
      for (let i = 0; i < BURST; i++) evil.ask(options);
      await evil.raw.flush();
    }
    await options.counted();
  };
  let over = false;
  const asked = asking().finally(() => over = true);
  asked.catch(() => {}); // seen below
  while (!over) await soon("the honest client opens", serves(), 5_000);
  await asked;
}

/** Waits until a server has refused so many opens for this reason. */
async function refused(
  server: Role,
  reason: string,
  count: number,
): Promise<void> {
  let value = 0;
  await eventually(
    async () => {
      const label = `reason="${reason}"`;
      value = await metric(server, "sproxy_opens_refused_total", label);
      return value >= count;
    },
    () => `${value} of ${count} are counted`,
    10_000,
  );
  assert.equal(value, count);
}

integrationTest(
  `attack: ${FLOOD} denied opens are a few lines of log, are all counted, and hold up nobody`,
  async () => {
    await using stage = await startHostile({
      serverArgs: [...ONLY_LOOPBACK, ...ANY_RATE],
    });
    const { server } = stage;
    const mark = server.process.mark();
    await flood(stage, {
      target: DENIED,
      count: FLOOD,
      counted: () => refused(server, "denied", FLOOD),
    });
    const says = ({ msg }: LogEntry): boolean => /refused/.test(msg);
    const lines = await told(server, says, { since: mark });
    // The first, and a count every 10 s.
    assert.ok(lines.length <= 20, `${lines.length} lines`);
  },
);

integrationTest(
  "attack: opens over --max-open-rate are refused, then dropped, and cost no other client its own",
  async () => {
    const count = 8_000;
    await using stage = await startHostile({
      serverArgs: ["--max-open-rate", "20"],
    });
    const { server, evil, echo } = stage;
    const mark = server.process.mark();
    for (let i = 0; i < count; i++) evil.ask({ target: echo.address });
    for (let i = 0; i < 10; i++) {
      await soon("the honest client opens", stage.serves(), 5_000);
    }
    let limited = 0;
    await eventually(async () => {
      const label = `reason="limit"`;
      limited = await metric(server, "sproxy_opens_refused_total", label);
      return limited + evil.count(undefined) === count;
    }, () => `${limited} refused, ${evil.count(undefined)} opened`);
    assert.ok(evil.count(undefined) >= 20);
    assert.ok(evil.count("limit") >= 20);
    const { length } = evil.answers;
    assert.ok(length < count / 4, `${length} of ${count} are answered`);
    const lines = server.entries(mark).filter(({ msg }) => /refused/.test(msg));
    assert.ok(lines.length <= 100, `${lines.length} lines`);
  },
);

/** Answers every open as a version 1 server would, and counts what it is then sent. */
class Rogue implements AsyncDisposable {
  readonly raw: RawNats;
  answered = 0;
  taken = 0;

  constructor(raw: RawNats, subjects: readonly string[]) {
    this.raw = raw;
    const answer = ({ reply }: { readonly reply: string }): void => {
      const id = `rogue.${this.answered++}`;
      const Data = btoa(id);
      const message = { ID: "", Reply: "", Data, Metadata: {} };
      raw.publish(reply, JSON.stringify(message));
    };
    for (const subject of subjects) raw.subscribe(subject, answer);
    raw.subscribe("p.data.to_server.rogue.*", () => this.taken++);
  }

  /** Listens on these subjects when this resolves. */
  static async start(
    url: string,
    subjects: readonly string[],
  ): Promise<Rogue> {
    const rogue = new Rogue(await RawNats.connect(url), subjects);
    await rogue.raw.flush();
    return rogue;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.raw.close();
  }
}

/** The line of a client that tells why its next connection came to nothing. */
async function failure(client: Role, address: {
  readonly hostname: string;
  readonly port: number;
}): Promise<string> {
  const { why } = await failedOpen(client, {
    endpoint: address,
    limit: 15_000,
  });
  return String(why);
}

/** Where a rogue may listen: the subject of old, and that of each client. */
const SHARED = ["proxy.request"];
const ALL = [...SHARED, "proxy.request.*"];

for (
  const [where, subjects, told] of [
    [
      "the shared request subject",
      SHARED,
      /version 1 answered, though there were some of version 2/,
    ],
    [
      "all request subjects",
      ALL,
      /no server answers .* in the form of version 1/,
    ],
  ] as const
) {
  integrationTest(
    `attack: a rogue that answers in the form of version 1 on ${where} takes no connection beside a server of version 2, and none after it`,
    async () => {
      await using nats = await startNatsServer();
      await using echo = startEcho();
      await using rogue = await Rogue.start(nats.url, subjects);
      await using server = await startServer(nats.url);
      await using client = await startClient(nats.url, {
        target: echo.address,
        args: ["--open-timeout", "5s"],
      });
      for (let i = 0; i < 20; i++) {
        using conn = await dial(client.endpoint);
        await soon(`connection ${i} reaches its target`, roundTrip(conn));
      }
      await server.process.stop();
      assert.match(await failure(client, client.endpoint), told);
      assert.ok(rogue.answered > 0, "it was heard");
      assert.equal(rogue.taken, 0);
    },
  );
}

integrationTest(
  "attack: with --refuse-v1 such a rogue takes nothing even where there is no server at all",
  async () => {
    await using nats = await startNatsServer();
    await using rogue = await Rogue.start(nats.url, SHARED);
    await using client = await startClient(nats.url, {
      target: "127.0.0.1:1",
      args: ["--refuse-v1"],
    });
    const why = await failure(client, client.endpoint);
    assert.match(why, /only servers of version 1 answered \(--refuse-v1\)/);
    assert.ok(rogue.answered > 0, "it was heard");
    assert.equal(rogue.taken, 0);
  },
);

/** Messages of each kind whose cost is compared. */
const RUBBISH = 60;

/** Just below what brokers take by default, with some room for headers. */
const MUCH = 1_040_000;

/** JSON that takes long to read. */
const DEEP = `{"ID":"","Data":null,"Metadata":{"a":[${
  "[],".repeat(MUCH / 3 - 50)
}[]]}}`;

/** Header lines that take long to read. */
const LINES = Object.fromEntries(
  Array.from({ length: 80_000 }, (_, i) => [`h${i}`, "x"]),
);

/** How many times what a message of that length costs anyway rubbish may cost. */
const DEAR = 6;

integrationTest(
  "attack: requests and frames of 1 MB of JSON or headers cost a server little more than to receive them",
  async () => {
    await using stage = await startHostile({ serverArgs: ANY_RATE });
    const { server, evil, honest } = stage;
    const { server: token } = await evil.open({ target: stage.echo.address });
    const at = `p.data.to_server.evil.${token}.123`;
    // Of a type that a later version may have: it is skipped.
    const skipped = new Uint8Array(MUCH).fill(30);
    const kinds: Record<string, () => unknown> = {
      nothing: () => evil.raw.publish(at, skipped),
      "a body": () => evil.ask({ target: DENIED, body: DEEP }),
      "a body of version 1": () =>
        evil.raw.publish("proxy.request.evil", DEEP, { reply: "_INBOX.x" }),
      "headers": () => evil.ask({ target: DENIED, headers: LINES }),
      "a frame in JSON": () => evil.raw.publish(at, DEEP),
      "a frame with headers": () =>
        evil.raw.publish(at, new Uint8Array(1), { headers: LINES }),
    };
    const costs: Record<string, number> = {};
    using open = await dial(honest.endpoint);
    for (const [kind, send] of Object.entries(kinds)) {
      costs[kind] = await cpuOf(server, async () => {
        for (let i = 0; i < RUBBISH; i++) {
          send();
          await evil.raw.flush();
        }
        // The server has read all of it when it answers what came last.
        await soon("it answers", evil.open({ target: stage.echo.address }));
      });
      await roundTrip(open);
    }
    const { nothing = 0, ...rest } = costs;
    for (const [kind, cost] of Object.entries(rest)) {
      assert.ok(
        cost <= DEAR * nothing + 0.3,
        `${RUBBISH} times ${kind}: ${JSON.stringify(costs)}`,
      );
    }
    await stage.serves();
  },
);

integrationTest(
  "attack: answers of 1 MB of JSON or headers cost a client little more than to receive them",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    await using client = await startClient(nats.url, { target: echo.address });
    await using rogue = await RawNats.connect(nats.url);
    const kinds: Record<string, (reply: string) => unknown> = {
      nothing: (reply) =>
        rogue.publish(
          reply.replace(/open\..*/, "s.77"),
          new Uint8Array(MUCH)
            .fill(30),
        ),
      "a body": (reply) => rogue.publish(reply, DEEP),
      "headers": (reply) => rogue.publish(reply, "{}", { headers: LINES }),
    };
    let rubbish: (reply: string) => unknown = () => {};
    rogue.subscribe("proxy.request.*", ({ reply }) => {
      for (let i = 0; i < RUBBISH / 4; i++) rubbish(reply);
    });
    await rogue.flush();
    const costs: Record<string, number> = {};
    for (const [kind, send] of Object.entries(kinds)) {
      rubbish = send;
      costs[kind] = await cpuOf(client, async () => {
        for (let i = 0; i < 4; i++) {
          using conn = await dial(client.endpoint);
          await soon("it reaches its target", roundTrip(conn));
          await rogue.flush();
          // What was sent before it has been read.
          await roundTrip(conn);
        }
      });
    }
    const { nothing = 0, ...rest } = costs;
    for (const [kind, cost] of Object.entries(rest)) {
      assert.ok(
        cost <= DEAR * nothing + 0.3,
        `${RUBBISH} times ${kind}: ${JSON.stringify(costs)}`,
      );
    }
  },
);
