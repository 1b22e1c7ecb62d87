/** Forwards and front-ends of a client that come, go and change while it runs: SIGHUP, and the watch. */
import assert from "node:assert/strict";
import { freePort, parseAddress } from "./support/addresses.ts";
import { expectEcho, roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { spawn } from "./support/processes.ts";
import { owned } from "./support/owned.ts";
import {
  launchRole,
  type LogEntry,
  PROJECT,
  type Role,
  spawnRole,
  startServer,
} from "./support/roles.ts";
import { startEcho, Target } from "./support/targets.ts";
import { close, dial, readToEnd, writeAll } from "./support/transfer.ts";
import { comes, soon, whenReady } from "./support/waits.ts";

/** Connections whose bytes are under way while forwards change; others are open beside them. */
const FLOWS = 4;

/** How often a place is made to lead elsewhere under load. */
const RETARGETS = 20;

/** A target that says its name to whoever comes. */
function named(name: string): Target {
  return new Target(async (conn) => {
    await writeAll(conn, new TextEncoder().encode(name));
  });
}

interface Stage extends AsyncDisposable {
  readonly folder: Folder;
  readonly nats: NatsServer;
  readonly url: string;
  readonly server: Role;
  readonly a: Target;
  readonly b: Target;
  readonly echo: Target;
}

async function startStage(): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const nats = cleanup.use(await startNatsServer());
  const { url } = nats;
  const server = cleanup.use(await startServer(url));
  const [a, b, echo] = [
    cleanup.use(named("a")),
    cleanup.use(named("b")),
    cleanup.use(startEcho()),
  ];
  return owned(cleanup, { folder, nats, url, server, a, b, echo });
}

/** The text of a config file with these forwards. */
function configOf(forwards: readonly string[], more = ""): string {
  const list = forwards.map((it) => `\n    - ${it}`).join("");
  return `client:\n  forwards: ${list === "" ? "[]" : list}\n${more}`;
}

/** Starts a client by the config file of the folder, and waits until it works. */
async function start(
  { folder, url }: Stage,
  ...args: readonly string[]
): Promise<Role> {
  const client = await launchRole("client", url, {
    env: { HOME: folder.path },
    args: [
      ...["--config", folder.at("client.yaml"), "--log-format", "json"],
      ...["--nats-url", url, "--status-addr", "127.0.0.1:0", ...args],
    ],
  });
  await whenReady(client, 200);
  const workers = args[args.indexOf("--workers") + 1];
  await client.entry(({ msg }) =>
    msg === (workers === "2" ? "workers started" : "listening")
  );
  return client;
}

/** What a client says last of a reload that ends well or badly. */
const ENDS =
  /: (?:forwards have changed|the configuration has not changed|options have changed, and|the configuration or a key|the change cannot)/;

/** Does something that has the client read its file, and waits for what it says of that. */
async function reloaded(
  client: Role,
  cause: "SIGHUP" | "watch",
  act: () => Promise<unknown> | void = () => client.process.signal("SIGHUP"),
): Promise<LogEntry> {
  const since = client.process.mark();
  await act();
  return await soon(
    "it says what came of the reload",
    client.entry(
      ({ msg }) => msg.startsWith(cause) && ENDS.test(msg),
      { since },
    ),
  );
}

/** The name that a target says at this port. */
async function nameAt(port: number): Promise<string> {
  using conn = await dial({ hostname: "127.0.0.1", port });
  return new TextDecoder().decode(await readToEnd(conn));
}

