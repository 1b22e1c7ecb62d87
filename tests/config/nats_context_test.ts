/** Contexts of the `nats` command: what their files may say, and which of them is used. */
import assert from "node:assert/strict";
import { parseCommandLine } from "../../lib/config/cli.ts";
import type { Sources } from "../../lib/config/sources.ts";
import { UsageError } from "../../lib/base/errors.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import {
  fakeSources,
  HIDDEN,
  parseRun,
  reveal,
  ROLES,
} from "../support/option_values.ts";

const FOLDER = "/h/.config/nats";

/** A context as `nats context save` writes it, all keys there. */
function saved(values: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(
    {
      ...{ description: "", url: "", socks_proxy: "", token: "", user: "" },
      ...{ password: "", creds: "", nkey: "", cert: "", key: "", ca: "" },
      ...{ nsc: "", jetstream_domain: "", jetstream_api_prefix: "" },
      ...{ jetstream_event_prefix: "", inbox_prefix: "", user_jwt: "" },
      ...{ user_seed: "", color_scheme: "", tls_first: false },
      ...{ windows_cert_store: "", windows_ca_certs_match: null },
      ...values,
    },
    null,
    2,
  );
}

/** What there is besides the context `dev`. */
interface Given {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
}

/** Sources with the context `dev` of these values. */
function sourcesOf(
  values: Readonly<Record<string, unknown>>,
  { env = {}, files = {} }: Given = {},
): Sources {
  return fakeSources({
    env: { HOME: "/h", ...env },
    files: { [`${FOLDER}/context/dev.json`]: saved(values), ...files },
  });
}

/** What comes of the context `dev`. */
function use(
  values: Readonly<Record<string, unknown>>,
  given: Given = {},
): ReturnType<typeof parseRun<"client">> {
  const args = ["--context", "dev", ...given.args ?? []];
  return parseRun("client", args, sourcesOf(values, given));
}

