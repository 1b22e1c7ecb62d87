/** Few file descriptors, and brokers or addresses that say nothing before the one that works. */
import assert from "node:assert/strict";
import { formatAddress } from "./support/addresses.ts";
import { Arrivals } from "./support/chaos_flow.ts";
import { type FaultRelay, startFaultRelay } from "./support/fault_relay.ts";
import { ByteSource, digestOf } from "./support/hash.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { openFiles } from "./support/proc_stats.ts";
import { launchRole, type RoleName } from "./support/roles.ts";
import {
  breakBroker,
  crowd,
  FEW,
  type Scarce,
  startScarce,
} from "./support/scarce.ts";
import {
  BlackHole,
  hostsFile,
  limitFiles,
  PRLIMIT,
  UNSHARE,
  withHosts,
} from "./support/surroundings.ts";
import { startSilent } from "./support/targets.ts";
import { sendAll, writeAll } from "./support/transfer.ts";
import { soon, whenReady } from "./support/waits.ts";

const ROLES = ["client", "server"] as const;
const ANYWHERE = { hostname: "127.0.0.1", port: 0 };

/** Connections that applications want: more than FEW allows. */
const WANTED = 120;

/** What each of them sends, and is to have back: a part of it while the broker is away. */
const SIZE = 256 * 1024;

/** A name that only the hosts files of these tests know. */
const NAME = "brokers.test";

/** Addresses of it that say nothing, and the one that works: the last one that Deno tries. */
const SILENT = [3, 4, 5, 6, 7, 8, 9].map((last) => `127.0.0.${last}`);
const ALIVE = "127.0.0.2";

/** What says nothing, and how it does. */
const SILENCES = {
  "accept and say nothing": () => Promise.resolve(startSilent()),
  "swallow everything": async () => {
    const hole = await BlackHole.open(ANYWHERE);
    return {
      address: formatAddress(hole.endpoint),
      // deno-lint-ignore require-await
      [Symbol.asyncDispose]: async () => hole[Symbol.dispose](),
    };
  },
};

/** Expects that all tunnels of a role that has as many as it may survive a broker that goes, with every byte. */
async function expectSurvived(stage: Scarce, role: RoleName): Promise<void> {
  using all = await crowd(stage.client, WANTED);
  const { served } = all;
  assert.ok(served.length >= 10, `only ${served.length} are served`);
  const flows = served.map((conn, seed) => ({
    conn,
    seed,
    source: new ByteSource(seed, SIZE),
    arrivals: new Arrivals(conn),
  }));
  for (const { conn, source } of flows) await writeAll(conn, source.next());
  const { pid } = stage[role].process;
  // Gone is what was left to the runtime: there is the reserve, and what the link gives back.
  await limitFiles(pid, await openFiles(pid));
  const since = stage[role].process.mark();
  const broken = breakBroker(stage);
  await stage[role].entry(({ msg }) => msg === "connection to NATS lost", {
    since,
  });
  const sent = flows.map(({ conn, source }) => sendAll(conn, source));
  await broken;
  await whenReady(stage[role], 200);
  await Promise.allSettled(sent);
  const after = await Promise.allSettled(
    flows.map(async ({ seed, arrivals }) =>
      assert.deepEqual(
        await soon("it is echoed", arrivals.whole),
        digestOf(seed, SIZE),
      )
    ),
  );
  const lost = after.filter(({ status }) => status === "rejected").length;
  assert.equal(lost, 0, `${lost} of ${served.length} tunnels are lost`);
}

for (const role of ROLES) {
  for (const [what, open] of Object.entries(SILENCES)) {
    integrationTest(
      `descriptors: all tunnels of a ${role} that is short of them survive a break of NATS beside twelve brokers that ${what}`,
      async () => {
        await using cleanup = new AsyncDisposableStack();
        const nats = cleanup.use(await startNatsServer());
        const silent = await Promise.all(Array.from({ length: 12 }, open));
        for (const each of silent) cleanup.use(each);
        const url = [...silent.map(({ address }) => address), nats.url].join();
        const stage = cleanup.use(
          await startScarce({
            nats,
            files: { [role]: FEW },
            urls: { [role]: url },
          }),
        );
        await expectSurvived(stage, role);
      },
      { ignore: PRLIMIT === undefined },
    );
  }

  integrationTest(
    `descriptors: all tunnels of a ${role} that is short of them survive a break of a broker whose name has seven silent addresses`,
    async () => {
      await using cleanup = new AsyncDisposableStack();
      const nats = cleanup.use(
        await startNatsServer({ config: `listen: "${ALIVE}:-1"` }),
      );
      const { port } = nats;
      // It is to come back there.
      await nats.restart({ config: `listen: "${ALIVE}:${port}"` });
      for (const hostname of SILENT) {
        cleanup.use(startSilent({ hostname, port }));
      }
      const lines = [ALIVE, ...SILENT].map((address) => `${address} ${NAME}`);
      const through = withHosts(await hostsFile(cleanup, ...lines));
      const plain = `${ALIVE}:${port}`;
      const stage = cleanup.use(
        await startScarce({
          nats,
          files: { [role]: FEW },
          urls: { client: plain, server: plain, [role]: `${NAME}:${port}` },
          through: { [role]: through },
        }),
      );
      await expectSurvived(stage, role);
    },
    { ignore: PRLIMIT === undefined || UNSHARE === undefined },
  );

  integrationTest(
    `descriptors: a ${role} does not take a refused login for final while it had none to try the other broker`,
    async () => {
      await using strict = await startNatsServer({
        config: "authorization { user: a, password: b }",
      });
      await using nats = await startNatsServer();
      await using first = relayTo(strict);
      await using other = relayTo(nats);
      first.blackhole();
      other.blackhole();
      await using starting = await launchRole(
        role,
        `${first.url},${other.url}`,
        { args: role === "client" ? ["--remote-addr", "127.0.0.1:1"] : [] },
      );
      const { pid } = starting.process;
      await first.whenAccepted(1);
      // All numbers below are taken.
      await limitFiles(pid, 3);
      first.cut();
      const failed = (server: string, why: RegExp): Promise<unknown> =>
        starting.entry((entry) =>
          entry.msg === "cannot connect to NATS" && entry.server === server &&
          why.test(String(entry.why))
        );
      await failed(other.address, /open files/);
      await first.resume();
      await limitFiles(pid, FEW);
      await failed(first.address, /authorization/i);
      await other.resume();
      await starting.entry(({ msg }) => msg === "connected to NATS");
    },
    { ignore: PRLIMIT === undefined },
  );
}

function relayTo({ port }: NatsServer): FaultRelay {
  return startFaultRelay({ hostname: "127.0.0.1", port });
}
