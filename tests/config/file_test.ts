import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type ConfigFile,
  configSearchPaths,
  type FileSearch,
  findConfigFile,
  parseConfigFile,
} from "../../lib/config/file.ts";
import { Problems } from "../../lib/config/problems.ts";
import { parseConfigText } from "../../lib/config/syntax.ts";
import { UsageError } from "../../lib/base/errors.ts";
import { optionsOf } from "../../lib/config/options.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { fakeSources, HIDDEN, ROLES } from "../support/option_values.ts";

/** The file with this text; throws all that is wrong with it. */
function parse(role: Role, path: string, text: string): ConfigFile {
  const problems = new Problems();
  const file = parseConfigFile(role, { path, text, problems });
  problems.throwIfAny();
  return file;
}

/** The file that is found; throws all that is wrong with it. */
function find(
  role: Role,
  options: Omit<FileSearch, "problems">,
): ConfigFile | undefined {
  const problems = new Problems();
  const file = findConfigFile(role, { ...options, problems });
  problems.throwIfAny();
  return file;
}

/** The options in a file, as an object. */
function optionsIn(file: ConfigFile | undefined): Record<string, string> {
  return Object.fromEntries(file?.texts ?? []);
}

/** Asserts a UsageError of one line that matches, and tells no secret. */
function assertRefused(run: () => unknown, message: RegExp): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof UsageError, String(error));
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /[\r\n]/);
    assert.ok(!error.message.includes(HIDDEN), error.message);
    return true;
  });
}

Deno.test("parseConfigFile() reads the original's sample files", () => {
  const server = "nats:\n  url: nats://localhost:4222\nlog:\n  level: info\n";
  assert.deepEqual(
    optionsIn(parse("server", ".nats-proxy-server.yaml", server)),
    { "nats.url": "nats://localhost:4222", "log.level": "info" },
  );
  const client = `nats:
  url: nats://localhost:4222
client:
  listen_addr: 0.0.0.0:8082
  remote_addr: redis:6379
  proxy_addr: proxy-server:8081
log:
  level: info
`;
  const options = {
    "nats.url": "nats://localhost:4222",
    "client.listen_addr": "0.0.0.0:8082",
    "client.remote_addr": "redis:6379",
    "client.proxy_addr": "proxy-server:8081",
    "log.level": "info",
  };
  assert.deepEqual(
    optionsIn(parse("client", ".nats-proxy-client.yaml", client)),
    options,
  );
});

Deno.test("parseConfigFile() reads the same from YAML, JSON and TOML", () => {
  const yaml = `# a comment
nats: { url: [a, "b:1"], tls: { first: true } }
server:
  listen_addr: :8080
  allow_target:
    - db:5432
tunnel:
  window: 65536
  idle_timeout: 0
  drain_timeout: 1m30s
workers: 4
log:
`;
  const json = `{
  "nats": {"url": ["a", "b:1"], "tls": {"first": true}},
  "server": {"listen_addr": ":8080", "allow_target": ["db:5432"]},
  "tunnel": {"window": 65536, "idle_timeout": 0, "drain_timeout": "1m30s"},
  "workers": 4, "log": null
}`;
  const toml = `# a comment
workers = 4
[nats]
url = ["a", "b:1"]
tls.first = true
[server]
listen_addr = ":8080"
allow_target = ["db:5432"]
[tunnel]
window = 65_536
idle_timeout = 0
drain_timeout = "1m30s"
`;
  const options = {
    "nats.url": "a,b:1",
    "nats.tls.first": "true",
    "server.listen_addr": ":8080",
    "server.allow_target": "db:5432",
    "tunnel.window": "65536",
    "tunnel.idle_timeout": "0",
    "tunnel.drain_timeout": "1m30s",
    "workers": "4",
  };
  for (
    const [name, text] of [
      ["a.yaml", yaml],
      ["a.yml", yaml],
      ["a.YAML", `\uFEFF${yaml}`],
      ["a.json", json],
      ["a.toml", toml],
      ["dir.d/a.toml", toml],
    ] as const
  ) {
    const file = parse("server", name, text);
    assert.deepEqual(optionsIn(file), options, name);
    assert.equal(file.path, name);
  }
});

Deno.test("parseConfigText() reads all JSON as the runtime does", () => {
  const text = fc.oneof(
    fc.tuple(fc.jsonValue(), fc.constantFrom("", "  ", "\t"))
      .map(([value, indent]) => JSON.stringify(value, null, indent)),
    fc.constantFrom(
      '\t{"a":\t1}\r\n',
      '{"a"\n:\n[1,\n-0.5,1E+2]}',
      String.raw`{"a":"\/\u00e9\ud83d\ude00\b\u0000","<<":{"b":null}}`,
    ),
  );
  fc.assert(fc.property(text, (text) => {
    assert.equal(
      JSON.stringify(parseConfigText("a.json", text)),
      JSON.stringify(JSON.parse(text)),
    );
  }));
});

