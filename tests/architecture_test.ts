/**
 * Holds every file to its layer: imports point down or sideways, never up, no
 * two files need each other to load, and what touches the world does so in
 * one place.
 */
import assert from "node:assert/strict";

/**
 * Where each file belongs. A new file does not pass until it stands here; a
 * file that is gone must go from here too.
 */
const LAYERS = {
  /**
   * No Deno, no NATS, no clock, no await: takes (event, now), gives effects.
   * `bus` is here because it is an interface and nothing else.
   */
  core: [
    "ack_schedule",
    "address",
    "backoff",
    "binary_codec",
    "buffer_pool",
    "bus",
    "codec",
    "codecs",
    "counters",
    "errors",
    "frame",
    "json_codec",
    "memory_budget",
    "message",
    "open",
    "path_estimate",
    "peer_state",
    "prober",
    "quiet_timer",
    "receive_buffer",
    "send_buffer",
    "subjects",
    "target_rules",
    "text",
    "tombstones",
    "tunnel_state",
    "tunnel_types",
    "units",
    "v1_pace",
    "v1_state",
  ],
  /** Interfaces to the world, and the only files that touch it. */
  ports: [
    "clock",
    "nats_bus",
    "nats_encoder",
    "nats_inbox",
    "nats_link",
    "nats_message",
    "nats_node_socket",
    "nats_operations",
    "nats_options",
    "nats_outbox",
    "nats_parser",
    "nats_socket",
    "nats_subscriptions",
    "nats_transport",
    "socket",
    "tcp",
  ],
  /** The loops that carry out what the core decides. */
  shell: [
    "drive_queue",
    "egress",
    "ingress",
    "machine_tunnel",
    "native_tunnel",
    "openings",
    "peers",
    "relay",
    "session",
    "strays",
    "tunnel",
    "tunnel_table",
    "tunnel_timers",
    "v1_tunnel",
  ],
  /** What a process is to people and to the system. */
  edge: [
    "cli",
    "config",
    "config_build",
    "config_file",
    "config_help",
    "config_nats",
    "config_sources",
    "config_syntax",
    "config_types",
    "log",
    "main",
    "nats_setup",
    "options",
    "role",
    "role_client",
    "role_metrics",
    "role_server",
    "shutdown",
    "status_http",
    "status_metrics",
    "worker",
    "worker_messages",
    "workers",
  ],
} as const satisfies Record<string, readonly string[]>;

/** From the bottom up; `entry` is server.ts and client.ts. */
const ORDER = ["core", "ports", "shell", "edge", "entry"] as const;

/** Who may use what, wherever else it is not allowed. */
const RESERVED: readonly {
  readonly what: string;
  readonly pattern: RegExp;
  readonly files: readonly string[];
}[] = [
  {
    what: "connecting",
    pattern: /\bDeno\s*\.\s*(connect|connectTls|startTls)\b/,
    files: ["tcp", "nats_socket"],
  },
  {
    what: "listening",
    pattern: /\bDeno\s*\.\s*(listen|listenTls)\b/,
    files: ["tcp"],
  },
  {
    what: "serving HTTP",
    pattern: /\bDeno\s*\.\s*serve\b/,
    files: ["status_http"],
  },
  {
    what: "signals",
    pattern: /\bDeno\s*\.\s*(add|remove)SignalListener\b/,
    files: ["shutdown"],
  },
  {
    what: "the environment",
    pattern: /\bDeno\s*\.\s*env\b/,
    files: ["config_sources"],
  },
  {
    what: "ending the process",
    pattern: /\bDeno\s*\.\s*exit\b/,
    files: ["server", "client"],
  },
];

/** What would make the core depend on more than its arguments. */
const IMPURE: readonly RegExp[] = [
  /\bDeno\b/,
  /\bawait\b/,
  /\basync\b/,
  /\bDate\b/,
  /\bperformance\b/,
  /\bMath\s*\.\s*random\b/,
  /\bcrypto\b/,
  /\b(setTimeout|setInterval|queueMicrotask)\b/,
  /\bconsole\b/,
];

const PROJECT = new URL("../", import.meta.url);

interface Source {
  /** Without directory and `.ts`. */
  readonly name: string;
  /** Place in {@linkcode ORDER}; -1 when it stands in no layer. */
  readonly layer: number;
  /** Its text without comments, and with strings emptied. */
  readonly code: string;
  /** What it imports, as written. */
  readonly imports: readonly string[];
  /** Of these, what is there when it runs: not types. */
  readonly loads: readonly string[];
}

/** Comments and strings, so that the rest is code; import specifiers are found before. */
const NOT_CODE =
  /\/\*[^]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g;

/** Empties strings and removes comments. */
function codeOf(text: string): string {
  return text.replaceAll(
    NOT_CODE,
    (match) => match.startsWith("/") ? " " : '""',
  );
}

