/** The services of a server: how they are written, found and refused. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/base/errors.ts";
import { MAX_SERVICES } from "../../lib/base/service.ts";
import { parseCommandLine } from "../../lib/config/cli.ts";
import type { ServerConfig } from "../../lib/config/config.ts";
import { portOf } from "../../lib/config/known_ports.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";

const PATH = "/etc/server.yaml";

/** The server's section, of a file with this text and these flags. */
function sectionOf(
  text: string,
  { args = [], env = {}, files = {} }: {
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly files?: Readonly<Record<string, string>>;
  } = {},
): ServerConfig["server"] {
  const sources = fakeSources({ env, files: { [PATH]: text, ...files } });
  return parseRun("server", ["--config", PATH, ...args], sources).config.server;
}

/** What is wrong with it. */
function problemsOf(text: string, args: readonly string[] = []): string {
  try {
    sectionOf(text, { args });
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    for (const problem of error.problems) {
      assert.doesNotMatch(problem, /\p{Cc}/u);
    }
    return error.problems.join("\n");
  }
  return "";
}

Deno.test("services are read from flags, variables and the list of the file", () => {
  const list = `
server:
  site: berlin
  services:
    - name: db
      target: 10.0.0.7:5432
      description: The orders
      check: true
    - { name: web, target: "unix:/run/web.sock", proxy_protocol: V2 }
    - name: ssh
      target: auto
      check: { period: 1s, timeout: 500ms, failures: 1 }
    - cache=localhost:6379
    - { name: "off", target: "a:1", check: false }
`;
  const { services, site } = sectionOf(list);
  assert.equal(site, "berlin");
  assert.deepEqual(services, [
    {
      name: "db",
      target: { host: "10.0.0.7", port: 5432 },
      description: "The orders",
      check: { period: 10_000, timeout: 2_000, failures: 3 },
    },
    {
      name: "web",
      target: { path: "/run/web.sock" },
      proxyProtocol: "v2",
    },
    {
      name: "ssh",
      target: { host: "localhost", port: 22 },
      check: { period: 1_000, timeout: 500, failures: 1 },
    },
    { name: "cache", target: { host: "localhost", port: 6379 } },
    { name: "off", target: { host: "a", port: 1 } },
  ]);
  const one = [{ name: "x", target: { host: "::1", port: 2 } }];
  const env = { SERVICE: "x=[::1]:2" };
  assert.deepEqual(sectionOf(list, { env }).services, one);
  const args = ["--service", "x=[::1]:2", "--service=y=unix:/a b=c,z=h:1"];
  assert.deepEqual(sectionOf(list, { args, env }).services, [
    ...one,
    { name: "y", target: { path: "/a b=c" } },
    { name: "z", target: { host: "h", port: 1 } },
  ]);
  assert.deepEqual(sectionOf("").services, []);
  assert.equal(sectionOf("").site, undefined);
  assert.ok(Object.isFrozen(services) && Object.isFrozen(services[0]?.check));
});

Deno.test("a flag goes before the list, and that is said", () => {
  const text = "server: { services: [a=b:1] }";
  const sources = fakeSources({ files: { [PATH]: text } });
  const args = ["--config", PATH, "--service", "x=y:2"];
  const { notices } = parseRun("server", args, sources);
  assert.ok(
    notices.some(({ text }) =>
      text ===
        `--service goes before server.services in ${PATH}, which is not used`
    ),
  );
});

