/** The list `clients` of a server's config file, and the clients that flags name. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/base/errors.ts";
import type { ServerConfig } from "../../lib/config/config.ts";
import {
  fakeSources,
  parseRun,
  PUBLIC_KEYS,
  SEED,
} from "../support/option_values.ts";

const [ONE, TWO, THREE] = PUBLIC_KEYS;

/** Where the file is. */
const PATH = "/etc/server";

/** The configuration of a server with this file. */
function configOf(
  text: string,
  { args = [], language = "yaml" }: {
    readonly args?: readonly string[];
    readonly language?: string;
  } = {},
): ServerConfig {
  const path = `${PATH}.${language}`;
  const sources = fakeSources({ files: { [path]: text } });
  const flags = ["--config", path, "--secret-key", "a.key", ...args];
  return parseRun("server", flags, sources).config;
}

/** What is wrong with this file, and the flags beside it. */
function problemsOf(text: string, args: readonly string[] = []): string {
  try {
    configOf(text, { args });
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    for (const problem of error.problems) {
      assert.doesNotMatch(problem, /\p{Cc}/u);
      assert.ok(!problem.includes(SEED.slice(0, 12)), problem);
    }
    return error.problems.join("\n");
  }
  return "";
}

const YAML = `
clients:
  - name: edge7
    keys: [${ONE}, "${TWO}"]
    allow: ["db:5432", "10.0.0.0/8:*"]
    deny: 10.0.0.1:*, 10.0.0.2:22
    services: [db, web]
    max_tunnels: 100
    max_opening: "8"
    rate: 50
  - { name: site-3.west, keys: ${THREE} }
`;

const TOML = `
[[clients]]
name = "edge7"
keys = ["${ONE}", "${TWO}"]
allow = ["db:5432", "10.0.0.0/8:*"]
deny = ["10.0.0.1:*", "10.0.0.2:22"]
services = "db, web"
max_tunnels = 100
max_opening = 8
rate = "50"
[[clients]]
name = "site-3.west"
keys = ["${THREE}"]
`;

Deno.test("clients are read from YAML, JSON and TOML, and frozen", () => {
  const { clients } = configOf(YAML);
  const json = JSON.stringify({
    clients: [{
      name: "edge7",
      keys: [ONE, TWO],
      allow: ["db:5432", "10.0.0.0/8:*"],
      deny: ["10.0.0.1:*", "10.0.0.2:22"],
      services: ["db", "web"],
      max_tunnels: 100,
      max_opening: 8,
      rate: 50,
    }, { name: "site-3.west", keys: [THREE] }],
  });
  assert.deepEqual(configOf(json, { language: "json" }).clients, clients);
  assert.deepEqual(configOf(TOML, { language: "toml" }).clients, clients);
  const [edge, site] = clients;
  const texts = (rules: readonly { text: string }[] = []): string[] =>
    rules.map(({ text }) => text);
  assert.deepEqual(
    { ...edge, allow: texts(edge?.allow), deny: texts(edge?.deny) },
    {
      name: "edge7",
      keys: [ONE, TWO],
      allow: ["db:5432", "10.0.0.0/8:*"],
      deny: ["10.0.0.1:*", "10.0.0.2:22"],
      services: ["db", "web"],
      maxTunnels: 100,
      maxOpening: 8,
      rate: 50,
    },
  );
  assert.deepEqual(site, { name: "site-3.west", keys: [THREE] });
  assert.ok(Object.isFrozen(clients) && Object.isFrozen(edge?.allow));
});

Deno.test("--client-key adds clients that are called by the beginnings of their keys", () => {
  const args = ["--client-key", TWO, `--client-key=${THREE}`];
  const { clients, tunnel } = configOf(
    `clients: [{name: edge, keys: [${ONE}]}]`,
    { args },
  );
  assert.deepEqual(clients, [
    { name: "edge", keys: [ONE] },
    { name: TWO.slice(0, 12), keys: [TWO] },
    { name: THREE.slice(0, 12), keys: [THREE] },
  ]);
  // Whoever has a key takes nothing of version 1.
  assert.equal(tunnel.refuseV1, true);
  assert.equal(parseRun("server", []).config.tunnel.refuseV1, false);
});