async function assertRefused(port: number): Promise<void> {
  await assert.rejects(
    dial({ hostname: "127.0.0.1", port }),
    Deno.errors.ConnectionRefused,
  );
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `SIGHUP adds, removes, retargets and renames forwards, and open tunnels go on: workers=${workers}`,
    async () => {
      await using stage = await startStage();
      const { folder, a, b, echo } = stage;
      const [kept, gone, turned, later] = [1, 2, 3, 4].map(() => freePort());
      assert.ok(kept && gone && turned && later);
      await folder.write(
        "client.yaml",
        configOf([
          `127.0.0.1:${kept}:${echo.address}`,
          `{ name: old, listen: 127.0.0.1:${gone}, target: "${echo.address}" }`,
          `{ name: x, listen: 127.0.0.1:${turned}, target: "${a.address}" }`,
          `${folder.at("gone.sock")}:${a.address}`,
          `${folder.at("kept.sock")}:${a.address}`,
          `0:${a.address}`,
        ]),
      );
      await using client = await start(stage, "--workers", workers);
      const anywhere = await client.entry(({ msg, address }) =>
        msg === "listening" && /^localhost:/.test(String(address))
      );
      const { port: chosen } = parseAddress(String(anywhere.address));
      assert.equal(await nameAt(turned), "a");
      // Bytes are under way by the forward that stays, and by the one that goes.
      const conns = await Promise.all(
        Array.from({ length: 20 }, async (_, at) => {
          const port = at % 2 === 0 ? kept : gone;
          const conn = await dial({ hostname: "127.0.0.1", port });
          await roundTrip(conn);
          return conn;
        }),
      );
      using _all = {
        [Symbol.dispose]: () => conns.forEach((conn) => conn[Symbol.dispose]()),
      };
      const { promise: changed, resolve } = Promise.withResolvers<void>();
      let underWay = 0;
      const { promise: all, resolve: onAll } = Promise.withResolvers<void>();
      const flows = Promise.all(
        conns.slice(0, FLOWS).map((conn, seed) =>
          expectEcho(conn, {
            seed,
            size: 80_000_000,
            meanwhile: async (arrivals) => {
              await arrivals.reached(50_000);
              if (++underWay === FLOWS) onAll();
              await changed;
            },
          })
        ),
      );
      await all;
      const entry = await reloaded(client, "SIGHUP", async () => {
        await folder.write(
          "client.yaml",
          configOf([
            `0:${a.address}`,
            `127.0.0.1:${kept}:${echo.address}`,
            `{ name: y, listen: 127.0.0.1:${turned}, target: "${b.address}" }`,
            `${folder.at("kept.sock")}:${a.address}`,
            `127.0.0.1:${later}:${a.address}`,
          ]),
        );
        client.process.signal("SIGHUP");
      });
      assert.deepEqual(
        [entry.added, entry.removed, entry.changed, entry.tunnels],
        [
          `127.0.0.1:${later}`,
          `old, unix:${folder.at("gone.sock")}`,
          "y",
          10,
        ],
        JSON.stringify(entry),
      );
      await assertRefused(gone);
      assert.equal(await nameAt(turned), "b");
      assert.equal(await nameAt(later), "a");
      assert.equal(await nameAt(chosen), "a");
      const counts = (...names: readonly string[]): Promise<void> =>
        comes(async () => {
          const { text } = await client.status("/metrics");
          const shown = [...text.matchAll(
            /^sproxy_forward_tunnels_open\{forward="([xy]|old)"\} \d+$/gm,
          )].map(([, name]) => name);
          return shown.join() === names.join() ? undefined : shown.join();
        });
      // One that is gone is counted apart until its tunnels have ended.
      await counts("old", "y");
      await assert.rejects(Deno.lstat(folder.at("gone.sock")));
      assert.ok((await Deno.lstat(folder.at("kept.sock"))).isSocket);
      resolve();
      await flows;
      for (const conn of conns.slice(FLOWS)) {
        await roundTrip(conn);
        close(conn);
      }
      await counts("y");
      const said = await reloaded(client, "SIGHUP");
      assert.match(said.msg, /has not changed/);
      // All of it back, at once after it went.
      const back = await reloaded(client, "SIGHUP", async () => {
        await folder.write(
          "client.yaml",
          configOf([`127.0.0.1:${gone}:${b.address}`]),
        );
        client.process.signal("SIGHUP");
      });
      assert.equal(back.added, `127.0.0.1:${gone}`);
      assert.equal(await nameAt(gone), "b");
      for (const port of [turned, later, chosen]) await assertRefused(port);
      const { code } = await client.process.stop();
      assert.equal(code, 0);
      const reasons = client.entries().flatMap(({ msg, reason }) =>
        msg === "tunnel closed" ? [reason] : []
      );
      assert.deepEqual(new Set(reasons), new Set(["ok"]));
    },
  );

  integrationTest(
    `a reload that cannot be made changes nothing and says which and why: workers=${workers}`,
    async () => {
      await using stage = await startStage();
      const { folder, a, b } = stage;
      using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const [port, other] = [freePort(), freePort()];
      const good = configOf([`127.0.0.1:${port}:${a.address}`]);
      await folder.write("client.yaml", good);
      await using client = await start(stage, "--workers", workers);
      const change = `127.0.0.1:${port}:${b.address}`;
      const more = `127.0.0.1:${other}:${b.address}`;
      for (
        const [text, why] of [
          [
            configOf([more, `127.0.0.1:${taken.addr.port}:x:1`, change]),
            `Cannot listen on --forward 127.0.0.1:${taken.addr.port}: the port is in use`,
          ],
          [
            configOf([more, change, "/no/such/a.sock:x:1"]),
            "Cannot listen on --forward unix:/no/such/a.sock: no permission",
          ],
          [
            configOf([more, change, `${folder.at("client.yaml")}:x:1`]),
            "there is a file, which is no socket",
          ],
          [configOf([more, change], "tunel: 1\n"), 'Unknown key "tunel"'],
          [configOf([more, change], ": ["), "not YAML"],
          [configOf([more, change, change]), "both listen|Two forwards listen"],
          [undefined, "no file .* found"],
        ] as const
      ) {
        const entry = await reloaded(client, "SIGHUP", async () => {
          if (text === undefined) await Deno.remove(folder.at("client.yaml"));
          else await folder.write("client.yaml", text);
          client.process.signal("SIGHUP");
        });
        assert.equal(entry.level, "error");
        assert.match(entry.msg, /all stays as it is$/);
        assert.match(String(entry.why), new RegExp(why));
        assert.equal(await nameAt(port), "a");
        await assertRefused(other);
      }
      // A port that was asked for in vain is free for others, and for the next try.
      await folder.write("client.yaml", configOf([change, more]));
      assert.equal(
        (await reloaded(client, "SIGHUP")).changed,
        `127.0.0.1:${port}`,
      );
      assert.deepEqual(
        [await nameAt(port), await nameAt(other)],
        ["b", "b"],
      );
    },
  );

  integrationTest(
    `a port moves to other addresses and back, and two reloads in a row leave what the last file says: workers=${workers}`,
    async () => {
      await using stage = await startStage();
      const { folder, a, b } = stage;
      const port = freePort();
      await folder.write("client.yaml", configOf([`${port}:${a.address}`]));
      await using client = await start(stage, "--workers", workers);
      for (const host of ["*", "127.0.0.1", "localhost", "127.0.0.1"]) {
        await folder.write(
          "client.yaml",
          configOf([`"${host}:${port}:${b.address}"`]),
        );
        const { level, why } = await reloaded(client, "SIGHUP");
        assert.equal(level, "info", String(why));
        assert.equal(await nameAt(port), "b");
      }
      // One that cannot come gives the place back that was to make room for it.
      using taken = Deno.listen({ hostname: "127.0.0.2", port: freePort() });
      const before = freePort();
      await folder.write(
        "client.yaml",
        configOf([
          `127.0.0.1:${before}:${a.address}`,
          `127.0.0.1:${taken.addr.port}:${a.address}`,
        ]),
      );
      assert.equal((await reloaded(client, "SIGHUP")).level, "info");
      await folder.write(
        "client.yaml",
        configOf([
          `"*:${taken.addr.port}:${b.address}"`,
        ]),
      );
      const failed = await reloaded(client, "SIGHUP");
      if (workers === "1") {
        assert.equal(failed.level, "error");
        assert.equal(await nameAt(before), "a");
        assert.equal(await nameAt(taken.addr.port), "a");
      }
      const since = client.process.mark();
      for (let at = 1; at <= 12; at++) {
        await folder.write(
          "client.yaml",
          configOf([
            `{ name: n${at}, listen: 127.0.0.1:${port}, target: "${
              at % 2 === 0 ? a.address : b.address
            }" }`,
          ]),
        );
        client.process.signal("SIGHUP");
      }
      await client.entry(
        ({ changed, added }) => `${changed} ${added}`.includes("n12"),
        { since },
      );
      assert.equal(await nameAt(port), "a");
    },
  );
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `no connection is refused or lost while a place leads elsewhere again and again: workers=${workers}`,
    async () => {
      await using stage = await startStage();
      const { folder, a, b } = stage;
      const port = freePort();
      await folder.write(
        "client.yaml",
        configOf([`127.0.0.1:${port}:${a.address}`]),
      );
      await using client = await start(stage, "--workers", workers);
      let ended = false;
      const names = new Map<string, number>();
      const callers = Array.from({ length: 4 }, async () => {
        while (!ended) {
          const name = await nameAt(port);
          names.set(name, (names.get(name) ?? 0) + 1);
        }
      });
      for (let at = 0; at < RETARGETS; at++) {
        const { address } = at % 2 === 0 ? b : a;
        await folder.write(
          "client.yaml",
          configOf([
            `{ name: n${at}, listen: 127.0.0.1:${port}, target: "${address}" }`,
          ]),
        );
        assert.equal((await reloaded(client, "SIGHUP")).changed, `n${at}`);
        assert.equal(await nameAt(port), at % 2 === 0 ? "b" : "a");
      }
      ended = true;
      await Promise.all(callers);
      assert.deepEqual([...names.keys()].toSorted(), ["a", "b"]);
    },
  );

  integrationTest(
    `a front-end comes where there was none, with what stands open said; forwards for which there are too few open files do not: workers=${workers}`,
    async () => {
      await using stage = await startStage();
      const { folder, url, a } = stage;
      const [port, socks] = [freePort(), freePort()];
      const forward = `127.0.0.1:${port}:${a.address}`;
      await folder.write("client.yaml", configOf([forward]));
      await using client = await launchRole("client", url, {
        env: { HOME: folder.path },
        through: ["prlimit", "--nofile=200"],
        args: [
          ...["--config", folder.at("client.yaml"), "--log-format", "json"],
          ...["--nats-url", url, "--status-addr", "127.0.0.1:0"],
          ...["--workers", workers],
        ],
      });
      await whenReady(client, 200, {
        matching: workers === "2" ? /"ready":2/ : /^/,
      });
      const since = client.process.mark();
      await folder.write(
        "client.yaml",
        configOf([forward], `client.socks: "*:${socks}"\n`),
      );
      const { added } = await reloaded(client, "SIGHUP");
      assert.equal(added, `:${socks}`);
      await client.entry(
        ({ msg, level }) =>
          level === "warn" && msg.includes("stands open beyond this machine"),
        { since },
      );
      using conn = await dial({ hostname: "127.0.0.1", port: socks });
      const { port: target } = a.endpoint;
      // deno-fmt-ignore
      await writeAll(conn, Uint8Array.of(
        5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, target >> 8, target & 0xff,
      ));
      const answer = await readToEnd(conn);
      assert.equal(new TextDecoder().decode(answer.slice(-1)), "a");
      await folder.write(
        "client.yaml",
        configOf([forward, ...Array(40).fill(`0:${a.address}`)]),
      );
      const refused = await reloaded(client, "SIGHUP");
      assert.equal(refused.level, "error");
      assert.match(
        String(refused.why),
        /^42 places to listen at leave too few/,
      );
      assert.equal(await nameAt(port), "a");
    },
  );
}

