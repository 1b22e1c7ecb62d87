/** Sealed tunnels as users have them: keys in files, clients in the config file, SIGHUP, and a broker that reads along. */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { expectTunnel, roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { RawNats } from "./support/raw_nats.ts";
import { connectRedis } from "./support/redis_client.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import {
  baseEnvironment,
  type ClientRole,
  type LogEntry,
  PROJECT,
  type Role,
  type RoleName,
  spawnRole,
  startClient,
  startServer,
} from "./support/roles.ts";
import {
  type Entry,
  type KeyFile,
  makeKey,
  startSealedClient,
  startSealedServer,
  writeClients,
  writeSecret,
} from "./support/seal_keys.ts";
import { startEcho } from "./support/targets.ts";
import { close, dial, readEnding } from "./support/transfer.ts";
import { V1Server } from "./support/v1_peer.ts";
import { comes, soon } from "./support/waits.ts";

/** Sends SIGHUP, and waits for the line that says what of keys and clients came of it. */
async function hangUp(role: Role): Promise<LogEntry> {
  const since = role.process.mark();
  role.process.signal("SIGHUP");
  return await soon(
    "it says what was read",
    role.entry(
      ({ msg }) =>
        msg.startsWith("SIGHUP: keys and clients were") ||
        msg.startsWith("SIGHUP: the configuration or a key"),
      { since },
    ),
  );
}

/** Expects that a connection gets no tunnel; what the client says of it. */
async function refusal(client: ClientRole): Promise<string> {
  const since = client.process.mark();
  using conn = await dial(client.endpoint);
  assert.deepEqual(await soon("it ends", readEnding(conn)), {
    ending: "eof",
    bytes: 0,
  });
  const entry = await client.entry(({ msg }) => msg === "open failed", {
    since,
  });
  return `${entry.reason}: ${entry.why}`;
}

/** Bytes that somebody sees who subscribes to everything: headers, subjects and payloads. */
class Onlooker implements AsyncDisposable {
  readonly #nats: RawNats;
  readonly #seen: string[] = [];

  private constructor(nats: RawNats) {
    this.#nats = nats;
    nats.subscribe(">", ({ subject, headers, data }) => {
      const bytes = new TextDecoder("latin1").decode(data);
      // The body of an open carries bytes in base 64.
      const inside = bytes.replaceAll(
        /[A-Za-z0-9+/]{8,}={0,2}/g,
        (text) => {
          try {
            return `${text} ${atob(text)}`;
          } catch {
            return text;
          }
        },
      );
      this.#seen.push(`${subject} ${JSON.stringify(headers)} ${inside}`);
    });
  }

  static async connect(url: string): Promise<Onlooker> {
    const nats = await RawNats.connect(url);
    const onlooker = new Onlooker(nats);
    await nats.flush();
    return onlooker;
  }

  /** Messages seen. */
  get count(): number {
    return this.#seen.length;
  }