Deno.test("parseConfigFile() takes an empty file as one without options", () => {
  for (
    const [name, text] of [
      ["a.yaml", ""],
      ["a.yaml", "# nothing\n"],
      ["a.yaml", "---\n"],
      ["a.yaml", "nats:\nlog:\n  level:\n"],
      ["a.json", " \n"],
      ["a.json", "{}"],
      ["a.toml", ""],
    ] as const
  ) {
    assert.deepEqual(
      optionsIn(parse("client", name, text)),
      {},
      text,
    );
  }
});

Deno.test("parseConfigFile() names file and line of a syntax error, and no text of it", () => {
  const padding =
    '  "x": "................................................",\n';
  for (
    const [name, text, message] of [
      [
        "a.yaml",
        "log:\n  level: [",
        /a\.yaml, line 2: not YAML: unexpected end/,
      ],
      ["a.yaml", "log:\n\tlevel: info", /a\.yaml, line 2: not YAML: tab char/],
      [
        "a.yaml",
        "a: 1\na: 2",
        /a\.yaml, line 2: not YAML: duplicated mapping key a$/,
      ],
      [
        "a.yaml",
        `nats:\n  token: *${HIDDEN}`,
        /a\.yaml, line 2: not YAML: unidentified alias$/,
      ],
      [
        "a.yaml",
        `nats:\n  token: !${HIDDEN} x`,
        /a\.yaml, line 2: not YAML: unknown scalar tag$/,
      ],
      ["a.yaml", "{}\n---\n{}\n", /a\.yaml: it has more than one document$/],
      ["a.json", "{\n", /a\.json, line 2: not JSON: unexpected end/],
      [
        "a.json",
        '{\n"workers": 1,\n"workers": 2}',
        /a\.json, line 3: not JSON: duplicated mapping key workers$/,
      ],
      [
        "a.json",
        `{\n"nats":\n${HIDDEN}}`,
        /nats in a\.json: a string where there must be a mapping$/,
      ],
      [
        "a.json",
        `{\n"a": ${HIDDEN}\n${padding}}`,
        /a\.json, line 3: not JSON: /,
      ],
      ["a.json", '{"a": "tru', /a\.json, line 1: not JSON: unexpected end/],
      ["a.json", "{}\n{}", /a\.json, line 2: not JSON: /],
      ["a.json", `{\n${padding}"a" .5}`, /a\.json, line 3: not JSON: /],
      ["a.toml", "[nats]\nurl = ", /a\.toml, line 2: not TOML: /],
      ["a.toml", `\n\ntoken = ${HIDDEN}`, /a\.toml, line 3: not TOML: /],
      ["a.toml", `token = '${HIDDEN}`, /a\.toml, line 1: not TOML: /],
      ["a.toml", "a = 1\na = 2", /a\.toml, line 2: not TOML: /],
      [
        "a.ini",
        "",
        /a\.ini has none of the endings \.yaml, \.yml, \.json, \.toml$/,
      ],
      ["config", "", /config has none of the endings/],
      ["a.json/b", "{}", /b has none of the endings/],
    ] as const
  ) assertRefused(() => parse("client", name, text), message);
});

Deno.test("parseConfigFile() refuses unknown keys, with what was meant", () => {
  for (
    const [role, text, message] of [
      ["client", "bogus: 1", /^Unknown key "bogus" in a\.yaml$/],
      ["client", "bogus:", /^Unknown key "bogus" in a\.yaml$/],
      ["client", '"": 1', /^Unknown key "" in a\.yaml$/],
      ["client", "natz: {}", /"natz" in a\.yaml \(did you mean nats\?\)$/],
      [
        "client",
        "nats: {urls: x}",
        /"nats.urls" in a\.yaml \(did you mean nats.url\?\)$/,
      ],
      [
        "client",
        "client: {remoteAddr: x}",
        /"client.remoteAddr" .* \(did you mean client.remote_addr\?\)$/,
      ],
      [
        "client",
        "log: {level: {deep: 1}}",
        /^log\.level in a\.yaml: a mapping/,
      ],
      [
        "client",
        "nats: {tls: {kay: x}}",
        /"nats.tls.kay" .* nats.tls.key\?\)$/,
      ],
      [
        "client",
        "server: {}",
        /"server" in a\.yaml \(only the server has it\)$/,
      ],
      [
        "server",
        "client: {}",
        /"client" in a\.yaml \(only the client has it\)$/,
      ],
      [
        "server",
        "tunnel: {codec: json}",
        /"tunnel.codec" in a\.yaml \(only the client has it\)$/,
      ],
      [
        "client",
        "nats: {queue_group: x}",
        /"nats.queue_group" in a\.yaml \(only the server has it\)$/,
      ],
      ["client", "__proto__: {level: debug}", /^Unknown key "__proto__"/],
      ["client", "constructor: {}", /^Unknown key "constructor"/],
      ["client", "log: {toString: x}", /^Unknown key "log.toString"/],
      ["client", '"a\\nb": 1', /^Unknown key "a\\nb" in a\.yaml$/],
      [
        "client",
        `"nats://u:${HIDDEN}@h": 1`,
        /^Unknown key "nats:\/\/\*\*\*@h" in a\.yaml$/,
      ],
      [
        "client",
        "nats.url: a\nnats: {url: b}",
        /^nats\.url is given twice in a\.yaml$/,
      ],
    ] as const
  ) assertRefused(() => parse(role, "a.yaml", text), message);
});

