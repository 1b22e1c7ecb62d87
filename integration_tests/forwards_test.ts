/** Several forwards of one client process: every kind of place to listen at, under load and when something is wrong. */
import assert from "node:assert/strict";
import { freePort, parseAddress } from "./support/addresses.ts";
import { expectEcho, meetingOf, roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { needs } from "./support/optional_tools.ts";
import { owned } from "./support/owned.ts";
import { openFiles, residentBytes } from "./support/proc_stats.ts";
import { type Process, run, spawn } from "./support/processes.ts";
import { hasOwnNetwork } from "./support/surroundings.ts";
import { requireTool } from "../tools/find_or_install.ts";
import {
  baseEnvironment,
  type LogEntry,
  PROJECT,
  Role,
  spawnRole,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho, Target } from "./support/targets.ts";
import { dial, readExactly, writeAll } from "./support/transfer.ts";
import { comes, filesAtMost, soon } from "./support/waits.ts";

const isListening = ({ msg }: LogEntry): boolean => msg === "listening";

/** Resident memory of a client with ten forwards that does nothing, at most, in bytes; measured 78 to 90 MB. */
const MAX_RESIDENT = 130e6;

/** A broker, a server, a folder that is the client's HOME, and a target. */
interface Stage extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly folder: Folder;
  readonly echo: Target;
  readonly server: Role;
}

async function startStage(): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const echo = cleanup.use(startEcho());
  const nats = cleanup.use(await startNatsServer());
  const server = cleanup.use(await startServer(nats.url));
  return owned(cleanup, { nats, folder, echo, server });
}

/** Starts a client that has these flags and no other place to listen at. */
async function startForwards(
  { nats, folder, echo }: Stage,
  ...args: readonly string[]
): Promise<Role> {
  return await startClient(nats.url, {
    target: echo.address,
    env: { HOME: folder.path },
    // deno-fmt-ignore
    args: ["--listen-addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", ...args],
  });
}

/** Where it listens, in the order of its forwards, the original's first. */
async function placesOf(client: Role, count: number): Promise<string[]> {
  let found: LogEntry[] = [];
  await comes(() => {
    found = client.entries().filter(isListening);
    return Promise.resolve(
      found.length >= count ? undefined : `${found.length} places are told`,
    );
  });
  assert.equal(found.length, count);
  return found.map(({ address }) => String(address));
}

/** Connects to a place as the log tells it. */
async function connect(place: string): Promise<Deno.Conn> {
  const [, path] = /^unix:(.*)$/.exec(place) ?? [];
  if (path !== undefined) {
    return await Deno.connect({ transport: "unix", path });
  }
  const { hostname, port } = parseAddress(place);
  const everywhere = /^(0\.0\.0\.0|::)$/.test(hostname);
  return await dial({ hostname: everywhere ? "127.0.0.1" : hostname, port });
}

/** Targets on ports in a row, and the first of the ports. */
async function startRow(
  count: number,
): Promise<
  AsyncDisposable & { readonly first: number; readonly targets: Target[] }
