/** Keys and clients that change while sealed tunnels run: rotation, and SIGHUP. */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { expectTunnel, roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import type { ClientRole } from "./support/roles.ts";
import {
  type Entry,
  hangUp,
  type KeyFile,
  makeKey,
  makePsk,
  refusal,
  SealedStage,
  writeSecret,
} from "./support/sealed_stage.ts";
import { startEcho } from "./support/targets.ts";
import { close, dial, readEnding } from "./support/transfer.ts";
import { comes, soon, told } from "./support/waits.ts";

for (const workers of ["1", "2"]) {
  integrationTest(
    `rotation: the key of a server of ${workers} worker(s) is changed by SIGHUP while tunnels run`,
    async () => {
      await using stage = await SealedStage.start();
      const { server, client, other: next } = stage.keys;
      const write = (...keys: readonly KeyFile[]): Promise<string> =>
        stage.writeClients([
          { name: "edge", keys: [client.publicKey] },
        ], { security: { secret_key: keys.map(({ path }) => path) } });
      await using role = await stage.server([
        ...["--config", await write(server), "--workers", workers],
      ]);
      await using ours = await stage.client({ serverKeys: [server, next] });
      await using hasNext = await stage.client({ serverKeys: [next] });
      using conn = await dial(ours.endpoint);
      await roundTrip(conn);
      assert.match(await refusal(hasNext), /has another key/);
      for (
        const [keys, ready] of [
          [[server], false],
          [[server, next], true],
          [[next], true],
        ] as const
      ) {
        await write(...keys);
        const said = await hangUp(role);
        assert.equal(said.level, "info", JSON.stringify(said));
        assert.equal(
          said.publicKey,
          keys.map(({ publicKey }) => publicKey).join(", "),
        );
        // Each may get to another worker.
        for (let i = 0; i < 3; i++) {
          await expectTunnel(ours);
          if (ready) await expectTunnel(hasNext);
        }
        await roundTrip(conn);
      }
      await using hasOld = await stage.client();
      assert.match(await refusal(hasOld), /has another key/);
      await roundTrip(conn);
    },
  );
}

integrationTest(
  "rotation: the key of a client is changed by SIGHUP at both ends, and its tunnels go on until the old key is gone",
  async () => {
    await using stage = await SealedStage.start();
    const { server, client, other: next } = stage.keys;
    const write = (...keys: readonly KeyFile[]): Promise<string> =>
      stage.writeClients([
        { name: "edge", keys: keys.map(({ publicKey }) => publicKey) },
      ]);
    await using role = await stage.server([
      ...["--config", await write(client), "--secret-key", server.path],
    ]);
    await using ours = await stage.client();
    using old = await dial(ours.endpoint);
    await roundTrip(old);
    await write(client, next);
    assert.equal((await hangUp(role)).changed, "edge");
    await writeSecret(stage.folder, "client.key", next.seed);
    assert.equal((await hangUp(ours)).publicKey, next.publicKey);
    using fresh = await dial(ours.endpoint);
    await roundTrip(fresh);
    await roundTrip(old);
    await write(next);
    const since = ours.process.mark();
    assert.equal((await hangUp(role)).changed, "edge");
    assert.equal((await readEnding(old)).bytes, 0);
    const end = await ours.entry(({ msg }) => msg === "tunnel closed", {
      since,
    });
    assert.equal(end.reason, "denied");
    assert.match(String(end.why), /knows no client with the key X/);
    await roundTrip(fresh);
    await expectTunnel(ours);
  },
);

integrationTest(
  "rotation: --psk is changed by SIGHUP, at one end and then the other, and tunnels go on",
  async () => {
    await using stage = await SealedStage.start();
    const { folder } = stage;
    // Each end has a file of its own.
    const secret = makePsk();
    const [theirs, mine] = ["server.psk", "client.psk"];
    for (const name of [theirs, mine]) await writeSecret(folder, name, secret);
    await using role = await stage.server([
      ...stage.serverFlags,
      ...["--psk", folder.at(theirs)],
    ]);
    await using ours = await stage.client({
      args: ["--psk", folder.at(mine)],
    });
    using conn = await dial(ours.endpoint);
    await roundTrip(conn);
    const next = makePsk();
    await writeSecret(folder, theirs, next);
    assert.equal((await hangUp(role)).level, "info");
    assert.match(await refusal(ours), /not sealed with the right keys/);
    await writeSecret(folder, mine, next);
    assert.equal((await hangUp(ours)).level, "info");
    await expectTunnel(ours);
    await roundTrip(conn);
  },
);

/** How many clients the config file of a large deployment has. */
const MANY = 100;

for (const workers of ["1", "2"]) {
  integrationTest(
    `SIGHUP: of ${MANY} clients of a server of ${workers} worker(s) those that are still allowed keep their tunnels, others end with denied`,
    async () => {
      await using stage = await SealedStage.start();
      await using other = startEcho();
      const { folder, echo, keys: { server } } = stage;
      const [stays, goes, fenced] = [
        await makeKey(folder, "stays"),
        await makeKey(folder, "goes"),
        await makeKey(folder, "fenced"),
      ];
      const crowd = Array.from({ length: MANY - 3 }, (_, at): Entry => ({
        name: `site-${at}`,
        keys: [nkeys.createCurve().getPublicKey()],
        allow: [`10.${at}.0.0/16:*`, `db-${at}.example.com:5432`],
        deny: [`10.${at}.0.1:22`],
        max_tunnels: at + 1,
        max_opening: 8,
        rate: 100,
      }));
      const entries = (more: {
        readonly goes: boolean;
        readonly deny: readonly string[];
      }): Entry[] => [
        ...crowd,
        { name: "stays", keys: [stays.publicKey], allow: [echo.address] },
        ...(more.goes ? [{ name: "goes", keys: [goes.publicKey] }] : []),
        { name: "fenced", keys: [fenced.publicKey], deny: more.deny },
      ];
      const file = await stage.writeClients(
        entries({ goes: true, deny: [] }),
      );
      await using role = await stage.server([
        ...["--config", file, "--secret-key", server.path],
        ...["--workers", workers],
      ]);
      const target = other.address;
      await using staying = await stage.client({ key: stays });
      await using going = await stage.client({ key: goes });
      await using fencing = await stage.client({ key: fenced, target });
      await using wandering = await stage.client({ key: stays, target });
      assert.match(
        await refusal(wandering),
        /^denied: .* is not an allowed target \(clients: stays\)$/,
      );
      const conns: Deno.TcpConn[] = [];
      using _conns = { [Symbol.dispose]: () => conns.forEach(close) };
      const open = async (client: ClientRole): Promise<Deno.TcpConn[]> => {
        // In both workers, most probably.
        const opened = await Promise.all(
          Array.from({ length: 6 }, () => dial(client.endpoint)),
        );
        conns.push(...opened);
        await Promise.all(opened.map((conn) => roundTrip(conn)));
        return opened;
      };
      const kept = await open(staying);
      const gone = await open(going);
      const cut = await open(fencing);

      // A file with an error changes nothing, and says so on one line.
      const wrong = entries({ goes: false, deny: ["*:*"] });
      await stage.writeClients([
        ...wrong,
        { name: "stays", keys: ["X"], alow: [] },
      ]);
      const mark = role.process.mark();
      const bad = await hangUp(role);
      assert.equal(bad.level, "error");
      for (
        const part of [
          `clients[${wrong.length}] ("stays") in ${file}: `,
          'unknown key "alow" (did you mean allow?)',
          "keys: ",
        ]
      ) assert.ok(String(bad.why).includes(part), String(bad.why));
      for (const conn of conns) await roundTrip(conn);

      await stage.writeClients(
        entries({ goes: false, deny: [other.address] }),
      );
      const good = await hangUp(role);
      assert.deepEqual(
        [good.level, good.clients, good.added, good.removed, good.changed],
        ["info", MANY - 1, undefined, "goes", "fenced"],
      );
      for (const conn of [...gone, ...cut]) {
        assert.equal((await soon("it ends", readEnding(conn))).bytes, 0);
      }
      for (const conn of kept) await roundTrip(conn);
      await expectTunnel(staying);
      assert.match(await refusal(going), /knows no client with the key X/);
      assert.match(await refusal(fencing), /^denied: .*clients: fenced\)$/);
      const ends = await told(
        role,
        ({ msg, reason }) => msg === "tunnel closed" && reason === "denied",
        { since: mark, count: cut.length + gone.length },
      );
      assert.deepEqual(
        ends.map(({ client }) => client).toSorted(),
        [...cut.map(() => "fenced"), ...gone.map(() => "goes")],
      );
      for (const { client, why } of ends) {
        assert.match(
          String(why),
          client === "goes"
            ? /knows no client with the key X/
            : /is denied by .*\(clients: fenced\)/,
        );
      }
      // Once for each signal, however many workers there are.
      const lines = role.entries(mark)
        .filter(({ msg }) => msg.startsWith("SIGHUP: keys and clients"));
      assert.equal(lines.length, 1);
      await comes(async () => {
        const { text } = await role.status("/metrics");
        const missing = [
          `sproxy_client_tunnels_open{client="stays"} ${kept.length}`,
          `sproxy_client_tunnels_open{client="fenced"} 0`,
          `sproxy_client_tunnels_open{client="site-7"} 0`,
          // Four bytes of each round trip, three in the tunnels that were kept.
          `sproxy_client_bytes_total{client="stays",direction="sent"} ${
            4 * (3 * kept.length + 1)
          }`,
        ].filter((line) => !text.includes(`${line}\n`));
        if (text.includes('client="goes"')) missing.push("goes is gone");
        return missing.length === 0 ? undefined : `${missing}: not in ${text}`;
      });
    },
  );
}

integrationTest(
  "a secret key is read from a pipe, and stays the same at SIGHUP",
  async () => {
    await using stage = await SealedStage.start();
    const { folder, keys: { server, client } } = stage;
    await using role = await stage.server([
      ...["--secret-key", folder.at("pipe")],
      ...["--client-key", client.publicKey],
    ], [
      ...["sh", "-c", 'mkfifo "$0"; cat "$1" > "$0" & shift; exec "$@"'],
      ...[folder.at("pipe"), server.path],
    ]);
    await using ours = await stage.client();
    await expectTunnel(ours);
    const said = await hangUp(role);
    assert.deepEqual(
      [said.level, said.publicKey],
      ["info", server.publicKey],
    );
    await expectTunnel(ours);
  },
);
