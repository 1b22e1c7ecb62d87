/** A broker of a cluster dies: both roles go on through the others. */
import assert from "node:assert/strict";
import { expectEcho, roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import {
  type NatsCluster,
  type NatsServer,
  startNatsCluster,
} from "./support/nats_server.ts";
import { owned } from "./support/owned.ts";
import { type Role, startTunnel, type Tunnel } from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";

const MIB = 1024 * 1024;

/** The node a role is connected to, by what it logged last. */
function nodeOf({ nodes }: NatsCluster, role: Role): NatsServer {
  const entry = role.entries().findLast(({ msg }) =>
    msg.startsWith("connected to NATS")
  );
  const node = nodes.find(({ port }) => entry?.server === `127.0.0.1:${port}`);
  if (node === undefined) {
    throw new Error(`Connected to no node: ${JSON.stringify(entry)}`);
  }
  return node;
}

/** Kills the node a role is connected to, and waits until that is connected to another. */
async function failOver(cluster: NatsCluster, role: Role): Promise<NatsServer> {
  const node = nodeOf(cluster, role);
  const mark = role.process.mark();
  await node.kill();
  const { server } = await role.entry(
    ({ msg }) => msg === "connected to NATS again",
    { since: mark },
  );
  assert.notEqual(server, `127.0.0.1:${node.port}`);
  return node;
}

/** A cluster, and a tunnel whose roles start at different nodes and know all of them. */
async function startAcross(
  target: string,
): Promise<
  AsyncDisposable & { readonly cluster: NatsCluster; readonly tunnel: Tunnel }
> {
  await using cleanup = new AsyncDisposableStack();
  const cluster = cleanup.use(await startNatsCluster());
  const [a, b, c] = cluster.nodes.map(({ url }) => url);
  const tunnel = cleanup.use(
    await startTunnel({
      nats: cluster,
      target,
      serverNats: [a, b, c].join(","),
      clientNats: [b, c, a].join(","),
    }),
  );
  return owned(cleanup, { cluster, tunnel });
}

for (const side of ["server", "client"] as const) {
  integrationTest(
    `cluster: the node of the ${side} dies during a transfer, bytes the same`,
    async () => {
      await using target = startEcho();
      await using across = await startAcross(target.address);
      const { cluster, tunnel } = across;
      using conn = await dial(tunnel.endpoint);
      await expectEcho(conn, {
        seed: 1,
        size: 32 * MIB,
        meanwhile: async (arrivals) => {
          await arrivals.reached(MIB);
          await failOver(cluster, tunnel[side]);
        },
      });
      using next = await dial(tunnel.endpoint);
      await roundTrip(next);
    },
  );
}

integrationTest(
  "cluster: nodes die one after the other and come back, one tunnel lives through it",
  async () => {
    await using target = startEcho();
    await using across = await startAcross(target.address);
    const { cluster, tunnel } = across;
    using conn = await dial(tunnel.endpoint);
    for (let round = 0; round < 2; round++) {
      for (const role of [tunnel.server, tunnel.client]) {
        await roundTrip(conn);
        const node = await failOver(cluster, role);
        await roundTrip(conn);
        await node.restart();
        await node.whenJoined(2);
      }
    }
    await expectEcho(conn, { seed: 2, size: MIB });
  },
);
