/**
 * Holds every file of `lib/` to its room: imports point down, never up, no
 * circle of imports, and what touches the world does so in one place.
 */
import assert from "node:assert/strict";

/**
 * The rooms of `lib/`, from the bottom up, and which rooms below each may
 * import. docs/architecture.md says what belongs where. A new file needs no
 * entry: its folder says it.
 */
const ROOMS = {
  base: [],
  wire: ["base"],
  seal: ["wire", "base"],
  tunnel: ["wire", "base"],
  net: ["base"],
  nats: ["base"],
  front: ["base"],
  session: ["tunnel", "seal", "wire", "net", "nats", "base"],
  config: ["front", "seal", "wire", "base"],
  client: ["session", "front", "tunnel", "seal", "wire", "net", "nats", "base"],
  server: ["session", "tunnel", "seal", "wire", "net", "nats", "base"],
  status: ["server", "session", "nats", "wire", "base"],
  process: [
    "status",
    "client",
    "server",
    "config",
    "session",
    "front",
    "tunnel",
    "seal",
    "wire",
    "net",
    "nats",
    "base",
  ],
  tools: [
    "process",
    "status",
    "config",
    "wire",
    "seal",
    "net",
    "nats",
    "base",
  ],
} as const satisfies Record<string, readonly string[]>;

/**
 * Rooms without Deno, NATS, clock or `await`: what happened and the time go
 * in, what follows comes out.
 */
const PURE: readonly string[] = ["base", "wire", "seal", "tunnel", "front"];

/** Packages a pure room may import: what comes out depends on what goes in alone. */
const PURE_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  seal: ["node:crypto"],
};

/** Files of the world in a pure room: the port to time. */
const NOT_PURE: readonly string[] = ["base/clock"];

/** The only places that may use what touches the world. */
const RESERVED: readonly {
  readonly what: string;
  readonly pattern: RegExp;
  /** Rooms, or files without `.ts`. */
  readonly places: readonly string[];
}[] = [
  {
    what: "connecting",
    pattern: /\bDeno\s*\.\s*(connect|connectTls|startTls)\b/,
    places: ["net", "nats"],
  },
  {
    what: "listening",
    pattern: /\bDeno\s*\.\s*(listen|listenTls|listenDatagram)\b/,
    places: ["net"],
  },
  {
    what: "serving HTTP",
    pattern: /\bDeno\s*\.\s*serve\b/,
    places: ["process/status"],
  },
  {
    what: "signals",
    pattern: /\bDeno\s*\.\s*(add|remove)SignalListener\b/,
    places: ["process/signals"],
  },
  {
    what: "the environment",
    pattern: /\bDeno\s*\.\s*env\b/,
    places: ["config/sources"],
  },
  {
    what: "ending the process",
    pattern: /\bDeno\s*\.\s*exit\b/,
    places: ["server", "client"],
  },
];

/** What would make a pure room depend on more than its arguments. */
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

const PROJECT = new URL("../../", import.meta.url);
const LIB = new URL("lib/", PROJECT);

