import assert from "node:assert/strict";
import { parseCommandLine } from "../../lib/config/cli.ts";
import { systemSources } from "../../lib/config/sources.ts";
import { UsageError } from "../../lib/base/errors.ts";
import {
  ALL_OPTIONS,
  type OptionKey,
  optionsOf,
} from "../../lib/config/options.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import {
  BAD,
  COMPANIONS,
  CONTEXTS,
  fakeSources,
  GOOD,
  HIDDEN,
  jsonFile,
  parseRun,
  reveal,
  ROLES,
} from "../support/option_values.ts";

/** What gives options their values. */
interface Given {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly file?: { readonly [K in OptionKey]?: unknown };
}

/** The configuration that comes of it, with its secrets told. */
function configOf(role: Role, { args = [], env = {}, file }: Given): unknown {
  const files = {
    ...CONTEXTS,
    ...(file && { [`./.nats-proxy-${role}.json`]: jsonFile(file) }),
  };
  return reveal(parseRun(role, args, fakeSources({ env, files })).config);
}

/** Asserts that it is refused, on one line that has `part`, without a secret. */
function assertRefused(role: Role, given: Given, part: string): void {
  assert.throws(() => configOf(role, given), (error: unknown) => {
    assert.ok(error instanceof UsageError);
    const { message } = error;
    assert.ok(message.includes(part), `${message} does not name ${part}`);
    assert.ok(message.endsWith(`; run '${role}.ts --help' for usage`), message);
    assert.doesNotMatch(message, /\p{Cc}/u);
    assert.ok(!message.includes(HIDDEN), message);
    return true;
  });
}