/** Every module a text imports or re-exports, statically or not; on demand without types. */
function importsOf(
  text: string,
  options: { readonly types: boolean } = { types: true },
): string[] {
  const plain = text
    .replaceAll(NOT_CODE, (match) => match.startsWith("/") ? " " : match)
    .replaceAll(
      /^(?:import|export) type [^;]*;/gm,
      (match) => options.types ? match : " ",
    );
  const found = plain.matchAll(
    /(?:\bfrom|\bimport)\s*\(?\s*(["'])(.+?)\1/g,
  );
  return [...found].flatMap(([, , specifier]) => specifier ?? []);
}

function layerOf(name: string): number {
  if (name === "server" || name === "client") return ORDER.indexOf("entry");
  const found = Object.entries<readonly string[]>(LAYERS)
    .find(([, files]) => files.includes(name));
  return found ? ORDER.findIndex((layer) => layer === found[0]) : -1;
}

async function load(): Promise<Source[]> {
  const names: [name: string, path: string][] = [];
  for await (const { name } of Deno.readDir(new URL("lib/", PROJECT))) {
    names.push([name.replace(/\.ts$/, ""), `lib/${name}`]);
  }
  for (const role of ["server", "client"]) names.push([role, `${role}.ts`]);
  return await Promise.all(
    names.sort().map(async ([name, path]) => {
      const text = await Deno.readTextFile(new URL(path, PROJECT));
      return {
        name,
        layer: layerOf(name),
        code: codeOf(text),
        imports: importsOf(text),
        loads: importsOf(text, { types: false }),
      };
    }),
  );
}

/** The name of a file of `lib` that a specifier leads to; undefined for packages. */
function fileOf(specifier: string): string | undefined {
  return /^\.\/(?:lib\/)?([^/]+)\.ts$/.exec(specifier)?.[1];
}

const sources = await load();
const byName = new Map(sources.map((source) => [source.name, source]));

Deno.test("architecture: every file of lib stands in a layer, and every name there is a file", () => {
  const homeless = sources.filter(({ layer }) => layer < 0);
  assert.deepEqual(homeless.map(({ name }) => name), []);
  const listed = Object.values<readonly string[]>(LAYERS).flat();
  assert.deepEqual(listed.filter((name) => !byName.has(name)), []);
  assert.equal(new Set(listed).size, listed.length, "a file in two layers");
});

Deno.test("architecture: docs/architecture.md says the same", async () => {
  const text = await Deno.readTextFile(
    new URL("docs/architecture.md", PROJECT),
  );
  const told = Object.fromEntries(
    text.split(/^### /m).slice(1).map((section) => [
      section.slice(0, section.indexOf("\n")).toLowerCase(),
      [...section.matchAll(/^- `(\w+)`: \S/gm)].map(([, name]) => name).sort(),
    ]),
  );
  const held = Object.entries<readonly string[]>(LAYERS)
    .map(([layer, names]) => [layer, names.toSorted()]);
  assert.deepEqual(told, Object.fromEntries(held));
});

Deno.test("architecture: imports point down or sideways", () => {
  const upwards = sources.flatMap(({ name, layer, imports }) =>
    imports
      .flatMap((specifier) => fileOf(specifier) ?? [])
      .filter((target) => layer >= 0 && layerOf(target) > layer)
      .map((target) => `${name} imports ${target}`)
  );
  assert.deepEqual(upwards, []);
});

Deno.test("architecture: relative imports stay in lib", () => {
  const strays = sources.flatMap(({ name, imports }) =>
    imports
      .filter((specifier) => specifier.startsWith("."))
      .filter((specifier) => !byName.has(fileOf(specifier) ?? ""))
      // For the version.
      .filter((specifier) => name !== "cli" || specifier !== "../deno.json")
      .map((specifier) => `${name} imports ${specifier}`)
  );
  assert.deepEqual(strays, []);
});

Deno.test("architecture: no file loads itself by way of others", () => {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) {
      circles.push([...path.slice(path.indexOf(name)), name].join(" > "));
      return;
    }
    if (done.has(name)) return;
    for (const specifier of byName.get(name)?.loads ?? []) {
      const target = fileOf(specifier);
      if (target !== undefined) visit(target, [...path, name]);
    }
    done.add(name);
  };
  for (const { name } of sources) visit(name, []);
  assert.deepEqual(circles, []);
});

Deno.test("architecture: the core is pure and imports the core alone", () => {
  const core = sources.filter(({ layer }) => ORDER[layer] === "core");
  assert.ok(core.length > 0);
  const faults = core.flatMap(({ name, code, imports }) => [
    ...IMPURE.filter((pattern) => pattern.test(code))
      .map((pattern) => `${name} uses ${pattern.source}`),
    ...imports.filter((specifier) => fileOf(specifier) === undefined)
      .map((specifier) => `${name} imports ${specifier}`),
  ]);
  assert.deepEqual(faults, []);
});

Deno.test("architecture: only the NATS port imports the NATS library", () => {
  const strays = sources
    .filter(({ name }) => !name.startsWith("nats_"))
    .filter(({ imports }) => imports.some((it) => it.startsWith("@nats-io/")))
    .map(({ name }) => name);
  assert.deepEqual(strays, []);
});

Deno.test("architecture: what touches the world has one place", () => {
  const strays = RESERVED.flatMap(({ what, pattern, files }) =>
    sources
      .filter(({ name, code }) => !files.includes(name) && pattern.test(code))
      .map(({ name }) => `${what}: ${name}`)
  );
  assert.deepEqual(strays, []);
});

Deno.test("architecture: the readers of this test see imports, and code without comments", () => {
  const text = [
    'import { a } from "./a.ts"; // from "./no.ts"',
    "export type { B } from './b.ts';",
    'import "./c.ts";',
    'const d = await import("./d.ts");',
    '/* await */ const e = "await // no"; const url = "http://x";',
    "f(); // Deno.exit",
  ].join("\n");
  assert.deepEqual(importsOf(text), ["./a.ts", "./b.ts", "./c.ts", "./d.ts"]);
  assert.deepEqual(
    importsOf(text, { types: false }),
    ["./a.ts", "./c.ts", "./d.ts"],
  );
  const code = codeOf(text);
  assert.equal(code.match(/\bawait\b/g)?.length, 1);
  assert.ok(!code.includes("Deno"));
  assert.ok(code.includes("f();"));
});