interface Source {
  /** Path below `lib/` without `.ts`; `server` and `client` for the programs. */
  readonly name: string;
  /** The folder of `lib/` it stands in; undefined for the programs. */
  readonly room: string | undefined;
  /** The whole text. */
  readonly text: string;
  /** The text without comments, and with strings emptied. */
  readonly code: string;
  /** The files of `lib/` it imports, as names; types too. */
  readonly files: readonly string[];
  /** What else it imports, as written. */
  readonly packages: readonly string[];
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

/** Every module a text imports or re-exports, statically or not, types too. */
function importsOf(text: string): string[] {
  const plain = text.replaceAll(
    NOT_CODE,
    (match) => match.startsWith("/") ? " " : match,
  );
  const found = plain.matchAll(
    /(?:\bfrom|\bimport)\s*\(?\s*(["'])(.+?)\1/g,
  );
  return [...found].flatMap(([, , specifier]) => specifier ?? []);
}

/** The names of all modules below `directory`, sorted. */
async function modulesIn(directory: URL, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(directory)) {
    if (isDirectory) {
      const below = new URL(`${name}/`, directory);
      found.push(...await modulesIn(below, `${prefix}${name}/`));
    } else found.push(`${prefix}${name.replace(/\.ts$/, "")}`);
  }
  return found.sort();
}

/** The name of the file of `lib/` that a specifier leads to; undefined for any other. */
function fileOf(specifier: string, from: URL): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const { href } = new URL(specifier, from);
  return href.startsWith(LIB.href)
    ? href.slice(LIB.href.length).replace(/\.ts$/, "")
    : undefined;
}

async function load(name: string, url: URL): Promise<Source> {
  const text = await Deno.readTextFile(url);
  const specifiers = importsOf(text);
  return {
    name,
    room: url.href.startsWith(LIB.href)
      ? /^(.+)\//.exec(name)?.[1] ?? ""
      : undefined,
    text,
    code: codeOf(text),
    files: specifiers.flatMap((it) => fileOf(it, url) ?? []),
    packages: specifiers.filter((it) => fileOf(it, url) === undefined),
  };
}

const sources = await Promise.all([
  ...(await modulesIn(LIB)).map((name) =>
    load(name, new URL(`${name}.ts`, LIB))
  ),
  ...["server", "client"].map((name) =>
    load(name, new URL(`${name}.ts`, PROJECT))
  ),
]);
const lib = sources.filter(({ room }) => room !== undefined);
const byName = new Map(lib.map((source) => [source.name, source]));

function allowedRooms(room: string): readonly string[] | undefined {
  const found = Object.entries<readonly string[]>(ROOMS)
    .find(([name]) => name === room);
  return found && [room, ...found[1]];
}

Deno.test("architecture: every file of lib stands in a room, and every room is there", () => {
  const rooms = new Set(lib.map(({ room }) => room));
  assert.deepEqual([...rooms].sort(), Object.keys(ROOMS).sort());
});

Deno.test("architecture: rooms import only rooms that stand before them", () => {
  const names = Object.keys(ROOMS);
  for (const [room, below] of Object.entries<readonly string[]>(ROOMS)) {
    const before = names.slice(0, names.indexOf(room));
    assert.deepEqual(below.filter((it) => !before.includes(it)), [], room);
  }
});

Deno.test("architecture: no file imports from a room that its own may not see", () => {
  const faults = lib.flatMap(({ name, room, files }) =>
    files
      .filter((file) => {
        const target = byName.get(file)?.room ?? "no room";
        return !allowedRooms(room ?? "")?.includes(target);
      })
      .map((file) => `${name} imports ${file}`)
  );
  assert.deepEqual(faults, []);
});

Deno.test("architecture: relative imports stay in lib", () => {
  const faults = sources.flatMap(({ name, packages }) =>
    packages
      .filter((specifier) => specifier.startsWith("."))
      // For the version.
      .filter((it) => name !== "config/cli" || it !== "../../deno.json")
      .map((specifier) => `${name} imports ${specifier}`)
  );
  assert.deepEqual(faults, []);
});

Deno.test("architecture: no file imports itself by way of others, not even for a type", () => {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) {
      circles.push([...path.slice(path.indexOf(name)), name].join(" > "));
      return;
    }
    if (done.has(name)) return;
    for (const file of byName.get(name)?.files ?? []) {
      visit(file, [...path, name]);
    }
    done.add(name);
  };
  for (const { name } of lib) visit(name, []);
  assert.deepEqual(circles, []);
});

Deno.test("architecture: pure rooms depend on their arguments alone", () => {
  const pure = lib.filter(({ name, room }) =>
    PURE.includes(room ?? "") && !NOT_PURE.includes(name)
  );
  assert.ok(pure.length > 0);
  const faults = pure.flatMap(({ name, room, code, packages }) => [
    ...IMPURE.filter((pattern) => pattern.test(code))
      .map((pattern) => `${name} uses ${pattern.source}`),
    ...packages
      .filter((it) => !PURE_PACKAGES[room ?? ""]?.includes(it))
      .map((specifier) => `${name} imports ${specifier}`),
  ]);
  assert.deepEqual(faults, []);
});

Deno.test("architecture: only the room of NATS imports its library", () => {
  const faults = sources
    .filter(({ room }) => room !== "nats")
    .filter(({ packages }) => packages.some((it) => it.startsWith("@nats-io/")))
    .map(({ name }) => name);
  assert.deepEqual(faults, []);
});

Deno.test("architecture: what touches the world has one place", () => {
  const faults = RESERVED.flatMap(({ what, pattern, places }) =>
    sources
      .filter(({ name, room }) =>
        !places.includes(name) && !places.includes(room ?? "")
      )
      .filter(({ code }) => pattern.test(code))
      .map(({ name }) => `${what}: ${name}`)
  );
  assert.deepEqual(faults, []);
});

Deno.test("architecture: every file says in its first sentence what it is for", () => {
  const silent = lib
    .filter(({ text }) => !/^\/\*\*\s+(?:\* )?[A-Z`][^@]{15,}?[.:]/.test(text))
    .map(({ name }) => name);
  assert.deepEqual(silent, []);
});

Deno.test("architecture: docs/architecture.md names each room, and files that are there", async () => {
  const text = await Deno.readTextFile(
    new URL("docs/architecture.md", PROJECT),
  );
  const listed = [...text.matchAll(/^\| `(\w+)` +\|/gm)].map(([, name]) =>
    name
  );
  assert.deepEqual(listed.sort(), Object.keys(ROOMS).sort());
  const named = [...text.matchAll(/`(?:lib\/)?(\w+\/\w+)\.ts`/g)]
    .map(([, name = ""]) => name);
  assert.ok(named.length > 30);
  assert.deepEqual(named.filter((name) => !byName.has(name)), []);
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
  const code = codeOf(text);
  assert.equal(code.match(/\bawait\b/g)?.length, 1);
  assert.ok(!code.includes("Deno"));
  assert.ok(code.includes("f();"));
  assert.equal(
    fileOf("../wire/open.ts", new URL("net/x.ts", LIB)),
    "wire/open",
  );
  assert.equal(fileOf("./lib/net/x.ts", PROJECT), "net/x");
  assert.equal(fileOf("./deno.json", PROJECT), undefined);
});
