/** `-W`: standard input and output as the connection, by hand, in pipelines, and under ssh. */
import assert from "node:assert/strict";
import { SshKit } from "../bench/ssh.ts";
import { formatAddress, freePort } from "./support/addresses.ts";
import { Folder } from "./support/folder.ts";
import { sha256 } from "./support/hash.ts";
import { Installed, quoted } from "./support/installed.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { locateAll, SSH } from "./support/optional_tools.ts";
import { owned } from "./support/owned.ts";
import { run, spawn } from "./support/processes.ts";
import { type Role, startClient, startServer } from "./support/roles.ts";
import {
  startEcho,
  startSink,
  startSource,
  Target,
} from "./support/targets.ts";
import { readExactly, readToEnd, writeAll } from "./support/transfer.ts";
import { soon } from "./support/waits.ts";

const SSH_TOOLS = await locateAll(...SSH);

const encoder = new TextEncoder();

/** A broker, a server, and the commands of a user whose environment knows the broker. */
interface Stage extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly server: Role;
  readonly folder: Folder;
  readonly user: Installed;
}

async function startStage(
  serverArgs: readonly string[] = [],
): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const nats = cleanup.use(await startNatsServer());
  const server = cleanup.use(await startServer(nats.url, { args: serverArgs }));
  const user = await Installed.at(folder, { NATS_URL: nats.url });
  return owned(cleanup, { nats, server, folder, user });
}

