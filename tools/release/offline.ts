/**
 * Proves that nothing is loaded that is not embedded: runs the programs from a
 * folder with the embedded modules alone, an empty cache but for the embedded
 * packages, and no network but that of the machine itself.
 *
 * @module
 */
import { RunError } from "../../lib/base/errors.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { type Graph, PROJECT } from "./compile.ts";
import { programName } from "./targets.ts";

/**
 * Runs `smoke.ts` with the programs of `graphs`, isolated; what it says.
 *
 * @throws {RunError} when something does not work.
 */
export async function runIsolated(
  graphs: Readonly<Record<Role, Graph>>,
  tools: { readonly natsServer: string; readonly redisServer: string },
): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "embedded-" });
  try {
    for (const [role, graph] of Object.entries(graphs)) {
      const { packages, modules } = graph;
      const cache = `${folder}/${role}/cache`;
      const project = `${folder}/${role}/project`;
      await Deno.mkdir(project, { recursive: true });
      for (const name of ["deno.json", "deno.lock"]) {
        const text = await Deno.readTextFile(new URL(name, PROJECT));
        await Deno.writeTextFile(`${project}/${name}`, onlyOf(graph, text));
      }
      for (const path of modules) {
        await copy(new URL(path, PROJECT).pathname, `${project}/${path}`);
      }
      for (const { folder } of packages) {
        const [, path] = /(\/npm\/.*)$/.exec(folder) ?? [];
        if (path === undefined) throw new RunError(`No package: ${folder}`);
        await copyAll(folder, `${cache}${path}`);
      }
      const run = [
        ...["env", `DENO_DIR=${cache}`, Deno.execPath(), "run"],
        ...["--cached-only", "--no-prompt", "-A"],
        `${project}/${role}.ts`,
      ].join(" ");
      const program = `${folder}/${programName(role as Role)}`;
      await Deno.writeTextFile(program, `#!/bin/sh\nexec ${run} "$@"\n`);
      await Deno.chmod(program, 0o755);
    }
    const smoke = [
      ...[Deno.execPath(), "run", "-A", "--cached-only"],
      new URL("tools/release/smoke.ts", PROJECT).pathname,
      `--nats-server=${tools.natsServer}`,
      `--redis-server=${tools.redisServer}`,
      folder,
    ];
    const { success, stdout, stderr } = await new Deno.Command("unshare", {
      args: [
        ...["--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"],
        ...smoke,
      ],
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    const decoder = new TextDecoder();
    if (success) return decoder.decode(stdout);
    throw new RunError(
      `The embedded modules alone do not work:\n${decoder.decode(stdout)}${
        decoder.decode(stderr)
      }`,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The text of deno.json or deno.lock without the packages that `graph` has not, which only tests need. */
function onlyOf({ packages }: Graph, text: string): string {
  const names = new Set(packages.map(({ name }) => name));
  const isOurs = (specifier: string): boolean =>
    names.has(specifier.replace(/^(?:npm:)?(@[^/]+\/[^/@]+|[^/@]+).*$/, "$1"));
  const filtered = (object: Readonly<Record<string, unknown>> = {}): unknown =>
    Object.fromEntries(Object.entries(object).filter(([key]) => isOurs(key)));
  const { imports, specifiers, npm, workspace, ...rest } = JSON.parse(text);
  return JSON.stringify({
    ...rest,
    ...(imports && { imports: filtered(imports) }),
    ...(specifiers && { specifiers: filtered(specifiers), npm: filtered(npm) }),
    ...(workspace &&
      { workspace: { dependencies: workspace.dependencies.filter(isOurs) } }),
  });
}

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(to.replace(/\/[^/]*$/, ""), { recursive: true });
  await Deno.copyFile(from, to);
}

async function copyAll(from: string, to: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    const copyOne = isDirectory ? copyAll : copy;
    await copyOne(`${from}/${name}`, `${to}/${name}`);
  }
}