integrationTest(
  "SIGHUP while a client looks for NATS, and while it drains",
  async () => {
    await using stage = await startStage();
    const { folder, nats, url, server, a, b, echo } = stage;
    const [early, late] = [freePort(), freePort()];
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    await folder.write(
      "client.yaml",
      configOf([`127.0.0.1:${early}:${a.address}`]),
    );
    await nats.kill();
    await using client = await launchRole("client", url, {
      env: { HOME: folder.path },
      args: [
        ...["--config", folder.at("client.yaml"), "--log-format", "json"],
        ...["--nats-url", url],
        ...["--status-addr", "127.0.0.1:0", "--nats-connect-timeout", "0"],
      ],
    });
    await whenReady(client, 503, { matching: /not connected/ });
    await folder.write(
      "client.yaml",
      configOf([`127.0.0.1:${taken.addr.port}:x:1`]),
    );
    assert.equal((await reloaded(client, "SIGHUP")).level, "error");
    await folder.write(
      "client.yaml",
      configOf([`127.0.0.1:${late}:${echo.address}`, `0:${b.address}`]),
    );
    assert.equal((await reloaded(client, "SIGHUP")).level, "info");
    await nats.restart();
    await whenReady(server, 200);
    await whenReady(client, 200);
    await client.entry(({ msg }) => msg === "listening");
    await assertRefused(early);
    using conn = await dial({ hostname: "127.0.0.1", port: late });
    await roundTrip(conn);
    const ending = client.process.status;
    client.process.signal("SIGTERM");
    await client.entry(({ msg }) => msg === "draining");
    await folder.write(
      "client.yaml",
      configOf([`127.0.0.1:${early}:${a.address}`]),
    );
    assert.equal((await reloaded(client, "SIGHUP")).level, "info");
    await assertRefused(early);
    await roundTrip(conn);
    close(conn);
    assert.equal((await ending).code, 0);
  },
);

