/**
 * The health check of a container: asks `/health` where the role serves it by
 * its flags, environment and config file, as the role itself reads them.
 *
 *     healthcheck.ts [server|client] [the flags the role was started with]
 *
 * Exit code 0 when it answers 200, or when the status is off and nobody can
 * be asked; 1 otherwise, and 2 where the role itself would refuse its
 * configuration.
 *
 * @module
 */
import type { Address } from "../lib/base/address.ts";
import { UsageError } from "../lib/base/errors.ts";
import { parseCommandLine } from "../lib/config/cli.ts";
import { systemSources } from "../lib/config/sources.ts";

/** How long an answer may take, in ms: less than the time-out of the container's check. */
const TIMEOUT_MS = 2_000;

/** Where the status is served; undefined when it is not. */
function statusAddress(args: readonly string[]): Address | undefined {
  const sources = systemSources();
  if (args[0] === "client") {
    const command = parseCommandLine("client", args.slice(1), sources);
    return command.kind === "run"
      ? command.config.client.statusAddr
      : undefined;
  }
  const flags = args[0] === "server" ? args.slice(1) : args;
  const command = parseCommandLine("server", flags, sources);
  return command.kind === "run" ? command.config.server.listenAddr : undefined;
}

/** Whether the process at `address` says that it is up. */
async function isUp({ host, port }: Address): Promise<boolean> {
  const anywhere = host === "" || host === "0.0.0.0" || host === "::";
  const name = anywhere ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  try {
    const response = await fetch(`http://${name}:${port}/health`, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    // Nobody listens, or answers in time: that is the answer.
    return false;
  }
}

async function main(): Promise<number> {
  let address: Address | undefined;
  try {
    address = statusAddress(Deno.args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    // deno-lint-ignore no-console -- the output of the check
    console.error(`error: ${error.message}`);
    return 2;
  }
  return address === undefined || await isUp(address) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
