/**
 * What somebody with a connection to the broker tries with tunnels: those of
 * others, too many that stall, frames for none at all.
 */
import assert from "node:assert/strict";
import { expectEcho, roundTrip } from "./support/chaos_flow.ts";
import { ByteSource } from "./support/hash.ts";

import {
  cpuOf,
  DOCUMENTED,
  frames,
  Hostile,
  type HostileStage,
  metric,
  startHostile,
} from "./support/hostile.ts";
import { integrationTest } from "./support/integration_test.ts";
import { clientRules, loginAs, urlAs } from "./support/nats_users.ts";
import { startClient } from "./support/roles.ts";
import { startSource, startStalled, Target } from "./support/targets.ts";
import { dial, receiveAll, sendAll } from "./support/transfer.ts";
import { eventually, soon } from "./support/waits.ts";

const MB = 1_000_000;

const encoder = new TextEncoder();

/** A tunnel of the honest client that is in use, and what its frames are published to. */
interface Used extends Disposable {
  readonly conn: Deno.TcpConn;
  /** Subject of the frames to the server. */
  readonly subject: string;
}

/** Opens a tunnel of the honest client, and finds its subject. */
async function useOne({ admin, honest }: HostileStage): Promise<Used> {
  const { promise, resolve } = Promise.withResolvers<string>();
  using _heard = admin.subscribe("p.data.to_server.honest.>", (message) => {
    if (!message.subject.endsWith(".0")) resolve(message.subject);
  });
  await admin.flush();
  const conn = await dial(honest.endpoint);
  await roundTrip(conn);
  const subject = await soon("its frames are seen", promise);
  return { conn, subject, [Symbol.dispose]: () => conn.close() };
}

integrationTest(
  "attack: a fenced client can neither cut another's tunnel, nor write to it, nor read it",
  async () => {
    await using stage = await startHostile();
    const { evil, serves } = stage;
    using used = await useOne(stage);
    const [, , , , server = "", number = ""] = used.subject.split(".");
    const heard: string[] = [];
    for (const subject of ["p.data.>", "p.data.to_client.honest.>", ">"]) {
      evil.raw.subscribe(
        subject,
        (message) => void heard.push(message.subject),
      );
    }
    const there = `p.data.to_server.honest.${server}`;
    const own = `p.data.to_server.evil.${server}`;
    const back = `p.data.to_client.honest.${server}`;
    const data = frames.data(4, encoder.encode("evil"));
    const inJson = encoder.encode(JSON.stringify({
      ID: `honest.${server}.${number}`,
      Reply: "",
      Data: null,
      Metadata: { type: "reset", code: "aborted", text: "so there" },
    }));
    await expectEcho(used.conn, {
      seed: 11,
      size: 256 * MB,
      meanwhile: async (arrivals) => {
        // While bytes are under way: with many of them gone there is no more to it.
        for (
          let round = 1;
          round <= 5 && arrivals.bytes < 64 * MB;
          round++
        ) {
          for (const subject of [there, own, back]) {
            for (const frame of [data, inJson, frames.reset(), frames.ping()]) {
              evil.raw.publish(`${subject}.${number}`, frame);
              evil.raw.publish(`${subject}.0`, frame);
            }
          }
          // The number of an open tunnel, and one that is to come.
          for (const one of [number, nextOf(number)]) {
            evil.ask({
              target: stage.echo.address,
              client: "honest",
              number: parseInt(one, 36),
            });
            evil.raw.publish(`p.data.to_client.honest.open.${one}`, "{}");
          }
          await evil.raw.flush();
          await serves();
          await arrivals.reached(round * MB);
        }
      },
    });
    assert.deepEqual(heard, []);
  },
);

/** The tunnel number after one, as they are written. */
function nextOf(number: string): string {
  return (parseInt(number, 36) + 1).toString(36);
}

/** Memory of the server here, in bytes. */
const BUDGET = 8 * 1024 * 1024;
const SMALL_MEMORY = ["--memory-budget", "8MiB"];

/** Tunnels that stall: what they hold together is far more, were there no limit. */
const STALLED = 300;

/** Those whose bytes nobody reads; the system takes millions of each before anything is held. */
const UNREAD = 40;

/** Payload of a full frame, in bytes. */
const FRAME = 16 * 1024;

/** What the server holds. */
function heldBy(
  { server }: HostileStage,
  buffer: "send" | "receive",
): Promise<number> {
  return metric(server, "sproxy_held_bytes", `buffer="${buffer}"`);
}