/** What is said when the context `dev` cannot be used. */
function refusals(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    assert.ok(!error.message.includes(HIDDEN), error.message);
    return error.problems.map((text) => text.replace(/; run '.*/, ""));
  }
  return assert.fail("it was taken");
}

Deno.test("a context says where NATS is and how to log in, as each of its keys does", () => {
  const table: [
    values: Readonly<Record<string, unknown>>,
    nats: Readonly<Record<string, unknown>>,
  ][] = [
    [{}, { servers: [{ host: "localhost", port: 4222 }] }],
    [{ url: "nats://a, tls://b:1" }, {
      servers: [{ host: "a", port: 4222 }, { host: "b", port: 1 }],
    }],
    [{ url: `nats://ann:${HIDDEN}@a` }, {
      auth: { kind: "password", user: "ann", password: HIDDEN },
    }],
    [{ user: "ann", password: " p " }, {
      auth: { kind: "password", user: "ann", password: " p " },
    }],
    [{ token: "t" }, { auth: { kind: "token", token: "t" } }],
    [{ creds: "/c" }, { auth: { kind: "creds", file: "/c" } }],
    [{ creds: "~/c" }, { auth: { kind: "creds", file: "/h/c" } }],
    [{ creds: "file:///c" }, { auth: { kind: "creds", file: "/c" } }],
    [{ creds: "$DIR/c" }, { auth: { kind: "creds", file: "/d/c" } }],
    [{ nkey: "${DIR}/n" }, { auth: { kind: "nkey", file: "/d/n" } }],
    [{ user_jwt: "j", user_seed: "s" }, {
      auth: { kind: "jwt", jwt: "j", seed: "s" },
    }],
    [{ user_jwt: "j" }, { auth: { kind: "jwt", jwt: "j" } }],
    [{ url: "a", socks_proxy: `socks5://ann:${HIDDEN}@p` }, {
      proxy: {
        kind: "socks5",
        address: { host: "p", port: 1080 },
        login: { user: "ann", password: HIDDEN },
      },
    }],
    [{ tls_first: true }, { tls: { first: true, required: true } }],
    [{ ca: "~/$DIR/ca", cert: "c", key: "file://k" }, {
      tls: {
        ca: "/h//d/ca",
        cert: "c",
        key: "k",
        first: false,
        required: true,
      },
    }],
    // What a value leads to, not where it stands.
    [{ user: "ann", password: "env://SECRET" }, {
      auth: { kind: "password", user: "ann", password: "of env" },
    }],
    [{ token: "file:///t" }, { auth: { kind: "token", token: "of file" } }],
    [{ user_jwt: "env://SECRET", user_seed: "data:;base64,c2VlZA==" }, {
      auth: { kind: "jwt", jwt: "of env", seed: "seed" },
    }],
    [{ creds: "env://SECRET" }, { auth: { kind: "creds", file: "of env" } }],
    [{ nkey: "data:;base64,c2VlZA==" }, {
      auth: { kind: "nkey", file: "seed" },
    }],
    // Nothing but a password, to a password.
    [{ token: "https://x" }, { auth: { kind: "token", token: "https://x" } }],
  ];
  for (const [values, wanted] of table) {
    const { config, notices } = use(values, {
      env: { DIR: "/d", SECRET: "of env" },
      files: { "/t": "of file\n" },
    });
    const nats: unknown = reveal(config.nats);
    for (const [key, value] of Object.entries(wanted)) {
      const found = Object.entries(nats ?? {}).find(([name]) => name === key);
      // Without what is undefined.
      const plain: unknown = JSON.parse(JSON.stringify(found?.[1]));
      assert.deepEqual(plain, value, JSON.stringify(values));
    }
    assert.deepEqual(notices.map(({ level }) => level), ["info"]);
    assert.equal(
      notices[0]?.text,
      `context "dev" (--context) is used, from ${FOLDER}/context/dev.json`,
    );
  }
});

Deno.test("a context that cannot be used is refused by its keys, and no secret is shown", () => {
  const place = (key: string): string =>
    `${key} in context "dev" (${FOLDER}/context/dev.json): `;
  const table: [Readonly<Record<string, unknown>>, string][] = [
    [{ url: 5 }, `${place("url")}the number "5" where there must be a string`],
    [
      { password: { of: HIDDEN }, user: "a" },
      `${place("password")}a value where there must be a string`,
    ],
    [{ tls_first: "x" }, `${place("tls_first")}"x" is neither true nor false`],
    [{ tls_first: 1 }, `${place("tls_first")}the number "1" where there must`],
    [{ url: "http://a" }, `${place("url")}"http://a" is no NATS URL: its sch`],
    [
      { socks_proxy: `https://a:${HIDDEN}@p` },
      `${place("socks_proxy")}"https://***@p" is no proxy's URL, such as`,
    ],
    [{ token: "op://v/i/f" }, `${place("token")}op:// is not supported: it`],
    [{ nsc: "nsc://o/a/u" }, `${place("nsc")}the command nsc would have to`],
    [{ creds: "nsc://o/a/u" }, `${place("creds")}nsc:// is not supported: it`],
    [{ creds: "https://x" }, `${place("creds")}https:// is not known: write`],
    [{ ca: "env://CA" }, `${place("ca")}it must be the path of a file`],
    [{ key: `data:;base64,${HIDDEN}`, cert: "c" }, `${place("key")}it must be`],
    [
      { token: "env://GONE" },
      `${place("token")}the environment variable "GONE" is not set, or empty`,
    ],
    [
      { creds: "${GONE}/c" },
      `${place("creds")}the environment variable "GONE" in its path is not set`,
    ],
    [
      { token: `data:;base64,${HIDDEN}!` },
      `${place("token")}what follows data:;base64, is no text in base64`,
    ],
    [{ token: "file:///gone" }, `${place("token")}there is no file /gone`],
    [
      { token: `${HIDDEN}\n` },
      `${place("token")}it has control characters in it`,
    ],
    [
      { user: "ann" },
      `nats.user is set but nats.password is not, in ${FOLDER}`,
    ],
    [
      { user: "ann", password: HIDDEN, token: HIDDEN },
      `There is more than one way to log in to NATS (nats.user, nats.token) in ${FOLDER}/`,
    ],
    [{ cert: "c" }, "nats.tls.cert is set but nats.tls.key is not"],
  ];
  for (const [values, wanted] of table) {
    const [told = "", ...more] = refusals(() => use(values));
    assert.ok(told.startsWith(wanted), told);
    assert.deepEqual(more, []);
  }
  // All at once.
  assert.equal(refusals(() => use({ url: 1, token: 2, ca: 3 })).length, 3);
});

Deno.test("a context's file that is none is refused by its name, and shows nothing of itself", () => {
  const path = `${FOLDER}/context/dev.json`;
  for (
    const [text, wanted] of [
      [`{ "token": "${HIDDEN}`, `Config file ${path}, line 1: not JSON: `],
      [`["${HIDDEN}"]`, `The top level in context "dev" (${path}): a list `],
      [HIDDEN, `The top level in context "dev" (${path}): a string `],
    ] as const
  ) {
    const files = { [path]: text };
    const [told = "", ...more] = refusals(() => use({}, { files }));
    assert.ok(told.startsWith(wanted), told);
    assert.deepEqual(more, []);
  }
  // One that says nothing is like one with all keys empty.
  use({}, { files: { [path]: "" } });
});

Deno.test("what a context says beside that is named in one warning", () => {
  const { notices, secretFiles } = use({
    ...{ description: "ours", url: "nats://a" },
    ...{ inbox_prefix: "_x", jetstream_domain: "hub", color_scheme: "red" },
    ...{ windows_ca_certs_match: ["a"], windows_cert_store: "user", typo: 1 },
  });
  assert.deepEqual(notices[1], {
    level: "warn",
    text:
      'context "dev" sets what is not used here: jetstream_domain, color_scheme, windows_cert_store, windows_ca_certs_match, typo',
  });
  assert.equal(notices.length, 2);
  assert.deepEqual(secretFiles, []);
  // At each connection of ssh it would be noise.
  const { notices: once } = use({ url: "nats://a", color_scheme: "red" }, {
    args: ["-W", "a:1"],
  });
  assert.deepEqual(once.map(({ level }) => level), ["info", "info"]);
});

Deno.test("where inboxes are counts at a server, which answers version 1 there", () => {
  const { config, notices } = parseRun(
    "server",
    ["--context", "dev"],
    sourcesOf({ url: "nats://a", inbox_prefix: "_mine" }),
  );
  assert.equal(config.nats.inboxPrefix, "_mine");
  assert.equal(notices.length, 1);
});

Deno.test("the files with secrets that a context consists of are told", () => {
  const path = `${FOLDER}/context/dev.json`;
  const table: [Readonly<Record<string, unknown>>, string[]][] = [
    [{ url: "nats://a", creds: "/c" }, []],
    [{ token: "t" }, [path]],
    [{ url: "nats://t@a" }, [path]],
    [{ url: "nats://a", socks_proxy: "socks5://u:p@a" }, [path]],
    [{ user_jwt: "j" }, [path]],
    [{ nkey: "data:;base64,c2VlZA==" }, [path]],
    [{ token: "env://SECRET" }, []],
    [{ token: "file:///t" }, ["/t"]],
    [{ user: "a", password: "file://~/t", ca: "/ca" }, ["/h/t"]],
  ];
  for (const [values, wanted] of table) {
    const { secretFiles } = use(values, {
      env: { SECRET: "s" },
      files: { "/t": "x", "/h/t": "x" },
    });
    assert.deepEqual(secretFiles, wanted, JSON.stringify(values));
  }
});

Deno.test("how this machine gets to NATS may be said beside a context, which says it else", () => {
  const values = { url: "nats://a", socks_proxy: "socks5://of-context" };
  const table: [Given, proxy: string | undefined][] = [
    [{}, "of-context"],
    [{ args: ["--nats-proxy", "http://flag:1"] }, "flag"],
    [{ env: { NATS_SOCKS_PROXY: "socks5://variable" } }, "variable"],
    [{ args: ["--nats-proxy=none"] }, undefined],
    [
      {
        args: ["--config", "/c.yaml"],
        files: { "/c.yaml": "nats: { proxy: 'socks5://file' }" },
      },
      "file",
    ],
  ];
  for (const [given, proxy] of table) {
    const { config, notices } = use(values, given);
    assert.equal(config.nats.proxy?.address.host, proxy);
    assert.equal(config.nats.servers[0]?.host, "a");
    assert.equal(notices.length, 1);
  }
  const args = ["--context", "dev", "--inbox-prefix", "_flag"];
  const mine = { url: "nats://a", inbox_prefix: "_mine" };
  const { config } = parseRun("server", args, sourcesOf(mine));
  assert.equal(config.nats.inboxPrefix, "_flag");
  // The selected one, too.
  const files = { [`${FOLDER}/context.txt`]: "dev" };
  const env = { NATS_SOCKS_PROXY: "socks5://variable" };
  const { config: { nats } } = parseRun(
    "client",
    [],
    sourcesOf(values, { env, files }),
  );
  assert.equal(nats.servers[0]?.host, "a");
  assert.equal(nats.proxy?.address.host, "variable");
});

/** The broker that `role` dials, and what is said of contexts. */
function outcome(
  role: Role,
  { args = [], env = {}, files = {} }: Given,
): { readonly host: string; readonly told: readonly string[] } {
  const sources = fakeSources({
    env: { HOME: "/h", ...env },
    files: {
      [`${FOLDER}/context.txt`]: "selected\n",
      [`${FOLDER}/context/selected.json`]: saved({ url: "selected" }),
      [`${FOLDER}/context/named.json`]: saved({ url: "named" }),
      [`${FOLDER}/context/other.json`]: saved({ url: "other" }),
      "./here.json": saved({ url: "here" }),
      ...files,
    },
  });
  const { config, notices } = parseRun(role, args, sources);
  return {
    host: config.nats.servers[0]?.host ?? "",
    told: notices.map(({ level, text }) => `${level}: ${text}`),
  };
}

const FILE = "/c.yaml";

/** Flags, variables and the config file, and what comes of them in both roles. */
const NAMED: readonly (readonly [
  what: string,
  given: Given,
  host: string,
  told: RegExp | undefined,
])[] = [
  [
    "--context",
    { args: ["--context", "named"] },
    "named",
    /^info: context "named" \(--context\) is used, from .*named\.json$/,
  ],
  [
    "NATS_CONTEXT",
    { env: { NATS_CONTEXT: "named" } },
    "named",
    /\(environment variable NATS_CONTEXT\) is used/,
  ],
  [
    "nats.context",
    { args: ["--config", FILE], files: { [FILE]: "nats: { context: named }" } },
    "named",
    /\(nats\.context in \/c\.yaml\) is used/,
  ],
  [
    "the path of a file",
    { args: ["--context", "./here.json"] },
    "here",
    /is used, from \.\/here\.json$/,
  ],
  [
    "a name that ends like a file",
    {
      args: ["--context", "odd.json"],
      files: { [`${FOLDER}/context/odd.json.json`]: saved({ url: "odd" }) },
    },
    "odd",
    /odd\.json\.json$/,
  ],
  [
    "a name with dots and blanks",
    {
      args: ["--context", "my ngs.js"],
      files: { [`${FOLDER}/context/my ngs.js.json`]: saved({ url: "odd" }) },
    },
    "odd",
    /is used/,
  ],
  [
    "a flag before a variable",
    { args: ["--context", "named"], env: { NATS_CONTEXT: "other" } },
    "named",
    /is used/,
  ],
  [
    "a variable before the config file",
    {
      args: ["--config", FILE],
      env: { NATS_CONTEXT: "named" },
      files: { [FILE]: "nats: { context: other }" },
    },
    "named",
    /is used/,
  ],
  [
    "a URL by flag before all but --context",
    { args: ["--nats-url", "url"], env: { NATS_CONTEXT: "named" } },
    "url",
    /^warn: context "named" \(environment variable NATS_CONTEXT\) is not used beside --nats-url, since a context says all/,
  ],
  [
    "NATS_URL before NATS_CONTEXT",
    { env: { NATS_CONTEXT: "named", NATS_URL: "url" } },
    "url",
    /^warn: context "named" .* is not used beside environment variable NATS_URL, since/,
  ],
  [
    "NATS_URL before nats.context",
    {
      args: ["--config", FILE],
      env: { NATS_URL: "url" },
      files: { [FILE]: "nats: { context: named }" },
    },
    "url",
    /is not used/,
  ],
  [
    "--context before NATS_URL and a file's, whole",
    {
      args: ["--context", "named", "--config", FILE],
      env: { NATS_TOKEN: "t" },
      files: { [FILE]: "nats: { url: file }" },
    },
    "named",
    /info: context "named" \(--context\) is used, not nats\.url in \/c\.yaml, environment variable NATS_TOKEN, since/,
  ],
  [
    "NATS_CONTEXT before a file's URL",
    {
      args: ["--config", FILE],
      env: { NATS_CONTEXT: "named" },
      files: { [FILE]: "nats: { url: file }" },
    },
    "named",
    /is used, not nats\.url in \/c\.yaml, since/,
  ],
  [
    "a login of ours before NATS_CONTEXT, at the default place",
    { env: { NATS_CONTEXT: "named", NATS_CREDS: "c" } },
    "localhost",
    /is not used beside environment variable NATS_CREDS, since/,
  ],
  ["an empty --context", { args: ["--context="] }, "localhost", undefined],
  [
    "an empty nats.context",
    { args: ["--config", FILE], files: { [FILE]: 'nats: { context: "" }' } },
    "localhost",
    undefined,
  ],
  ["a URL", { args: ["--nats-url", "url"] }, "url", undefined],
];

for (const role of ROLES) {
  for (const [what, given, host, told] of NAMED) {
    Deno.test(`${role}: ${what} says where NATS is`, () => {
      const found = outcome(role, given);
      assert.equal(found.host, host);
      assert.match(found.told.join("\n"), told ?? /^$/);
    });
  }

  Deno.test(`${role}: a context and what it would say are not given at once`, () => {
    for (
      const [given, wanted] of [
        [
          { args: ["--context", "named", "--nats-url", "a"] },
          'context "named" (--context) does not go with --nats-url, since a context says all',
        ],
        [
          {
            args: ["--config", FILE],
            files: { [FILE]: "nats: { context: named, token: t }" },
          },
          `context "named" (nats.context in ${FILE}) does not go with nats.token in ${FILE}, since`,
        ],
        // It says neither where NATS is nor who we are: it cannot stand for the context.
        [
          { env: { NATS_CONTEXT: "named", NATS_CA: "ca" } },
          "environment variable NATS_CONTEXT) does not go with environment variable NATS_CA, since",
        ],
        [
          { args: ["--nats-tls-first"], env: { NATS_CONTEXT: "named" } },
          "does not go with --nats-tls-first, since",
        ],
      ] as const
    ) {
      const [told = "", ...more] = refusals(() => outcome(role, given));
      assert.ok(told.includes(wanted), told);
      assert.deepEqual(more, []);
    }
  });

  Deno.test(`${role}: a context that is not there is refused by where it was sought`, () => {
    for (
      const [name, env, wanted] of [
        [
          "none",
          {},
          `--context: there is no context "none" (no file ${FOLDER}/context/none.json)`,
        ],
        [
          "none.json",
          {},
          `(no file none.json, ${FOLDER}/context/none.json.json)`,
        ],
        ["~/x.json", {}, "(no file /h/x.json)"],
        ["none", { XDG_CONFIG_HOME: "/x" }, "(no file /x/nats/context/none"],
        ["none", { HOME: "" }, "neither XDG_CONFIG_HOME nor HOME is set"],
      ] as const
    ) {
      const [told = "", ...more] = refusals(() =>
        outcome(role, { args: ["--context", name], env })
      );
      assert.ok(told.includes(wanted), told);
      assert.deepEqual(more, []);
    }
  });
}

Deno.test("the selected context is used by a client that is told nothing of NATS", () => {
  const used = outcome("client", {});
  assert.equal(used.host, "selected");
  assert.match(
    used.told.join("\n"),
    /^info: context "selected" \(selected by the nats command\) is used, from .*selected\.json$/,
  );
  const files = {
    "/x/nats/context.txt": "mine",
    "/x/nats/context/mine.json": saved({ url: "mine" }),
  };
  const env = { XDG_CONFIG_HOME: "/x" };
  assert.equal(outcome("client", { env, files }).host, "mine");
});

Deno.test("the selected context is not used by a server, nor beside a login of ours, and that is said", () => {
  const server = outcome("server", {});
  assert.equal(server.host, "localhost");
  assert.match(
    server.told.join("\n"),
    /^info: context "selected" .* is not used by a server, which takes only one that is named \(--context\)$/,
  );
  const client = outcome("client", { env: { NATS_CREDS: "c" } });
  assert.equal(client.host, "localhost");
  assert.match(client.told.join("\n"), /^info: context "selected" .* not used/);
});

Deno.test("a selection that leads nowhere ends the start, unless the place of NATS is given", () => {
  for (
    const [selected, wanted] of [
      ["gone", 'selected by the nats command: there is no context "gone"'],
      ["../x", '"../x" is no name of a context: it has .. in it'],
    ] as const
  ) {
    const files = { [`${FOLDER}/context.txt`]: selected };
    const [told = ""] = refusals(() => outcome("client", { files }));
    assert.ok(told.includes(wanted), told);
    assert.equal(
      outcome("client", { files, args: ["--nats-url", "url"] }).host,
      "url",
    );
  }
  // Nobody has selected one.
  const files = { [`${FOLDER}/context.txt`]: "\n" };
  assert.deepEqual(outcome("client", { files }), {
    host: "localhost",
    told: [],
  });
});

Deno.test("where this process may not look, no context is selected", () => {
  const sources: Sources = {
    env: (name) => name === "HOME" ? "/h" : undefined,
    readTextFile(path): string | undefined {
      if (!path.startsWith("/h/")) return undefined;
      throw path.endsWith("context.txt")
        ? new Deno.errors.NotCapable("no permission")
        : new Deno.errors.NotCapable("no permission to read it");
    },
  };
  for (const args of [[], ["--context="]]) {
    const result = parseCommandLine("client", args, {
      ...sources,
      readTextFile: (path) =>
        path.includes("nats-proxy") ? undefined : sources.readTextFile(path),
    });
    assert.ok(result.kind === "run");
    assert.equal(result.config.nats.servers[0]?.host, "localhost");
  }
  const [told = ""] = refusals(() =>
    parseCommandLine("client", ["--context", "dev"], {
      ...sources,
      readTextFile: (path) =>
        path.includes("nats-proxy") ? undefined : sources.readTextFile(path),
    })
  );
  assert.match(told, /^--context: context "dev": cannot read .*no permission/);
});
