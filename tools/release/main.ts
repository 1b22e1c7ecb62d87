/**
 * Makes everything a release page needs:
 *
 *     deno task release [--dry-run] [--target NAME]... [--out FOLDER]
 *       [--compile-only | --binaries FOLDER] [--tag TAG] [--homepage URL]
 *
 * With `--dry-run` the programs are compiled with stand-ins for their runtimes
 * and do not run; docs/releasing.md says what that proves. `--compile-only`
 * ends after the programs, `--binaries` takes them as it left them.
 *
 * @module
 */
import { parseArgs } from "node:util";
import denoJson from "../../deno.json" with { type: "json" };
import { messageOf, RunError, UsageError } from "../../lib/base/errors.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { locate } from "../find_or_install.ts";
import { changelogSection } from "./changelog.ts";
import {
  compileProgram,
  differences,
  type Graph,
  graphOf,
  modulesNotIn,
  PROJECT,
} from "./compile.ts";
import { manifestsOf, sha256sums } from "./manifests.ts";
import { makeNpmPackages } from "./npm.ts";
import { hasOwnNetwork } from "../../integration_tests/support/surroundings.ts";
import { runIsolated } from "./offline.ts";
import { deb, gzip, type Level, type Packed, tar, zip } from "./pack.ts";
import {
  type Archive,
  archivesOf,
  type Entry,
  type Release,
  type Source,
} from "./plan.ts";
import { fetchRuntime } from "./runtimes.ts";
import { type Part, sbom } from "./sbom.ts";
import { binaryName, ROLES, type Target, TARGETS } from "./targets.ts";

/** Where the project is, unless it is told. */
const HOMEPAGE = "https://github.com/tcp-sproxy/tcp-sproxy";

/** Of files in a release that has no day yet: the first that a zip can say. */
const NO_DATE = "1980-01-01";

/** Archives that are made at once: each takes three times the size of a program. */
const AT_ONCE = 2;

/** What the command line asks for. */
interface Options {
  readonly dryRun: boolean;
  readonly compileOnly: boolean;
  readonly targets: readonly Target[];
  /** Where everything goes. */
  readonly out: string;
  /** Where the programs are, each in the folder of its target; undefined to compile them. */
  readonly binaries: string | undefined;
  readonly tag: string | undefined;
  readonly homepage: string;
}

function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      "dry-run": { type: "boolean", default: false },
      "compile-only": { type: "boolean", default: false },
      target: { type: "string", multiple: true, default: [] },
      out: { type: "string", default: "dist" },
      binaries: { type: "string" },
      tag: { type: "string" },
      homepage: { type: "string", default: HOMEPAGE },
    },
  });
  const unknown = values.target.filter((name) =>
    !TARGETS.some((target) => target.name === name)
  );
  if (unknown.length > 0) {
    throw new UsageError(
      `There is no target ${unknown.join(", ")}; there are ${
        TARGETS.map(({ name }) => name).join(", ")
      }`,
    );
  }
  const { tag } = values;
  if (tag !== undefined && tag !== `v${denoJson.version}`) {
    throw new UsageError(
      `The tag ${tag} is not that of the version in deno.json, v${denoJson.version}`,
    );
  }
  return {
    ...{ tag, out: values.out, homepage: values.homepage },
    dryRun: values["dry-run"],
    compileOnly: values["compile-only"],
    binaries: values.binaries,
    targets: values.target.length === 0
      ? TARGETS
      : TARGETS.filter(({ name }) => values.target.includes(name)),
  };
}

function say(line: string): void {
  // deno-lint-ignore no-console -- the output of the tool
  console.log(line);
}

/** Does a step, and says how long it took. */
async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  say(`== ${name} (${seconds} s)`);
  return result;
}

