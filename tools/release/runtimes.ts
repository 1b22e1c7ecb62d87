/**
 * Deno's own program for each target, as npm has it, to stand in for the
 * runtime that `deno compile` would download.
 *
 * @module
 */
import { RunError } from "../../lib/base/errors.ts";
import { isWindows, type Target } from "./targets.ts";

/**
 * Fetches it into `folder`, in the version that runs this; the path of it.
 *
 * @throws {RunError} when npm cannot.
 */
export async function fetchRuntime(
  target: Target,
  folder: string,
): Promise<string> {
  const { deno } = Deno.version;
  const wanted = `${target.runtime}@${deno}`;
  const name = (await run("npm", ["pack", "--silent", wanted], folder)).trim();
  const into = `${folder}/${target.name}`;
  await Deno.mkdir(into);
  await run("tar", ["-xzf", name, "-C", into, "--strip-components=1"], folder);
  await Deno.remove(`${folder}/${name}`);
  return `${into}/deno${isWindows(target) ? ".exe" : ""}`;
}

/** What a command prints. */
export async function run(
  command: string,
  args: readonly string[],
  cwd: string | URL,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  // npm is a script of the shell on Windows.
  const file = Deno.build.os === "windows" && command === "npm"
    ? "npm.cmd"
    : command;
  const { success, stdout, stderr } = await new Deno.Command(file, {
    args: [...args],
    ...{ cwd, env: { ...env } },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout);
  throw new RunError(
    `${command} ${args.join(" ")} failed:\n${decoder.decode(stderr)}`,
  );
}