> {
  for (;;) {
    await using cleanup = new AsyncDisposableStack();
    const first = freePort();
    const targets: Target[] = [];
    try {
      for (let at = 0; at < count; at++) {
        targets.push(cleanup.use(startEcho({ port: first + at })));
      }
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) continue;
      throw error;
    }
    return owned(cleanup, { first, targets });
  }
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `ten forwards of every kind in one process carry every byte, also through a restart of the broker: workers=${workers}`,
    async () => {
      await using stage = await startStage();
      const { folder, nats } = stage;
      await using cleanup = new AsyncDisposableStack();
      const single = Array.from({ length: 6 }, () => cleanup.use(startEcho()));
      const row = cleanup.use(await startRow(3));
      const from = cleanup.use(await startRow(3)).first;
      const targets = [...single, ...row.targets];
      const listen = [
        ...["0", "127.0.0.1:0", "[::1]:0", "*:0"],
        ...[folder.at("a.sock"), folder.at("b.sock")],
        // Elsewhere than the targets that keep them free for us: 127.0.0.2.
        `127.0.0.2:${from}-${from + 2}`,
      ];
      const client = await startForwards(
        stage,
        ...["--workers", workers],
        ...listen.flatMap((place, at) => {
          const target = single[at]?.address ??
            `127.0.0.1:${row.first}-${row.first + 2}`;
          return at % 2 === 0 ? ["-L", `${place}:${target}`] : [
            `-L${place}:${target}`,
          ];
        }),
      );
      cleanup.use(client);
      const places = await placesOf(client, workers === "1" ? 10 : 18);
      const mine = places.slice(1, 10);
      assert.match(mine[0] ?? "", /^localhost:\d+$/);
      assert.match(mine[2] ?? "", /^\[::1\]:\d+$/);
      assert.match(mine[3] ?? "", /^(\[::\]|0\.0\.0\.0):\d+$/);
      assert.deepEqual(mine.slice(4, 6), [
        `unix:${folder.at("a.sock")}`,
        `unix:${folder.at("b.sock")}`,
      ]);
      assert.deepEqual(
        mine.slice(6),
        [0, 1, 2].map((at) => `127.0.0.2:${from + at}`),
      );
      if (workers === "2") {
        await client.entry(({ msg }) => msg === "workers started");
        // Its own places, but for the Unix sockets, which are the first one's alone.
        assert.deepEqual(
          places.slice(10),
          places.slice(0, 10).filter((place) => !place.startsWith("unix:")),
        );
      } else {
        const bytes = await residentBytes(client.process.pid);
        assert.ok(bytes < MAX_RESIDENT, `${bytes} bytes at rest`);
      }
      const { meanwhile, met } = meetingOf(mine.length);
      const flows = mine.map(async (place, seed) => {
        using conn = await connect(place);
        await expectEcho(conn, { seed, size: 24_000_000, meanwhile });
      });
      await Promise.all([
        met.then(async () => {
          await nats.kill();
          await nats.restart();
        }),
        ...flows,
      ]);
      assert.deepEqual(
        targets.map(({ accepted }) => accepted),
        Array(9).fill(1),
      );
      assert.equal(stage.echo.accepted, 0);
      const { code } = await client.process.stop();
      assert.equal(code, 0);
      const closed = client.entries().filter(({ msg }) =>
        msg === "tunnel closed"
      );
      assert.deepEqual(
        closed.map(({ target, reason }) => `${target} ${reason}`).toSorted(),
        targets.map(({ address }) => `${address} ok`).toSorted(),
      );
      // The sockets are gone with it.
      assert.deepEqual(await Array.fromAsync(Deno.readDir(folder.path)), []);
    },
  );
}

integrationTest(
  "one place that is taken ends the start with 1, and no other is served: port or path, also with workers",
  async () => {
    await using stage = await startStage();
    const { folder, nats, echo } = stage;
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    using _socket = Deno.listen({
      transport: "unix",
      path: folder.at("taken.sock"),
    });
    const { port } = taken.addr;
    for (
      const [forward, why, ...args] of [
        [
          `127.0.0.1:${port}`,
          `--forward 127.0.0.1:${port}: the port is in use`,
        ],
        [
          `127.0.0.1:${port}`,
          `--forward 127.0.0.1:${port}: the port is in use`,
          ...["--workers", "2"],
        ],
        [
          folder.at("taken.sock"),
          `--forward unix:${
            folder.at("taken.sock")
          }: another process listens there`,
        ],
        [
          "/taken.sock",
          "--forward unix:/taken.sock: no permission to read and write it (Deno gives it with --allow-read=/taken.sock --allow-write=/taken.sock)",
        ],
      ] as const
    ) {
      await using client = await spawnRole("client", {
        env: { HOME: folder.path },
        args: [
          ...["--nats-url", nats.url, ...args],
          ...["-L", `${folder.at("good.sock")}:${echo.address}`],
          ...["-L", `${forward}:${echo.address}`],
        ],
      });
      assert.equal((await soon("it ends", client.status)).code, 1);
      const text = client.lines.join("\n");
      assert.ok(text.includes(`error: Cannot listen on ${why}`), text);
      assert.doesNotMatch(text, / listening /);
      await assert.rejects(Deno.lstat(folder.at("good.sock")));
    }
  },
);