for (const role of ROLES) {
  Deno.test(`${role}: every option is read from flag, variable and file, in that order`, () => {
    const plain = configOf(role, {});
    for (const option of optionsOf(role)) {
      const { key } = option;
      const needed = optionsOf(role)
        .filter((other) => COMPANIONS[key]?.includes(other.key));
      const base = Object.fromEntries(
        needed.map((other) => [other.env, GOOD[other.key][0]]),
      );
      const [first, second] = GOOD[key];
      const env = { ...base, [option.env]: first };
      const wanted = configOf(role, { env });
      assert.notDeepEqual(wanted, plain, `${option.env} has no effect`);
      const other = { [key]: second };
      assert.deepEqual(configOf(role, { env, file: other }), wanted, key);
      assert.deepEqual(
        configOf(role, { env: base, file: { [key]: first } }),
        wanted,
        key,
      );
      if (option.flag === undefined) continue;
      const given = { env: { ...base, [option.env]: second }, file: other };
      for (
        const args of [
          [`--${option.flag}=${first}`],
          [`--${option.flag}=${second}`, `--${option.flag}=${first}`],
          // What may stand without a value takes none from the next word.
          ...(option.type.fileType === "boolean"
            ? option.default === "true" ? [] : [[`--${option.flag}`]]
            : [[`--${option.flag}`, first]]),
        ]
      ) {
        if (option.repeatable === true && args.length === 2) continue;
        assert.deepEqual(
          configOf(role, { ...given, args }),
          wanted,
          args.join(" "),
        );
      }
    }
  });

  Deno.test(`${role}: every bad value is refused by the name of its flag, variable or key`, () => {
    for (const option of optionsOf(role)) {
      const { key } = option;
      assert.ok(BAD[key].length > 0, `${key} has no bad value to try`);
      for (const value of BAD[key]) {
        if (option.flag !== undefined) {
          const args = [`--${option.flag}=${value}`];
          assertRefused(role, { args }, `--${option.flag}: `);
        }
        const env = { [option.env]: value };
        const variable = `environment variable ${option.env}: `;
        assertRefused(role, { env }, variable);
        const file = { [key]: value };
        const place = `${key} in ./.nats-proxy-${role}.json: `;
        assertRefused(role, { file }, place);
        if (option.secret === true || value.includes("@")) continue;
        // And the value itself, of a list the last part, up to an escape.
        const [shown = ""] = value.slice(0, 80).replace(/^.*,/, "")
          .split(/\p{Cc}/u);
        assertRefused(role, { env }, shown);
        assertRefused(role, { file }, shown);
      }
    }
  });

  Deno.test(`${role}: an empty flag is an empty value, and refused where that would leave more open; an empty variable is unset`, () => {
    const plain = configOf(role, {});
    for (const option of optionsOf(role)) {
      const env = { [option.env]: "" };
      assert.deepEqual(configOf(role, { env }), plain, option.env);
      if (option.flag === undefined) continue;
      const args = [`--${option.flag}=`];
      if (option.repeatable === true) {
        const text = `--${option.flag} is empty; leave it out for none`;
        assertRefused(role, { args }, text);
        assertRefused(role, { args: [`--${option.flag}`, " "] }, text);
      } else if (option.default === "") {
        assert.deepEqual(configOf(role, { args }), plain);
      } else {
        assertRefused(role, { args }, `--${option.flag}: `);
      }
    }
  });

  Deno.test(`${role}: a bad value in the file is refused though a flag overrides it`, () => {
    const args = ["--log-level", "debug"];
    const file = { "log.level": "loud" } as const;
    assertRefused(role, { args, file }, `"loud" is none of debug, info`);
  });

  Deno.test(`${role}: a number or boolean in a file is refused in the words for its text`, () => {
    for (
      const [key, value, message] of [
        [
          `${role}.listen_addr`,
          6380,
          '"6380" is not an address: it has no host; write :6380',
        ],
        ["log.level", 3, '"3" is none of debug, info, warn, error'],
        ["tunnel.window", true, '"true" is not a size'],
      ] as const
    ) {
      const place = `${key} in ./.nats-proxy-${role}.json: `;
      assertRefused(role, { file: { [key]: value } }, place + message);
    }
  });

  Deno.test(`${role}: the configuration is frozen all the way down`, () => {
    const env = {
      NATS_USER: "ann",
      NATS_PASSWORD: "x",
      ALLOW_TARGET: "10.0.0.0/8:*",
    };
    const { config } = parseRun(role, [], fakeSources({ env }));
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== "object" || value === null) return;
      assert.ok(Object.isFrozen(value), path);
      for (const [key, inner] of Object.entries(value)) {
        visit(inner, `${path}.${key}`);
      }
    };
    visit(config, role);
  });

  Deno.test(`${role}: only the variables of the table and HOME are read`, () => {
    const read = new Set<string>();
    const sources = fakeSources();
    parseCommandLine(role, [], {
      ...sources,
      env(name): string | undefined {
        read.add(name);
        return sources.env(name);
      },
    });
    const table = optionsOf(role).flatMap(({ env, aliases }) => [
      env,
      ...aliases,
    ]);
    // Contexts of the nats command are looked for where that has them.
    const others = ["HOME", "XDG_CONFIG_HOME"];
    assert.deepEqual([...read].sort(), [...table, ...others].sort());
  });
}

Deno.test("OPTIONS has each flag and variable once for a role, in one pattern", () => {
  for (const role of ROLES) {
    const options = optionsOf(role);
    const flags = options.flatMap(({ flag }) => flag ?? []);
    const variables = options.flatMap(({ env, aliases }) => [
      env,
      ...aliases,
    ]);
    assert.equal(new Set(flags).size, flags.length);
    assert.equal(new Set(variables).size, variables.length);
    for (const { flag, env } of options) {
      const pattern = flag?.toUpperCase().replaceAll("-", "_");
      const wanted = {
        // GNU screen sets WINDOW in every shell inside it.
        WINDOW: "TUNNEL_WINDOW",
        // Elsewhere the secret itself; a path is in a variable that says so.
        SECRET_KEY: "SECRET_KEY_FILE",
        PSK: "PSK_FILE",
        STATUS_TOKEN: "STATUS_TOKEN_FILE",
        // As the nats command has them.
        CONTEXT: "NATS_CONTEXT",
        // Elsewhere the proxies that a program is to use.
        SOCKS: "SOCKS_LISTEN",
        HTTP_PROXY: "HTTP_PROXY_LISTEN",
      }[pattern ?? ""] ?? pattern;
      if (flag !== undefined) assert.equal(env, wanted);
    }
  }
});

