/** What is small goes by a connection of its own beside bulk, and nothing depends on that one. */
import assert from "node:assert/strict";
import { Arrivals, expectEcho, roundTrip } from "./support/chaos_flow.ts";
import { startStage } from "./support/chaos_stage.ts";
import { digestOf } from "./support/hash.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startSource } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";

const ROLES = ["client", "server"] as const;

const MIB = 1024 * 1024;

/** How many round trips show that a tunnel works. */
const TRIPS = 20;

const SECOND = "second connection to NATS: what is small overtakes bulk";
const LOST = "connection to NATS lost";
const NO_SECOND =
  "no second connection to NATS: what is small waits behind bulk";

async function trips(conn: Deno.Conn): Promise<void> {
  for (let i = 0; i < TRIPS; i++) await roundTrip(conn);
}

integrationTest(
  "express: bulk beside a small tunnel brings a second connection at both ends, which breaks, and no byte is lost",
  async () => {
    await using stage = await startStage({ relays: true });
    const { client, server, nats } = stage;
    const accepted = (): number[] =>
      ROLES.map((role) => stage.relay(role).accepted);
    using small = await dial(stage.endpoint);
    await trips(small);
    assert.deepEqual(accepted(), [1, 1]);
    using bulk = await dial(stage.endpoint);
    await expectEcho(bulk, {
      seed: 7,
      size: 1_600 * MIB,
      meanwhile: async () => {
        await Promise.all(
          [client, server].map((role) =>
            role.entry(({ msg }) => msg === SECOND)
          ),
        );
        const { connections } = await nats.monitor("connz");
        assert.ok(Array.isArray(connections));
        const express = connections.filter(({ name }) =>
          / express /.test(name)
        );
        assert.equal(express.length, 2);
        await trips(small);
        for (const role of ROLES) {
          stage.relay(role).cutNewest();
          await stage[role].entry(({ msg }) => msg === NO_SECOND);
          await trips(small);
        }
      },
    });
    for (const role of [client, server]) {
      const lost = role.entries().filter(({ msg }) => msg === LOST);
      assert.deepEqual(lost, [], "the first connection is the one it was");
    }
    await trips(small);
  },
);

integrationTest(
  "express: the broker is killed under both connections, and both ways go on",
  async () => {
    const size = 200 * MIB;
    await using target = startSource(3, size);
    await using stage = await startStage({ target: target.address });
    using one = await dial(stage.endpoint);
    const first = new Arrivals(one);
    using two = await dial(stage.endpoint);
    const second = new Arrivals(two);
    await Promise.all(
      [stage.client, stage.server].map((role) =>
        role.entry(({ msg }) => msg === SECOND)
      ),
    );
    await stage.nats.kill();
    await stage.nats.restart();
    for (const { whole } of [first, second]) {
      assert.deepEqual(await whole, digestOf(3, size));
    }
  },
);