integrationTest(
  "forwards of the config file are in the log by their names, and those of flags take their place",
  async () => {
    await using stage = await startStage();
    const { folder, nats, echo } = stage;
    const refused = `127.0.0.1:${freePort()}`;
    await folder.write(
      ".nats-proxy-client.yaml",
      `
nats: { url: "${nats.url}" }
log: { format: json }
client:
  forwards:
    - { name: echo, listen: 0, target: "${echo.address}" }
    - { name: gone, listen: ~/gone.sock, target: "${refused}" }
    - 127.0.0.1:0:${echo.address}
`,
    );
    const start = async (...args: readonly string[]): Promise<Role> => {
      const process = await spawnRole("client", {
        env: { HOME: folder.path },
        cwd: folder.path,
        args,
      });
      return new Role(process);
    };
    {
      await using client = await start();
      const [named = "", gone = "", plain = ""] = await placesOf(client, 3);
      const told = client.entries().filter(isListening);
      assert.deepEqual(told.map(({ target, forward }) => [target, forward]), [
        [echo.address, "echo"],
        [refused, "gone"],
        [echo.address, undefined],
      ]);
      assert.equal(gone, `unix:${folder.at("gone.sock")}`);
      {
        using conn = await connect(named);
        await roundTrip(conn);
        using other = await connect(plain);
        await roundTrip(other);
      }
      {
        using conn = await connect(gone);
        assert.equal(await conn.read(new Uint8Array(1)), null);
      }
      const failed = await client.entry(({ msg }) => msg === "open failed");
      assert.deepEqual(
        [failed.forward, failed.peer, failed.target, failed.reason],
        ["gone", `unix:${folder.at("gone.sock")}`, refused, "refused"],
      );
      await client.entry(({ msg, forward }) =>
        msg === "tunnel closed" && forward === "echo"
      );
      await client.entry(({ msg, forward }) =>
        msg === "tunnel closed" && forward === undefined
      );
    }
    await using client = await start("-L", `0:${echo.address}`);
    const [place = ""] = await placesOf(client, 1);
    using conn = await connect(place);
    await roundTrip(conn);
    await client.entry(({ note }) =>
      note ===
        "--forward goes before client.forwards in ./.nats-proxy-client.yaml, which is not used"
    );
  },
);

integrationTest(
  "--allow-from is for every TCP forward, and asks nothing of a Unix socket",
  async () => {
    await using stage = await startStage();
    const { folder, echo } = stage;
    await using client = await startForwards(
      stage,
      ...["--allow-from", "127.0.0.2"],
      ...["-L", `0:${echo.address}`, "-L", `127.0.0.1:0:${echo.address}`],
      ...["-L", `${folder.at("x.sock")}:${echo.address}`],
    );
    const [, one = "", two = "", socket = ""] = await placesOf(client, 4);
    for (const place of [one, two]) {
      using conn = await connect(place);
      assert.equal(await conn.read(new Uint8Array(1)), null);
    }
    using conn = await connect(socket);
    await roundTrip(conn);
    assert.equal(echo.accepted, 1);
  },
);

integrationTest(
  "a client that was killed leaves sockets that the next one replaces",
  async () => {
    await using stage = await startStage();
    const { folder, echo } = stage;
    const path = folder.at("x.sock");
    for (const workers of ["1", "2", "1"]) {
      await using client = await startForwards(
        stage,
        ...["-L", `${path}:${echo.address}`, "--workers", workers],
      );
      using conn = await connect(`unix:${path}`);
      await roundTrip(conn);
      assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
      await client.process.kill();
      assert.ok((await Deno.lstat(path)).isSocket);
    }
  },
);

integrationTest(
  "as many forwards as there may be, and no descriptor is left of connections to them",
  async () => {
    await using stage = await startStage();
    // Below the ports that the system chooses for others.
    const range = "20001-20999";
    await using client = await startForwards(
      stage,
      ...["-L", `127.0.0.3:${range}:127.0.0.1:${range}`],
    );
    const places = await placesOf(client, 1_000);
    const before = await openFiles(client.process.pid);
    for (const place of [places[1], places[500], places[999]]) {
      using conn = await connect(place ?? "");
      assert.equal(await conn.read(new Uint8Array(1)), null);
    }
    await filesAtMost(client, before);
    assert.equal((await client.process.stop()).code, 0);
  },
);