integrationTest(
  "who may connect, the login of front-ends and the level of the log count at once; what does not is named",
  async () => {
    await using stage = await startStage();
    const { folder, a, echo } = stage;
    const [port, socks] = [freePort(), freePort()];
    const text = (client: string, more = ""): string =>
      `client:\n  forwards: ["127.0.0.1:${port}:${echo.address}"]\n  socks: 127.0.0.1:${socks}\n${client}${more}`;
    await folder.write("client.yaml", text(""));
    await using client = await start(stage);
    using open = await dial({ hostname: "127.0.0.1", port });
    await roundTrip(open);
    await folder.write(
      "client.yaml",
      text(
        "  allow_from: 10.0.0.0/8\n  open_timeout: 3s\n",
        "log.level: debug\n",
      ),
    );
    const since = client.process.mark();
    const entry = await reloaded(client, "SIGHUP");
    assert.equal(entry.options, "client.allow_from, log.level");
    const warning = await client.entry(
      ({ msg }) => msg.includes("read at the start only"),
      { since },
    );
    assert.deepEqual(
      [warning.level, warning.options],
      ["warn", "client.open_timeout"],
    );
    using closed = await dial({ hostname: "127.0.0.1", port });
    assert.equal((await readToEnd(closed)).length, 0);
    await roundTrip(open);
    await folder.write(
      "client.yaml",
      text(
        "  socks_user: ann\n  socks_password: secret\n",
        "log.level: debug\n",
      ),
    );
    assert.equal(
      (await reloaded(client, "SIGHUP")).options,
      "client.allow_from, client.socks_password, client.socks_user",
    );
    using asked = await dial({ hostname: "127.0.0.1", port: socks });
    await writeAll(asked, Uint8Array.of(5, 1, 0));
    assert.deepEqual([...await readToEnd(asked)], [5, 255]);
    using late = await dial({ hostname: "127.0.0.1", port });
    await roundTrip(late);
    // Who says so gets in, and is told that port 1 takes no connection.
    using known = await dial({ hostname: "127.0.0.1", port: socks });
    const user = [..."ann"].map((one) => one.charCodeAt(0));
    const secret = [..."secret"].map((one) => one.charCodeAt(0));
    await writeAll(known, Uint8Array.of(5, 1, 2, 1, 3, ...user, 6, ...secret));
    await writeAll(known, Uint8Array.of(5, 1, 0, 1, 127, 0, 0, 1, 0, 1));
    assert.deepEqual([...(await readToEnd(known)).subarray(0, 6)], [
      ...[5, 2],
      ...[1, 0],
      ...[5, 5],
    ]);
    client.process.signal("SIGTERM");
    client.process.signal("SIGINT");
    await client.entry(({ level }) => level === "debug", { since });
    assert.ok(!client.process.lines.some((line) => line.includes("secret")));
    assert.equal(a.accepted, 0);
  },
);

