import assert from "node:assert/strict";
import { parseCommandLine, VERSION } from "../../lib/config/cli.ts";
import { commandsOf } from "../../lib/config/commands.ts";
import { optionsMarkdown } from "../../lib/config/help.ts";
import { UsageError } from "../../lib/base/errors.ts";
import { isAddress } from "../../lib/base/target.ts";
import { ALL_OPTIONS, optionsOf } from "../../lib/config/options.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import {
  fakeSources,
  HIDDEN,
  parseRun,
  reveal,
  ROLES,
} from "../support/option_values.ts";

/** The text that the command line prints. */
function printed(
  role: Role,
  args: readonly string[],
  program?: string,
): string {
  const sources = fakeSources();
  const result = parseCommandLine(
    role,
    args,
    program === undefined ? sources : { ...sources, program },
  );
  assert.ok(
    result.kind === "help" || result.kind === "version" ||
      result.kind === "completion" || result.kind === "check",
  );
  return result.text;
}

for (const role of ROLES) {
  Deno.test(`${role}: --help-all names every option, its variable, key and default`, () => {
    const help = printed(role, ["--help-all"]);
    const words = help.split(/[\s(),]+/);
    for (const option of optionsOf(role)) {
      assert.ok(words.includes(option.env), option.env);
      assert.ok(words.includes(option.key), option.key);
      if (option.flag !== undefined) {
        assert.ok(words.includes(`--${option.flag}`), option.flag);
      }
      for (const word of (option.default ?? "").split(",")) {
        assert.ok(word === "" || words.includes(word), word);
      }
    }
    for (const part of ["Usage: ", "Examples:", "Exit codes: 0 ", "--config"]) {
      assert.ok(help.includes(part), part);
    }
    const other = role === "server" ? "--remote-addr" : "--allow-target";
    assert.ok(!words.includes(other));
  });

  Deno.test(`${role}: --help has the daily options and every command, and says where the others are`, () => {
    const help = printed(role, ["--help"]);
    for (const { flag, daily } of optionsOf(role)) {
      if (flag === undefined) continue;
      assert.equal(
        new RegExp(`^  (-\\w, )?--${flag}( |$)`, "m").test(help),
        daily === true,
        flag,
      );
    }
    const all = printed(role, ["--help-all"]);
    for (const { word } of commandsOf(role)) {
      for (const text of [help, all]) {
        assert.match(text, new RegExp(`^  ${word} `, "m"));
      }
    }
    assert.match(help, /^ {2}--help-all /m);
    assert.ok(help.split("\n").length < 130);
  });

  Deno.test(`${role}: --help and --help-all fit into 80 columns, examples too`, () => {
    for (const flag of ["--help", "--help-all"]) {
      const text = printed(role, [flag]);
      for (const line of text.split("\n")) assert.ok(line.length <= 80, line);
      const [, examples = ""] = text.split("Examples:");
      assert.match(examples, /^Exit codes: .* 2 wrong usage[.;]$/m);
      // A shell that finds no file by such a pattern says so and runs nothing.
      assert.doesNotMatch(examples.replaceAll(/'[^']*'/g, ""), /[*?[\]]/);
      assert.equal(/^A TARGET is /m.test(text), role === "client");
    }
  });

  Deno.test(`${role}: --help and --version win over bad configuration`, () => {
    const sources = fakeSources({
      env: { LOG_LEVEL: "loud" },
      files: { [`./.nats-proxy-${role}.yaml`]: "bogus: 1" },
    });
    for (
      const [args, kind] of [
        [["--help"], "help"],
        [["-h"], "help"],
        [["--log-level", "info", "--help"], "help"],
        [["--version"], "version"],
        [["-V"], "version"],
        [["--bogus", "--help"], "help"],
        [["check", "--help"], "help"],
        [["--log-level", "check", "--help"], "help"],
        [["completion", "-h"], "help"],
        [["--help-all", "--bogus"], "help"],
      ] as const
    ) assert.equal(parseCommandLine(role, args, sources).kind, kind);
    assert.equal(
      printed(role, ["--version"]),
      `tcp-sproxy ${role} ${VERSION} (protocol 2 and 1, Deno ${Deno.version.deno})\n`,
    );
    assert.match(VERSION, /^\d+\.\d+\.\d+/);
  });
}

Deno.test("flags may stand before check and exec, as with the nats command", () => {
  for (
    const [role, args, kind] of [
      ["server", ["-q", "check"], "check"],
      ["client", ["--nats-url", "check", "-L0:a:1", "check"], "check"],
      ["server", ["--nats-url", "check"], "run"],
      ["client", ["-q", "exec", "a:1", "--", "check"], "run"],
    ] as const
  ) assert.equal(parseCommandLine(role, args, fakeSources()).kind, kind);
  const args = ["--log-level", "exec", "-q", "exec", "-v", "a:1", "--", "exec"];
  const { client, log } = parseRun("client", args).config;
  assert.equal(log.level, "debug");
  assert.ok(client.oneShot?.kind === "exec");
  assert.equal(client.oneShot.program, "exec");
});

Deno.test("parseCommandLine() refuses what is no flag, with what was meant", () => {
  for (
    const [role, args, message] of [
      ["server", ["--bogus"], 'Unknown flag "--bogus"'],
      ["server", ["--bogus=1"], 'Unknown flag "--bogus"'],
      ["server", ["-nats-url", "x"], '"-nats-url" (did you mean --nats-url?)'],
      ["server", ["-nats-url=x"], '"-nats-url" (did you mean --nats-url?)'],
      ["server", ["--natsUrl", "x"], '"--natsUrl" (did you mean --nats-url?)'],
      ["server", ["--nats_url=x"], '"--nats_url" (did you mean --nats-url?)'],
      ["server", ["--nats-ulr=x"], '"--nats-ulr" (did you mean --nats-url?)'],
      ["server", ["--NATS-URL=x"], '"--NATS-URL" (did you mean --nats-url?)'],
      ["server", ["--confg", "x"], '"--confg" (did you mean --config?)'],
      ["server", ["--no-refuse-v1"], '"--no-refuse-v1" (did you mean'],
      ["server", ["-listen-addr", ":1"], "(did you mean --listen-addr?)"],
      ["server", ["-help"], '"-help" (did you mean --help?)'],
      ["server", ["-x"], 'Unknown flag "-x"'],
      ["server", ["-L", "1:a:1"], 'flag "-L" (only the client has it)'],
      ["server", ["-L1:a:1"], 'flag "-L1:a:1" (only the client has it)'],
      ["client", ["-allow-target", "a:1"], "(only the server has it)"],
      ["client", ["-l", "1:a:1"], '"-l" (did you mean -L?)'],
      ["client", ["-vq"], 'Unknown flag "-vq"'],
      ["client", ["-v=1"], "--verbose takes no value"],
      ["client", ["-h=1"], "--help takes no value"],
      ["client", ["--verbose=1"], "--verbose takes no value"],
      ["client", ["-L"], "--forward needs a value, [BIND:]PORT:TARGET"],
      ["client", ["-N"], '"-N" (leave it out: nothing but the tunnels is run)'],
      ["client", ["-fNT"], "is run)"],
      ["client", ["-f"], '"-f" (leave it out, and end the line with &'],
      ["client", ["-R", "1:a:1"], '"-R" (reverse forwards are not supported'],
      ["client", ["-p", "6380"], "(the port to listen at is the first of -L"],
      ["client", ["-g"], "(-L '*:PORT:HOST:HOSTPORT' listens at every"],
      ["client", ["-J", "a"], "is reached with --nats-proxy)"],
      ["client", ["-C"], 'Unknown flag "-C"'],
      ["client", ["-fx"], 'Unknown flag "-fx"'],
      ["server", ["-s", "a"], '"-s" (use --nats-url)'],
      ["client", ["--server=a"], '"--server" (use --nats-url)'],
      ["client", ["--creds", "a"], "(did you mean --nats-creds?)"],
      ["client", ["--nkey", "a"], "(did you mean --nats-nkey?)"],
      ["client", ["--user", "a"], "(did you mean --nats-user?)"],
      ["client", ["--tlsca", "a"], "(did you mean --nats-tls-ca?)"],
      ["client", ["--timeout=1s"], "(use --nats-connect-timeout)"],
      ["client", ["--password", HIDDEN], "such as NATS_PASSWORD)"],
      ["client", ["help"], '"help" (did you mean --help?)'],
      ["client", ["6380:redis:6379"], "(a forward is given as -L FORWARD)"],
      ["client", ["db:5432"], '"db:5432" (to connect to it use -L PORT:'],
      ["client", ["-L", "-v"], "one that starts with - is given as"],
      ["client", ["-LX"], '--forward: "X" is no forward ('],
      ["client", ["--L", "1:a:1"], '"--L" (did you mean -L?)'],
      ["server", ["-hx"], 'Unknown flag "-hx"'],
      ["server", ["---nats-url=x"], '"---nats-url" (did you mean --nats-url?)'],
      ["server", ["--remote-addr", "a:1"], "(only the client has it)"],
      ["server", ["--codec=json"], "(only the client has it)"],
      ["client", ["--allow-target", "a:1"], "(only the server has it)"],
      ["client", ["--__proto__=1"], 'Unknown flag "--__proto__"'],
      ["client", ["--constructor"], 'Unknown flag "--constructor"'],
      ["client", [`--nats-password=${HIDDEN}`], "the variable NATS_PASSWORD)"],
      ["client", ["--nats-token", HIDDEN], "the variable NATS_TOKEN)"],
      ["client", ["--a\nb"], 'Unknown flag "--a\\nb"'],
      ["client", ["--\x1b[31m=1"], 'Unknown flag "--\\u001b[31m"'],
      ["client", ["redis:6379"], 'Unexpected argument "redis:6379"'],
      ["client", ["-v", "completion", "zsh"], "(a command is the first word)"],
      ["server", ["--no-context"], "(use --context=)"],
      ["client", ["--proxy", "socks5://a"], "(use --nats-proxy)"],
      ["client", ["chek"], 'Unexpected argument "chek" (did you mean check?)'],
      [
        "client",
        ["nats://a"],
        '"nats://a" (brokers are given with --nats-url)',
      ],
      ["server", ["a:80"], 'Unexpected argument "a:80"; '],
      ["server", ["exec", "a:1"], '"exec" (only the client has it)'],
      ["client", ["--listen", "6380"], "(did you mean --listen-addr?)"],
      ["client", ["--remote", "a:1"], "(did you mean --remote-addr?)"],
      ["client", ["--nats", "a"], "(did you mean --nats-url?)"],
      ["server", ["--allow=a:1"], "(did you mean --allow-target?)"],
      ["client", ["-L", "5432"], "[BIND:]PORT:TARGET or PATH:"],
      ["client", ["-L", "80:80"], "write for example 80:localhost:80"],
      ["client", ["completion"], "completion is followed by bash, zsh, fish"],
      ["client", ["completion", "tcsh"], 'There is no completion for "tcsh"'],
      ["client", ["completion", "bsh"], "(did you mean bash?)"],
      ["client", ["completion", "zsh", "x"], '"x" of completion'],
      ["client", ["check", "x"], 'Unexpected argument "x"'],
      ["client", [""], 'Unexpected argument ""'],
      ["client", ["-"], 'Unexpected argument "-"'],
      ["client", ["--", "--help"], 'Unexpected argument "--help"'],
      ["client", [`u:${HIDDEN}@h`], 'Unexpected argument "***@h"'],
      [
        "client",
        ["--refuse-v1", "false"],
        'Unexpected argument "false" (a value of --refuse-v1 is given as --refuse-v1=VALUE)',
      ],
      ["client", ["--help=yes"], "--help takes no value"],
      ["client", ["--version=1"], "--version takes no value"],
      ["client", ["--window"], "--window needs a value"],
      ["client", ["--config"], "--config needs a value"],
      ["client", ["--config="], "--config: no file  found"],
      ["client", ["--config", "/a\nb.yaml"], "--config: no file /a\\nb.yaml"],
      ["client", ["--window", "--workers", "2"], "given as --window=VALUE"],
      ["client", ["--window", "-1"], "given as --window=VALUE"],
      ["client", ["--window=-1"], '--window: "-1" is not a size'],
    ] as const
  ) {
    assert.throws(
      () => parseCommandLine(role, args, fakeSources()),
      (error: unknown) => {
        assert.ok(error instanceof UsageError, String(error));
        assert.ok(error.message.includes(message), error.message);
        assert.ok(
          error.message.endsWith(`; run '${role}.ts --help' for usage`),
        );
        assert.doesNotMatch(error.message, /\p{Cc}/u);
        assert.ok(!error.message.includes(HIDDEN), error.message);
        return true;
      },
    );
  }
});

Deno.test("parseCommandLine() takes -v and -q for levels of the log, the last of them and of --log-level", () => {
  const levelOf = (...args: string[]): string =>
    parseRun("server", args).config.log.level;
  assert.equal(levelOf("-v"), "debug");
  assert.equal(levelOf("--verbose"), "debug");
  assert.equal(levelOf("-q", "-vvv"), "debug");
  assert.equal(levelOf("-q"), "warn");
  assert.equal(levelOf("--quiet", "--log-level", "error"), "error");
  assert.equal(levelOf("--log-level=error", "-v"), "debug");
});

Deno.test("parseCommandLine() takes the value of a short flag with or without a blank, also several", () => {
  const forwards = (...args: string[]): number[] =>
    parseRun("client", args).config.client.forwards.flatMap((way) =>
      "target" in way && isAddress(way.target) ? way.target.port : []
    );
  assert.deepEqual(
    forwards("-L", "1:a:1", "-L2:a:2", "-L=3:a:3", "--forward", "4:a:4,5:a:5"),
    [1, 2, 3, 4, 5],
  );
  // After the end of flags it is a word.
  assert.throws(
    () => forwards("--", "-L1:a:1"),
    /Unexpected argument "-L1:a:1"/,
  );
});

/** All that is refused, without the hint at the end. */
function problemsOf(
  args: readonly string[],
  sources: Parameters<typeof fakeSources>[0] = {},
  role: Role = "client",
): readonly string[] {
  try {
    parseCommandLine(role, args, fakeSources(sources));
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    const hint = `; run '${role}.ts --help' for usage`;
    assert.equal(error.message, error.problems.join("; "));
    assert.equal(error.message.split(hint).length, 2);
    assert.ok(error.message.endsWith(hint));
    return error.problems.map((problem) => problem.replace(hint, ""));
  }
  return [];
}

Deno.test("parseCommandLine() tells of flags, variables and file in one go", () => {
  const path = "./.nats-proxy-client.yaml";
  const found = problemsOf(
    ["--bogus", "x", "--window", "many", "--workers=0", "stray"],
    {
      env: { LOG_LEVEL: "loud", NATS_PASSWORD: `${HIDDEN}\n` },
      files: { [path]: "cleint: {}\nlog: {format: xml}\nworkers: none\n" },
    },
  );
  const origins = [
    'Unknown flag "--bogus"',
    'Unexpected argument "stray"',
    `Unknown key "cleint" in ${path}`,
    "environment variable NATS_PASSWORD: ",
    "--window: ",
    "environment variable LOG_LEVEL: ",
    `log.format in ${path}: `,
    // What a flag overrides is wrong too.
    `workers in ${path}: `,
    "--workers: ",
  ];
  assert.equal(found.length, origins.length, found.join("\n"));
  for (const [index, origin] of origins.entries()) {
    assert.ok(found[index]?.startsWith(origin), found[index]);
  }
});

Deno.test("parseCommandLine() tells each wrong part of a list, wherever it is written, and each once", () => {
  const path = "./.nats-proxy-server.yaml";
  const found = problemsOf(
    ["--allow-target", "db", "--allow-target", "a:1,*a:2, b:0 ,db"],
    {
      env: { NATS_URL: "ftp://a,b,,c:x," },
      files: {
        [path]: "nats: {url: [a b, nats://ok, 7]}\n" +
          "server: {allow_target: [5, 6]}\n",
      },
    },
    "server",
  );
  const file = (key: string): string => `${key} in ${path}: `;
  const variable = "environment variable NATS_URL: ";
  assert.deepEqual(found, [
    `nats.url[2] in ${path}: the number "7" where there must be a string`,
    `server.allow_target[0] in ${path}: the number "5" where there must be a string`,
    `server.allow_target[1] in ${path}: the number "6" where there must be a string`,
    '--allow-target: "db" is not a target pattern: it has no port; write host:port',
    '--allow-target: "*a:2" is not a target pattern: its host has characters that no host name has',
    '--allow-target: "b:0" is not a target pattern: its port is 0',
    `${
      file("nats.url")
    }"a b" is no NATS URL: its host has white space or control characters in it`,
    `${variable}"ftp://a" is no NATS URL: its scheme is none of nats://, tls://, ws:// and wss://`,
    `${variable}"ftp://a,b,,c:x," is no NATS URL: it is empty, or a part of it is`,
    `${variable}"c:x" is no NATS URL: its port is not a number`,
  ]);
});

Deno.test("parseCommandLine() numbers the wrong URLs of a list with credentials, of which it shows none", () => {
  const env = { NATS_URL: `nats://u:${HIDDEN},${HIDDEN}@a:x,ok,b:0` };
  const shown = '"nats://***@a:x,ok,b:0" is no NATS URL: ';
  assert.deepEqual(problemsOf([], { env }), [
    `environment variable NATS_URL: part 1 of ${shown}its port is not a number`,
    `environment variable NATS_URL: part 2 of ${shown}its port is not a number`,
    `environment variable NATS_URL: part 4 of ${shown}its port is 0`,
  ]);
});

Deno.test("parseCommandLine() tells all that does not go together, and only when each alone is right", () => {
  const env = { NATS_SEED: "SU", TUNNEL_WINDOW: "16MiB", MEMORY_BUDGET: "8M" };
  assert.deepEqual(
    problemsOf([], { env }).map((text) => text.split(" ")[0]),
    ["nats.seed", "tunnel.window"],
  );
  const files = { "./.nats-proxy-client.yaml": "nats: {password: [}" };
  const [syntax = "", ...more] = problemsOf([], { env, files });
  assert.match(syntax, /^Config file .* line 1: not YAML/);
  assert.deepEqual(more, []);
});

Deno.test("parseCommandLine() tells of one mistake once", () => {
  for (
    const [args, count] of [
      [["-nats-url", "nats://a"], 1],
      [["-nats-url=nats://a"], 1],
      [["--nats-ulr", "nats://a", "--window", "8M"], 1],
      [["--window", "--workers", "2"], 1],
      [["--window", "--workers", "2", "--bogus"], 2],
      [["--bogus", "--worse"], 2],
      [["-x", "-y", "z"], 2],
      [["a", "b"], 2],
      [["--log-level", "loud", "--log-level", "louder"], 1],
    ] as const
  ) {
    const found = problemsOf(args);
    assert.equal(found.length, count, `${args.join(" ")}: ${found}`);
  }
});

Deno.test("parseCommandLine() takes values with white space around them, not secrets", () => {
  const { config } = parseRun(
    "client",
    ["--remote-addr", " db:5432", "--refuse-v1= TRUE "],
    fakeSources({
      env: {
        LOG_LEVEL: "info\r",
        NATS_USER: "ann ",
        NATS_PASSWORD: " x ",
        WORKERS: " ",
        STATUS_ADDR: "OFF",
      },
      files: { "./.nats-proxy-client.yaml": 'tunnel: {window: "1MiB "}' },
    }),
  );
  const [forward] = config.client.forwards;
  assert.ok(forward !== undefined && "target" in forward);
  assert.deepEqual(forward.target, { host: "db", port: 5432 });
  assert.equal(config.client.statusAddr, undefined);
  assert.equal(config.tunnel.refuseV1, true);
  assert.equal(config.tunnel.window, 2 ** 20);
  assert.equal(config.log.level, "info");
  assert.equal(config.workers, 1);
  assert.deepEqual(reveal(config.nats.auth), {
    kind: "password",
    user: "ann",
    password: " x ",
  });
});

Deno.test("parseCommandLine() tells of quotation marks that no shell took away", () => {
  for (
    const [env, problem] of [
      [
        { LOG_LEVEL: '"info"' },
        /^environment variable LOG_LEVEL: .*has quotation marks around it: leave them out$/,
      ],
      [{ NATS_CREDS: "'/run/a.creds'" }, /^environment variable NATS_CREDS: /],
      [{ NATS_URL: `"nats://u:${HIDDEN}@h"` }, /NATS_URL: .*\*\*\*@h/],
    ] as const
  ) {
    const [found = "", ...more] = problemsOf([], { env });
    assert.match(found, problem);
    assert.ok(!found.includes(HIDDEN));
    assert.deepEqual(more, []);
  }
  const env = { NATS_TOKEN: `"${HIDDEN}"` };
  const { config, notices } = parseRun("client", [], fakeSources({ env }));
  assert.deepEqual(reveal(config.nats.auth), {
    kind: "token",
    token: env.NATS_TOKEN,
  });
  assert.deepEqual(notices, [{
    level: "warn",
    text: "environment variable NATS_TOKEN has quotation marks around it, " +
      "which are taken for part of the secret",
  }]);
});

Deno.test("parseCommandLine() takes the last of a repeated flag", () => {
  const args = ["--log-level=error", "--log-level", "debug"];
  const result = parseRun("client", args);
  assert.equal(result.config.log.level, "debug");
  const files = { "/b.json": '{"log": {"level": "warn"}}' };
  const last = parseRun(
    "client",
    ["--config=/a.json", "--config=/b.json"],
    fakeSources({ files }),
  );
  assert.equal(last.configFile, "/b.json");
  assert.equal(last.config.log.level, "warn");
});

Deno.test("parseCommandLine() says whether a config file holds a secret", () => {
  const cases: [text: string, hasSecrets: boolean][] = [
    ['{"nats": {"user": "ann", "password": "x"}}', true],
    ['{"nats": {"token": "x"}}', true],
    ['{"nats": {"url": "nats://a:b@c"}}', true],
    ['{"nats": {"url": ["a", "b@c"]}}', true],
    ['{"nats": {"url": "nats://c", "nkey": "/n"}}', false],
    ["{}", false],
  ];
  for (const [text, hasSecrets] of cases) {
    const sources = fakeSources({ files: { "/f.json": text } });
    const result = parseRun("client", ["--config", "/f.json"], sources);
    assert.equal(result.secretFiles.length > 0, hasSecrets, text);
  }
  const env = { NATS_TOKEN: "x" };
  const { secretFiles } = parseRun("client", [], fakeSources({ env }));
  assert.deepEqual(secretFiles, []);
});

Deno.test("parseCommandLine() reads switches with and without a value", () => {
  for (
    const [arg, value] of [
      ["--refuse-v1", true],
      ["--refuse-v1=true", true],
      ["--refuse-v1=ON", true],
      ["--refuse-v1=T", true],
      ["--refuse-v1=n", false],
      ["--refuse-v1=false", false],
      ["--refuse-v1=0", false],
    ] as const
  ) {
    const result = parseRun("client", [arg]);
    assert.equal(result.config.tunnel.refuseV1, value, arg);
  }
});

Deno.test("parseCommandLine() gives notice of reserved options and of secrets in flags", () => {
  const reserved = (origin: string): { level: string; text: string } => ({
    level: "info",
    text: `${origin} is reserved: it is accepted and has no effect`,
  });
  const files = { "./.nats-proxy-client.toml": 'client.proxy_addr = "p:1"' };
  for (
    const [args, sources, notices] of [
      [["--proxy-addr=p:1"], {}, [reserved("--proxy-addr")]],
      [[], { env: { PROXY_ADDR: "p:1" } }, [
        reserved("environment variable PROXY_ADDR"),
      ]],
      [[], { files }, [
        reserved("client.proxy_addr in ./.nats-proxy-client.toml"),
      ]],
      [[], { env: { NATS_URL: `u:${HIDDEN}@h` } }, []],
    ] as const
  ) {
    const result = parseRun("client", args, fakeSources(sources));
    assert.deepEqual(result.notices, notices);
  }
  const args = ["--nats-url", `nats://u:${HIDDEN}@h`];
  const result = parseRun("server", args);
  const [notice, ...rest] = result.notices;
  assert.deepEqual(rest, []);
  assert.equal(notice?.level, "warn");
  assert.match(
    notice?.text ?? "",
    /^--nats-url has credentials in it.*NATS_URL/,
  );
  assert.ok(!notice?.text.includes(HIDDEN));
});

Deno.test("parseCommandLine() names the program as it is called", () => {
  const sources = { ...fakeSources(), program: "nats-proxy-client" };
  assert.throws(
    () => parseCommandLine("client", ["--x"], sources),
    /run 'nats-proxy-client --help' for usage$/,
  );
});

Deno.test("optionsMarkdown() has every option once, in the table of who has it", () => {
  const tables = (["both", "server", "client"] as const).map((scope) => ({
    scope,
    lines: optionsMarkdown(scope).trimEnd().split("\n"),
  }));
  for (const { scope, lines } of tables) {
    const [head, rule, ...rows] = lines;
    assert.equal(
      head,
      "| Flag | Environment | Config key | Default | Meaning |",
    );
    assert.equal(rule, "| --- | --- | --- | --- | --- |");
    const keys = ALL_OPTIONS
      .filter(({ role }) => role === scope).map(({ key }) => key);
    assert.equal(rows.length, keys.length);
    for (const [index, row] of rows.entries()) {
      assert.ok(row.includes(`| \`${keys[index]}\` |`), row);
      // A pipe within a cell is escaped.
      assert.equal(row.replaceAll("\\|", "").split("|").length, 7, row);
    }
  }
});

Deno.test("what is wrong with a tool's words leads to its own help and flags", () => {
  const sources = fakeSources();
  for (
    const [words, told] of [
      [["top", "--onc"], 'Unknown flag "--onc" (did you mean --once?)'],
      [["top", "a:1", "b:2"], 'Unexpected argument "b:2" of top'],
    ] as const
  ) {
    assert.throws(() => parseCommandLine("client", words, sources), {
      message: `${told}; run 'client.ts top --help' for usage`,
    });
  }
});
