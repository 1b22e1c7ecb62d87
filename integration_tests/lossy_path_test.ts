/** A path that carries small messages only, as through a leaf node whose hub takes less: found out, or ended. */
import assert from "node:assert/strict";
import { expectEcho } from "./support/chaos_flow.ts";
import { soon, told } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startLeafAndHub } from "./support/leaf_nodes.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { RawNats } from "./support/raw_nats.ts";
import {
  type LogEntry,
  type RoleName,
  startTunnel,
  type Tunnel,
} from "./support/roles.ts";
import { sideBySide } from "./support/side_by_side.ts";
import { dial, writeAll } from "./support/transfer.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** What is sent in each direction, in bytes. */
const SIZE = 5 * MIB;

/** Times a leaf link may be cut by what a tunnel sends, until it has learnt. */
const MAX_CUTS = 8;

const STATUS = ["--status-addr", "127.0.0.1:0"];

/** Whether a line complains of a size in bytes. */
function isOfSize({ level, msg, ...rest }: LogEntry): boolean {
  return /warn|error/.test(level) &&
    /payload|large|frame/i.test(JSON.stringify([msg, rest]));
}

/** All bytes arrive with the role `at` on the leaf and a hub that takes `most` bytes a message, and the log says why once. */
async function learns(at: RoleName, most: number): Promise<void> {
  await using brokers = await startLeafAndHub({ hubPayload: most });
  const { hub, leaf, link } = brokers;
  const small = at === "client" ? "server" : "client";
  await using tunnel = await startTunnel({
    nats: hub,
    [`${at}Nats`]: leaf.url,
    clientArgs: STATUS,
  });
  using conn = await dial(tunnel.endpoint);
  await soon(
    "all bytes come back",
    expectEcho(conn, { seed: 1, size: SIZE }),
    60_000,
  );
  assert.ok(link.cuts > 0, "nothing was too large");
  assert.ok(link.cuts <= MAX_CUTS, `the link was cut ${link.cuts} times`);
  assert.equal((await told(tunnel[at], isOfSize)).length, 1);
  assert.ok(!tunnel[small].entries().some(isOfSize));
  // It is remembered for the peer: the next tunnel has nothing to learn.
  const learnt = link.cuts;
  using next = await dial(tunnel.endpoint);
  await soon(
    "the bytes of the next tunnel come back",
    expectEcho(next, { seed: 2, size: MIB }),
    30_000,
  );
  assert.equal(link.cuts, learnt);
}

integrationTest(
  "all bytes arrive, and the log says why once, where a role is on a leaf with 1 MiB a message and the hub takes less",
  () =>
    sideBySide(Object.fromEntries(
      (["client", "server"] as const).flatMap((at) =>
        [16 * KIB, 4 * KIB].map((most) => [
          `the ${at} is on the leaf, the hub takes ${most} bytes`,
          () => learns(at, most),
        ])
      ),
    )),
);

/** Two brokers, and between them something that loses what is large: a path with a small MTU that tells nobody. */
interface Narrow extends AsyncDisposable {
  readonly tunnel: Tunnel;
  /** Messages of data that were lost so far. */
  lost(): number;
}

/** The type of a DATA frame: its first byte. */
const DATA = 1;

/** Starts a tunnel between whose ends DATA frames of more than `most` bytes are lost. */
async function startNarrow(
  most: number,
  args: readonly string[] = [],
): Promise<Narrow> {
  await using cleanup = new AsyncDisposableStack();
  const near = cleanup.use(await startNatsServer({ name: "nats-server near" }));
  const far = cleanup.use(await startNatsServer({ name: "nats-server far" }));
  const ends = {
    near: cleanup.use(await RawNats.connect(near.url)),
    far: cleanup.use(await RawNats.connect(far.url)),
  };
  let lost = 0;
  const carry = (subject: string, from: RawNats, to: RawNats): void => {
    from.subscribe(subject, (message) => {
      const { data, reply, headers } = message;
      if (data[0] === DATA && data.length > most) lost++;
      else {
        to.publish(message.subject, data, {
          reply,
          ...(Object.keys(headers).length > 0 && { headers }),
        });
      }
    });
  };
  carry("proxy.request.*", ends.near, ends.far);
  carry("p.data.to_server.>", ends.near, ends.far);
  carry("p.data.to_client.>", ends.far, ends.near);
  for (const end of [ends.near, ends.far]) await end.flush();
  const tunnel = cleanup.use(
    await startTunnel({
      nats: near,
      serverNats: far.url,
      serverArgs: args,
      clientArgs: [...STATUS, ...args],
    }),
  );
  const owner = cleanup.move();
  return {
    tunnel,
    lost: () => lost,
    [Symbol.asyncDispose]: () => owner.disposeAsync(),
  };
}

/** All bytes arrive where only small frames get through. */
async function smallOnly(): Promise<void> {
  await using narrow = await startNarrow(6_000);
  using conn = await dial(narrow.tunnel.endpoint);
  await soon(
    "all bytes come back",
    expectEcho(conn, { seed: 1, size: MIB }),
    60_000,
  );
  assert.ok(narrow.lost() > 0);
  const before = narrow.lost();
  using next = await dial(narrow.tunnel.endpoint);
  await soon(
    "the bytes of the next tunnel come back",
    expectEcho(next, { seed: 2, size: 64 * KIB }),
    30_000,
  );
  assert.equal(narrow.lost(), before, "the peer's frames are small by now");
}

/** None of a tunnel's bytes get through: it ends. */
async function nothing(): Promise<void> {
  await using narrow = await startNarrow(40, [
    ...["--resume-timeout", "5s", "--peer-timeout", "5s"],
  ]);
  const { tunnel } = narrow;
  using conn = await dial(tunnel.endpoint);
  await writeAll(conn, new Uint8Array(64 * KIB));
  const closed = await soon(
    "the tunnel is ended",
    tunnel.client.entry(({ msg }) => msg === "tunnel closed"),
    60_000,
  );
  assert.notEqual(closed.reason, "ok");
  assert.notEqual(closed.why, undefined);
  assert.ok(narrow.lost() > 0);
}

integrationTest(
  "a path that loses large frames and tells nobody is found out, or ends the tunnel",
  () =>
    sideBySide({
      "all bytes arrive where only small frames get through and nobody says why":
        smallOnly,
      "a tunnel none of whose bytes get through ends within the resume time, and not as if all was well":
        nothing,
    }),
);