/** Waits until the server holds more than `least` bytes, and no more come, and gives them. */
async function whenFull(
  stage: HostileStage,
  buffer: "send" | "receive",
  least: number,
): Promise<number> {
  let last = -1;
  let same = 0;
  await eventually(
    async () => {
      const held = await heldBy(stage, buffer);
      same = held === last ? same + 1 : 0;
      last = held;
      return held > least && same >= 10;
    },
    () => `${last} bytes are held, not ${least}`,
    10_000,
  );
  return last;
}

/** The honest client's bytes get through. */
async function expectTransfer({ honest }: HostileStage): Promise<void> {
  using conn = await dial(honest.endpoint);
  await expectEcho(conn, { seed: 5, size: 8 * MB });
}

integrationTest(
  `attack: ${STALLED} tunnels of a client that acknowledges nothing leave memory of the server's to another`,
  async () => {
    await using source = startSource(3, 4 * MB);
    await using stage = await startHostile({
      accounts: { ...DOCUMENTED, other: clientRules("other") },
      serverArgs: [
        ...SMALL_MEMORY,
        // Who listens for nothing is not given up while the others are looked at.
        ...["--peer-timeout", "100s", "--resume-timeout", "100s"],
      ],
    });
    const { evil } = stage;
    const open = { target: source.address, window: 1 << 20 };
    for (let i = 0; i < STALLED; i++) evil.ask(open);
    await soon("its tunnels are open", evil.answered(STALLED));
    assert.equal(evil.count(undefined), STALLED);
    const held = await whenFull(stage, "send", BUDGET / 2);
    await expectTransfer(stage);
    // It settles at half of the third that is kept for it.
    await using other = await Hostile.connect(
      urlAs("other", stage.nats.url),
      "other",
    );
    await other.open(open);
    const more = await whenFull(stage, "send", held + BUDGET / 8) - held;
    assert.ok(more < BUDGET / 5, `${more} of ${BUDGET}`);
  },
);

integrationTest(
  `attack: ${UNREAD} tunnels of a client to a target that reads nothing leave a third of the server's memory to another`,
  async () => {
    await using target = startStalled();
    await using stage = await startHostile({ serverArgs: SMALL_MEMORY });
    await using greedy = await startClient(stage.nats.url, {
      env: loginAs("evil"),
      target: target.address,
      args: ["--client-id", "evil"],
    });
    using conns = new DisposableStack();
    for (let i = 0; i < UNREAD; i++) {
      const conn = conns.use(await dial(greedy.endpoint));
      void sendAll(conn, new ByteSource(i, 64 * MB)).catch(() => {});
    }
    const held = await whenFull(stage, "receive", BUDGET / 2);
    // Each tunnel may hold one frame whatever the others do.
    const most = BUDGET * 2 / 3 + UNREAD * FRAME;
    assert.ok(held <= most, `${held} of ${BUDGET} bytes are held`);
    await expectTransfer(stage);
  },
);

/** Tunnels of one number. */
const CROWD = 6_000;

/** Frames whose cost is measured. */
const FRAMES = 6_000;

integrationTest(
  `attack: a frame costs as much beside ${CROWD} tunnels of one number as beside 10`,
  async () => {
    await using target = new Target(async (conn) => {
      await receiveAll(conn);
    });
    await using stage = await startHostile({
      accounts: "open",
      serverArgs: [
        ...["--max-open-rate", "1000000"],
        // Nobody answers for all those clients.
        ...["--peer-ping-interval", "1m", "--peer-timeout", "10m"],
        ...["--resume-timeout", "10m"],
      ],
    });
    const { server, evil, admin } = stage;
    let opened = 0;
    let token = "";
    for (let i = 0; i < CROWD; i++) {
      admin.subscribe(`p.data.to_client.c${i}.open.*`, ({ headers }) => {
        if (headers["sproxy-window"] === undefined) return;
        token = headers["sproxy-server"] ?? "";
        opened++;
      });
    }
    await admin.flush();
    const open = async (from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i += 250) {
        const next = Math.min(to, i + 250);
        for (let k = i; k < next; k++) {
          const client = `c${k}`;
          const subject = `proxy.request.${client}`;
          evil.ask({ target: target.address, client, subject, number: 7 });
        }
        await eventually(
          () => Promise.resolve(opened === next),
          () => `${opened} of ${next} are open`,
        );
      }
    };
    const frame = frames.ack();
    const costFrom = (first: number): Promise<number> =>
      cpuOf(server, async () => {
        for (let i = 0; i < FRAMES; i++) {
          const client = `c${first + i % 10}`;
          evil.raw.publish(`p.data.to_server.${client}.${token}.7`, frame);
        }
        // It has read all of them when it answers what came last.
        await soon("it answers", evil.open({ target: stage.echo.address }));
      });
    await open(0, 10);
    const few = await costFrom(0);
    await open(10, CROWD);
    assert.equal(await metric(server, "sproxy_tunnels_open"), CROWD + 1);
    const many = await costFrom(CROWD - 10);
    assert.ok(many <= 6 * few + 0.3, `CPU: ${few} s, then ${many} s`);
    await stage.serves();
  },
);

