/** An end that takes nothing, told apart from one that is lost. */
import assert from "node:assert/strict";
import { expectEcho, roundTrip } from "./support/chaos_flow.ts";
import { pause } from "./support/changes.ts";
import { metricValue } from "./support/chaos_stage.ts";
import { integrationTest } from "./support/integration_test.ts";
import {
  type LogEntry,
  type Role,
  type RoleName,
  startTunnel,
} from "./support/roles.ts";
import { sideBySide } from "./support/side_by_side.ts";
import { startSource, startStalled } from "./support/targets.ts";
import {
  dial,
  isDisconnect,
  receiveAll,
  writeAll,
} from "./support/transfer.ts";
import { comes, soon, told } from "./support/waits.ts";

const MIB = 1024 * 1024;

const STATUS = ["--status-addr", "127.0.0.1:0"];

/** The number of tunnels whose far side takes nothing, as the status tells. */
async function stalled(role: Role): Promise<number> {
  const { text } = await role.status("/metrics");
  return metricValue(text, "sproxy_tunnels_stalled");
}

/** Waits until each role counts so many stalled tunnels. */
async function whenStalled(
  roles: readonly Role[],
  count: number,
): Promise<void> {
  for (const role of roles) {
    await comes(async () => {
      const found = await stalled(role);
      return found === count
        ? undefined
        : `the ${role.process.name} says that ${found} tunnels are stalled`;
    });
  }
}

/** Whether a line is of a stalled tunnel. */
function isOfStall({ msg }: LogEntry): boolean {
  return /stalled|goes on/.test(msg);
}

/** What the log of a role says of stalled tunnels, so far. */
function lines(role: Role): LogEntry[] {
  return role.entries().filter(isOfStall);
}

/** Writes until nothing more is taken. */
async function fill(conn: Deno.TcpConn): Promise<void> {
  try {
    await writeAll(conn, new Uint8Array(64 * MIB));
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
}

/** The target takes nothing for long, and then goes on. */
async function targetStalls(): Promise<void> {
  await using target = startStalled();
  await using tunnel = await startTunnel({
    target: target.address,
    clientArgs: STATUS,
  });
  const { client, server } = tunnel;
  using conn = await dial(tunnel.endpoint);
  const filling = fill(conn);
  await whenStalled([client, server], 1);
  for (
    const [role, why] of [
      [
        client,
        "the target at the other end takes nothing, or too little to be seen",
      ],
      [server, "the target takes nothing, or too little to be seen"],
    ] as const
  ) {
    const [line, ...more] = await told(role, isOfStall);
    assert.deepEqual(more, []);
    assert.equal(line?.level, "warn");
    assert.equal(line.why, why);
    assert.equal(line.target, target.address);
    assert.ok(Number(line.ms) >= 10_000, JSON.stringify(line));
  }
  assert.ok(Number(lines(server)[0]?.waiting) > 0);
  target.release();
  await whenStalled([client, server], 0);
  for (const role of [client, server]) {
    await role.entry(({ msg }) => msg === "tunnel goes on again");
    assert.equal(lines(role).length, 2);
  }
  await filling;
}

/** The application takes nothing for long, and then goes on. */
async function applicationStalls(): Promise<void> {
  await using target = startSource(1, 64 * MIB);
  await using tunnel = await startTunnel({
    target: target.address,
    clientArgs: STATUS,
  });
  const { client, server } = tunnel;
  using conn = await dial(tunnel.endpoint);
  await whenStalled([client, server], 1);
  assert.deepEqual(
    await Promise.all(
      [client, server].map(async (role) =>
        (await told(role, isOfStall)).map(({ why }) => why)
      ),
    ),
    [
      ["the application takes nothing, or too little to be seen"],
      [
        "the application at the other end takes nothing, or too little to be seen",
      ],
    ],
  );
  await conn.closeWrite();
  assert.equal((await receiveAll(conn)).bytes, 64 * MIB);
  await whenStalled([client, server], 0);
}

/** The process at the far end is silent, until it is given up. */
async function processSilent(): Promise<void> {
  await using tunnel = await startTunnel({
    clientArgs: [...STATUS, "--resume-timeout", "13s"],
  });
  using conn = await dial(tunnel.endpoint);
  await roundTrip(conn);
  tunnel.server.process.pause();
  const filling = fill(conn);
  const closed = await soon(
    "the tunnel is ended",
    tunnel.client.entry(({ msg }) => msg === "tunnel closed"),
  );
  assert.equal(closed.reason, "peer-gone");
  assert.deepEqual(lines(tunnel.client), []);
  assert.equal(await stalled(tunnel.client), 0);
  await filling;
}

integrationTest(
  "a stall is counted and told once at both ends, and that it goes on; a silent process is taken for none",
  () =>
    sideBySide({
      "a tunnel whose target takes nothing for long is counted as stalled, and both logs say so once, and that it goes on":
        targetStalls,
      "a tunnel whose application takes nothing for long is told as that at both ends":
        applicationStalls,
      "a tunnel whose far process is silent is not taken for one whose far side takes nothing":
        processSilent,
    }),
);

/** Stands still in the middle of a transfer. */
async function standsStill(name: RoleName): Promise<void> {
  await using tunnel = await startTunnel({ clientArgs: STATUS });
  using conn = await dial(tunnel.endpoint);
  const { process } = tunnel[name];
  await expectEcho(conn, {
    seed: 1,
    size: 64 * MIB,
    meanwhile: async (arrivals) => {
      await arrivals.reached(8 * MIB);
      process.pause();
      await pause(12_500); // longer than what counts as a stall
      process.resume();
    },
  });
  for (const role of [tunnel.client, tunnel.server]) {
    assert.deepEqual(lines(role), []);
  }
}

integrationTest(
  "a process that stands still in the middle of a transfer is told as no stall, at either end",
  () =>
    sideBySide({
      "the client stands still": () => standsStill("client"),
      "the server stands still": () => standsStill("server"),
    }),
);