integrationTest(
  "SIGHUP while a client waits for its ID: it then listens at what the file says by then",
  async () => {
    await using stage = await startStage();
    const { folder, a, b } = stage;
    const [mine, next, other] = [freePort(), freePort(), freePort()];
    const id = ["--client-id", "edge"];
    await folder.write(
      "client.yaml",
      configOf([`127.0.0.1:${other}:${a.address}`]),
    );
    await using first = await start(stage, ...id);
    await folder.write(
      "client.yaml",
      configOf([`127.0.0.1:${mine}:${a.address}`]),
    );
    await using second = await launchRole("client", stage.url, {
      env: { HOME: folder.path },
      args: [
        ...["--config", folder.at("client.yaml"), "--log-format", "json"],
        ...["--nats-url", stage.url, "--status-addr", "127.0.0.1:0", ...id],
      ],
    });
    await whenReady(second, 503, { matching: /client-id/ });
    await folder.write(
      "client.yaml",
      configOf([`127.0.0.1:${other}:${b.address}`]),
    );
    // The first one has that place.
    assert.equal((await reloaded(second, "SIGHUP")).level, "error");
    await folder.write(
      "client.yaml",
      configOf([`127.0.0.1:${next}:${b.address}`]),
    );
    assert.equal((await reloaded(second, "SIGHUP")).level, "info");
    assert.equal((await first.process.stop()).code, 0);
    await whenReady(second, 200);
    await second.entry(({ msg }) => msg === "listening");
    assert.equal(await nameAt(next), "b");
    await assertRefused(mine);
  },
);