integrationTest(
  "curl --unix-socket fetches through a forward",
  async () => {
    await using stage = await startStage();
    const { folder } = stage;
    await using web = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      async (request) => new Response(`got ${(await request.text()).length}`),
    );
    const path = folder.at("web.sock");
    await using _client = await startForwards(
      stage,
      ...["-L", `${path}:127.0.0.1:${web.addr.port}`],
    );
    const body = await folder.write("body", "x".repeat(500_000));
    const { output } = await run("curl", {
      // deno-fmt-ignore
      args: ["-sS", "--unix-socket", path, "--data-binary", `@${body}`, "http://web/"],
    });
    assert.equal(output, "got 500000");
  },
  await needs("curl"),
);

integrationTest(
  "psql -h FOLDER talks to a database through a Unix socket",
  async () => {
    await using stage = await startStage();
    const { folder } = stage;
    await using database = new Target(answerQueries);
    await using _client = await startForwards(
      stage,
      ...["-L", `${folder.at(".s.PGSQL.5432")}:${database.address}`],
    );
    const { output } = await run("psql", {
      // deno-fmt-ignore
      args: ["-h", folder.path, "-U", "ann", "-d", "db", "-Atc", "SELECT 'far'"],
    });
    assert.equal(output, "far");
  },
  await needs("psql"),
);

/** What of PostgreSQL's protocol psql needs for a query, to which the answer is "far". */
async function answerQueries(conn: Deno.Conn): Promise<void> {
  const message = (type: string, ...parts: readonly number[]): Uint8Array => {
    const length = parts.length + 4;
    return new Uint8Array([type.charCodeAt(0), 0, 0, 0, length, ...parts]);
  };
  const text = (
    words: string,
  ): number[] => [...new TextEncoder().encode(words)];
  const ready = message("Z", ...text("I"));
  const lengthOf = (bytes: Uint8Array): number =>
    new DataView(bytes.buffer).getUint32(0);
  await readExactly(conn, lengthOf(await readExactly(conn, 4)) - 4);
  await writeAll(conn, message("R", 0, 0, 0, 0));
  await writeAll(conn, ready);
  for (;;) {
    const [type] = await readExactly(conn, 1);
    await readExactly(conn, lengthOf(await readExactly(conn, 4)) - 4);
    if (type !== "Q".charCodeAt(0)) return;
    const column = [
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      25,
      255,
      255,
      255,
      255,
      255,
      255,
      0,
      0,
    ];
    await writeAll(conn, message("T", 0, 1, ...text("c\0"), ...column));
    await writeAll(conn, message("D", 0, 1, 0, 0, 0, 3, ...text("far")));
    await writeAll(conn, message("C", ...text("SELECT 1\0")));
    await writeAll(conn, ready);
  }
}

integrationTest(
  "a port that is free to choose is none that another forward has, though workers share ports",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const nats = await requireTool("nats-server");
    // Of 64 ports that the system may choose 56 are told.
    const range = "/proc/sys/net/ipv4/ip_local_port_range";
    const network = cleanup.use(spawn("unshare", {
      // deno-fmt-ignore
      args: [
        "-n", "sh", "-c",
        `ip link set lo up && echo "40000 40063" > ${range} && echo up && exec sleep 600`,
      ],
    }));
    await network.waitForLine((line) => line === "up");
    const env = await baseEnvironment();
    const start = (name: string, ...args: readonly string[]): Process =>
      cleanup.use(spawn("nsenter", {
        name,
        args: ["-t", `${network.pid}`, "-n", ...args],
        env,
        clearEnv: true,
        cwd: PROJECT.pathname,
      }));
    // Its connections are from ports of another address.
    await start("nats-server", nats, "-a", "::1", "-p", "4222")
      .waitForLine((line) => line.includes("Server is ready"));
    // deno-fmt-ignore
    const client = start(
      "client", Deno.execPath(), "run", "-A", "client.ts",
      "--nats-url", "nats://[::1]:4222", "--workers", "2", "--log-format", "json",
      "--listen-addr", "127.0.0.1:0", "--remote-addr", "any:1", "--status-addr", "off",
      "-L", "127.0.0.1:40000-40055:told:1-56",
    );
    const role = new Role(client);
    await role.entry(({ msg }) => msg === "workers started");
    const chosen = role.entries().flatMap(({ msg, target, address }) =>
      msg === "listening" && target === "any:1" ? [String(address)] : []
    );
    assert.equal(new Set(chosen).size, 1, chosen.join());
    const { port } = parseAddress(chosen[0] ?? "");
    assert.ok(port > 40_055 && port < 40_064, `port ${port} was chosen`);
  },
  { ignore: !await hasOwnNetwork() },
);