Deno.test("OPTIONS has no flag for a secret, and defaults that are good values", () => {
  for (const option of ALL_OPTIONS) {
    if (option.secret === true) {
      assert.equal(option.flag, undefined, option.key);
    }
    if (option.default !== undefined) option.type.parse(option.default);
  }
});

Deno.test("the defaults are those of the original, for what it had", () => {
  const server = parseRun("server", []);
  const client = parseRun("client", []);
  assert.deepEqual(server.config.nats.servers, [
    { host: "localhost", port: 4222 },
  ]);
  assert.equal(server.config.nats.tls.required, false);
  assert.deepEqual(server.config.server.listenAddr, { host: "", port: 8080 });
  assert.equal(server.config.log.level, "info");
  assert.deepEqual(client.config.client, {
    forwards: [{
      listen: { host: "0.0.0.0", port: 8082 },
      target: { host: "redis", port: 6379 },
      origin: "--listen-addr",
    }],
    socksUser: undefined,
    socksPassword: undefined,
    allowFrom: [],
    proxyAddr: { host: "proxy-server", port: 8081 },
    openTimeout: 15_000,
    statusAddr: undefined,
    id: undefined,
    natsService: false,
    control: false,
    oneShot: undefined,
  });
  assert.equal(client.config.nats.requestSubject, "proxy.request");
  assert.equal(client.config.nats.dataPrefix, "p.data");
  assert.deepEqual([server.notices, client.notices], [[], []]);
});

Deno.test("--allow-target, --deny-target and --allow-from add up, and take lists", () => {
  for (const flag of ["--allow-target", "--deny-target"] as const) {
    const { server } = parseRun("server", [
      ...[flag, "a:1", `${flag}=b:2, c:3`],
    ]).config;
    const given = flag === "--allow-target"
      ? server.allowTarget
      : server.denyTarget;
    assert.deepEqual(given.map(({ text }) => text), ["a:1", "b:2", "c:3"]);
  }
  const args = ["--allow-from", "10.0.0.0/8", "--allow-from=::1, 10.0.0.7"];
  assert.deepEqual(
    parseRun("client", args).config.client.allowFrom.map(({ bits }) => bits),
    [8, 128, 32],
  );
});

