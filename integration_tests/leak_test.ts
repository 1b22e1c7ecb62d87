/** Whatever ends, and however: nothing of it is left in either role or at the broker. */
import assert from "node:assert/strict";
import { formatAddress } from "./support/addresses.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { startStage, warm } from "./support/chaos_stage.ts";
import { integrationTest } from "./support/integration_test.ts";
import { Target } from "./support/targets.ts";
import {
  dial,
  readEnding,
  readExactly,
  receiveAll,
  writeAll,
} from "./support/transfer.ts";

const KIB = 1024;

/** Tunnels of each kind. */
const COUNT = 60;

/** Runs `body` for `COUNT` connections, ten at a time. */
async function many(body: (n: number) => Promise<void>): Promise<void> {
  for (let n = 0; n < COUNT; n += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, i) => body(n + i)));
  }
}

integrationTest(
  "leak: tunnels that end in order, abruptly, early and by the target leave nothing",
  async () => {
    const CUT = "x".charCodeAt(0);
    // Echoes; with an "x" first it goes away, and leaves bytes unread.
    await using target = new Target(async (conn) => {
      const [first = 0] = await readExactly(conn, 1);
      if (first === CUT) return;
      await writeAll(conn, new Uint8Array([first]));
      const buffer = new Uint8Array(64 * KIB);
      for (;;) {
        const count = await conn.read(buffer);
        if (count === null) return;
        await writeAll(conn, buffer.subarray(0, count));
      }
    });
    await using stage = await startStage({ target: target.address });
    await stage.expectServing();
    const before = await stage.baseline();
    await many(async (seed) => {
      await stage.expectEcho({ seed, size: 1 + seed * KIB });
    });
    await many(() => stage.expectServing());
    await many(async () => {
      (await dial(stage.endpoint)).close();
    });
    await many(async () => {
      using conn = await dial(stage.endpoint);
      await writeAll(conn, new Uint8Array(KIB).fill(CUT));
      assert.equal((await readEnding(conn)).bytes, 0);
    });
    await target.whenOpenAtMost(0);
    await stage.expectNoLeaks(before);
  },
);

integrationTest(
  "leak: tunnels cut and opens begun while the broker is away leave nothing",
  async () => {
    await using stage = await startStage();
    const before = await warm(stage);
    for (let round = 0; round < 3; round++) {
      const conns = await Promise.all(
        Array.from({ length: COUNT }, () => dial(stage.endpoint)),
      );
      for (const conn of conns) await roundTrip(conn);
      await stage.nats.kill();
      // A third goes away meanwhile, a third ends in order, a third goes on.
      for (const [n, conn] of conns.entries()) {
        if (n % 3 === 0) conn.close();
        else if (n % 3 === 1) await conn.closeWrite();
      }
      const late = await Promise.all(
        Array.from({ length: 10 }, () => dial(stage.endpoint)),
      );
      late.pop()?.close();
      await stage.nats.restart();
      for (const conn of late) await roundTrip(conn);
      for (const [n, conn] of conns.entries()) {
        if (n % 3 === 1) assert.equal((await receiveAll(conn)).bytes, 0);
        if (n % 3 === 2) await roundTrip(conn);
      }
      for (const conn of [...conns, ...late]) conn[Symbol.dispose]();
    }
    await stage.echo.whenOpenAtMost(0);
    await stage.expectNoLeaks(before);
  },
);

integrationTest(
  "leak: opens that are refused leave nothing",
  async () => {
    const listener = Deno.listen({
      hostname: "127.0.0.1",
      port: 0,
    });
    const { port } = listener.addr;
    await using stage = await startStage({
      target: formatAddress({ hostname: "127.0.0.1", port }),
    });
    {
      using conn = await dial(stage.endpoint);
      using accepted = await listener.accept();
      await writeAll(accepted, new Uint8Array(1));
      await readExactly(conn, 1);
    }
    listener.close();
    const before = await stage.baseline();
    await many(async () => {
      using conn = await dial(stage.endpoint);
      assert.equal((await readEnding(conn)).bytes, 0);
    });
    const refused = await stage.metric(
      "client",
      "sproxy_opens_refused_total",
      `reason="refused"`,
    );
    assert.equal(refused, COUNT);
    await stage.expectNoLeaks(before);
  },
);