integrationTest(
  "attack: frames about a pair of processes that a stranger may not publish do nothing",
  async () => {
    await using stage = await startHostile();
    const { evil, server } = stage;
    using used = await useOne(stage);
    const [, , , , token = ""] = used.subject.split(".");
    for (const frame of [frames.reset(), frames.ping(), frames.ack()]) {
      // Refused by the broker, and about nobody.
      evil.raw.publish(`p.data.to_server.honest.${token}.0`, frame);
      evil.raw.publish(`p.data.to_client.honest.${token}.0`, frame);
      evil.raw.publish(`p.data.to_server.evil.${token}.0`, frame);
    }
    await evil.open({ target: stage.echo.address });
    await roundTrip(used.conn);
    assert.ok(!server.entries().some(({ msg }) => /^peer/.test(msg)));
  },
);

/** Tunnels of a client that says again and again that it was away. */
const ASKED_AFTER = 4_000;

/** How often it says so. */
const TIMES = 4_000;

integrationTest(
  `attack: a client with ${ASKED_AFTER} tunnels that says again and again that it was away costs little more than one that pings`,
  async () => {
    await using target = startStalled();
    await using stage = await startHostile({
      serverArgs: ["--max-open-rate", "1000000"],
    });
    const { evil, server, echo } = stage;
    for (let open = 100; open <= ASKED_AFTER; open += 100) {
      for (let i = 0; i < 100; i++) evil.ask({ target: target.address });
      await soon(`${open} tunnels are open`, evil.answered(open));
    }
    assert.equal(evil.count(undefined), ASKED_AFTER);
    const token = evil.answers[0]?.server ?? "";
    const costOf = (frame: Uint8Array): Promise<number> =>
      cpuOf(server, async () => {
        for (let i = 0; i < TIMES; i++) {
          evil.raw.publish(`p.data.to_server.evil.${token}.0`, frame);
          // One by one: what comes together is looked at together.
          await evil.raw.flush();
        }
        await soon("it answers", evil.open({ target: echo.address }));
      });
    const plain = await costOf(frames.ping());
    const away = await costOf(frames.ping({ resumed: true }));
    assert.ok(away <= 2 * plain + 0.2, `CPU: ${plain} s, then ${away} s`);
    await stage.serves();
  },
);

/** Frames of tunnels that never were, in one go: more than are answered between two sweeps. */
const STRAYS = 20_000;

/** Those of another client, of which each is answered. */
const STRAYS_OF_OTHER = 50;

integrationTest(
  `attack: ${STRAYS} frames of one client's unknown tunnels do not keep another's from being answered`,
  async () => {
    await using stage = await startHostile({ accounts: "open" });
    const { admin, evil } = stage;
    const { server } = await evil.open({ target: stage.echo.address });
    const answers = { evil: 0, other: 0 };
    for (const client of ["evil", "other"] as const) {
      admin.subscribe(
        `p.data.to_client.${client}.${server}.*`,
        () => answers[client]++,
      );
    }
    await admin.flush();
    const ping = frames.ping();
    for (let round = 1; round <= 3; round++) {
      for (let i = 1; i <= STRAYS + STRAYS_OF_OTHER; i++) {
        const client = i <= STRAYS ? "evil" : "other";
        const number = (round * STRAYS + i).toString(36);
        const subject = `p.data.to_server.${client}.${server}.${number}`;
        evil.raw.publish(subject, ping);
      }
      await eventually(
        () => Promise.resolve(answers.other === round * STRAYS_OF_OTHER),
        () => `round ${round}: ${JSON.stringify(answers)}`,
        10_000,
      );
    }
    assert.ok(answers.evil > 0, JSON.stringify(answers));
    assert.ok(answers.evil < 3 * STRAYS, JSON.stringify(answers));
  },
);