/** Compiles all programs, and checks that each has all that it loads. */
async function compileAll(
  { targets, dryRun, out }: Options,
  graphs: Readonly<Record<Role, Graph>>,
): Promise<void> {
  const runtimes = await Deno.makeTempDir({ prefix: "runtimes-" });
  try {
    for (const target of targets) {
      await step(`programs for ${target.name}`, async () => {
        const standIn = dryRun
          ? await fetchRuntime(target, runtimes)
          : undefined;
        for (const role of ROLES) {
          const output = `${out}/bin/${target.name}/${
            binaryName(role, target)
          }`;
          const embedded = await compileProgram({
            ...{ role, output, triple: target.triple },
            ...(standIn !== undefined && { standIn }),
          });
          await expectComplete(output, graphs[role], embedded);
        }
        if (standIn !== undefined) await Deno.remove(standIn);
      });
    }
  } finally {
    await Deno.remove(runtimes, { recursive: true });
  }
}

async function expectComplete(
  path: string,
  graph: Graph,
  embedded: readonly string[],
): Promise<void> {
  const { missing, strange } = differences(graph, embedded);
  const absent = await modulesNotIn(path, graph);
  const { size } = await Deno.stat(path);
  if (missing.length + strange.length + absent.length > 0) {
    throw new RunError(
      `${path} is not what the program loads: without ${
        [...missing, ...absent].join(", ") || "nothing"
      }, with ${strange.join(", ") || "nothing"} beside`,
    );
  }
  say(
    `   ${path}: ${graph.modules.length} modules and ${graph.packages.length} packages, all embedded; ${
      Math.round(size / 1024 / 1024)
    } MiB`,
  );
}

/** The bytes of what is packed. */
async function bytesOf(
  source: Source,
  binaries: string,
): Promise<Uint8Array<ArrayBuffer>> {
  switch (source.kind) {
    case "binary": {
      const { role, target } = source;
      return await Deno.readFile(
        `${binaries}/${target.name}/${binaryName(role, target)}`,
      );
    }
    case "text": {
      const bytes = new TextEncoder().encode(source.text);
      return source.gzip ? await gzip(bytes) : bytes;
    }
    case "project": {
      const url = new URL(source.path, PROJECT);
      if (source.edit === undefined) return await Deno.readFile(url);
      const text = await Deno.readTextFile(url);
      return new TextEncoder().encode(source.edit(text));
    }
  }
}

async function packed(
  entries: readonly Entry[],
  binaries: string,
): Promise<readonly Packed[]> {
  return await Promise.all(entries.map(async ({ source, ...entry }) => ({
    ...entry,
    bytes: await bytesOf(source, binaries),
  })));
}

/** The bytes of an archive. */
async function pack(
  { format, entries, control }: Archive,
  { binaries, date, level }: {
    readonly binaries: string;
    readonly date: string;
    readonly level: Level;
  },
): Promise<Uint8Array<ArrayBuffer>> {
  const files = await packed(entries, binaries);
  switch (format) {
    case "zip":
      return zip(files, date, level);
    case "tar.gz":
      return await gzip(await tar(files, date), level);
    case "deb": {
      const size = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
      const facts = control?.(Math.ceil(size / 1024)) ?? [];
      return await deb({
        ...{ files, date, level },
        control: await packed(facts, binaries),
      });
    }
  }
}

/** SHA-256 in hexadecimal. */
async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Packs all archives; their checksums. */
async function packAll(
  release: Release,
  { binaries, folder, level }: {
    readonly binaries: string;
    readonly folder: string;
    readonly level: Level;
  },
): Promise<Map<string, string>> {
  const sums = new Map<string, string>();
  const waiting = [...archivesOf(release)];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { date } = release;
      const bytes = await pack(next, { binaries, date, level });
      await Deno.writeFile(`${folder}/${next.name}`, bytes);
      sums.set(next.name, await sha256(bytes));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return sums;
}

