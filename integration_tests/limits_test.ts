/** What is bounded stays bounded: memory, tunnels, opens, file descriptors, quiet time. */
import assert from "node:assert/strict";
import { medianRoundTrip, roundTrip } from "./support/chaos_flow.ts";
import {
  QUICK,
  type Stage,
  startStage,
  tunnelEnd,
  warm,
} from "./support/chaos_stage.ts";
import { TIGHT_SOCKETS, TightSockets } from "./support/chaos_tight.ts";
import { formatAddress, parseAddress } from "./support/addresses.ts";
import { ByteSource } from "./support/hash.ts";
import { eventually } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { openFiles, residentBytes } from "./support/proc_stats.ts";
import type { RoleName } from "./support/roles.ts";
import { limitFiles, PRLIMIT } from "./support/surroundings.ts";
import { startStalled, Target } from "./support/targets.ts";
import {
  dial,
  isDisconnect,
  readEnding,
  readExactly,
  readToEnd,
  receiveAll,
  sendAll,
  writeAll,
} from "./support/transfer.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const ROLES = ["server", "client"] as const;

/** The default of `--memory-budget`. */
const BUDGET = 32 * MIB;

/** What a tunnel may always hold, whatever is left of the budget: one full frame. */
const FRAME = 17 * KIB;

/** Readers that have stopped. */
const STALLED = 500;

/** More than the first window and what the kernel takes beside it. */
const BEYOND_WINDOW = 768 * KIB;

/**
 * Resident memory that stalled tunnels may cost beyond the budget, in bytes:
 * their own objects and sockets, and the allocator's slack.
 */
const OVERHEAD = 128 * MIB;

/** Round trips whose median is taken. */
const ROUND_TRIPS = 50;

/** Bytes that have come and not been written, or been read and not acknowledged. */
async function held(stage: Stage, role: RoleName): Promise<number> {
  return await stage.metric(role, "sproxy_held_bytes");
}

/** Waits until what a stage has moved does not change any more: all are stalled. */
async function whenStill(stage: Stage): Promise<void> {
  let last = "";
  let same = 0;
  await eventually(async () => {
    const now: number[] = [];
    for (const role of ROLES) {
      now.push(await stage.metric(role, "sproxy_bytes_total"));
      now.push(await held(stage, role));
    }
    same = last === String(now) ? same + 1 : 0;
    last = String(now);
    return same >= 15;
  }, () => `still moving: ${last}`);
}

/** Expects that each role holds no more than its budget allows. */
async function expectBounded(
  stage: Stage,
  before: Readonly<Record<RoleName, number>>,
): Promise<void> {
  for (const role of ROLES) {
    for (const buffer of ["send", "receive"]) {
      const bytes = await stage.metric(
        role,
        "sproxy_held_bytes",
        `buffer="${buffer}"`,
      );
      assert.ok(
        bytes <= BUDGET + STALLED * FRAME,
        `the ${role} holds ${bytes} bytes (${buffer})`,
      );
    }
    const grown = await residentBytes(stage.role(role).process.pid) -
      before[role];
    assert.ok(
      grown <= 2 * BUDGET + OVERHEAD,
      `the ${role} has grown by ${grown} bytes`,
    );
  }
  assert.equal(await stage.nats.slowConsumers(), 0);
}

async function resident(
  stage: Stage,
): Promise<Readonly<Record<RoleName, number>>> {
  return {
    server: await residentBytes(stage.server.process.pid),
    client: await residentBytes(stage.client.process.pid),
  };
}

integrationTest(
  `limits: ${STALLED} applications that read nothing stay within the budget, and the next tunnel is as quick as ever`,
  async () => {
    const STALL = "s".charCodeAt(0);
    await using target = new Target(async (conn) => {
      const [first] = await readExactly(conn, 1);
      if (first === STALL) {
        await sendAll(conn, new ByteSource(1, BEYOND_WINDOW));
      } else {
        const buffer = new Uint8Array(KIB);
        for (;;) {
          const count = await conn.read(buffer);
          if (count === null) return;
          await writeAll(conn, buffer.subarray(0, count));
        }
      }
    });
    await using stage = await startStage({ target: target.address });
    using stalled = new TightSockets();
    {
      using conn = await dial(stage.endpoint);
      await writeAll(conn, new Uint8Array(1));
      await roundTrip(conn);
    }
    const baseline = await stage.baseline();
    const memory = await resident(stage);
    const median = async (): Promise<number> => {
      using conn = await dial(stage.endpoint);
      await writeAll(conn, new Uint8Array(1));
      return await medianRoundTrip(conn, ROUND_TRIPS);
    };
    const quiet = await median();
    for (let i = 0; i < STALLED; i++) {
      stalled.connect(stage.endpoint.port, new Uint8Array([STALL]));
    }
    await target.whenAccepted(STALLED);
    await whenStill(stage);
    const holding = await held(stage, "client");
    assert.ok(holding > BUDGET / 2, `only ${holding} bytes are held`);
    await expectBounded(stage, memory);
    const beside = await median();
    assert.ok(
      beside <= 5 * quiet + 1,
      `${beside} ms with stalled readers, ${quiet} ms without`,
    );
    await expectBounded(stage, memory);
    stalled.closeAll();
    await stage.expectNoLeaks(baseline);
  },
  { ignore: !TIGHT_SOCKETS },
);