integrationTest(
  "--watch-config sees a file written in place, renamed over, and behind the links of Kubernetes; a bad file and one that is gone change nothing",
  async () => {
    await using stage = await startStage();
    const { folder, a, b } = stage;
    const port = freePort();
    const to = (target: Target, more = ""): string =>
      configOf([`127.0.0.1:${port}:${target.address}`], more);
    await folder.write("client.yaml", to(a));
    await using client = await start(stage, "--watch-config");
    const seen = async (
      act: () => Promise<unknown>,
      level = "info",
    ): Promise<LogEntry> => {
      const entry = await reloaded(client, "watch", act);
      assert.equal(entry.level, level, JSON.stringify(entry));
      return entry;
    };
    await seen(() => folder.write("client.yaml", to(b)));
    assert.equal(await nameAt(port), "b");
    await seen(() => folder.replace("client.yaml", to(a)));
    assert.equal(await nameAt(port), "a");
    // In steps.
    await seen(async () => {
      using file = await Deno.open(folder.at("client.yaml"), {
        write: true,
        truncate: true,
      });
      for (const part of to(b).match(/[^]{1,9}/g) ?? []) {
        await file.write(new TextEncoder().encode(part));
      }
    });
    assert.equal(await nameAt(port), "b");
    const bad = await seen(
      () => folder.write("client.yaml", to(a, "tunel: 1\n")),
      "error",
    );
    assert.match(String(bad.why), /tunel/);
    assert.equal(await nameAt(port), "b");
    await seen(() => folder.write("client.yaml", to(a)));
    assert.equal(await nameAt(port), "a");
    const mark = client.process.mark();
    await Deno.remove(folder.at("client.yaml"));
    await client.entry(
      ({ msg }) => msg.startsWith("watch: the config file is gone"),
      {
        since: mark,
      },
    );
    assert.equal(await nameAt(port), "a");
    // Its folder becomes one that Kubernetes has mounted.
    await seen(async () => {
      await Deno.mkdir(folder.at("..1"));
      await folder.write("..1/client.yaml", to(b));
      await Deno.symlink("..1", folder.at("..data"));
      await Deno.symlink("..data/client.yaml", folder.at("client.yaml"));
    });
    assert.equal(await nameAt(port), "b");
    for (const [version, target, name] of [[2, a, "a"], [3, b, "b"]] as const) {
      await seen(async () => {
        await Deno.mkdir(folder.at(`..${version}`));
        await folder.write(`..${version}/client.yaml`, to(target));
        await Deno.symlink(`..${version}`, folder.at("..tmp"));
        await Deno.rename(folder.at("..tmp"), folder.at("..data"));
        await Deno.remove(folder.at(`..${version - 1}`), { recursive: true });
      });
      assert.equal(await nameAt(port), name);
    }
    assert.equal((await client.process.stop()).code, 0);
  },
);

