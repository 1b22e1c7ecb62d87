/** Payload limits below the broker's: of an account, and lowered while tunnels run. */
import assert from "node:assert/strict";
import { expectEcho } from "./support/chaos_flow.ts";
import { metricValue } from "./support/chaos_stage.ts";
import { soon } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { type Role, startTunnel, type Tunnel } from "./support/roles.ts";
import { dial } from "./support/transfer.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** So that a role that never connects fails soon. */
const IMPATIENT = ["--nats-connect-timeout", "5s"];

/** An account whose messages may have so many bytes, and a user of it without a password. */
function accountOf(maxPayload: number): string {
  return `accounts { A { users: [ { user: a, password: a } ], limits { max_payload: ${maxPayload} } } }
no_auth_user: a`;
}

async function startTunnelOn(nats: NatsServer): Promise<Tunnel> {
  return await startTunnel({
    nats,
    serverArgs: IMPATIENT,
    clientArgs: [...IMPATIENT, "--status-addr", "127.0.0.1:0"],
  });
}

/** How often a role has connected to NATS again. */
async function reconnects(role: Role): Promise<number> {
  const { text } = await role.status("/metrics");
  return metricValue(text, "sproxy_nats_reconnects_total");
}

integrationTest(
  "roles of an account with a payload limit below the broker's connect once, and carry bytes",
  async () => {
    await using nats = await startNatsServer({ config: accountOf(8 * KIB) });
    await using tunnel = await startTunnelOn(nats);
    using conn = await dial(tunnel.endpoint);
    await soon(
      "megabytes come back",
      expectEcho(conn, { seed: 1, size: 4 * MIB }),
    );
    for (const role of [tunnel.server, tunnel.client]) {
      assert.equal(await reconnects(role), 0);
    }
  },
);

for (
  const [what, config] of [
    ["an account's", accountOf],
    ["the broker's", (most: number): string => `max_payload: ${most}`],
  ] as const
) {
  for (const most of [16 * KIB, 4 * KIB]) {
    integrationTest(
      `tunnels go on when ${what} payload limit falls to ${most} bytes in the middle of a transfer: one connection is lost at most`,
      async () => {
        await using nats = await startNatsServer({ config: config(MIB) });
        await using tunnel = await startTunnelOn(nats);
        using conn = await dial(tunnel.endpoint);
        const size = 64 * MIB;
        await soon(
          "all bytes come back",
          expectEcho(conn, {
            seed: 1,
            size,
            meanwhile: async (arrivals) => {
              await arrivals.reached(size / 16);
              await nats.reload(config(most));
            },
          }),
          60_000,
        );
        // The broker tells nobody; what was under way was too large for it.
        for (const role of [tunnel.server, tunnel.client]) {
          assert.ok(await reconnects(role) <= 1);
        }
      },
    );
  }
}