integrationTest(
  `limits: ${STALLED} targets that read nothing stay within the budget`,
  async () => {
    using stalled = new TightSockets();
    const { port } = stalled.listen();
    await using stage = await startStage({
      target: formatAddress({ hostname: "127.0.0.1", port }),
    });
    const memory = await resident(stage);
    const conns = await Promise.all(
      Array.from({ length: STALLED }, () => dial(stage.endpoint)),
    );
    const sending = conns.map((conn) =>
      sendAll(conn, new ByteSource(1, BEYOND_WINDOW)).catch((error) => {
        if (!isDisconnect(error)) throw error;
      })
    );
    await stage.whenMetric("server", "sproxy_tunnels_open", {
      is: (open) => open === STALLED,
    });
    await whenStill(stage);
    const holding = await held(stage, "server");
    assert.ok(holding > BUDGET / 2, `only ${holding} bytes are held`);
    await expectBounded(stage, memory);
    for (const conn of conns) conn.close();
    await Promise.all(sending);
    stalled.closeAll();
    await stage.whenIdle();
  },
  { ignore: !TIGHT_SOCKETS },
);

for (
  const [flag, role, limit] of [
    ["--max-tunnels", "client", 2],
    ["--max-tunnels", "server", 2],
    ["--max-tunnels-per-client", "server", 2],
  ] as const
) {
  integrationTest(
    `limits: ${flag} of the ${role} refuses one more, logs and counts it`,
    async () => {
      await using stage = await startStage({
        [`${role}Args`]: [flag, String(limit)],
      });
      const before = await warm(stage);
      {
        using first = await dial(stage.endpoint);
        using second = await dial(stage.endpoint);
        for (const conn of [first, second]) await roundTrip(conn);
        const mark = stage.client.process.mark();
        using third = await dial(stage.endpoint);
        assert.equal((await readEnding(third)).bytes, 0);
        await expectRefused(stage, { role, flag, mark });
        for (const conn of [first, second]) await roundTrip(conn);
      }
      await stage.whenIdle();
      await stage.expectServing();
      await stage.expectNoLeaks(before);
    },
  );
}

/** Expects that an open was refused for a limit, and that each role concerned says so. */
async function expectRefused(
  stage: Stage,
  options: {
    readonly role: RoleName;
    readonly flag: string;
    readonly mark: number;
  },
): Promise<void> {
  const { role, flag, mark } = options;
  const entry = await stage.client.entry(({ msg }) => msg === "open failed", {
    since: mark,
  });
  assert.equal(entry.reason, "limit");
  assert.ok(String(entry.why).includes(flag), String(entry.why));
  for (const who of new Set<RoleName>([role, "client"])) {
    const count = await stage.metric(
      who,
      "sproxy_opens_refused_total",
      `reason="limit"`,
    );
    assert.ok(count > 0, `the ${who} counts no refusal`);
  }
}

integrationTest(
  "limits: --max-opening of the client refuses one more, logs and counts it",
  async () => {
    await using stage = await startStage({
      clientArgs: ["--max-opening", "2"],
    });
    await warm(stage);
    // Nobody answers, so opens stay under way.
    stage.server.process.pause();
    using first = await dial(stage.endpoint);
    using second = await dial(stage.endpoint);
    await stage.whenMetric("client", "sproxy_tunnels_opening", {
      is: (count) => count === 2,
    });
    const mark = stage.client.process.mark();
    using third = await dial(stage.endpoint);
    assert.equal((await readEnding(third)).bytes, 0);
    await expectRefused(stage, { role: "client", flag: "--max-opening", mark });
    stage.server.process.resume();
    for (const conn of [first, second]) await roundTrip(conn);
  },
);

integrationTest(
  "limits: --max-opening of the server refuses one more, logs and counts it",
  async () => {
    // A target whose queue of connections is full: dials hang.
    using full = Deno.listen({
      hostname: "127.0.0.1",
      port: 0,
      tcpBacklog: 1,
    });
    const { port } = full.addr;
    await using stage = await startStage({
      target: formatAddress({ hostname: "127.0.0.1", port }),
      serverArgs: ["--max-opening", "1", "--dial-timeout", "1h"],
    });
    const conns: Deno.TcpConn[] = [];
    for (;;) {
      const opened = await stage.metric(
        "client",
        "sproxy_tunnels_opened_total",
      );
      conns.push(await dial(stage.endpoint));
      let hangs = false;
      await eventually(async () => {
        hangs = await stage.metric("server", "sproxy_tunnels_opening") === 1;
        const now = await stage.metric("client", "sproxy_tunnels_opened_total");
        return hangs || now > opened;
      }, () => "the dial neither hangs nor succeeds");
      if (!hangs) continue;
      // It could have been about to succeed: look twice.
      await stage.metric("client", "sproxy_tunnels_opened_total");
      if (await stage.metric("server", "sproxy_tunnels_opening") === 1) break;
    }
    const mark = stage.client.process.mark();
    using late = await dial(stage.endpoint);
    assert.equal((await readEnding(late)).bytes, 0);
    await expectRefused(stage, { role: "server", flag: "--max-opening", mark });
    for (const conn of conns) conn.close();
  },
);