Deno.test("auto is the port that the system has for the name, and else the one that everybody knows", () => {
  const list = [
    "# Network services",
    "ssh\t\t2222/tcp\t\t\t# moved",
    "db 100/udp",
    "orders\t7000/tcp  Bestellungen # both",
    "broken 99999/tcp",
    "zero 0/tcp",
    "5432/tcp",
  ].join("\n");
  const cases: readonly (readonly [string, number | undefined])[] = [
    ["ssh", 2222],
    ["SSH", 2222],
    ["orders", 7000],
    ["bestellungen", 7000],
    ["both", undefined],
    ["db", undefined],
    ["broken", undefined],
    ["zero", undefined],
    ["redis", 6379],
    ["PostgreSQL", 5432],
    ["toString", undefined],
    ["", undefined],
  ];
  for (const [name, port] of cases) assert.equal(portOf(name, list), port);
  const { services } = sectionOf("", {
    args: ["--service", "orders=auto"],
    files: { "/etc/services": list },
  });
  assert.deepEqual(services, [
    { name: "orders", target: { host: "localhost", port: 7000 } },
  ]);
  // Deno may not be allowed to read it.
  const result = parseCommandLine("server", ["--service", "rdp=auto"], {
    env: () => undefined,
    readTextFile(path): undefined {
      if (path !== "/etc/services") return undefined;
      throw new Deno.errors.NotCapable("no");
    },
  });
  assert.ok(result.kind === "run");
  assert.equal(result.config.server.services[0]?.name, "rdp");
});

Deno.test("what is wrong with a service is told by its place and name", () => {
  const service = (entry: string): string => `server: { services: [${entry}] }`;
  for (
    const [text, ...parts] of [
      [service("7"), `server.services[0] in ${PATH}: the number "7" where`],
      [service("{}"), "it has no name", "it has no target"],
      [service("db"), "server.services[0] in", '"db" is no service (NAME='],
      [
        service("{name: db, target: 'a:1', chek: true}"),
        'server.services[0] ("db")',
        'unknown key "chek" (did you mean check?)',
      ],
      [service("{name: 'a b', target: 'a:1'}"), 'name: its name "a b" has'],
      [service("{name: a, target: 5}"), 'target: "5" is not an address'],
      [
        service("{name: a, target: 'svc:b'}"),
        "target: its target is a service",
      ],
      [
        service("{name: a, target: 'h:1@berlin'}"),
        "target: its target has an @; the place that a server is at is told with --site",
      ],
      [service("{name: a, target: 'h'}"), "target: "],
      [service("{name: nobody, target: auto}"), "no port is registered"],
      [service("{name: a, target: 'h:1', check: 5}"), "check: the number"],
      [
        service("{name: a, target: 'h:1', check: {period: 1ms, failures: 0}}"),
        'check: period: "1ms" is out of range',
        'check: failures: "0" is out of range',
      ],
      [
        service("{name: a, target: 'h:1', check: {every: 1s}}"),
        'check: unknown key "every"',
      ],
      [
        service("{name: a, target: 'h:1', proxy_protocol: 3}"),
        "proxy_protocol",
      ],
      [
        service("a=h:1, {name: a, target: 'h:2'}"),
        'server.services[1] ("a")',
        'its name "a" is that of server.services[0]',
      ],
      ["server: { services: {a: b} }", "server.services in", "a mapping where"],
    ] as const
  ) {
    const told = problemsOf(text);
    for (const part of parts) assert.ok(told.includes(part), told);
  }
  const twice = problemsOf("", ["--service", "a=h:1,a=h:2"]);
  assert.ok(twice.includes('--service: two services have the name "a"'), twice);
  const many = Array.from(
    { length: MAX_SERVICES + 1 },
    (_, at) => `s${at}=h:1`,
  );
  assert.ok(
    problemsOf("", ["--service", many.join(",")]).includes(
      `There are ${MAX_SERVICES + 1} services: ${MAX_SERVICES} are the most`,
    ),
  );
  assert.throws(
    () => parseRun("client", ["--service", "a=h:1"]),
    /only the server has it|nknown/,
  );
});

Deno.test("check shows services, where they are and how they are tried, and the site", () => {
  const sources = fakeSources({
    files: {
      [PATH]:
        "server: { site: berlin, services: [{name: db, target: 'a:1', check: true, description: Orders}, x=unix:/y] }",
    },
  });
  const result = parseCommandLine(
    "server",
    ["check", "--config", PATH],
    sources,
  );
  assert.ok(result.kind === "check");
  for (
    const line of [
      /^service db +a:1; check every 10s, 2s each, 3 failures; "Orders" +server\.services\[0\] \("db"\) in \/etc\/server\.yaml$/m,
      /^service x +unix:\/y +server\.services\[1\] in/m,
      /^server\.site +berlin/m,
    ]
  ) assert.match(result.text, line);
});