/** The packages of both programs, with what the lock file and they themselves say of them. */
async function partsOf(
  graphs: Readonly<Record<Role, Graph>>,
): Promise<readonly Part[]> {
  const lock = JSON.parse(
    await Deno.readTextFile(new URL("deno.lock", PROJECT)),
  );
  const parts = new Map<string, Part>();
  for (
    const { name, version, needs, direct, folder } of Object.values(graphs)
      .flatMap(({ packages }) => packages)
  ) {
    const key = `${name}@${version}`;
    const { license } = JSON.parse(
      await Deno.readTextFile(`${folder}/package.json`),
    );
    parts.set(key, {
      ...{ name, version, needs, license },
      integrity: String(lock.npm[key]?.integrity),
      direct: direct || parts.get(key)?.direct === true,
    });
  }
  return [...parts].toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([, part]) => part);
}

async function release(options: Options): Promise<void> {
  const { out, dryRun, targets, homepage, tag } = options;
  const { version } = denoJson;
  const changelog = await Deno.readTextFile(new URL("CHANGELOG.md", PROJECT));
  const { text, date = NO_DATE } = changelogSection(changelog, version, {
    orUnreleased: tag === undefined,
  });
  const plan: Release = { version, date, homepage, targets };
  const graphs = {
    client: await graphOf("client"),
    server: await graphOf("server"),
  };
  const binaries = options.binaries ?? `${out}/bin`;
  if (options.binaries === undefined) {
    await Deno.mkdir(out, { recursive: true });
    await compileAll(options, graphs);
    await proveAlone(graphs);
  }
  if (options.compileOnly) return;
  const folder = `${out}/release`;
  await Deno.mkdir(folder, { recursive: true });
  for await (const { name } of Deno.readDir(folder)) {
    await Deno.remove(`${folder}/${name}`);
  }
  const sums = await step(
    "archives",
    () => packAll(plan, { binaries, folder, level: dryRun ? 1 : 6 }),
  );
  const bom = sbom({
    ...{ version, homepage, deno: Deno.version.deno },
    parts: await partsOf(graphs),
  });
  const texts = [
    ...manifestsOf(plan, sums),
    { name: `tcp-sproxy-${version}.cdx.json`, text: bom },
  ];
  for (const { name, text } of texts) {
    sums.set(name, await sha256(new TextEncoder().encode(text)));
    await Deno.writeTextFile(`${folder}/${name}`, text);
  }
  await Deno.writeTextFile(`${folder}/SHA256SUMS`, sha256sums(sums));
  await Deno.writeTextFile(`${out}/release-notes.md`, `${text}\n`);
  const packages = await step(
    "packages for npm",
    () => makeNpmPackages({ ...plan, out: `${out}/npm` }),
  );
  say(
    `\n${
      sums.size + 1
    } files in ${folder}, ${packages.length} packages in ${out}/npm, the text of the release in ${out}/release-notes.md`,
  );
  if (dryRun) {
    say(
      "A dry run: the programs have a stand-in for their runtime and do not run; docs/releasing.md says what this proves.",
    );
  }
}

/** Runs what is embedded and nothing else, where that can be done. */
async function proveAlone(
  graphs: Readonly<Record<Role, Graph>>,
): Promise<void> {
  const natsServer = await locate("nats-server");
  const redisServer = await locate("redis-server");
  if (!natsServer || !redisServer || !(await hasOwnNetwork())) {
    say(
      "== what is embedded, alone: not tried (takes Linux, root, nats-server and redis-server)",
    );
    return;
  }
  await step("what is embedded, alone and without a network", async () => {
    const said = await runIsolated(graphs, { natsServer, redisServer });
    say(said.trimEnd().replaceAll(/^/gm, "   "));
  });
}

async function main(args: readonly string[]): Promise<number> {
  try {
    await release(optionsOf(args));
    return 0;
  } catch (error) {
    // deno-lint-ignore no-console -- the output of the tool
    console.error(`error: ${messageOf(error)}`);
    // parseArgs has errors of its own.
    const isUsage = error instanceof UsageError ||
      error instanceof TypeError && "code" in error;
    return isUsage ? 2 : 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