Deno.test("values that do not go together are refused by their names", () => {
  const table: [env: Readonly<Record<string, string>>, part: string][] = [
    [
      { AUDIT_SUBJECT: "p.data.audit" },
      'The audit subject "p.data.audit" lies under the data prefix "p.data"',
    ],
    [
      { AUDIT_SUBJECT: "proxy.request" },
      'The audit subject "proxy.request" lies under the request subject',
    ],
    [{ NATS_PASSWORD: HIDDEN }, "nats.password is set but nats.user is not"],
    [{ NATS_SEED: HIDDEN }, "nats.seed is set but nats.jwt (NATS_JWT) is not"],
    [
      { NATS_JWT: HIDDEN, NATS_CREDS: "a.creds" },
      "(nats.creds, nats.jwt)",
    ],
    [
      { NATS_USER: "ann", NATS_TOKEN: HIDDEN },
      "(nats.user, nats.token)",
    ],
    [
      { NATS_TLS_CA: "a.pem", NATS_CA: "b.pem" },
      "NATS_TLS_CA and NATS_CA differ, and both mean nats.tls.ca",
    ],
    [
      { NATS_CONNECT_TIMEOUT: "1s", NATS_TIMEOUT: "2s" },
      "NATS_CONNECT_TIMEOUT and NATS_TIMEOUT differ",
    ],
    [
      { NATS_TOKEN: HIDDEN, NATS_CREDS: "a.creds" },
      "more than one way to log in to NATS (nats.token, nats.creds)",
    ],
    [
      { NATS_URL: `${HIDDEN}@host`, NATS_NKEY: "a.nk" },
      "(the credentials in nats.url, nats.nkey)",
    ],
    [{ NATS_TLS_CERT: "a" }, "nats.tls.cert is set but nats.tls.key is not"],
    [{ NATS_TLS_KEY: "a" }, "nats.tls.key is set but nats.tls.cert is not"],
    [
      { TUNNEL_WINDOW: "16MiB", MEMORY_BUDGET: "8MiB" },
      "tunnel.window (16MiB) is larger than tunnel.memory_budget (8MiB)",
    ],
    [
      { PEER_TIMEOUT: "2s" },
      "tunnel.peer_ping_interval (2s) is not shorter than tunnel.peer_timeout (2s)",
    ],
    [
      { RESUME_TIMEOUT: "4s" },
      "tunnel.resume_timeout (4s) is not longer than two times tunnel.peer_ping_interval (2s)",
    ],
    [
      { REQUEST_SUBJECT: "p.data.x" },
      'The request subject "p.data.x" lies under the data prefix "p.data"',
    ],
    [{ DATA_PREFIX: "proxy.request" }, "lies under the data prefix"],
    [
      { NATS_URL: "ws://a/x,wss://b", NATS_TLS_CA: "ca" },
      "ws://a:80/x is a WebSocket without TLS, and tls:// or a nats.tls option asks",
    ],
    [{ NATS_URL: "ws://a,tls://b" }, "ws://a:80/ is a WebSocket without TLS"],
  ];
  for (const role of ROLES) {
    for (const [env, part] of table) assertRefused(role, { env }, part);
  }
  for (
    const given of [{ args: ["--nats-user=a"] }, { file: { "nats.user": "a" } }]
  ) {
    assertRefused("client", given, "nats.user is set but nats.password");
  }
  const CLIENT_ID = "x".repeat(30);
  configOf("client", { env: { CLIENT_ID } });
  assertRefused("client", { env: { CLIENT_ID, WORKERS: "2" } }, "client.id");
  for (
    const [INBOX_PREFIX, taken] of [
      ["p", "p.data"],
      ["p.data.to_client", "p.data"],
      ["proxy.request", "proxy.request"],
    ] as const
  ) {
    assertRefused(
      "server",
      { env: { INBOX_PREFIX } },
      `"${taken}" lie one under the other`,
    );
  }
  // A prefix of text is not a prefix of tokens.
  configOf("server", { env: { REQUEST_SUBJECT: "p.database" } });
});

Deno.test("the config says how to log in, in one value", () => {
  for (
    const [env, auth] of [
      [{}, { kind: "none" }],
      [{ NATS_URL: "nats://a%40b:c%2Cd:e@h" }, {
        kind: "password",
        user: "a@b",
        password: "c,d:e",
      }],
      [{ NATS_URL: "tok@h, tok@i:1" }, { kind: "token", token: "tok" }],
      [{ NATS_USER: "ann", NATS_PASSWORD: "x" }, {
        kind: "password",
        user: "ann",
        password: "x",
      }],
      [{ NATS_TOKEN: "t" }, { kind: "token", token: "t" }],
      // The nats command reads it so.
      [{ NATS_USER: "tok" }, { kind: "token", token: "tok" }],
      [{ NATS_JWT: "j", NATS_SEED: "s" }, {
        kind: "jwt",
        jwt: "j",
        seed: "s",
      }],
      [{ NATS_JWT: "j" }, { kind: "jwt", jwt: "j" }],
      [{ NATS_CREDS: "c" }, { kind: "creds", file: "c" }],
      [{ NATS_NKEY: "n" }, { kind: "nkey", file: "n" }],
    ] as const
  ) {
    const result = parseRun("client", [], fakeSources({ env }));
    assert.deepEqual(reveal(result.config.nats.auth), auth);
  }
});

