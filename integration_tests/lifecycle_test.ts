/** The two programs as their users' shells, supervisors and orchestrators see them. */
import assert from "node:assert/strict";
import { freePort } from "./support/addresses.ts";
import { pause } from "./support/changes.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import type { Process } from "./support/processes.ts";
import {
  PROJECT,
  Role,
  type RoleName,
  spawnRole,
  startClient,
  startServer,
  startTunnel,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import {
  dial,
  readEnding,
  readExactly,
  readToEnd,
  writeAll,
} from "./support/transfer.ts";

const HELLO = new TextEncoder().encode("hello");
const ROLES = ["server", "client"] as const;

/** Flags of the original, which both or one of the roles must keep. */
const ORIGINAL_FLAGS: Record<RoleName, readonly string[]> = {
  server: ["--nats-url", "--listen-addr", "--log-level", "--config"],
  client: [
    "--nats-url",
    "--listen-addr",
    "--remote-addr",
    "--proxy-addr",
    "--log-level",
    "--config",
  ],
};

/** Runs a role to its end. */
async function runRole(
  role: RoleName,
  args: readonly string[],
  options: { readonly env?: Record<string, string>; readonly cwd?: string } =
    {},
): Promise<Process> {
  const process = await spawnRole(role, { args, ...options });
  await process.status;
  return process;
}

/** Expects exit code 2 and one line that names `culprit`, nothing else. */
async function expectUsageError(
  process: Process,
  culprit: string,
): Promise<void> {
  const { code } = await process.status;
  const text = process.lines.join("\n");
  assert.equal(code, 2, text);
  assert.equal(process.lines.length, 1, text);
  assert.ok(text.includes(culprit), `"${culprit}" is not in: ${text}`);
}

/** Expects exit code 1 and a last line that names `culprit`, without a stack trace. */
async function expectFailure(process: Process, culprit: string): Promise<void> {
  const text = process.lines.join("\n");
  assert.equal((await process.status).code, 1, text);
  assert.ok(process.lines.at(-1)?.includes(culprit), text);
  assert.doesNotMatch(text, /^\s+at /m, "a stack trace");
}

/** Looks at `/ready` until it answers `status`; the test's limit ends it. */
async function whenReadyIs(server: Role, status: number): Promise<void> {
  while ((await server.status("/ready")).status !== status) {
    await pause(20);
  }
}

/** SIGTERM; resolves when the role says that it drains. */
async function beginDrain(process: Process): Promise<void> {
  const since = process.mark();
  process.signal("SIGTERM");
  await process.waitForLine((line) => /drain/i.test(line), { since });
}

async function expectEcho(conn: Deno.Conn): Promise<void> {
  await writeAll(conn, HELLO);
  assert.deepEqual(await readExactly(conn, HELLO.length), HELLO);
}

for (const role of ROLES) {
  integrationTest(
    `${role} --help-all names the flags and shows examples, exit code 0`,
    async () => {
      await using process = await runRole(role, ["--help-all"]);
      const text = process.lines.join("\n");
      assert.equal((await process.status).code, 0, text);
      for (const flag of ORIGINAL_FLAGS[role]) {
        assert.ok(text.includes(flag), flag);
      }
      assert.match(text, /example/i);
      assert.ok(
        text.includes(`${role}.ts`) || text.includes(`tcp-sproxy-${role}`),
      );
    },
  );

  integrationTest(
    `${role} --version gives the version of deno.json, exit code 0`,
    async () => {
      const config = JSON.parse(
        await Deno.readTextFile(new URL("deno.json", PROJECT)),
      );
      await using process = await runRole(role, ["--version"]);
      assert.equal((await process.status).code, 0);
      assert.equal(process.lines.length, 1);
      assert.ok(process.lines[0]?.includes(config.version));
    },
  );

  integrationTest(
    `${role} with bad flags ends with code 2 and one line that names the flag`,
    async () => {
      for (
        const [args, culprit] of [
          [["--no-such-flag"], "--no-such-flag"],
          [["--nats-url", "http://example.com"], "--nats-url"],
          [["--nats-url", "nats://host:99999"], "--nats-url"],
          [["--listen-addr", "nonsense"], "--listen-addr"],
          [["--listen-addr", "127.0.0.1:65536"], "--listen-addr"],
          [["--log-level", "loud"], "--log-level"],
          [["--drain-timeout", "soon"], "--drain-timeout"],
          [["--config", "/no/such/file.yaml"], "/no/such/file.yaml"],
          [["stray"], "stray"],
        ] as const
      ) {
        await using process = await runRole(role, args);
        await expectUsageError(process, culprit);
      }
    },
  );

  integrationTest(
    `${role} with a bad variable or config key names it, code 2`,
    async () => {
      await using env = await runRole(role, [], { env: { LOG_LEVEL: "loud" } });
      await expectUsageError(env, "LOG_LEVEL");
      await using dir = await Folder.make();
      for (
        const [name, text, culprit] of [
          ["a.yaml", "nats:\n  uri: nats://127.0.0.1:1\n", "nats.uri"],
          ["b.json", '{"log":{"level":"loud"}}', "log.level"],
          ["c.toml", "[log]\nlevel = 3\n", "log.level"],
          ["d.yaml", "nats: [unclosed\n", "d.yaml"],
        ] as const
      ) {
        const path = `${dir.path}/${name}`;
        await Deno.writeTextFile(path, text);
        // From there: the tasks let a role read its directory and $HOME.
        await using process = await runRole(role, ["--config", path], {
          cwd: dir.path,
        });
        await expectUsageError(process, culprit);
      }
    },
  );

  integrationTest(
    `${role} gives up on a broker that is not there, with code 1 and its address`,
    async () => {
      const broker = `127.0.0.1:${freePort()}`;
      await using process = await runRole(role, [
        "--nats-url",
        `nats://${broker}`,
        "--listen-addr",
        "127.0.0.1:0",
        "--nats-connect-timeout",
        "200ms",
      ]);
      await expectFailure(process, broker);
    },
  );

  integrationTest(
    `${role} says in one line that its port is taken, code 1`,
    async () => {
      await using nats = await startNatsServer();
      using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const address = `127.0.0.1:${taken.addr.port}`;
      await using process = await runRole(role, [
        "--nats-url",
        nats.url,
        "--listen-addr",
        address,
      ]);
      await expectFailure(process, address);
    },
  );

  integrationTest(
    `${role} without tunnels ends at once on SIGTERM and on SIGINT, code 0`,
    async () => {
      await using nats = await startNatsServer();
      for (const signal of ["SIGTERM", "SIGINT"] as const) {
        await using running = role === "server"
          ? await startServer(nats.url)
          : await startClient(nats.url, { target: "127.0.0.1:1" });
        running.process.signal(signal);
        const { code } = await running.process.status;
        assert.equal(code, 0, running.process.tail(10));
      }
      assert.equal(await nats.subscriptions(), 0);
    },
  );

  integrationTest(
    `${role} drains on SIGTERM: an open tunnel goes on to its end, code 0`,
    async () => {
      await using tunnel = await startTunnel();
      using conn = await dial(tunnel.endpoint);
      await expectEcho(conn);
      const { process } = tunnel[role];
      await beginDrain(process);
      await expectEcho(conn);
      // New ones are refused, by whichever side takes no more.
      try {
        using late = await dial(tunnel.endpoint);
        assert.equal((await readEnding(late)).bytes, 0);
      } catch (error) {
        if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      }
      await expectEcho(conn);
      await conn.closeWrite();
      assert.equal((await readToEnd(conn)).length, 0);
      assert.equal((await process.status).code, 0, process.tail(10));
    },
  );

  integrationTest(
    `${role} ends at once on a second signal, tunnels or not`,
    async () => {
      await using tunnel = await startTunnel({
        // So that only the second signal can be what ends it within the test.
        [`${role}Args`]: ["--drain-timeout", "1h"],
      });
      using conn = await dial(tunnel.endpoint);
      await expectEcho(conn);
      const { process } = tunnel[role];
      await beginDrain(process);
      process.signal("SIGTERM");
      await process.status;
      assert.equal((await readEnding(conn)).bytes, 0);
      await tunnel.echo.whenOpenAtMost(0);
    },
  );

  integrationTest(
    `${role} ends an open tunnel when the drain time is over, and says so to both ends`,
    async () => {
      await using tunnel = await startTunnel({
        [`${role}Args`]: ["--drain-timeout", "100ms"],
      });
      using conn = await dial(tunnel.endpoint);
      await expectEcho(conn);
      const { process } = tunnel[role];
      process.signal("SIGTERM");
      assert.equal((await readEnding(conn)).bytes, 0);
      await tunnel.echo.whenOpenAtMost(0);
      assert.equal((await process.status).code, 0, process.tail(10));
    },
  );
}

integrationTest(
  "client with a bad --remote-addr or --proxy-addr names it, code 2",
  async () => {
    for (const flag of ["--remote-addr", "--proxy-addr"]) {
      for (const value of ["redis", "redis:0", "redis:65536", ":6379", ""]) {
        await using process = await runRole("client", [flag, value]);
        await expectUsageError(process, flag);
      }
    }
  },
);

integrationTest(
  "flags beat variables, variables beat files, ./ beats $HOME",
  async () => {
    await using nats = await startNatsServer();
    await using target = startEcho();
    await using _server = await startServer(nats.url);
    await using home = await Folder.make();
    await using here = await Folder.make();
    const dead = "127.0.0.1:1";
    const file = (remote: string): string =>
      `nats:\n  url: ${nats.url}\nlog:\n  format: json\nclient:\n  listen_addr: 127.0.0.1:0\n  remote_addr: ${remote}\n`;
    const name = ".nats-proxy-client.yaml";
    const reached = async (
      options: { args?: readonly string[]; env?: Record<string, string> },
    ): Promise<boolean> => {
      const { args = [], env = {} } = options;
      await using client = new Role(
        await spawnRole("client", {
          args,
          env: { HOME: home.path, ...env },
          cwd: here.path,
        }),
      );
      const { address } = await client.entry(({ msg }) => msg === "listening");
      const port = Number(String(address).split(":").at(-1));
      using conn = await dial({ hostname: "127.0.0.1", port });
      await conn.write(HELLO).catch(() => 0);
      await conn.closeWrite().catch(() => {});
      return (await readEnding(conn)).bytes === HELLO.length;
    };
    await Deno.writeTextFile(`${home.path}/${name}`, file(target.address));
    assert.equal(await reached({}), true, "the file in $HOME is read");
    await Deno.writeTextFile(`${here.path}/${name}`, file(dead));
    assert.equal(await reached({}), false, "./ beats $HOME");
    const env = { REMOTE_ADDR: target.address };
    assert.equal(await reached({ env }), true, "a variable beats the file");
    const args = ["--remote-addr", dead];
    assert.equal(
      await reached({ args, env }),
      false,
      "a flag beats a variable",
    );
  },
);

integrationTest(
  "/health and /ready: 200; without the broker /ready is 503, with it 200 again",
  async () => {
    await using nats = await startNatsServer();
    await using server = await startServer(nats.url);
    assert.equal((await server.status("/health")).status, 200);
    assert.equal((await server.status("/ready")).status, 200);
    assert.equal((await server.status("/no-such-path")).status, 404);
    await nats.kill();
    await whenReadyIs(server, 503);
    assert.equal((await server.status("/health")).status, 200);
    await nats.restart();
    await whenReadyIs(server, 200);
  },
);

integrationTest(
  "both roles start before the broker and work once it is there",
  async () => {
    await using nats = await startNatsServer();
    await using target = startEcho();
    await nats.kill();
    const common = [
      "--nats-url",
      nats.url,
      "--listen-addr",
      "127.0.0.1:0",
      "--log-format",
      "json",
      "--nats-connect-timeout",
      "0",
    ];
    await using server = new Role(await spawnRole("server", { args: common }));
    await using client = new Role(
      await spawnRole("client", {
        args: [...common, "--remote-addr", target.address],
      }),
    );
    // The server serves its status from the start, and says that it is not ready.
    assert.equal((await server.status("/ready")).status, 503);
    await nats.restart();
    await server.entry(({ msg }) => msg === "ready");
    const { address } = await client.entry(({ msg }) => msg === "listening");
    const port = Number(String(address).split(":").at(-1));
    using conn = await dial({ hostname: "127.0.0.1", port });
    await expectEcho(conn);
  },
);

integrationTest(
  "a tunnel's end is one log line on each side: id, target, bytes, duration, reason",
  async () => {
    await using tunnel = await startTunnel();
    {
      using conn = await dial(tunnel.endpoint);
      await expectEcho(conn);
      await conn.closeWrite();
      await readToEnd(conn);
    }
    for (const role of [tunnel.client, tunnel.server]) {
      const entry = await role.entry(({ msg }) =>
        /tunnel.*(ended|closed)/.test(msg)
      );
      const text = JSON.stringify(entry);
      assert.ok(text.includes(tunnel.echo.address), text);
      assert.deepEqual(
        [entry.sent, entry.received],
        [HELLO.length, HELLO.length],
      );
    }
  },
);

integrationTest(
  "secrets in the broker's URL are in no log and no error",
  async () => {
    const password = "s3cr3t-w0rd";
    await using nats = await startNatsServer({
      config: `authorization { user: "alice", password: "${password}" }`,
    });
    const url = nats.url.replace("//", `//alice:${password}@`);
    // In the environment: a flag would be seen by every user of the machine.
    await using server = new Role(
      await spawnRole("server", {
        args: [
          "--listen-addr",
          "127.0.0.1:0",
          "--log-format",
          "json",
          "--log-level",
          "debug",
        ],
        env: { NATS_URL: url },
      }),
    );
    await server.entry(({ msg }) => msg === "ready");
    await server.process.stop();
    assert.ok(!server.process.lines.join("\n").includes(password));
    await using refused = await runRole("server", [
      "--listen-addr",
      "127.0.0.1:0",
      "--nats-connect-timeout",
      "200ms",
    ], {
      env: { NATS_URL: url.replace("alice", "mallory") },
    });
    const text = refused.lines.join("\n");
    assert.equal((await refused.status).code, 1, text);
    assert.ok(!text.includes(password), "the password is in the error");
    assert.match(
      refused.lines.at(-1) ?? "",
      /auth|user|credential|refus|reject/i,
    );
  },
);
