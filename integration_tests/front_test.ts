/** The front of the programs: examples of the help as they are printed, `check`, and completion in real shells. */
import assert from "node:assert/strict";
import { commandsOf } from "../lib/config/commands.ts";
import { Folder } from "./support/folder.ts";
import { Installed, quoted } from "./support/installed.ts";
import { integrationTest } from "./support/integration_test.ts";
import { needs } from "./support/optional_tools.ts";
import { run, spawn } from "./support/processes.ts";
import { baseEnvironment, PROJECT } from "./support/roles.ts";
import { hasOwnNetwork } from "./support/surroundings.ts";
import { requireTool } from "../tools/find_or_install.ts";

/** The examples that `--help` of a role prints. */
async function examplesOf(role: "client" | "server"): Promise<string[]> {
  const { output } = await run(Deno.execPath(), {
    args: ["run", "-A", `${role}.ts`, "--help"],
    cwd: PROJECT.pathname,
  });
  const [, examples = ""] = output.split("Examples:\n");
  return examples.split("\n\n")[0]?.split("\n").map((line) => line.trim()) ??
    [];
}

integrationTest(
  "the examples of --help run as they are printed",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const env = await baseEnvironment();
    const nats = await requireTool("nats-server");
    const redis = await requireTool("redis-server");
    const network = spawn("unshare", {
      args: [
        "-n",
        "sh",
        "-c",
        "ip link set lo up && echo up && exec sleep 600",
      ],
    });
    cleanup.use(network);
    await network.waitForLine((line) => line === "up");
    // The shell is the first process there, and becomes the one that sleeps.
    const start = (line: string) => {
      const process = spawn("nsenter", {
        name: line,
        args: ["-t", `${network.pid}`, "-n", "bash", "-c", `exec ${line}`],
        env,
        clearEnv: true,
        cwd: PROJECT.pathname,
      });
      return cleanup.use(process);
    };
    await start(`${quoted(nats)} -a 127.0.0.1 -p 4222`)
      .waitForLine((line) => line.includes("Server is ready"));
    await start(`${quoted(redis)} --port 6379 --save ''`)
      .waitForLine((line) => line.includes("Ready to accept"));
    const servers = await examplesOf("server");
    const clients = await examplesOf("client");
    assert.ok(servers.length >= 3 && clients.length >= 4);
    const lasts = (line: string): boolean =>
      !/ (check|exec|-W) /.test(line) && !line.startsWith("printf");
    for (const example of servers.filter(lasts)) {
      const server = start(example);
      if (example.includes("-q")) {
        // It says nothing: that it runs shows in its answer to a signal.
        await start(
          `sh -c 'until printf "PING\\r\\n" | deno run -A client.ts -W 127.0.0.1:6379 | grep -q PONG; do sleep 0.2; done'`,
        ).status;
      } else await server.waitForLine((line) => / ready /.test(line));
      assert.equal((await server.stop()).code, 0, example);
    }
    const server = start(servers[0] ?? "");
    await server.waitForLine((line) => / ready /.test(line));
    for (const example of clients.filter(lasts)) {
      const client = start(example);
      await client.waitForLine((line) => / listening /.test(line));
      assert.equal((await client.stop()).code, 0, example);
    }
    for (const example of [...servers, ...clients]) {
      if (lasts(example)) continue;
      const once = start(`bash -c ${quoted(example)}`);
      assert.equal((await once.status).code, 0, example);
      const said = once.lines.join("\n");
      assert.match(said, / check /.test(example) ? /^# .* in order/m : /PONG/);
    }
  },
  { ignore: !await hasOwnNetwork() },
);