Deno.test("the variables of the nats command mean what ours do", () => {
  for (
    const [ours, theirs, value] of [
      ["NATS_TLS_CA", "NATS_CA", "ca.pem"],
      ["NATS_CONNECT_TIMEOUT", "NATS_TIMEOUT", "3s"],
    ] as const
  ) {
    const wanted = configOf("client", { env: { [ours]: value } });
    for (
      const env of [
        { [theirs]: value },
        { [ours]: value, [theirs]: ` ${value}` },
      ]
    ) assert.deepEqual(configOf("client", { env }), wanted);
    // One that nobody reads contradicts nothing.
    const option = ALL_OPTIONS.find(({ env }) => env === ours);
    configOf("client", {
      args: [`--${option?.flag}=${value}`],
      env: { [ours]: value, [theirs]: `1${value}` },
    });
  }
  const env = { NATS_CERT: "c.pem", NATS_KEY: "c.key" };
  const { tls } = parseRun("server", [], fakeSources({ env })).config.nats;
  assert.deepEqual([tls.cert, tls.key], ["c.pem", "c.key"]);
  const bad = { NATS_TIMEOUT: "5" };
  assertRefused("server", { env: bad }, "environment variable NATS_TIMEOUT: ");
});

Deno.test("NATS_USER alone is said to be taken for a token, and nothing else is", () => {
  const notices = (
    env: Readonly<Record<string, string>>,
  ): readonly string[] =>
    parseRun("client", [], fakeSources({ env })).notices.map(({ text }) =>
      text
    );
  assert.match(notices({ NATS_USER: "t" }).join(), /taken for a token/);
  assert.deepEqual(notices({ NATS_USER: "u", NATS_PASSWORD: "p" }), []);
});

Deno.test("a path may begin with ~, wherever it is written", () => {
  const path = "/h/.nats-proxy-client.yaml";
  const creds = (
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): unknown => {
    const files = { [path]: "nats: {creds: ~/a.creds}" };
    return parseRun("client", args, fakeSources({ env, files })).config.nats
      .auth;
  };
  const expanded = { kind: "creds", file: "/h/a.creds" };
  assert.deepEqual(creds([], { HOME: "/h" }), expanded);
  assert.deepEqual(
    creds(["--config=~/.nats-proxy-client.yaml"], { HOME: "/h" }),
    expanded,
  );
  assert.deepEqual(creds(["--nats-creds=~/a.creds"], { HOME: "/h" }), expanded);
  for (
    const [file, HOME] of [["~/a.creds", ""], ["~a.creds", "/h"], [
      "./~/a",
      "/h",
    ]] as const
  ) {
    assert.deepEqual(creds([`--nats-creds=${file}`], { HOME }), {
      kind: "creds",
      file,
    });
  }
});

Deno.test("the config demands TLS when a URL or an option of TLS does", () => {
  for (
    const [env, required] of [
      [{}, false],
      [{ NATS_URL: "nats://a" }, false],
      [{ NATS_URL: "nats://a,tls://b" }, true],
      [{ NATS_TLS_CA: "ca.pem" }, true],
      [{ NATS_TLS_CERT: "c", NATS_TLS_KEY: "k" }, true],
      [{ NATS_TLS_FIRST: "true" }, true],
      [{ NATS_TLS_FIRST: "false" }, false],
    ] as const
  ) {
    const result = parseRun("client", [], fakeSources({ env }));
    assert.equal(result.config.nats.tls.required, required);
  }
});

Deno.test({
  name: "systemSources() takes what is not permitted as unset, without asking",
  permissions: { env: [], read: [] },
  fn(): void {
    const result = parseRun("client", [], systemSources());
    assert.equal(result.configFile, undefined);
    assert.throws(
      () => parseCommandLine("client", ["--config", "x.json"], systemSources()),
      /Cannot read config file x\.json: no permission to read it .*--allow-read=x\.json\); run/,
    );
  },
});

Deno.test({
  name: "systemSources() reads the variables that are permitted",
  permissions: { env: ["LOG_LEVEL"], read: [] },
  fn(): void {
    const before = Deno.env.get("LOG_LEVEL");
    Deno.env.set("LOG_LEVEL", "debug");
    try {
      const result = parseRun("client", [], systemSources());
      assert.equal(result.config.log.level, "debug");
    } finally {
      if (before === undefined) Deno.env.delete("LOG_LEVEL");
      else Deno.env.set("LOG_LEVEL", before);
    }
  },
});
