/**
 * Compiles a program for a target, and finds out what is in it.
 *
 * @module
 */
import { RunError } from "../../lib/base/errors.ts";
import type { Role } from "../../lib/wire/subjects.ts";

/** The top of the project, with a slash at the end. */
export const PROJECT: URL = new URL("../../", import.meta.url);

/** What a program is compiled with. */
export interface CompileOptions {
  /** Which program. */
  readonly role: Role;
  /** What `--target` takes; default this machine's. */
  readonly triple?: string;
  /** The file to write. */
  readonly output: string;
  /**
   * A `deno` of the target's kind in place of the runtime, which would have to
   * be downloaded: the result embeds and links, and does not run.
   */
  readonly standIn?: string;
}

/**
 * Compiles with the flags of the task `compile:<role>` of deno.json.
 *
 * @returns the files that were embedded, as {@linkcode embeddedFiles} has them.
 * @throws {RunError} when it fails.
 */
export async function compileProgram(
  { role, triple, output, standIn }: CompileOptions,
): Promise<readonly string[]> {
  const config = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", PROJECT)),
  );
  const task = `compile:${role}`;
  const command: unknown = config.tasks?.[task];
  const words = typeof command === "string" ? command.split(/\s+/) : [];
  const place = words.indexOf("--output");
  if (words[0] !== "deno" || words[1] !== "compile" || place < 0) {
    throw new RunError(
      `Task "${task}" of deno.json is not "deno compile ... --output FILE ..." but "${command}"`,
    );
  }
  const said = await runDeno([
    "compile",
    ...(triple === undefined ? [] : ["--target", triple]),
    ...words.slice(2).with(place - 1, output),
  ], standIn === undefined ? {} : { DENORT_BIN: standIn });
  return embeddedFiles(said);
}

/** Runs `deno` at the top of the project; what it said, to whomever. */
export async function runDeno(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: PROJECT,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  const said = decoder.decode(stdout) + decoder.decode(stderr);
  if (success) return said;
  throw new RunError(`deno ${args.join(" ")} failed:\n${said}`);
}

/**
 * The paths in the tree that `deno compile` prints; `folder/*` stands for all
 * that is in it. Pure.
 */
export function embeddedFiles(said: string): readonly string[] {
  const paths: string[] = [];
  const folders: string[] = [];
  for (const line of said.split("\n")) {
    const match = /^((?:│ | {2})*)[├└]─([─┬]) (.+?)(?: \([\d.]+\w+.*\))?$/
      .exec(line);
    if (match === null) continue;
    const [, indent = "", kind, name = ""] = match;
    folders.length = indent.length / 2;
    if (kind === "┬") folders.push(name);
    else paths.push([...folders, name].join("/"));
  }
  return paths;
}

/** Where the tree has the packages. */
const PACKAGES = /^\.deno_compile_node_modules\/[^/]+\//;

/** What a program is made of, by `deno info`. */
export interface Graph {
  /** Its modules, as paths in the project. */
  readonly modules: readonly string[];
  /** Its packages, with those that they need. */
  readonly packages: readonly GraphPackage[];
}

/** A package of a program. */
export interface GraphPackage {
  readonly name: string;
  readonly version: string;
  /** `name@version` of what it needs. */
  readonly needs: readonly string[];
  /** Whether the program imports it itself. */
  readonly direct: boolean;
  /** Where Deno has it in its cache. */
  readonly folder: string;
}

/** The parts of what `deno info --json` prints that are used here. */
interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly npmPackage?: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
    }[];
  }[];
  readonly redirects: Readonly<Record<string, string>>;
  readonly npmPackages: Readonly<
    Record<string, {
      readonly name: string;
      readonly version: string;
      readonly dependencies: readonly string[];
      readonly localPath: string;
    }>
  >;
}

/** What the program of `role` loads, now or later: types alone are not in it. */
export async function graphOf(role: Role): Promise<Graph> {
  const info: Info = JSON.parse(
    await runDeno(["info", "--json", `${role}.ts`]),
  );
  const byName = new Map(info.modules.map((it) => [it.specifier, it]));
  const modules = new Set<string>();
  const direct = new Set<string>();
  const reach = (specifier: string): void => {
    const name = info.redirects[specifier] ?? specifier;
    const module = byName.get(name);
    if (module?.npmPackage !== undefined) direct.add(module.npmPackage);
    if (!name.startsWith(PROJECT.href) || modules.has(name)) return;
    modules.add(name);
    for (const { code } of module?.dependencies ?? []) {
      if (code?.specifier !== undefined) reach(code.specifier);
    }
  };
  reach(new URL(`${role}.ts`, PROJECT).href);
  const needed = new Set<string>();
  const need = (name: string): void => {
    if (needed.has(name)) return;
    needed.add(name);
    info.npmPackages[name]?.dependencies.forEach(need);
  };
  direct.forEach(need);
  return {
    modules: [...modules].map((href) => href.slice(PROJECT.href.length)).sort(),
    packages: [...needed].sort().flatMap((key) => {
      const found = info.npmPackages[key];
      if (found === undefined) return [];
      const { name, version, dependencies, localPath } = found;
      return [{
        ...{ name, version, needs: dependencies },
        direct: direct.has(key),
        folder: localPath,
      }];
    }),
  };
}

/**
 * What of `graph` is not among the embedded files, and which of those are not
 * of the graph, but for deno.json; both empty in a program that is complete. Pure.
 */
export function differences(
  { modules, packages }: Graph,
  embedded: readonly string[],
): {
  readonly missing: readonly string[];
  readonly strange: readonly string[];
} {
  const own = embedded.filter((path) => !PACKAGES.test(path));
  const foreign = embedded.filter((path) => PACKAGES.test(path))
    .map((path) => path.replace(PACKAGES, ""));
  const covers = (path: string, wanted: string): boolean =>
    path === wanted ||
    path.endsWith("/*") && wanted.startsWith(path.slice(0, -1));
  const wanted = packages.map(({ name, version }) => `${name}/${version}/`);
  return {
    missing: [
      ...modules.filter((it) => !own.some((path) => covers(path, it))),
      ...wanted.filter((it) => !foreign.some((path) => covers(path, it))),
    ],
    strange: [
      ...own.filter((path) =>
        path !== "deno.json" && !modules.some((it) => covers(path, it))
      ),
      ...foreign.filter((path) => !wanted.some((it) => covers(path, it))),
    ],
  };
}

/**
 * The modules of `graph` whose text is not in the program at `path`, byte for
 * byte; none in a program that is complete.
 */
export async function modulesNotIn(
  path: string,
  { modules }: Graph,
): Promise<readonly string[]> {
  const program = await Deno.readFile(path);
  const bytes = Buffer.from(program.buffer);
  const missing: string[] = [];
  for (const module of modules) {
    const text = await Deno.readFile(new URL(module, PROJECT));
    // What is embedded comes behind the runtime: found soon from the end.
    if (bytes.lastIndexOf(text) < 0) missing.push(module);
  }
  return missing;
}
