/**
 * Measures what other people's programs get done: PostgreSQL with pgbench, and
 * HTTP/2 with h2load and nginx.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";
import { Folder } from "../integration_tests/support/folder.ts";
import { run } from "../integration_tests/support/processes.ts";
import { startNginx } from "../integration_tests/support/proxies.ts";
import { type Bench, type Group, inTurn, openWays } from "./bench.ts";
import type { Figure } from "./measure.ts";
import { POSTGRES_USER, startPostgres } from "./postgres.ts";

/** The ways measured. */
const WAYS = [
  "direct",
  "ssh",
  "tunnel",
  "bare",
  "other",
  "chisel",
  "peer",
] as const;

/** How long a run counts, in seconds. */
const SECONDS = 2;

/** How long a run may take, in ms. */
const LIMIT = 60_000;

/** Clients of pgbench. */
const CLIENTS = 4;

/** Connections of h2load, and requests under way in each. */
const HTTP = { connections: 10, requests: 10 } as const;

/** Requests on a connection before nginx closes it: more than a run makes. */
const KEEP = 100_000_000;

/** What is measured, when the load is told where to go. */
interface Load {
  /** What it is a figure of. */
  readonly figure: Figure;
  /** The command and its arguments. */
  readonly words: (to: Endpoint) => readonly string[];
  /** Where its output says the rate. */
  readonly rate: RegExp;
}

/** Other people's programs. */
export const programs: Group = {
  name: "programs",
  title: "Programs",
  method:
    `\`pgbench -S -n -c ${CLIENTS} -j 2 -T ${SECONDS}\` on a PostgreSQL of scale 1; \`h2load -t 1 -c ${HTTP.connections} -m ${HTTP.requests} -D ${SECONDS}\` on an nginx that answers with 64 bytes, after 1 s that does not count`,
  run: async (bench) => {
    await measurePostgres(bench);
    await measureHttp(bench);
  },
};

async function measurePostgres(bench: Bench): Promise<void> {
  const found = need(bench, "pgbench", ["initdb", "postgres", "pgbench"]);
  if (!found) return;
  const [initdb = "", postgres = "", pgbench = ""] = found;
  await using server = await startPostgres({ initdb, postgres }, bench.signal);
  const at = ({ hostname, port }: Endpoint): string[] => [
    ...["-U", POSTGRES_USER, "-h", hostname, "-p", `${port}`],
    "postgres",
  ];
  const fill = [pgbench, "-i", "-q", ...at(server.endpoint)];
  await outputOf(bench, fill);
  await measureLoad(bench, server.endpoint, {
    figure: {
      title: `pgbench -S, ${CLIENTS} clients`,
      unit: "transactions/s",
    },
    words: (to) => [
      ...[pgbench, "-S", "-n", "-c", `${CLIENTS}`, "-j", "2"],
      ...["-T", `${SECONDS}`, ...at(to)],
    ],
    rate: /^tps = ([\d.]+)/m,
  });
}

async function measureHttp(bench: Bench): Promise<void> {
  const found = need(bench, "h2load", ["nginx", "h2load"]);
  if (!found) return;
  const [nginx = "", h2load = ""] = found;
  await using folder = await Folder.make();
  await using server = await startNginx(
    nginx,
    folder,
    (address) =>
      `listen ${address} http2; keepalive_requests ${KEEP};
    location / { return 200 "${"x".repeat(64)}"; }`,
  );
  await measureLoad(bench, server.endpoint, {
    figure: {
      title:
        `HTTP/2, ${HTTP.connections} connections, ${HTTP.requests} requests each`,
      unit: "requests/s",
    },
    words: ({ hostname, port }) => [
      ...[h2load, "-t", "1", "-c", `${HTTP.connections}`],
      ...["-m", `${HTTP.requests}`, "-D", `${SECONDS}`],
      ...["--warm-up-time", "1", `http://${hostname}:${port}/`],
    ],
    rate: /, ([\d.]+) req\/s/,
  });
}

/** The paths of programs; undefined, and said why, where one is missing. */
function need(
  bench: Bench,
  what: string,
  commands: readonly string[],
): readonly string[] | undefined {
  const missing = commands.filter((command) => !bench.tools.has(command));
  if (missing.length > 0) {
    bench.skip(what, `${missing.join(", ")} not found on PATH`);
    return undefined;
  }
  return commands.map((command) => bench.tools.get(command) ?? "");
}

/** Measures a load on all ways to `target`. */
async function measureLoad(
  bench: Bench,
  target: Endpoint,
  { figure, words, rate }: Load,
): Promise<void> {
  await using ways = await openWays(bench, WAYS, target);
  // Once for nothing: the compiler of a runtime sees what is hot.
  for (const { endpoint } of ways.list) await outputOf(bench, words(endpoint));
  await inTurn(bench, ways.list, {
    what: figure.title,
    measure: async ({ endpoint }) => {
      const output = await outputOf(bench, words(endpoint));
      const value = Number(rate.exec(output)?.[1]);
      if (!(value > 0)) {
        throw new Error(`no rate in what was said: ${output.slice(-200)}`);
      }
      return [{ figure, value }];
    },
  });
}

/** What a program says that ends well. */
async function outputOf(
  bench: Bench,
  [command = "", ...args]: readonly string[],
): Promise<string> {
  const { status, output } = await run(command, {
    args,
    signal: AbortSignal.any([bench.signal, AbortSignal.timeout(LIMIT)]),
  });
  if (!status.success) throw new Error(`${command}: ${output.slice(-200)}`);
  return output;
}