Deno.test("parseConfigFile() refuses a mapping for every option, by its key", () => {
  for (const role of ROLES) {
    for (const { key } of optionsOf(role)) {
      const text = JSON.stringify({ [key]: { a: HIDDEN } });
      assertRefused(
        () => parse(role, "a.json", text),
        /in a\.json: a (mapping|value) where there must be a string/,
      );
      const [, ...rest] = key.split(".").reverse();
      if (rest.length === 0) continue;
      const section = rest.reverse().join(".");
      assertRefused(
        () => parse(role, "a.json", JSON.stringify({ [section]: 7 })),
        /in a\.json: the number "7" where there must be a mapping$/,
      );
    }
  }
});

Deno.test("parseConfigFile() refuses values of a wrong type, by key, value and file", () => {
  for (
    const [text, message] of [
      [
        "[]",
        /^The top level in a\.yaml: a list where there must be a mapping$/,
      ],
      ["7", /^The top level in a\.yaml: the number "7" where/],
      [`nats: u:${HIDDEN}@h`, /^nats in a\.yaml: a string where/],
      [
        "client: {id: 42}",
        /^client\.id in a\.yaml: the number "42" where there must be a string in quotes$/,
      ],
      [
        "client: {id: true}",
        /^client\.id in a\.yaml: the boolean "true" where/,
      ],
      ["log: {level: [info]}", /^log\.level in a\.yaml: a list where/],
      [
        "tunnel: {refuse_v1: 1}",
        /^tunnel\.refuse_v1 in a\.yaml: the number "1" where there must be a string or true or false$/,
      ],
      [
        "nats: {url: true}",
        /^nats\.url in a\.yaml: the boolean "true" where there must be a string or a list$/,
      ],
      [
        "nats: {url: [a, 4222]}",
        /^nats\.url\[1\] in a\.yaml: the number "4222" where there must be a string$/,
      ],
      [
        "nats: {token: 12345}",
        /^nats\.token in a\.yaml: a value where there must be a string in quotes$/,
      ],
    ] as const
  ) assertRefused(() => parse("client", "a.yaml", text), message);
  assertRefused(
    () => parse("client", "a.toml", "log.level = 2020-01-01"),
    /^log\.level in a\.toml: a date where/,
  );
});

Deno.test("parseConfigFile() ends on a file that contains itself", () => {
  assertRefused(
    () => parse("client", "a.yaml", '&a {"": *a}'),
    /^Unknown key ""/,
  );
  assertRefused(
    () => parse("client", "a.yaml", "&a {nats: *a}"),
    /^Unknown key "nats.nats"/,
  );
});

Deno.test("parseConfigFile() refuses whatever else a file may hold, and no more", () => {
  for (const name of ["a.yaml", "a.json", "a.toml"]) {
    fc.assert(fc.property(fc.string(), fc.json(), (text, json) => {
      for (const content of [text, json]) {
        try {
          parse("client", name, content);
        } catch (error) {
          assert.ok(error instanceof UsageError, String(error));
        }
      }
    }));
  }
});

Deno.test("configSearchPaths() are ./ and then HOME, in the order of the endings", () => {
  assert.deepEqual(configSearchPaths("server", "/h"), [
    "./.nats-proxy-server.yaml",
    "./.nats-proxy-server.yml",
    "./.nats-proxy-server.json",
    "./.nats-proxy-server.toml",
    "/h/.nats-proxy-server.yaml",
    "/h/.nats-proxy-server.yml",
    "/h/.nats-proxy-server.json",
    "/h/.nats-proxy-server.toml",
  ]);
  assert.equal(configSearchPaths("client").length, 4);
  // Not the root of the file system.
  assert.equal(configSearchPaths("client", "").length, 4);
});

