/** What people write: config files, flags and variables, right and wrong. */
import assert from "node:assert/strict";
import { freePort } from "./support/addresses.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { keyUsersConfig, makeKeyUser } from "./support/nats_users.ts";
import { type Process, spawn } from "./support/processes.ts";
import {
  baseEnvironment,
  PROJECT,
  spawnRole,
  startClient,
  startServer,
} from "./support/roles.ts";
import { dial, readEnding } from "./support/transfer.ts";
import { comes, soon, whenReady } from "./support/waits.ts";

/** A text as PowerShell's `>` writes it, or with the bytes of each unit turned about. */
function utf16(text: string, littleEndian: boolean): Uint8Array {
  const marked = `\uFEFF${text.replaceAll("\n", "\r\n")}`;
  const view = new DataView(new ArrayBuffer(2 * marked.length));
  for (let at = 0; at < marked.length; at++) {
    view.setUint16(2 * at, marked.charCodeAt(at), littleEndian);
  }
  return new Uint8Array(view.buffer);
}

/** How editors of other systems write a text. */
const EDITORS: readonly (readonly [
  how: string,
  write: (text: string) => string | Uint8Array,
])[] = [
  ["with CRLF", (text) => text.replaceAll("\n", "\r\n")],
  ["with a byte order mark", (text) => `\uFEFF${text}`],
  ["with both", (text) => `\uFEFF${text.replaceAll("\n", "\r\n")}`],
  ["as UTF-16", (text) => utf16(text, true)],
  ["as UTF-16 with the high byte first", (text) => utf16(text, false)],
  ["without an end of line", (text) => text.trimEnd()],
];

for (const [how, write] of EDITORS) {
  for (const flag of ["--nats-creds", "--nats-nkey"] as const) {
    integrationTest(`a file of ${flag} ${how} logs in`, async () => {
      await using folder = await Folder.make();
      const user = makeKeyUser();
      const text = flag === "--nats-creds" ? user.creds : `${user.seed}\n`;
      await using nats = await startNatsServer({
        config: keyUsersConfig(user),
      });
      await using server = await startServer(nats.url, {
        env: { HOME: folder.path },
        args: [flag, await folder.write("key", write(text))],
      });
      await whenReady(server, 200);
    });
  }

  for (
    const [name, text] of [
      ["client.yaml", "client:\n  proxy_addr: there:1\nlog:\n  level: debug\n"],
      ["client.json", `{\n  "client": { "proxy_addr": "there:1" }\n}\n`],
      ["client.toml", `[client]\nproxy_addr = "there:1"\n`],
    ] as const
  ) {
    integrationTest(`a config file ${name} ${how} is read`, async () => {
      await using folder = await Folder.make();
      await expectRead(folder, await folder.write(name, write(text)));
    });
  }
}

/** Expects that a client says what it does of a reserved option, which `file` sets. */
async function expectRead(folder: Folder, file: string): Promise<void> {
  await using nats = await startNatsServer();
  await using client = await startClient(nats.url, {
    env: { HOME: folder.path },
    target: "127.0.0.1:1",
    args: ["--config", file],
  });
  await client.entry(({ note }) =>
    String(note).startsWith(`client.proxy_addr in ${file} is reserved`)
  );
}

for (
  const [what, args, env] of [
    ["LOG_LEVEL=INFO", [], { LOG_LEVEL: "INFO" }],
    ["LOG_LEVEL=Debug", [], { LOG_LEVEL: "Debug" }],
    ["--window 8M", ["--window", "8M"], {}],
    ["--window 512k", ["--window", "512k"], {}],
    ["--memory-budget 16M", ["--memory-budget", "16M"], {}],
    ["--idle-timeout 1d", ["--idle-timeout", "1d"], {}],
    ["--idle-timeout 1d12h", ["--idle-timeout", "1d12h"], {}],
    ["--log-format JSON", ["--log-format", "JSON"], {}],
    ["--codec Binary", ["--codec", "Binary"], {}],
    ["--status-addr OFF", ["--status-addr", "OFF"], {}],
    ["--workers AUTO", ["--workers", "AUTO"], {}],
    ["--refuse-v1=Yes", ["--refuse-v1=Yes"], {}],
    ["a variable with a blank and CR after it", [], { LOG_FORMAT: "json \r" }],
  ] as const
) {
  integrationTest(`a client takes ${what}`, async () => {
    await using nats = await startNatsServer();
    await using _client = await startClient(nats.url, {
      target: "127.0.0.1:1",
      args,
      env,
    });
  });
}

for (const level of ["warning", "WARN", "WARNING"]) {
  integrationTest(
    `a client takes --log-level ${level}, and means warn`,
    async () => {
      await using nats = await startNatsServer();
      const port = freePort();
      await using client = await spawnRole("client", {
        args: [
          ...["--nats-url", nats.url, "--remote-addr", "127.0.0.1:1"],
          ...["--listen-addr", `127.0.0.1:${port}`, "--log-level", level],
        ],
      });
      await comes(async () => {
        try {
          using conn = await dial({ hostname: "127.0.0.1", port });
          await readEnding(conn);
          return undefined;
        } catch (error) {
          return `it does not listen: ${error}`;
        }
      });
      await client.waitForLine((line) => line.includes("open failed"));
      assert.ok(!client.lines.some((line) => line.includes("INFO")));
    },
  );
}

/** How a program that refused what it was given ended. */
async function refusal(starting: Promise<Process>): Promise<string> {
  await using process = await starting;
  const { code } = await soon("it ends", process.status);
  const text = process.lines.join("\n");
  assert.equal(code, 2, text);
  return text;
}