Deno.test("what is wrong with a client is told by its place and name", () => {
  for (
    const [text, ...parts] of [
      [
        "clients: {}",
        `clients in ${PATH}.yaml: a mapping where there must be a list`,
      ],
      [
        "clients: [7]",
        `clients[0] in ${PATH}.yaml: the number "7" where there must be a mapping`,
      ],
      ["clients: [{}]", "clients[0] in", "it has no name", "it has no keys"],
      [
        `clients: [{name: a, keys: [${ONE}]}, {name: edge7, keys: [${TWO}], max_tunels: 1, service: [x], toString: 1}]`,
        `clients[1] ("edge7") in ${PATH}.yaml: unknown key "max_tunels" (did you mean max_tunnels?)`,
        'unknown key "service" (did you mean services?)',
        'unknown key "toString"',
      ],
      [
        `clients: [{name: "a b", keys: [${ONE}]}]`,
        'name: "a b" is no client name',
      ],
      [
        `clients: [{name: 7, keys: [${ONE}]}]`,
        'name: the number "7" where there must be a string in quotes',
      ],
      [
        `clients: [{name: a, keys: [${ONE}, ${SEED}]}]`,
        'clients[0] ("a")',
        "keys: key 2 of the list: it is a secret seed",
      ],
      [
        `clients: [{name: a, keys: [${ONE}, 7]}]`,
        'keys[1]: the number "7" where there must be a string',
      ],
      [`clients: [{name: a, keys: []}]`, 'keys: "": it does not begin with X'],
      [
        `clients: [{name: a, keys: [${ONE}], allow: [db]}]`,
        'allow: "db" is not a target pattern',
      ],
      [
        `clients: [{name: a, keys: [${ONE}], allow: []}]`,
        "allow is empty; leave it out",
      ],
      [
        `clients: [{name: a, keys: [${ONE}], deny: {a: 1}}]`,
        "deny: a mapping where there must be a string or a list",
      ],
      [
        `clients: [{name: a, keys: [${ONE}], services: [db, "a.b"]}]`,
        'clients[0] ("a")',
        'services: its name "a.b" has other characters than',
      ],
      [
        `clients: [{name: a, keys: [${ONE}], max_tunnels: 0}]`,
        'max_tunnels: "0" is out of range',
      ],
      [
        `clients: [{name: a, keys: [${ONE}], max_opening: many}]`,
        'max_opening: "many" is not a whole number',
      ],
      [
        `clients: [{name: a, keys: [${ONE}], rate: 0}]`,
        'rate: "0" is out of range',
      ],
      [
        `clients: [{name: a, keys: [${ONE}]}, {name: b, keys: [${TWO}]}, {name: a, keys: [${THREE}, ${TWO}]}]`,
        'clients[2] ("a"): its name "a" is that of clients[0] ("a"), too',
        `clients[2] ("a"): its key "${TWO}" is that of clients[1] ("b"), too`,
      ],
      [`client: []`, 'Unknown key "client"', "(only the client has it)"],
      [`cleints: []`, 'Unknown key "cleints"', "(did you mean clients?)"],
    ] as const
  ) {
    const told = `${problemsOf(text)}\n`;
    for (const part of parts) assert.ok(told.includes(part), told);
  }
});

Deno.test("a key that the file and a flag have is told with both", () => {
  const told = problemsOf(`clients: [{name: edge, keys: [${ONE}]}]`, [
    ...["--client-key", ONE],
  ]);
  assert.match(
    told,
    /^security\.client_key \(X.*\): its key "X.*" is that of clients\[0\] \("edge"\), too/,
  );
});

Deno.test("a client's file has no list of clients", () => {
  const files = { "a.yaml": "clients: []" };
  assert.throws(
    () => parseRun("client", ["--config=a.yaml"], fakeSources({ files })),
    /Unknown key "clients" in a\.yaml \(only the server has it\)/,
  );
});

Deno.test("keys that are nothing without others are refused by what to add", () => {
  const secret = ["--secret-key=a.key"];
  for (
    const [role, args, part] of [
      ["server", secret, "give the clients' public keys with --client-key"],
      ["server", [`--client-key=${ONE}`], "security.secret_key is not"],
      ["client", secret, "security.server_key is not"],
      ["client", [`--server-key=${ONE}`], "security.secret_key is not"],
      ["client", ["--psk=a.psk"], "security.psk is set, but"],
      [
        "client",
        ["--secret-key=a,b", `--server-key=${ONE}`],
        "more than one file",
      ],
      [
        "client",
        [...secret, `--server-key=${ONE}`, "--codec=json"],
        "are binary",
      ],
      [
        "server",
        ["--secret-key=a,b,c", `--client-key=${ONE}`],
        "it may have 2",
      ],
      ["client", [`--secret-key=${SEED}`], "it is the secret itself"],
      ["client", [`--psk=${btoa("0".repeat(32))}`], "it is the secret itself"],
      [
        "server",
        [`--status-token=${"d8bb5b86".repeat(6)}`],
        "it is the secret itself",
      ],
    ] as const
  ) {
    assert.throws(() => parseRun(role, args), (error: unknown) => {
      assert.ok(error instanceof UsageError);
      assert.ok(error.message.includes(part), error.message);
      assert.ok(!error.message.includes(SEED.slice(0, 12)), error.message);
      return true;
    });
  }
  const home = { env: { HOME: "/h" } };
  const { config } = parseRun("server", [
    ...["--secret-key=~/a.key, ~/b.key", "--psk=~/psk"],
    `--client-key=${ONE}`,
  ], fakeSources(home));
  assert.deepEqual(config.security.secretKey, ["/h/a.key", "/h/b.key"]);
  assert.equal(config.security.psk, "/h/psk");
});