integrationTest(
  "limits: the client lives through a lack of file descriptors and accepts again after",
  async () => {
    await using stage = await startStage();
    const before = await warm(stage);
    const { pid } = stage.client.process;
    // Two spare ones for the status port.
    const few = await openFiles(pid) + 6;
    const mark = stage.client.process.mark();
    await limitFiles(pid, few);
    const conns = await Promise.all(
      Array.from({ length: 20 }, () => dial(stage.endpoint)),
    );
    const failed = await stage.client.entry(
      ({ msg }) => msg === "cannot accept a connection",
      { since: mark },
    );
    assert.match(String(failed.why), /too many open files/i);
    // The first ones got theirs; the others wait in the kernel.
    for (const conn of conns.slice(0, 2)) await roundTrip(conn);
    await limitFiles(pid, 1024);
    for (const conn of conns) await roundTrip(conn);
    assert.ok(await stage.metric("client", "sproxy_accept_errors_total") > 0);
    for (const conn of conns) conn.close();
    await stage.expectNoLeaks(before);
  },
  { ignore: PRLIMIT === undefined },
);

integrationTest(
  "limits: the server lives through a lack of file descriptors: opens fail with a reason, later ones work",
  async () => {
    await using stage = await startStage();
    const before = await warm(stage);
    const { pid } = stage.server.process;
    await limitFiles(pid, await openFiles(pid) + 3);
    const conns = await Promise.all(
      Array.from({ length: 10 }, () => dial(stage.endpoint)),
    );
    const refused = await stage.server.entry(
      ({ msg }) => msg === "open refused",
    );
    assert.ok(refused.reason !== undefined, JSON.stringify(refused));
    await limitFiles(pid, 1024);
    for (const conn of conns) conn.close();
    await stage.whenIdle();
    await stage.expectServing();
    await stage.expectNoLeaks(before);
  },
  { ignore: PRLIMIT === undefined },
);

integrationTest(
  "limits: a status page asked for while descriptors are short ends nothing",
  async () => {
    await using stage = await startStage();
    await warm(stage);
    for (const role of ROLES) {
      const { pid } = stage[role].process;
      const address = parseAddress(await stage[role].statusAddress());
      const mark = stage[role].process.mark();
      await limitFiles(pid, await openFiles(pid));
      const request = new TextEncoder().encode("GET /health HTTP/1.1\r\n\r\n");
      using waiting = await dial(address);
      await writeAll(waiting, request);
      await stage[role].entry(
        ({ msg }) => msg === "cannot accept a connection",
        {
          since: mark,
        },
      );
      await limitFiles(pid, 1024);
      const answer = new TextDecoder().decode(await readToEnd(waiting));
      assert.match(answer, /^HTTP\/1\.1 200 OK/);
    }
    await stage.expectServing();
  },
  { ignore: PRLIMIT === undefined },
);

for (const role of ROLES) {
  integrationTest(
    `limits: --idle-timeout of the ${role} is not fed by pings, and spares tunnels in use`,
    async () => {
      await using stage = await startStage({
        args: QUICK,
        [`${role}Args`]: ["--idle-timeout", "2s"],
      });
      await warm(stage);
      const marks = ROLES.map((each) => stage.role(each).process.mark());
      using used = await dial(stage.endpoint);
      using idle = await dial(stage.endpoint);
      await roundTrip(idle);
      const ended = readEnding(idle);
      let over = false;
      void ended.then(() => over = true);
      while (!over) await roundTrip(used);
      assert.equal((await ended).bytes, 0);
      await stage.echo.whenOpenAtMost(1);
      for (const [i, each] of ROLES.entries()) {
        await tunnelEnd(stage.role(each), {
          reason: "idle",
          since: marks[i] ?? 0,
        });
      }
      await roundTrip(used);
    },
  );

  integrationTest(
    `limits: --half-close-timeout of the ${role} ends what is half-closed and silent, nothing else`,
    async () => {
      await using target = startStalled();
      await using stage = await startStage({
        target: target.address,
        [`${role}Args`]: ["--half-close-timeout", "500ms"],
      });
      const whole = await dial(stage.endpoint);
      using half = await dial(stage.endpoint);
      await target.whenAccepted(2);
      await half.closeWrite();
      assert.equal((await readEnding(half)).bytes, 0);
      for (const each of ROLES) {
        await tunnelEnd(stage.role(each), { reason: "half-closed" });
        const open = await stage.metric(each, "sproxy_tunnels_open");
        assert.equal(open, 1);
      }
      target.release();
      await whole.closeWrite();
      assert.equal((await receiveAll(whole)).bytes, 0);
      whole.close();
      await stage.whenIdle();
    },
  );
}
