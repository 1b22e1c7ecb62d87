/** What the network does between a role and the broker: cuts anywhere, refusals, silence, delay. */
import assert from "node:assert/strict";
import {
  cutAtRandom,
  expectEcho,
  medianRoundTrip,
  roundTrip,
  seededRandom,
} from "./support/chaos_flow.ts";
import { QUICK, startStage, tunnelEnd, warm } from "./support/chaos_stage.ts";
import { integrationTest } from "./support/integration_test.ts";
import type { RoleName } from "./support/roles.ts";
import { dial, readEnding } from "./support/transfer.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const ROLES = ["server", "client"] as const;

for (const side of ROLES) {
  integrationTest(
    `fault: connection of the ${side} cut at 8 random bytes, also while it logs in`,
    async () => {
      const size = 40 * MIB;
      const seed = Math.floor(Math.random() * 2 ** 32);
      const random = seededRandom(seed);
      await using stage = await startStage({
        relays: true,
      });
      const before = await warm(stage);
      try {
        await stage.expectEcho({
          seed: 5,
          size,
          meanwhile: () =>
            cutAtRandom(stage.relay(side), {
              times: 8,
              random,
              range: { from: 100, to: 4 * MIB },
            }),
        });
      } catch (cause) {
        throw new Error(`With seed ${seed}`, { cause });
      }
      assert.ok(stage.relay(side).accepted > 8);
      await stage.expectNoLeaks(before);
    },
  );

  integrationTest(
    `fault: connection of the ${side} cut and its dial refused for a while`,
    async () => {
      await using stage = await startStage({
        relays: true,
      });
      const relay = stage.relay(side);
      const role = stage.role(side);
      await stage.expectEcho({
        seed: 6,
        size: 24 * MIB,
        meanwhile: async (arrivals) => {
          await arrivals.reached(MIB);
          await relay.refuse();
          relay.cut();
          const failed = await role.entry(({ msg }) =>
            msg === "cannot connect to NATS"
          );
          assert.ok(JSON.stringify(failed).includes(relay.address));
          await relay.accept();
        },
      });
    },
  );

  integrationTest(
    `fault: silence of the broker towards the ${side} is noticed by its pings`,
    async () => {
      await using stage = await startStage({
        relays: true,
        args: QUICK,
      });
      const role = stage.role(side);
      await stage.expectEcho({
        seed: 7,
        size: 24 * MIB,
        meanwhile: async (arrivals) => {
          await arrivals.reached(MIB);
          stage.relay(side).blackhole();
          const lost = await role.entry(({ msg }) =>
            msg === "connection to NATS lost"
          );
          assert.match(String(lost.why), /pings/);
          await stage.relay(side).resume();
        },
      });
    },
  );
}

integrationTest(
  "fault: both connections cut at once at random bytes, five times",
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = seededRandom(seed);
    await using stage = await startStage({
      relays: true,
    });
    try {
      await stage.expectEcho({
        seed: 9,
        size: 32 * MIB,
        meanwhile: async () => {
          for (let i = 0; i < 5; i++) {
            await cutAtRandom(stage.relay(i % 2 ? "server" : "client"), {
              times: 1,
              random,
              range: { from: MIB, to: 4 * MIB },
            });
            for (const side of ROLES) stage.relay(side).cut();
          }
        },
      });
    } catch (cause) {
      throw new Error(`With seed ${seed}`, { cause });
    }
  },
);

for (const side of ROLES) {
  integrationTest(
    `fault: only the ${side} away from NATS for too long cuts both ends, with the reason`,
    async () => {
      await using stage = await startStage({
        relays: true,
        args: [...QUICK, "--resume-timeout", "1s", "--peer-timeout", "700ms"],
      });
      using conn = await dial(stage.endpoint);
      await roundTrip(conn);
      await stage.relay(side).refuse();
      stage.relay(side).cut();
      assert.equal((await readEnding(conn)).bytes, 0);
      await stage.echo.whenOpenAtMost(0);
      await tunnelEnd(stage.role(side), { reason: "nats-down" });
      await tunnelEnd(stage.role(otherRole(side)), { reason: "peer-gone" });
    },
  );
}

integrationTest(
  "fault: at 50 ms of delay a stream has several times 256 KiB under way",
  async () => {
    const size = 64 * MIB;
    await using stage = await startStage({
      relays: true,
    });
    stage.relay("client").delay(25);
    using beside = await dial(stage.endpoint);
    await roundTrip(beside);
    const rtt = await medianRoundTrip(beside, 5);
    assert.ok(rtt >= 50, `${rtt} ms`);
    using conn = await dial(stage.endpoint);
    let underWay = 0;
    let roundTrips = 0;
    await expectEcho(conn, {
      seed: 12,
      size,
      meanwhile: async (arrivals) => {
        // Counted in round trips beside it, not in time: a slow machine slows both.
        while (arrivals.bytes < size - 16 * MIB) {
          await roundTrip(beside);
          roundTrips++;
          const held = await stage.metric(
            "client",
            "sproxy_held_bytes",
            `buffer="send"`,
          );
          underWay = Math.max(underWay, held);
        }
      },
    });
    assert.ok(underWay > 4 * 256 * KIB, `${underWay} bytes under way`);
    const perRoundTrip = (size - 16 * MIB) / roundTrips;
    assert.ok(
      perRoundTrip > 3 * 256 * KIB,
      `${perRoundTrip} bytes per round trip`,
    );
  },
);

function otherRole(role: RoleName): RoleName {
  return role === "client" ? "server" : "client";
}
