/** Few file descriptors: who gets the last ones, and what is said of it. */
import assert from "node:assert/strict";
import { parseAddress } from "./support/addresses.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { limitFiles, PRLIMIT } from "./support/surroundings.ts";
import { soon, told, whenReady } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { openFiles } from "./support/proc_stats.ts";
import { startServer } from "./support/roles.ts";
import {
  AWAY,
  breakBroker,
  crowd,
  FEW,
  startScarce,
} from "./support/scarce.ts";
import { dial, readEnding, writeAll } from "./support/transfer.ts";

const ROLES = ["client", "server"] as const;
const NEEDS_PRLIMIT = { ignore: PRLIMIT === undefined };

/** What most systems allow a process. */
const USUAL = 1_024;

/** Connections that applications want: more than FEW allows. */
const WANTED = 120;

for (const role of ROLES) {
  integrationTest(
    `descriptors: all tunnels of a ${role} that is short of them survive ${AWAY} ms without a broker`,
    async () => {
      await using stage = await startScarce({ files: { [role]: FEW } });
      using all = await crowd(stage.client, WANTED);
      const { length } = all.served;
      assert.ok(length >= 10, `only ${length} are served`);
      await breakBroker(stage);
      await whenReady(stage[role], 200);
      const after = await Promise.allSettled(
        all.served.map((conn) => soon("it goes on", roundTrip(conn))),
      );
      const lost = after.filter(({ status }) => status === "rejected").length;
      assert.equal(lost, 0, `${lost} of ${length} tunnels are lost`);
    },
    NEEDS_PRLIMIT,
  );

  integrationTest(
    `descriptors: a ${role} that is short of them refuses with "limit", leaves nobody waiting, and answers for its status`,
    async () => {
      await using stage = await startScarce({ files: { [role]: FEW } });
      const { client } = stage;
      using all = await crowd(client, WANTED);
      for (const path of ["/health", "/ready", "/metrics"]) {
        const { status } = await soon(
          `${path} of the ${role} is answered`,
          stage[role].status(path),
          2_000,
        );
        assert.equal(status, 200);
      }
      assert.equal(all.left, 0, `${all.left} connections wait`);
      const failed = await told(client, "open failed");
      const reasons = failed.map(({ reason }) => reason);
      assert.deepEqual([...new Set(reasons)], ["limit"]);
      // The log tells the first of each cause, and then how many they were.
      const { text } = await client.status("/metrics");
      assert.equal(
        /^sproxy_opens_refused_total\{reason="limit"\} (\d+)$/m.exec(text)?.[1],
        String(WANTED - all.served.length),
      );
    },
    NEEDS_PRLIMIT,
  );

  integrationTest(
    `descriptors: a ${role} says at start how many it may have, and what that allows`,
    async () => {
      await using stage = await startScarce({ files: { [role]: FEW } });
      const said = stage[role].entries().filter((entry) =>
        /descriptor|open files/i.test(JSON.stringify(entry)) &&
        JSON.stringify(entry).includes(String(FEW))
      );
      assert.equal(said.length, 1, "no line tells of the limit");
      const { text } = await stage[role].status("/metrics");
      assert.equal(
        /^sproxy_tunnels_allowed (\d+)$/m.exec(text)?.[1],
        String(said[0]?.tunnels),
      );
    },
    NEEDS_PRLIMIT,
  );

  integrationTest(
    `descriptors: a thousand half requests on the status port of a ${role} cost no tunnel and not the status`,
    async () => {
      await using stage = await startScarce({ files: { [role]: USUAL } });
      const address = parseAddress(await stage[role].statusAddress());
      using before = await crowd(stage.client, 10);
      assert.equal(before.served.length, 10);
      using halves = new DisposableStack();
      const half = new TextEncoder().encode("GET /health HTTP/1.1\r\nHost:");
      const ends: Promise<unknown>[] = [];
      for (let i = 0; i < 1_000; i++) {
        const conn = halves.use(await dial(address));
        // It may be cut by now.
        await writeAll(conn, half).catch(() => {});
        ends.push(readEnding(conn));
      }
      using after = await crowd(stage.client, 100);
      assert.equal(after.served.length, 100);
      for (const conn of before.served) {
        await soon("it goes on", roundTrip(conn));
      }
      const { status } = await soon(
        "the status is served",
        stage[role].status("/health"),
        2_000,
      );
      assert.equal(status, 200);
      await soon("half requests are ended", Promise.all(ends), 12_000);
    },
    NEEDS_PRLIMIT,
  );
}

for (const role of ROLES) {
  integrationTest(
    `descriptors: tunnels survive a break of NATS though the limit of a running ${role} was lowered, and others wait for theirs`,
    async () => {
      await using stage = await startScarce({});
      const { client } = stage;
      using before = await crowd(client, 10);
      assert.equal(before.served.length, 10);
      const { pid } = stage[role].process;
      await limitFiles(pid, await openFiles(pid) + 3);
      // At a client they wait in the system, at a server they are refused.
      using waiting = new DisposableStack();
      for (let i = 0; i < 20; i++) waiting.use(await dial(client.endpoint));
      const shortage = role === "client"
        ? client.entry(({ msg }) => msg === "cannot accept a connection")
        : client.entry(({ reason }) => reason === "limit");
      await soon("the shortage is told", shortage);
      for (let i = 0; i < 3; i++) {
        await breakBroker(stage);
        for (const conn of before.served) {
          await soon("it goes on", roundTrip(conn));
        }
      }
      await limitFiles(pid, USUAL);
      using after = await crowd(client, 10);
      assert.equal(after.served.length, 10);
    },
    NEEDS_PRLIMIT,
  );
}

integrationTest(
  "descriptors: what a server that is short of them refuses another one serves",
  async () => {
    await using stage = await startScarce({ files: { server: FEW } });
    await using other = await startServer(stage.nats.url);
    using all = await crowd(stage.client, WANTED);
    // A few were asked again of the first one each time.
    assert.ok(all.served.length >= WANTED - 5, `only ${all.served.length}`);
    const { text } = await other.status("/metrics");
    const open = /^sproxy_tunnels_open (\d+)$/m.exec(text)?.[1];
    assert.ok(Number(open) > WANTED / 2, `the other one serves ${open}`);
  },
  NEEDS_PRLIMIT,
);

integrationTest(
  `descriptors: tunnels of two workers that are short of them survive ${AWAY} ms without a broker`,
  async () => {
    const files = { client: FEW + 32, server: FEW + 32 };
    await using stage = await startScarce({ files, args: ["--workers", "2"] });
    for (const role of ROLES) {
      await stage[role].entry(({ msg }) => msg === "workers started");
    }
    using all = await crowd(stage.client, WANTED);
    const { length } = all.served;
    assert.ok(length >= 10, `only ${length} are served`);
    await breakBroker(stage);
    for (const conn of all.served) await soon("it goes on", roundTrip(conn));
  },
  NEEDS_PRLIMIT,
);

integrationTest(
  `descriptors: roles with ${USUAL} of them live through 1,050 honest tunnels, and serve those that fit`,
  async () => {
    await using stage = await startScarce({
      files: { client: USUAL, server: USUAL },
    });
    using all = await crowd(stage.client, 1_050);
    assert.ok(all.served.length > 900, `only ${all.served.length} are served`);
    for (const role of ROLES) {
      const { status } = await soon(
        `the status of the ${role} is served`,
        stage[role].status("/health"),
        2_000,
      );
      assert.equal(status, 200);
    }
    for (const conn of all.served.slice(0, 50)) {
      await soon("it goes on", roundTrip(conn));
    }
  },
  NEEDS_PRLIMIT,
);