  /** Which of `texts` were to be read. */
  async read(texts: readonly string[]): Promise<string[]> {
    await this.#nats.flush();
    const all = this.#seen.join("\n");
    return texts.filter((text) => all.includes(text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nats.close();
  }
}

for (const sealed of [true, false]) {
  integrationTest(
    sealed
      ? "redis through a sealed tunnel: who reads along on the broker sees neither the target nor a byte"
      : "redis through a plain tunnel: who reads along on the broker sees the target and the bytes",
    async () => {
      await using folder = await Folder.make();
      await using nats = await startNatsServer();
      await using redis = await startOwnRedis();
      const [theirs, ours] = [
        await makeKey(folder, "server.key"),
        await makeKey(folder, "client.key"),
      ];
      await using server = await startSealedServer({
        url: nats.url,
        folder,
        args: sealed
          ? ["--secret-key", theirs.path, "--client-key", ours.publicKey]
          : [],
      });
      await using onlooker = await Onlooker.connect(nats.url);
      await using client = await startClient(nats.url, {
        env: { HOME: folder.path },
        target: redis.address,
        args: sealed
          ? ["--secret-key", ours.path, "--server-key", theirs.publicKey]
          : [],
      });
      const told = [server, client].map((role) =>
        role.entries().find(({ msg }) => msg === "tunnels are sealed")
          ?.publicKey
      );
      assert.deepEqual(
        told,
        sealed ? [theirs.publicKey, ours.publicKey] : [undefined, undefined],
      );
      {
        await using connection = await connectRedis(client.endpoint);
        const value = "marker-".repeat(10_000);
        assert.equal(await connection.redis.set("the-secret-key", value), "OK");
        assert.equal(await connection.redis.get("the-secret-key"), value);
      }
      assert.ok(onlooker.count > 5);
      const secrets = [
        redis.address,
        "remote_host",
        "the-secret-key",
        "marker-",
      ];
      const seen = await onlooker.read(secrets);
      assert.deepEqual(
        seen,
        sealed ? [] : ["remote_host", "the-secret-key", "marker-"],
      );
      for (const role of [server, client]) {
        const log = role.process.lines.join("\n");
        assert.ok(!log.includes(theirs.seed) && !log.includes(ours.seed));
      }
    },
  );
}

/** Two roles that do not fit together: the flags of each, and what the client says. */
const MISFITS: readonly {
  readonly what: string;
  readonly server: (keys: Keys) => readonly string[] | "version 1";
  readonly client: (keys: Keys) => readonly string[];
  readonly says: RegExp;
  /** Whether the target is dialled all the same: a server cannot know before it answers. */
  readonly dialled?: true;
}[] = [
  {
    what: "a client without a key and a sealed server",
    server: ({ server, client }) => [
      ...["--secret-key", server.path, "--client-key", client.publicKey],
    ],
    client: () => [],
    says:
      /^denied: the other end says: the server takes sealed opens only; give the client --secret-key and --server-key$/,
  },
  {
    what: "a sealed client and a server without a key",
    server: () => [],
    client: ({ server, client }) => [
      ...["--secret-key", client.path, "--server-key", server.publicKey],
    ],
    says:
      /^no-server: .* a server without the right key says: the server has no key, and cannot read a sealed open \(--secret-key\)$/,
  },
  {
    what: "a sealed client and a version 1 server",
    server: () => "version 1",
    client: ({ server, client }) => [
      ...["--secret-key", client.path, "--server-key", server.publicKey],
    ],
    says: /^no-server: .* a server without the right key says: remote_host/,
  },
  {
    what: "a client that has the key of another server",
    server: ({ server, client }) => [
      ...["--secret-key", server.path, "--client-key", client.publicKey],
    ],
    client: ({ client, other }) => [
      ...["--secret-key", client.path, "--server-key", other.publicKey],
    ],
    says:
      /^no-server: .* the server has another key than the one the open is sealed for \(--server-key\)$/,
  },
  {
    what: "a client that the server does not know",
    server: ({ server, client }) => [
      ...["--secret-key", server.path, "--client-key", client.publicKey],
    ],
    client: ({ server, other }) => [
      ...["--secret-key", other.path, "--server-key", server.publicKey],
    ],
    says:
      /^denied: the other end says: the server knows no client with the key X/,
  },
  {
    what: "a client without the server's --psk",
    server: ({ server, client, psk }) => [
      ...["--secret-key", server.path, "--client-key", client.publicKey],
      ...["--psk", psk],
    ],
    client: ({ server, client }) => [
      ...["--secret-key", client.path, "--server-key", server.publicKey],
    ],
    says:
      /^no-server: .* an answer came that was not sealed with the right keys \(--server-key, --psk\)$/,
    dialled: true,
  },
];

/** The keys of a test. */
interface Keys {
  readonly server: KeyFile;
  readonly client: KeyFile;
  readonly other: KeyFile;
  readonly psk: string;
}

/** Makes them. */
async function makeKeys(folder: Folder): Promise<Keys> {
  const secret = crypto.getRandomValues(new Uint8Array(32)).toBase64();
  return {
    server: await makeKey(folder, "server.key"),
    client: await makeKey(folder, "client.key"),
    other: await makeKey(folder, "other.key"),
    psk: await writeSecret(folder, "psk", `${secret}\n`),
  };
}

for (const { what, server, client, says, dialled } of MISFITS) {
  integrationTest(
    `${what} open no tunnel, and the client says why`,
    async () => {
      await using folder = await Folder.make();
      await using nats = await startNatsServer();
      await using echo = startEcho();
      const keys = await makeKeys(folder);
      const rights = { env: { HOME: folder.path } };
      const args = server(keys);
      await using _server = args === "version 1"
        ? await V1Server.start(nats.url)
        : await startServer(nats.url, { ...rights, args });
      await using ours = await startClient(nats.url, {
        ...rights,
        target: echo.address,
        args: client(keys),
      });
      assert.match(await refusal(ours), says);
      if (args !== "version 1" && dialled === undefined) {
        assert.equal(echo.accepted, 0);
      }
    },
  );
}

integrationTest(
  "the same --psk at both ends opens tunnels",
  async () => {
    await using folder = await Folder.make();
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const { server, client, psk } = await makeKeys(folder);
    const { url } = nats;
    await using _server = await startSealedServer({
      url,
      folder,
      args: [
        ...["--secret-key", server.path, "--client-key", client.publicKey],
        ...["--psk", psk],
      ],
    });
    await using ours = await startSealedClient({
      url,
      folder,
      key: client,
      serverKeys: [server.publicKey],
      target: echo.address,
      args: ["--psk", psk],
    });
    await expectTunnel(ours);
  },
);

integrationTest(
  "a client that the server does not know is refused before a name is looked up",
  async () => {
    await using folder = await Folder.make();
    await using nats = await startNatsServer();
    const { server, client, other } = await makeKeys(folder);
    const { url } = nats;
    await using ours = await startSealedServer({
      url,
      folder,
      args: ["--secret-key", server.path, "--client-key", client.publicKey],
    });
    const common = { url, folder, serverKeys: [server.publicKey] };
    const target = "no-such-host.invalid:1";
    await using known = await startSealedClient({
      ...common,
      key: client,
      target,
    });
    assert.match(await refusal(known), /^no-such-host: /);
    await using unknown = await startSealedClient({
      ...common,
      key: other,
      target,
    });
    assert.match(await refusal(unknown), /^denied: .*knows no client/);
    const entry = await ours.entry(({ msg, reason }) =>
      msg === "open refused" && reason === "denied"
    );
    assert.equal(entry.client, other.publicKey);
    assert.equal(entry.target, undefined);
  },
);

for (const workers of ["1", "2"]) {
  integrationTest(
    `rotation: the key of a server of ${workers} worker(s) is changed by SIGHUP while tunnels run`,
    async () => {
      await using folder = await Folder.make();
      await using nats = await startNatsServer();
      await using echo = startEcho();
      const { server, client, other: next } = await makeKeys(folder);
      const { url } = nats;
      const file = folder.at("server.json");
      const write = async (...keys: readonly KeyFile[]): Promise<void> => {
        await writeClients(folder, [
          { name: "edge", keys: [client.publicKey] },
        ], { security: { secret_key: keys.map(({ path }) => path) } });
      };
      await write(server);
      await using role = await startSealedServer({
        url,
        folder,
        args: ["--config", file, "--workers", workers],
      });
      const common = { url, folder, key: client, target: echo.address };
      await using ours = await startSealedClient({
        ...common,
        serverKeys: [server.publicKey, next.publicKey],
      });
      await using hasNext = await startSealedClient({
        ...common,
        serverKeys: [next.publicKey],
      });
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
      await using hasOld = await startSealedClient({
        ...common,
        serverKeys: [server.publicKey],
      });
      assert.match(await refusal(hasOld), /has another key/);
      await roundTrip(conn);
    },
  );
}

integrationTest(
  "rotation: the key of a client is changed by SIGHUP at both ends, and its tunnels go on until the old key is gone",
  async () => {
    await using folder = await Folder.make();
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const { server, client, other: next } = await makeKeys(folder);
    const { url } = nats;
    const file = await writeClients(folder, [
      { name: "edge", keys: [client.publicKey] },
    ]);
    await using role = await startSealedServer({
      url,
      folder,
      args: ["--config", file, "--secret-key", server.path],
    });
    await using ours = await startSealedClient({
      url,
      folder,
      key: client,
      serverKeys: [server.publicKey],
      target: echo.address,
    });
    using old = await dial(ours.endpoint);
    await roundTrip(old);
    await writeClients(folder, [
      { name: "edge", keys: [client.publicKey, next.publicKey] },
    ]);
    assert.equal((await hangUp(role)).changed, "edge");
    await writeSecret(folder, "client.key", next.seed);
    assert.equal((await hangUp(ours)).publicKey, next.publicKey);
    using fresh = await dial(ours.endpoint);
    await roundTrip(fresh);
    await roundTrip(old);
    await writeClients(folder, [{ name: "edge", keys: [next.publicKey] }]);
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
    await using folder = await Folder.make();
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const { server, client, psk } = await makeKeys(folder);
    const { url } = nats;
    // Each end has a file of its own.
    const secret = await Deno.readTextFile(psk);
    const [theirs, mine] = ["server.psk", "client.psk"];
    for (const name of [theirs, mine]) await writeSecret(folder, name, secret);
    await using role = await startSealedServer({
      url,
      folder,
      args: [
        ...["--secret-key", server.path, "--client-key", client.publicKey],
        ...["--psk", folder.at(theirs)],
      ],
    });
    await using ours = await startSealedClient({
      url,
      folder,
      key: client,
      serverKeys: [server.publicKey],
      target: echo.address,
      args: ["--psk", folder.at(mine)],
    });
    using conn = await dial(ours.endpoint);
    await roundTrip(conn);
    const next = crypto.getRandomValues(new Uint8Array(32)).toBase64();
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
      await using folder = await Folder.make();
      await using nats = await startNatsServer();
      await using echo = startEcho();
      await using other = startEcho();
      const server = await makeKey(folder, "server.key");
      const keys = await Promise.all(
        ["stays", "goes", "fenced"].map((name) => makeKey(folder, name)),
      );
      const [stays, goes, fenced] = keys;
      assert.ok(stays && goes && fenced);
      const { url } = nats;
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
      const file = await writeClients(
        folder,
        entries({ goes: true, deny: [] }),
      );
      await using role = await startSealedServer({
        url,
        folder,
        args: [
          ...["--config", file, "--secret-key", server.path],
          ...["--workers", workers],
        ],
      });
      const clientOf = (key: KeyFile, target: string): Promise<ClientRole> =>
        startSealedClient({
          url,
          folder,
          key,
          serverKeys: [server.publicKey],
          target,
        });
      await using staying = await clientOf(stays, echo.address);
      await using going = await clientOf(goes, echo.address);
      await using fencing = await clientOf(fenced, other.address);
      await using wandering = await clientOf(stays, other.address);
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
      await writeClients(folder, [
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

      await writeClients(
        folder,
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
      const ends = role.entries(mark).filter(({ msg, reason }) =>
        msg === "tunnel closed" && reason === "denied"
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
          `sproxy_client_tunnels{client="stays"} ${kept.length}`,
          `sproxy_client_tunnels{client="fenced"} 0`,
          `sproxy_client_tunnels{client="site-7"} 0`,
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

/** Runs a program with these flags until it ends by itself; its exit code and what it wrote. */
async function ended(
  role: RoleName,
  args: readonly string[],
  folder: Folder,
): Promise<{ readonly code: number; readonly text: string }> {
  await using process = await spawnRole(role, {
    args,
    env: { HOME: folder.path },
  });
  const { code } = await soon("it ends", process.status);
  return { code, text: process.lines.join("\n") };
}

integrationTest(
  "files of keys that others may read, or that hold something else, are refused with what to do, and nothing of them is shown",
  async () => {
    await using folder = await Folder.make();
    const { server, client, other } = await makeKeys(folder);
    const path = folder.at("tried.key");
    const others = ["--client-key", client.publicKey];
    const user = nkeys.createUser();
    const seed = (pair: { getSeed(): Uint8Array }): string =>
      new TextDecoder().decode(pair.getSeed());
    for (
      const [text, mode, says] of [
        [
          server.seed,
          0o644,
          `is open to others (mode 0644): run chmod 600 "${path}"`,
        ],
        [server.seed, 0o640, "is open to others (mode 0640)"],
        [server.seed, 0o602, "is open to others (mode 0602)"],
        [server.publicKey, 0o600, "it is a public key (X...) where"],
        [seed(user), 0o600, "it does not begin with SX"],
        [server.seed.slice(0, 50), 0o600, "it has 50 characters"],
        [`${server.seed.slice(0, -3)}AAA`, 0o600, "its check sum is wrong"],
        [server.seed.toLowerCase(), 0o600, "it does not begin with SX"],
        [`${server.seed}\n${other.seed}`, 0o600, "more than one secret key"],
        ["", 0o600, "it does not begin with SX"],
        [undefined, 0o600, "No such file"],
      ] as const
    ) {
      if (text === undefined) await Deno.remove(path);
      else {
        await folder.write("tried.key", text);
        await Deno.chmod(path, mode);
      }
      const args = ["--secret-key", path, ...others];
      const { code, text: told } = await ended("server", args, folder);
      assert.equal(code, 2, told);
      assert.ok(
        told.startsWith("error: ") && told.includes(says) &&
          told.includes(path) && told.split("\n").length === 1,
        told,
      );
      assert.ok(!told.includes(server.seed.slice(2, 20)), told);
    }
    const psk = await writeSecret(folder, "short", btoa("too short"));
    const { code, text } = await ended("server", [
      ...["--secret-key", server.path, ...others, "--psk", psk],
    ], folder);
    assert.equal(code, 2);
    assert.match(text, /--psk, ".*": it must hold 32 bytes in base 64/);
  },
);

integrationTest(
  "keys that do not go together are refused with what to add",
  async () => {
    await using folder = await Folder.make();
    const { server, client } = await makeKeys(folder);
    const secret = ["--secret-key", client.path];
    const theirs = ["--server-key", server.publicKey];
    for (
      const [role, args, says] of [
        ["client", secret, "give the server's public key with --server-key"],
        ["client", theirs, "give its file with --secret-key"],
        ["client", [...secret, ...theirs, "--codec", "json"], "are binary"],
        [
          "client",
          [...theirs, "--secret-key", `${client.path},b`],
          "only a server has two",
        ],
        [
          "client",
          [...secret, "--server-key", client.seed],
          "it is a secret seed (SX...)",
        ],
        [
          "client",
          ["--secret-key", client.seed, ...theirs],
          "it is the secret itself",
        ],
        ["server", secret, "give the clients' public keys with --client-key"],
        [
          "server",
          ["--client-key", client.publicKey],
          "give its file with --secret-key",
        ],
        [
          "server",
          [
            ...secret,
            "--client-key",
            client.publicKey,
            `--client-key=${client.publicKey}`,
          ],
          "is that of security.client_key",
        ],
        ["server", ["--psk", client.path], "security.psk is set, but"],
      ] as const
    ) {
      const { code, text } = await ended(role, args, folder);
      assert.equal(code, 2, text);
      assert.ok(text.startsWith("error: ") && text.includes(says), text);
      assert.ok(!text.includes(client.seed.slice(2, 20)), text);
    }
  },
);

integrationTest(
  "a secret key is read from a pipe, and stays the same at SIGHUP",
  async () => {
    await using folder = await Folder.make();
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const { server, client } = await makeKeys(folder);
    const { url } = nats;
    await using role = await startServer(url, {
      env: { HOME: folder.path },
      through: [
        ...["sh", "-c", 'mkfifo "$0"; cat "$1" > "$0" & shift; exec "$@"'],
        ...[folder.at("pipe"), server.path],
      ],
      args: [
        ...["--secret-key", folder.at("pipe")],
        ...["--client-key", client.publicKey],
      ],
    });
    await using ours = await startSealedClient({
      url,
      folder,
      key: client,
      serverKeys: [server.publicKey],
      target: echo.address,
    });
    await expectTunnel(ours);
    const said = await hangUp(role);
    assert.deepEqual(
      [said.level, said.publicKey],
      ["info", server.publicKey],
    );
    await expectTunnel(ours);
  },
);

integrationTest(
  "key generate and key show make keys that both programs, and tunnels, can use",
  async () => {
    await using folder = await Folder.make();
    const env = { ...await baseEnvironment(), HOME: folder.path };
    const key = async (
      role: RoleName,
      ...args: readonly string[]
    ): Promise<
      { readonly code: number; readonly output: string; readonly error: string }
    > => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          new URL(`${role}.ts`, PROJECT).pathname,
          "key",
          ...args,
        ],
        env,
        clearEnv: true,
        cwd: folder.path,
        stdin: "null",
      }).output();
      const [output, error] = [stdout, stderr].map((bytes) =>
        new TextDecoder().decode(bytes)
      );
      return { code, output: output ?? "", error: error ?? "" };
    };
    const paths = new Map<RoleName, string>();
    for (const role of ["server", "client"] as const) {
      const made = await key(role, "generate", "--out", `${role}.key`);
      assert.equal(made.code, 0, made.error);
      assert.match(made.output, /^X[A-Z2-7]{55}\n$/);
      const path = folder.at(`${role}.key`);
      paths.set(role, path);
      assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
      assert.ok(made.error.includes(`${role}.key`), made.error);
      const text = await Deno.readTextFile(path);
      assert.ok(!`${made.output}${made.error}`.includes(text.slice(-20)));
      // Never over one that exists.
      const again = await key(role, "generate", `--out=${role}.key`);
      assert.equal(again.code, 2);
      assert.match(again.error, /^error: --out: ".*" exists/);
      assert.equal(await Deno.readTextFile(path), text);
      assert.deepEqual(await key(role, "show", `${role}.key`), {
        code: 0,
        output: made.output,
        error: "",
      });
    }
    const both = await key("server", "show", "server.key", "client.key");
    const [theirs = "", ours = ""] = both.output.split("\n");
    // Without --out the secret goes to standard output, and nothing else.
    const printed = await key("client", "generate");
    const seed = printed.output.split("\n")
      .find((line) => line.startsWith("SX")) ?? "";
    const pair = nkeys.fromCurveSeed(new TextEncoder().encode(seed));
    assert.equal(printed.error, `Public key: ${pair.getPublicKey()}\n`);
    await folder.write("open.key", printed.output);
    await Deno.chmod(folder.at("open.key"), 0o644);
    const open = await key("client", "show", "open.key");
    assert.deepEqual([open.code, open.output], [2, ""]);
    assert.match(open.error, /chmod 600/);
    const psk = await key("server", "psk", "--out", "psk");
    assert.deepEqual([psk.code, psk.output], [0, ""]);
    for (
      const [args, says] of [
        [["shwo"], /^error: Unknown command "key shwo"/],
        [[], /^error: key is followed by generate, psk, show/],
        [["show"], /^error: key show needs the path/],
        [["generate", "extra"], /^error: Unexpected argument "extra"/],
      ] as const
    ) {
      const wrong = await key("client", ...args);
      assert.equal(wrong.code, 2);
      assert.match(wrong.error, says);
    }

    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startSealedServer({
      url: nats.url,
      folder,
      args: [
        ...["--secret-key", paths.get("server") ?? "", "--client-key", ours],
        ...["--psk", folder.at("psk")],
      ],
    });
    await using client = await startClient(nats.url, {
      env: { HOME: folder.path },
      target: echo.address,
      args: [
        ...["--secret-key", paths.get("client") ?? "", "--server-key", theirs],
        ...["--psk", folder.at("psk")],
      ],
    });
    await expectTunnel(client);
  },
);
