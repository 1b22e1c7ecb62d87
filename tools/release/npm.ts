/**
 * The packages for npm: each has one program, with everything it loads in one
 * file, and runs with the `deno` that npm installs beside it.
 *
 * @module
 */
import denoJson from "../../deno.json" with { type: "json" };
import { ABOUT } from "../../lib/config/help.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { PROJECT, runDeno } from "./compile.ts";
import { run } from "./runtimes.ts";
import { programName, ROLES } from "./targets.ts";

/** What is packed. */
export interface NpmOptions {
  readonly version: string;
  readonly homepage: string;
  /** Where the packages go. */
  readonly out: string;
}

/** Makes a `.tgz` for each role; their paths. */
export async function makeNpmPackages(
  options: NpmOptions,
): Promise<readonly string[]> {
  await Deno.remove(options.out, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  const paths: string[] = [];
  for (const role of ROLES) paths.push(await makeNpmPackage(role, options));
  return paths;
}

async function makeNpmPackage(
  role: Role,
  { version, homepage, out }: NpmOptions,
): Promise<string> {
  const program = programName(role);
  const folder = `${out}/${program}`;
  await Deno.mkdir(folder, { recursive: true });
  const path = await Deno.realPath(folder);
  await runDeno([
    ...["bundle", "--frozen", "--platform", "deno"],
    ...["-o", `${path}/${program}.js`, `${role}.ts`],
  ]);
  const launcher = await Deno.readTextFile(
    new URL("npm/launcher.mjs", PROJECT),
  );
  await Deno.writeTextFile(
    `${path}/bin.mjs`,
    launcher.replace("PROGRAM", program).replace(
      '"PERMISSIONS"',
      permissionsOf(role).map((flag) => JSON.stringify(flag)).join(", "),
    ),
  );
  await Deno.writeTextFile(
    `${path}/package.json`,
    `${
      JSON.stringify(
        {
          ...{ name: program, version, license: "MIT", homepage },
          description: ABOUT[role].summary,
          keywords: ["nats", "tcp", "tunnel", "proxy"],
          repository: { type: "git", url: `git+${homepage}.git` },
          type: "module",
          bin: { [program]: "bin.mjs" },
          files: ["bin.mjs", `${program}.js`],
          engines: { node: ">=18" },
          dependencies: { deno: Deno.version.deno },
        },
        undefined,
        2,
      )
    }\n`,
  );
  await Deno.copyFile(new URL("LICENSE", PROJECT), `${path}/LICENSE`);
  await Deno.writeTextFile(
    `${path}/README.md`,
    `# ${program}\n\n${
      ABOUT[role].summary
    }\n\n\`\`\`bash\nnpx ${program} --help\n\`\`\`\n\n${homepage}\n`,
  );
  const name = await run("npm", ["pack", "--silent"], path);
  await Deno.rename(`${path}/${name.trim()}`, `${out}/${name.trim()}`);
  return `${out}/${name.trim()}`;
}

/** What a binary of `role` may do. */
function permissionsOf(role: Role): readonly string[] {
  return denoJson.tasks[`compile:${role}`].split(/\s+/)
    .filter((word) => word.startsWith("--allow-"));
}