Deno.test("findConfigFile() takes the first that the search finds", () => {
  const paths = configSearchPaths("client", "/h");
  for (const [index, path] of paths.entries()) {
    const files = Object.fromEntries(
      paths.slice(index).map((name) => [name, ""]),
    );
    const sources = fakeSources({ env: { HOME: "/h" }, files });
    assert.equal(find("client", { sources })?.path, path);
  }
  const none = fakeSources({ env: { HOME: "/h" } });
  assert.equal(find("client", { sources: none }), undefined);
  const homeless = fakeSources({ files: { "/h/.nats-proxy-client.yml": "" } });
  assert.equal(find("client", { sources: homeless }), undefined);
});

Deno.test("findConfigFile() takes --config in place of the search", () => {
  const sources = fakeSources({
    files: { "./.nats-proxy-client.yaml": "bogus: 1", "/x/my.toml": "" },
  });
  const path = "/x/my.toml";
  assert.equal(find("client", { path, sources })?.path, path);
  assertRefused(
    () => find("client", { path: "/nope.yaml", sources }),
    /^--config: no file \/nope\.yaml found$/,
  );
});

Deno.test("findConfigFile() passes over what it may not read, unless it was named", () => {
  const denied = {
    ...fakeSources(),
    readTextFile(): string | undefined {
      throw new Deno.errors.NotCapable("no permission");
    },
  };
  assert.equal(find("client", { sources: denied }), undefined);
  assertRefused(
    () => find("client", { path: "a.yaml", sources: denied }),
    /^Cannot read config file a\.yaml: no permission$/,
  );
  const broken = {
    ...fakeSources(),
    readTextFile(): string | undefined {
      throw new Error("is a\ndirectory");
    },
  };
  assertRefused(
    () => find("client", { sources: broken }),
    /^Cannot read config file \.\/\.nats-proxy-client\.yaml: is a directory$/,
  );
});

Deno.test("parseConfigFile() tells all that is wrong with keys and values", () => {
  const text = `client: {remote_adr: a:1, id: 7}
natz:
  url: ${HIDDEN}
log: [info]
tunnel: {window: []}
`;
  assert.throws(() => parse("client", "a.yaml", text), (error: unknown) => {
    assert.ok(error instanceof UsageError, String(error));
    assert.deepEqual(error.problems, [
      'Unknown key "client.remote_adr" in a.yaml (did you mean client.remote_addr?)',
      'client.id in a.yaml: the number "7" where there must be a string in quotes',
      'Unknown key "natz" in a.yaml (did you mean nats?)',
      "log in a.yaml: a list where there must be a mapping",
      "tunnel.window in a.yaml: a list where there must be a string or a number",
    ]);
    return true;
  });
});

Deno.test("parseConfigFile() tells no more of a wrong file than a person reads", () => {
  const keys = Array.from({ length: 1_000 }, (_, index) => `key${index}: 1\n`);
  assert.throws(
    () => parse("client", "a.yaml", keys.join("")),
    (error: unknown) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.equal(error.problems.length, 21);
      assert.match(error.problems.at(-1) ?? "", /980 more/);
      return true;
    },
  );
});

Deno.test("parseConfigFile() reads anchors, aliases and merge keys of YAML", () => {
  const text = `x-times: &times
  idle_timeout: 1h
  drain_timeout: 5s
x-sizes: &sizes { window: 1MiB, drain_timeout: 7s }
x-brokers: &brokers [a, "b:1"]
nats:
  url: *brokers
  tls: { <<: { ca: &file a.pem }, cert: *file, key: b.key }
tunnel:
  drain_timeout: 9s
  <<: [*times, *sizes]
`;
  assert.deepEqual(optionsIn(parse("client", "a.yaml", text)), {
    "nats.url": "a,b:1",
    "nats.tls.ca": "a.pem",
    "nats.tls.cert": "a.pem",
    "nats.tls.key": "b.key",
    // What stands there itself wins, wherever; then the first of the list.
    "tunnel.drain_timeout": "9s",
    "tunnel.idle_timeout": "1h",
    "tunnel.window": "1MiB",
  });
  for (const value of ["5", "[1]", "", "text"]) {
    assertRefused(
      () => parse("client", "a.yaml", `tunnel:\n  <<: ${value}\n`),
      /a\.yaml, line 2: not YAML: cannot merge mappings/,
    );
  }
  // Only a file has such names at its top.
  assertRefused(
    () => parse("client", "a.yaml", "tunnel: {x-a: 1}"),
    /^Unknown key "tunnel\.x-a"/,
  );
});

Deno.test("parseConfigFile() takes comments of JSON for what they are", () => {
  const level = { "log.level": "debug" };
  const text = '{ # a comment\n "log": {"level": "debug",},\n}\n';
  assert.deepEqual(optionsIn(parse("client", "a.json", text)), level);
  for (const comment of [`// ${HIDDEN}\n`, `/* ${HIDDEN} */`]) {
    assertRefused(
      () => parse("client", "a.json", `{ ${comment} "log": {} }`),
      /^A key in a\.json begins with \/[/*]: if it is a comment, begin that with #$/,
    );
  }
});