integrationTest(
  "check: what is in force, with exit code 0, or all that is wrong, files too, with exit code 2",
  async () => {
    await using folder = await Folder.make();
    const user = await Installed.at(folder);
    await folder.write(
      ".nats-proxy-client.yaml",
      'nats: { url: "nats://u:hunter2@broker" }\nclient: { forwards: ["5432:db:5432"] }\n',
    );
    const good = await user.sh("nats-proxy-client check --idle-timeout 1m");
    assert.equal(good.code, 0, good.output);
    assert.ok(!good.output.includes("hunter2"));
    for (
      const part of [
        /^# client: the configuration is in order \(config file: \.\/\.nats-proxy-client\.yaml\)$/m,
        /^forward +localhost:5432 to db:5432 +client\.forwards in /m,
        /^nats\.url +nats:\/\/\*\*\*@broker +nats\.url in /m,
        /^tunnel\.idle_timeout +1m +--idle-timeout$/m,
        /^warning: password over nats:\/\/ in the clear/m,
      ]
    ) assert.match(good.output, part);
    const output = await user.sh("nats-proxy-client check 2>/dev/null");
    assert.match(output.output, /^# client/);
    for (
      const [args, ...lines] of [
        [
          "--bogus --window x",
          /Unknown flag "--bogus"/,
          /^error: --window: "x"/m,
        ],
        [
          `--server-key X --secret-key ${folder.at("no.key")}`,
          /security\.server_key|--server-key/,
        ],
      ] as const
    ) {
      const { code, output } = await user.sh(`nats-proxy-client check ${args}`);
      assert.equal(code, 2, output);
      for (const line of lines) assert.match(output, line);
    }
    await folder.write(
      ".nats-proxy-server.yaml",
      "server: {dial_timeout: 1s}\n",
    );
    const files = await user.sh(
      `nats-proxy-server check --nats-creds no.creds --nats-tls-ca no.pem`,
    );
    assert.equal(files.code, 2);
    assert.match(files.output, /--nats-creds, "no\.creds"/);
    assert.match(files.output, /--nats-tls-ca, "no\.pem"/);
    const server = await user.sh("nats-proxy-server check");
    assert.equal(server.code, 0);
    assert.match(server.output, /^server\.dial_timeout +1s +server\.dial_/m);
    assert.match(server.output, /^warning: dials any target: /m);
  },
);

integrationTest(
  "what cannot be written to standard output is one line and exit code 1; a reader that is gone is no failure",
  async () => {
    await using folder = await Folder.make();
    const user = await Installed.at(folder);
    for (
      const words of [
        ...["--help", "--version", "check -L 1:a:1", "completion bash"],
        "key generate",
      ]
    ) {
      const full = await user.sh(`nats-proxy-client ${words} >/dev/full`);
      assert.equal(full.code, 1, words);
      assert.match(
        full.output,
        /^error: Cannot write to standard output: No space left on device.*$/,
      );
      const gone = await user.sh(
        `nats-proxy-client ${words} | head -c 0; echo "\${PIPESTATUS[0]}"`,
      );
      assert.equal(gone.output.split("\n").at(-1), "0", gone.output);
    }
    const log = await user.sh(
      `nats-proxy-client --bogus 2>/dev/full; echo "code $?"`,
    );
    assert.equal(log.output, "code 2");
  },
);

/** Lines with what they are completed to, the cursor at their end. */
const COMPLETED:
  readonly (readonly [line: string, words: readonly string[]])[] = [
    ["nats-proxy-client --log-", ["--log-format", "--log-level"]],
    ["nats-proxy-client --log-level ", ["debug", "error", "info", "warn"]],
    ["nats-proxy-client -q --log-format j", ["json"]],
    ["nats-proxy-client ch", ["check"]],
    ["nats-proxy-client ", commandsOf("client").map(({ word }) => word).sort()],
    ["nats-proxy-client key ", ["generate", "psk", "show"]],
    ["nats-proxy-client completion z", ["zsh"]],
    ["nats-proxy-client exec a:1 --nats-ur", ["--nats-url"]],
    ["nats-proxy-client --context ", ["home", "work"]],
    ["nats-proxy-client exec --context w", ["work"]],
    ["nats-proxy-client exec a:1 -- mkfif", ["mkfifo"]],
  ];

/** A user who has two contexts of the `nats` command. */
async function completingUser(folder: Folder): Promise<Installed> {
  const contexts = ".config/nats/context";
  await Deno.mkdir(folder.at(contexts), { recursive: true });
  for (const name of ["home", "work"]) {
    await folder.write(`${contexts}/${name}.json`, "{}");
  }
  return await Installed.at(folder);
}

integrationTest(
  "completion bash: real bash completes with it",
  async () => {
    await using folder = await Folder.make();
    const user = await completingUser(folder);
    // What readline does: words, the place of the cursor, and the function that
    // `complete` has for the command.
    const script = `
source <(nats-proxy-client completion bash | sed 's/nats-proxy-client/nats-proxy-client/')
set -- $(complete -p nats-proxy-client)
while [[ $1 != -F ]]; do shift; done
fill() {
  local words; read -ra words <<<"$1"
  [[ $1 == *" " ]] && words+=("")
  COMP_WORDS=("\${words[@]}") COMP_CWORD=$((\${#words[@]} - 1)) COMP_LINE=$1 COMP_POINT=\${#1}
  "$2" nats-proxy-client
  printf '%s\\n' "\${COMPREPLY[@]}" | sort -u | tr '\\n' ' '; echo
}
${COMPLETED.map(([line]) => `fill ${quoted(line)} "$2"`).join("\n")}
fill 'nats-proxy-client --log-level = d' "$2"
fill 'nats-proxy-client --config x' "$2"`;
    const { code, output } = await user.sh(script);
    assert.equal(code, 0, output);
    assert.deepEqual(
      output.split("\n").map((line) => line.trim()),
      [...COMPLETED.map(([, words]) => words.join(" ")), "debug", ""],
    );
  },
);

integrationTest(
  "completion fish: real fish completes with it",
  async () => {
    await using folder = await Folder.make();
    const user = await completingUser(folder);
    for (const [line, words] of COMPLETED) {
      const script = `nats-proxy-client completion fish | source; complete -C ${
        quoted(line)
      }`;
      const { output } = await user.sh(`fish -c ${quoted(script)}`);
      const found = output.split("\n").map((text) => text.split("\t")[0]);
      assert.deepEqual(found.toSorted(), words, line);
    }
  },
  await needs("fish"),
);

integrationTest(
  "completion zsh: real zsh completes with it",
  async () => {
    await using folder = await Folder.make();
    const user = await completingUser(folder);
    // A zsh of its own behind a terminal, which tells what it has completed to.
    await folder.write(
      "ask.zsh",
      `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'autoload -Uz compinit; compinit -u -D; source <(nats-proxy-client completion zsh)'
zpty -w z 'compadd () { local -a told; builtin compadd -O told "$@"; (( $#told )) && print -l -- "@"$^told; builtin compadd "$@" }'
zpty -w z 'PS1="<""prompt>"'
for line in "$@"; do
  # At its prompt it takes keys one by one, and tells before it takes more.
  zpty -r z out '*<prompt>*'
  zpty -w -n z "$line"$'\\t'
  zpty -r z out '*@*'
  zpty -w -n z $'\\C-u'
  zpty -w z 'print -r -- "<"done'
  zpty -r z more '*<done*'
  out+=$more
  print -r -- "= $line"
  print -r -- "$out" | tr -d '\\r' | sed -n 's/^.*@\\([a-z-][a-z-]*\\).*$/\\1/p' | sort -u | tr '\\n' ' '
  print
done
`,
    );
    const lines = COMPLETED.map(([line]) => quoted(line)).join(" ");
    const { output } = await user.sh(`zsh ask.zsh ${lines}`);
    for (const [line, words] of COMPLETED) {
      const [, after = ""] = output.split(`= ${line}\n`);
      assert.deepEqual(after.split("\n")[0]?.trim(), words.join(" "), line);
    }
  },
  await needs("zsh"),
);