/** A client with `-W` whose streams are ours. */
class Stdio implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #errors: Promise<string>;

  constructor({ user }: Stage, target: string, ...args: readonly string[]) {
    this.#child = user.startClient("-W", target, ...args);
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.getReader();
    this.#errors = new Response(this.#child.stderr).text();
  }

  async write(text: string): Promise<void> {
    await this.#writer.write(encoder.encode(text));
  }

  /** Ends its input. */
  async finish(): Promise<void> {
    await this.#writer.close();
  }

  /** The next piece of its output; undefined at the end. */
  async read(): Promise<string | undefined> {
    const { value } = await soon("output", this.#reader.read());
    return value && new TextDecoder().decode(value);
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** How it ended, and what it wrote to standard error. */
  async end(): Promise<{ readonly code: number; readonly errors: string }> {
    const { code } = await soon("the end of -W", this.#child.status);
    return { code, errors: await this.#errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#writer.abort().catch(() => {});
    await this.#reader.cancel().catch(() => {});
    await this.#child.status;
    await this.#errors;
  }
}

/** The one line that `errors` is; the log and hints of a shell are none. */
function onlyLine(errors: string): string {
  const lines = errors.trimEnd().split("\n");
  assert.equal(lines.length, 1, errors);
  return lines[0] ?? "";
}

integrationTest(
  "-W: what comes after the end of input is heard, and the end of what the target sends is the end",
  async () => {
    await using stage = await startStage();
    await using sink = startSink(encoder.encode("all of it"));
    {
      await using stdio = new Stdio(stage, sink.address);
      await stdio.write("some ");
      await stdio.write("bytes");
      await stdio.finish();
      const { bytes, sha256: hash } = await sink.digest(0);
      assert.deepEqual([bytes, hash], [
        10,
        sha256(encoder.encode("some bytes")),
      ]);
      assert.equal(await stdio.read(), "all of it");
      assert.equal(await stdio.read(), undefined);
      assert.deepEqual(await stdio.end(), { code: 0, errors: "" });
    }
    // Who ends first is the target: its reader must see that, which is the end.
    const heard = Promise.withResolvers<string>();
    await using first = new Target(async (conn) => {
      assert.equal(
        new TextDecoder().decode(await readExactly(conn, 5)),
        "hello",
      );
      await writeAll(conn, encoder.encode("bye"));
      await conn.closeWrite();
      heard.resolve(new TextDecoder().decode(await readToEnd(conn)));
    });
    await using stdio = new Stdio(stage, first.address);
    await stdio.write("hello");
    assert.equal(await stdio.read(), "bye");
    assert.equal(await stdio.read(), undefined);
    assert.deepEqual(await stdio.end(), { code: 0, errors: "" });
    assert.equal(await heard.promise, "");
  },
);

integrationTest(
  "-W: pipelines as users type them, with input that is closed or never was open",
  async () => {
    await using stage = await startStage();
    const { folder, user } = stage;
    await using echo = startEcho({ banner: encoder.encode("hello\n") });
    const client = `nats-proxy-client -W ${echo.address}`;
    for (
      const [line, output] of [
        [`printf 'PING\\n' | ${client}`, "hello\nPING"],
        [`${client} </dev/null`, "hello"],
        [`${client} <&-`, "hello"],
        [`: | ${client} | cat`, "hello"],
        [`printf a | nats-proxy-client -W${echo.address}`, "hello\na"],
        [`printf a | nats-proxy-client --stdio=${echo.address}`, "hello\na"],
      ] as const
    ) assert.deepEqual(await user.sh(line), { code: 0, output }, line);
    const bytes = crypto.getRandomValues(new Uint8Array(65_536));
    const path = folder.at("large");
    await Deno.writeFile(path, bytes);
    const many = Array.from({ length: 320 }, () => quoted(path)).join(" ");
    const { output } = await user.sh(
      `set -o pipefail; cat ${many} | sha256sum
       cat ${many} | ${client} | tail -c +7 | sha256sum`,
    );
    const [sent, received, ...more] = output.split("\n");
    assert.equal(sent, received);
    assert.deepEqual(more, []);
  },
);

integrationTest(
  "-W: a reader that closes the output ends it, exit code 1 and one line",
  async () => {
    await using stage = await startStage();
    await using source = startSource(1, 50_000_000);
    const { code, output } = await stage.user.sh(
      `nats-proxy-client -W ${source.address} </dev/zero 2>&1 | head -c 0
       echo "\${PIPESTATUS[0]}"`,
    );
    assert.equal(code, 0);
    assert.equal(output, "1");
    const again = await stage.user.sh(
      `{ nats-proxy-client -W ${source.address} </dev/zero; echo "code $?" >&2; } | head -c 1 >/dev/null`,
    );
    const [line, last] = again.output.split("\n");
    assert.match(
      line ?? "",
      /^error: The connection to .* was cut: writing to the application failed: .*\(aborted\)$/,
    );
    assert.equal(last, "code 1");
  },
);

integrationTest(
  "-W: what is refused, unknown or out of reach is exit code 1 and one line, and no output",
  async () => {
    await using stage = await startStage(["--deny-target", "10.0.0.0/8:*"]);
    const { user } = stage;
    const closed = `127.0.0.1:${freePort()}`;
    for (
      const [args, code, error] of [
        [
          ["-W", closed],
          1,
          /^error: Cannot connect to \S+: the other end says: .*\(refused\)$/,
        ],
        [["-W", "10.0.0.1:22"], 1, /^error: .*\(denied\)$/],
        [["-W", "nosuch.invalid:22"], 1, /^error: .*\(no-such-host\)$/],
        [
          ["-W", closed, "--request-subject", "elsewhere"],
          1,
          /^error: .*no server listens on elsewhere; start one, .*\(no-server\)$/,
        ],
        [
          ["-q", "-W", closed, "--log-format", "json"],
          1,
          /^\{.*"level":"error","msg":"Cannot connect to .*","exit_code":1\}$/,
        ],
        [
          ["-W", "nowhere"],
          2,
          /--stdio: "nowhere" is no target .* has no port/,
        ],
        [["-W", "::1:22"], 2, /in brackets/],
        [
          ["-W", closed, "-L", "0:a:1"],
          2,
          /listens nowhere: leave out --forward/,
        ],
        [["-W", closed, "--workers=2"], 2, /leave out --workers/],
      ] as const
    ) {
      const line = `nats-proxy-client ${args.map(quoted).join(" ")}`;
      const { code: got, output } = await user.sh(`${line} </dev/null`);
      assert.match(onlyLine(output), error, line);
      assert.equal(got, code, output);
    }
    await stage.nats.kill();
    const { code, output } = await user.sh(
      `nats-proxy-client -W ${closed} --nats-connect-timeout 300ms </dev/null`,
    );
    assert.equal(code, 1);
    assert.match(
      output.split("\n").at(-1) ?? "",
      /^error: Could not connect to NATS within 0.3 s/,
    );
  },
);

integrationTest(
  "-W: a server that is killed in the middle ends it, exit code 1",
  async () => {
    await using stage = await startStage();
    await using echo = startEcho();
    // deno-fmt-ignore
    const quick = ["--peer-timeout", "1s", "--peer-ping-interval", "200ms"];
    await using stdio = new Stdio(stage, echo.address, ...quick);
    await stdio.write("a");
    assert.equal(await stdio.read(), "a");
    await stage.server.process.kill();
    assert.equal(await stdio.read(), undefined);
    const { code, errors } = await stdio.end();
    assert.equal(code, 1);
    assert.match(
      errors.trimEnd().split("\n").at(-1) ?? "",
      /^error: The connection to \S+ was cut: .* \(peer-gone\)$/,
    );
  },
);

integrationTest(
  "-W: a broker that is killed and started again is a pause",
  async () => {
    await using stage = await startStage();
    await using echo = startEcho();
    await using stdio = new Stdio(stage, echo.address);
    await stdio.write("a");
    assert.equal(await stdio.read(), "a");
    await stage.nats.kill();
    await stdio.write("b");
    await stage.nats.restart();
    assert.equal(await stdio.read(), "b");
    await stdio.finish();
    assert.equal(await stdio.read(), undefined);
    assert.equal((await stdio.end()).code, 0);
  },
);

for (
  const [signal, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ] as const
) {
  integrationTest(
    `-W: ${signal} cuts it, exit code ${code}`,
    async () => {
      await using stage = await startStage();
      await using banner = new Target(async (conn) => {
        await writeAll(conn, encoder.encode("hello"));
        await readToEnd(conn);
      });
      {
        await using stdio = new Stdio(stage, banner.address);
        assert.equal(await stdio.read(), "hello");
        stdio.kill(signal);
        assert.deepEqual(await stdio.end(), { code, errors: "" });
      }
      // As ssh does, beside the end of its output: then there is nothing to cut.
      await using echo = startEcho({ banner: encoder.encode("hello") });
      await using stdio = new Stdio(stage, echo.address);
      assert.equal(await stdio.read(), "hello");
      await stdio.write("last words");
      await stdio.finish();
      stdio.kill(signal);
      assert.equal(await stdio.read(), "last words");
      assert.deepEqual(await stdio.end(), { code: 0, errors: "" });
    },
  );
}

integrationTest(
  "-W: what a file and variables say to a service is passed over: places, status, log level, workers",
  async () => {
    await using stage = await startStage();
    await using echo = startEcho();
    const taken = formatAddress(echo.endpoint);
    await stage.folder.write(
      ".nats-proxy-client.yaml",
      `client:
  forwards: ["${echo.endpoint.port}:a:1"]
  listen_addr: ${taken}
  status_addr: ${taken}
log: { level: debug }
workers: 2
`,
    );
    const pair =
      `env FORWARD=${echo.endpoint.port}:a:1 LOG_LEVEL=debug STATUS_ADDR=${taken}`;
    const line = `printf a | ${pair} nats-proxy-client -W ${taken}`;
    assert.deepEqual(await stage.user.sh(line), { code: 0, output: "a" });
    const { output } = await stage.user.sh(
      `${line} -v --status-addr 127.0.0.1:0 2>&1 >/dev/null`,
    );
    assert.match(output, /INFO {2}status listening address=127/);
    assert.match(output, /INFO {2}tunnel open /);
    assert.doesNotMatch(output, / listening address=\S+ target/);
  },
);

integrationTest(
  "-W: does not wait for a client ID that another process has",
  async () => {
    await using stage = await startStage();
    await using echo = startEcho();
    const args = ["--client-id", "edge"];
    await using _client = await startClient(stage.nats.url, {
      target: echo.address,
      args,
    });
    const line = `printf a | nats-proxy-client -W ${echo.address} --client-id`;
    const { code, output } = await stage.user.sh(`${line} edge`);
    assert.equal(code, 1);
    assert.equal(
      output,
      "error: --client-id edge is used by another process: give this one an ID of its own, or none (--client-id=)",
    );
    for (const id of ["edge-2", "''"]) {
      const ran = await stage.user.sh(`${line} ${id}`);
      assert.deepEqual(ran, { code: 0, output: "a" }, id);
    }
  },
);

integrationTest(
  "-W under ssh as its ProxyCommand: a session, 20 MB with their hash, sessions that share a connection",
  async () => {
    await using stage = await startStage();
    await using kit = await SshKit.make(SSH_TOOLS);
    assert.ok(kit !== undefined);
    const sshd = await kit.startSshd();
    await using _sshd = sshd.process;
    const { folder, user } = stage;
    const ssh = [
      ...[SSH_TOOLS.get("ssh") ?? "ssh", ...kit.clientArguments(sshd.endpoint)],
      ...["-o", "ProxyCommand=nats-proxy-client -W %h:%p"],
    ];
    const line = (...args: readonly string[]): string =>
      [...ssh, ...args].map(quoted).join(" ");
    assert.deepEqual(await user.sh(line("127.0.0.1", "echo hello; exit 7")), {
      code: 7,
      output: "hello",
    });
    const bytes = crypto.getRandomValues(new Uint8Array(65_536));
    const path = folder.at("file");
    await Deno.writeFile(path, bytes);
    const many = Array.from({ length: 320 }, () => quoted(path)).join(" ");
    const remote = folder.at("copy");
    const { output } = await user.sh(
      `set -o pipefail; cat ${many} | tee >(sha256sum >&2) | ${
        line("127.0.0.1", `cat > ${quoted(remote)}`)
      }
       ${line("127.0.0.1", `cat ${quoted(remote)}`)} | sha256sum`,
    );
    const sums = new Set(output.split("\n"));
    assert.equal(sums.size, 1, output);
    assert.equal((await Deno.stat(remote)).size, 320 * 65_536);

    const socket = folder.at("master");
    const shared = ["-o", `ControlPath=${socket}`, "-o", "ControlMaster=auto"];
    const master = spawn(ssh[0] ?? "", {
      ...user.options,
      name: "ssh master",
      args: [...ssh.slice(1), ...shared, "-N", "127.0.0.1"],
    });
    await using _master = master;
    while (
      (await user.sh(line(...shared, "-O", "check", "127.0.0.1"))).code !== 0
    ) assert.equal(master.ended, false);
    const tunnels = async (): Promise<string> => {
      const { text } = await stage.server.status("/metrics");
      const [line] = /^sproxy_tunnels_opened_total \d+$/m.exec(text) ?? [];
      assert.ok(line !== undefined);
      return line;
    };
    const before = await tunnels();
    const sessions = await Promise.all(
      ["1", "2", "3"].map((n) =>
        user.sh(line(...shared, "127.0.0.1", `echo ${n}`))
      ),
    );
    assert.deepEqual(
      sessions,
      ["1", "2", "3"].map((output) => ({ code: 0, output })),
    );
    assert.equal(await tunnels(), before);
    await run(ssh[0] ?? "", {
      ...user.options,
      args: [...ssh.slice(1), ...shared, "-O", "exit", "127.0.0.1"],
    });
    await master.status;
    // What its ProxyCommand wrote, had it any reason to.
    assert.deepEqual(
      master.lines.filter((text) => /error|WARN/.test(text)),
      [],
    );
  },
  { ignore: SSH_TOOLS.size === 0 },
);
