/**
 * The health check of a container: asks `/health` where the role serves it by
 * its flags, environment and config file, as the role itself reads them.
 *
 *     healthcheck.ts [server|client] [the flags the role was started with]
 *     healthcheck.ts --like PID server|client
 *
 * With `--like` the flags are those of that process, as Linux tells them; it
 * takes all permissions to read that.
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

const REQUEST =
  "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/** How the answer of a process begins that is up. */
const STATUS_UP = "HTTP/1.1 200 ";

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

/**
 * Whether the process at `address` says that it is up. Asked without `fetch`:
 * a URL cannot name the zone of an address.
 */
async function isUp({ host, port }: Address): Promise<boolean> {
  const anywhere = host === "" || host === "0.0.0.0" || host === "::";
  const hostname = anywhere ? "127.0.0.1" : host;
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  try {
    using conn = await Deno.connect({ hostname, port, signal });
    const giveUp = (): void => conn[Symbol.dispose]();
    signal.addEventListener("abort", giveUp, { once: true });
    await conn.write(new TextEncoder().encode(REQUEST));
    return await readText(conn, STATUS_UP.length) === STATUS_UP;
  } catch {
    // Nobody listens, or answers in time: that is the answer.
    return false;
  }
}

/** The first `length` characters of what `conn` says, all of them ASCII. */
async function readText(conn: Deno.TcpConn, length: number): Promise<string> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const count = await conn.read(bytes.subarray(filled));
    if (count === null) break;
    filled += count;
  }
  return new TextDecoder().decode(bytes.subarray(0, filled));
}

/** The arguments, with the flags of the process that `--like` names. */
function givenArgs([word, pid = "", role = ""]: readonly string[]): string[] {
  if (word !== "--like") return Deno.args;
  const words = Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0");
  const script = words.indexOf(`${role}.ts`);
  return [role, ...words.slice(script + 1, -1)];
}

async function main(): Promise<number> {
  let address: Address | undefined;
  try {
    address = statusAddress(givenArgs(Deno.args));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    for (const problem of error.problems) {
      // deno-lint-ignore no-console -- the output of the check
      console.error(`error: ${problem}`);
    }
    return 2;
  }
  return address === undefined || await isUp(address) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