integrationTest(
  "--watch-config sees the folder made again at a server; without a file it is an error",
  async () => {
    await using folder = await Folder.make();
    await using nats = await startNatsServer();
    const { url } = nats;
    await Deno.mkdir(folder.at("conf"));
    await folder.write("conf/a.yaml", "tunnel: {idle_timeout: 1h}\n");
    await using server = await startServer(url, {
      env: { HOME: folder.path },
      args: ["--config", folder.at("conf/a.yaml"), "--watch-config"],
    });
    const mark = server.process.mark();
    await Deno.remove(folder.at("conf"), { recursive: true });
    await server.entry(
      ({ msg }) => msg.startsWith("watch: the config file is gone"),
      {
        since: mark,
      },
    );
    await Deno.mkdir(folder.at("conf"));
    await folder.write("conf/a.yaml", "tunnel: {idle_timeout: 2h}\n");
    const named = await server.entry(
      ({ msg }) => msg.startsWith("watch: options have changed that are"),
      { since: mark },
    );
    assert.equal(named.options, "tunnel.idle_timeout");
    // And once more, now that it is watched again.
    const again = server.process.mark();
    await folder.write("conf/a.yaml", "log.level: debug\n");
    const { options } = await server.entry(
      ({ msg }) => msg.startsWith("watch: options have changed, and"),
      { since: again },
    );
    assert.equal(options, "log.level");
    // Deno permits the file, but not to see what happens beside it.
    await using blind = spawn(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", "--allow-net", "--allow-sys", "--allow-env"],
        `--allow-read=${folder.at("conf/a.yaml")}`,
        new URL("server.ts", PROJECT).pathname,
        ...["--config", folder.at("conf/a.yaml"), "--nats-url", url],
        ...["--listen-addr", "off", "--watch-config"],
      ],
    });
    assert.equal((await blind.status).code, 1);
    assert.match(
      blind.tail(1),
      /Cannot watch .*\/conf: no permission to read it \(Deno gives it with --allow-read=/,
    );
    await using without = await spawnRole("server", {
      env: { HOME: folder.path },
      args: ["--nats-url", url, "--listen-addr", "off", "--watch-config"],
    });
    assert.equal((await without.status).code, 2);
    assert.match(without.tail(1), /there is no config file to watch/);
  },
);