for (
  const [flag, value, right] of [
    ["--listen-addr", "6380", /127\.0\.0\.1:6380|(?<!\d):6380/],
    ["--remote-addr", "6379", /\S+:6379/],
    ["--status-addr", "8080", /127\.0\.0\.1:8080|(?<!\d):8080/],
    ["--nats-url", "4222", /\S+:4222/],
  ] as const
) {
  integrationTest(`${flag} ${value} is told the right form of it`, async () => {
    const text = await refusal(spawnRole("client", { args: [flag, value] }));
    assert.match(text, right);
  });
}

integrationTest("a YAML merge key works", async () => {
  await using folder = await Folder.make();
  const text = `x-both: &both
  proxy_addr: there:1
client:
  <<: *both
  open_timeout: 7s
tunnel:
  <<: { drain_timeout: 9s }
`;
  await expectRead(folder, await folder.write("client.yaml", text));
});

/** Expects one line for each of `culprits`, in this order; the last says where there is help. */
function expectErrors(text: string, culprits: readonly string[]): void {
  const lines = text.split("\n");
  assert.equal(lines.length, culprits.length, text);
  for (const [index, culprit] of culprits.entries()) {
    const line = lines[index] ?? "";
    assert.match(line, /^error: /);
    assert.ok(line.includes(culprit), `${culprit} is not in: ${text}`);
    assert.equal(
      line.endsWith("; run 'client.ts --help' for usage"),
      index === culprits.length - 1,
      line,
    );
  }
}

const WRONG_FILE = `client:
  listen_addr: nonsense
  open_timeuot: 7s
log:
  level: loud
tunnel:
  window: many
`;

integrationTest(
  "several errors in a config file are told together, each with its key",
  async () => {
    await using folder = await Folder.make();
    const file = await folder.write("client.yaml", WRONG_FILE);
    const text = await refusal(
      spawnRole("client", {
        env: { HOME: folder.path },
        args: ["--config", file],
      }),
    );
    expectErrors(text, [
      "client.open_timeuot",
      "client.listen_addr",
      "tunnel.window",
      "log.level",
    ]);
  },
);

integrationTest(
  "several wrong flags and variables are told together",
  async () => {
    const text = await refusal(
      spawnRole("client", {
        args: ["--listen-addr", "nonsense", "--window", "many"],
        env: { LOG_LEVEL: "loud" },
      }),
    );
    expectErrors(text, ["--listen-addr", "--window", "LOG_LEVEL"]);
  },
);

integrationTest(
  "wrong flags, variables and keys are told together, without their secrets",
  async () => {
    await using folder = await Folder.make();
    const file = await folder.write("client.yaml", WRONG_FILE);
    const text = await refusal(
      spawnRole("client", {
        env: {
          HOME: folder.path,
          NATS_PASSWORD: "hunter2\n",
          NATS_URL: "nats://ann:hunter2@there:port",
        },
        args: ["--config", file, "--no-such-flag", "x", "--workers", "none"],
      }),
    );
    expectErrors(text, [
      "--no-such-flag",
      "client.open_timeuot",
      "client.listen_addr",
      "NATS_URL",
      "NATS_PASSWORD",
      "tunnel.window",
      "log.level",
      "--workers",
    ]);
    assert.doesNotMatch(text, /hunter2/);
  },
);

integrationTest(
  "several files that cannot be used are told together",
  async () => {
    await using folder = await Folder.make();
    const text = await refusal(
      spawnRole("client", {
        env: { HOME: folder.path },
        args: [
          ...["--nats-creds", folder.at("none.creds")],
          ...["--nats-tls-ca", await folder.write("ca.pem", "nothing")],
        ],
      }),
    );
    const lines = text.split("\n");
    assert.equal(lines.length, 2, text);
    assert.match(lines[0] ?? "", /^error: .*--nats-creds, ".*none\.creds"/);
    assert.match(lines[1] ?? "", /^error: .*--nats-tls-ca, ".*ca\.pem"/);
  },
);

/** Homes that may give a task trouble, by their names in a folder; an empty one is none. */
const HOMES = [
  ["is unset", undefined],
  ["is empty", ""],
  ["is not there", "none"],
  ["has a blank in it", "a home"],
] as const;

for (const role of ["server", "client"] as const) {
  for (const [what, name] of HOMES) {
    integrationTest(`deno task ${role} works where HOME ${what}`, async () => {
      await using nats = await startNatsServer();
      await using folder = await Folder.make();
      await Deno.mkdir(folder.at("a home"));
      await folder.write(
        `a home/.nats-proxy-${role}.yaml`,
        "tunnel: { drain_timeout: 1s }",
      );
      const home = name && folder.at(name);
      const { HOME: _, ...env } = await baseEnvironment();
      await using task = spawn(Deno.execPath(), {
        name: `deno task ${role}`,
        args: [
          ...["task", role, "--nats-url", nats.url],
          ...["--listen-addr", "127.0.0.1:0"],
        ],
        clearEnv: true,
        env: home === undefined ? env : { ...env, HOME: home },
        cwd: PROJECT.pathname,
      });
      await soon(
        "it is ready",
        task.waitForLine((line) => /INFO {2}(ready|listening)/.test(line)),
      );
      await task.stop();
      assert.equal(
        task.lines.some((line) => line.includes("configuration read")),
        name === "a home",
      );
    });
  }
}
