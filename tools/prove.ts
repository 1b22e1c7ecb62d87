/**
 * Proves by many repetitions that not one byte is lost: `deno task prove`.
 *
 * First the long echo: 1.5 GB through a tunnel while the broker is killed
 * three times. Then the cuts: many short echoes, each with both connections
 * to the broker cut at random bytes. Prints every run and a summary; ends with
 * code 1 if one of them failed.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { within } from "../integration_tests/support/changes.ts";
import {
  cutAtRandom,
  expectEcho,
  roundTrip,
  seededRandom,
} from "../integration_tests/support/chaos_flow.ts";
import {
  killBroker,
  type Stage,
  startStage,
} from "../integration_tests/support/chaos_stage.ts";
import { dial } from "../integration_tests/support/transfer.ts";
import { messageOf } from "../lib/base/errors.ts";

const MIB = 1024 * 1024;

/** How long the broker is away each time it is killed, in ms. */
const DOWN = [200, 1_500, 3_000] as const;

/** Bytes of a short echo: at least, and what chance adds at most. */
const SHORT = { least: MIB, more: 8 * MIB } as const;

/** Most cuts of each side in a short echo. */
const MOST_CUTS = 3;

/** From a cut inside a login to one in the middle of the data, in bytes. */
const CUT_RANGE = { from: 100, to: 4 * MIB } as const;

/** After how many ms a run counts as hanging. */
const LIMIT = 180_000;

/** Lines of each log shown when a run hangs. */
const TAIL_LINES = 20;

const HELP = `deno task prove [--echoes N] [--size MB] [--cuts N] [--seed N]

  --echoes N  long echoes with the broker killed three times (default 10)
  --size MB   bytes of each, in MB of 1,000,000 (default 1500)
  --cuts N    short echoes with cuts at random bytes (default 200)
  --seed N    where chance starts, to repeat a failure (default random)`;

/** What to run. */
interface Plan {
  readonly echoes: number;
  readonly size: number;
  readonly cuts: number;
  readonly seed: number;
}

function say(line: string): void {
  // deno-lint-ignore no-console -- the tool's output
  console.log(line);
}

/** Reads the flags; undefined when help was asked for. */
function readPlan(args: readonly string[]): Plan | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      echoes: { type: "string", default: "10" },
      size: { type: "string", default: "1500" },
      cuts: { type: "string", default: "200" },
      seed: { type: "string", default: String(Date.now() % 2 ** 32) },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const number = (flag: "echoes" | "size" | "cuts" | "seed"): number => {
    const value = Number(values[flag]);
    if (Number.isInteger(value) && value >= 0) return value;
    throw new TypeError(
      `--${flag} takes a whole number, not "${values[flag]}"`,
    );
  };
  return {
    echoes: number("echoes"),
    size: number("size") * 1_000_000,
    cuts: number("cuts"),
    seed: number("seed"),
  };
}

/** Runs `body` and says how it went; false when it failed or hung. */
async function attempt(
  name: string,
  body: (
    signal: AbortSignal,
    /** Takes the stage whose state is shown when the run fails. */
    watch: (stage: Stage) => void,
  ) => Promise<string>,
): Promise<boolean> {
  let watched: Stage | undefined;
  const show = async (): Promise<void> => {
    await showState(watched); // before all is closed, and not twice
    watched = undefined;
  };
  const started = performance.now();
  const seconds = (): string =>
    `${((performance.now() - started) / 1000).toFixed(1)} s`;
  try {
    const result = await within(
      LIMIT,
      (signal) => body(signal, (stage) => watched = stage),
      { onHang: show },
    );
    say(`${name}: ok, ${result}, ${seconds()}`);
    return true;
  } catch (error) {
    say(`${name}: FAILED after ${seconds()}: ${messageOf(error)}`);
    await show();
    return false;
  }
}

/** Says how far a stage has come: what its roles logged last, and their metrics. */
async function showState(stage: Stage | undefined): Promise<void> {
  if (stage === undefined) return;
  for (const name of ["server", "client"] as const) {
    const role = stage.role(name);
    say(`--- ${name}\n${role.process.tail(TAIL_LINES)}`);
    try {
      const { text } = await role.status("/metrics");
      say(text.split("\n").filter((line) => /^sproxy/.test(line)).join("\n"));
    } catch (error) {
      say(`no metrics: ${messageOf(error)}`);
    }
  }
  say(`--- nats-server\n${stage.nats.process.tail(TAIL_LINES)}`);
}

/** How often the roles of a stage had to connect again so far, both together. */
async function reconnects(stage: Stage): Promise<number> {
  const name = "sproxy_nats_reconnects_total";
  return await stage.metric("server", name) +
    await stage.metric("client", name);
}

/** The long echoes; returns how many failed. */
async function longEchoes({ echoes, size, seed }: Plan): Promise<number> {
  let failed = 0;
  for (let run = 1; run <= echoes; run++) {
    const ok = await attempt(
      `echo ${run}/${echoes}`,
      async (signal, watch) => {
        await using stage = await startStage();
        watch(stage);
        using conn = await dial(stage.endpoint, { signal });
        await expectEcho(conn, {
          seed: seed + run,
          size,
          meanwhile: (arrivals) =>
            killBroker(stage, arrivals, { size, down: DOWN }),
        });
        return `${size} bytes with the same SHA-256, broker down ${
          DOWN.map((ms) => `${ms / 1000} s`).join(", ")
        }, ${await reconnects(stage)} reconnects`;
      },
    );
    if (!ok) failed++;
  }
  return failed;
}

/** One short echo with cuts at random bytes. */
async function shortEcho(
  stage: Stage,
  options: { readonly seed: number; readonly signal: AbortSignal },
): Promise<string> {
  const { seed, signal } = options;
  const random = seededRandom(seed);
  const size = SHORT.least + Math.floor(random() * SHORT.more);
  const before = await reconnects(stage);
  const sides = [stage.relay("server"), stage.relay("client")];
  const countCuts = (): number =>
    sides.reduce((sum, { cuts }) => sum + cuts, 0);
  const cutBefore = countCuts();
  const done = new AbortController();
  // What is promised is promised to open tunnels.
  using conn = await dial(stage.endpoint, { signal });
  await roundTrip(conn);
  const cutting = sides.map((relay, i) =>
    cutAtRandom(relay, {
      times: 1 + Math.floor(random() * MOST_CUTS),
      // Each side has its own: else the order of events would mix them.
      random: seededRandom(seed + 1 + i),
      range: CUT_RANGE,
      signal: done.signal,
    }).catch((error) => {
      // The bytes were through before the last cut could strike.
      if (error !== done.signal.reason) throw error;
    })
  );
  try {
    await expectEcho(conn, { seed, size });
  } finally {
    done.abort();
    await Promise.all(cutting);
    for (const relay of sides) await relay.resume();
  }
  return `${size} bytes, ${countCuts() - cutBefore} cuts, ${
    await reconnects(stage) - before
  } reconnects`;
}

/** The short echoes with cuts; returns how many failed. */
async function cutEchoes({ cuts, seed }: Plan): Promise<number> {
  if (cuts === 0) return 0;
  await using stage = await startStage({
    relays: true,
  });
  let failed = 0;
  for (let run = 1; run <= cuts; run++) {
    const own = seed + 1_000 * run;
    const ok = await attempt(
      `cuts ${run}/${cuts} (seed ${own})`,
      (signal, watch) => {
        watch(stage);
        return shortEcho(stage, { seed: own, signal });
      },
    );
    if (!ok) failed++;
  }
  const left = await attempt("after the cuts", async () => {
    await stage.whenIdle();
    const server = await stage.metric("server", "sproxy_held_bytes");
    const client = await stage.metric("client", "sproxy_held_bytes");
    if (server + client > 0) throw new Error(`${server + client} bytes held`);
    return "no tunnel and no byte left behind";
  });
  return left ? failed : failed + 1;
}

async function main(args: readonly string[]): Promise<number> {
  let plan: Plan | undefined;
  try {
    plan = readPlan(args);
  } catch (error) {
    say(`${messageOf(error)}\n\n${HELP}`);
    return 2;
  }
  if (plan === undefined) {
    say(HELP);
    return 0;
  }
  say(`seed ${plan.seed}`);
  const echoes = await longEchoes(plan);
  const cuts = await cutEchoes(plan);
  say(
    `== ${plan.echoes} long echoes, ${echoes} failed; ` +
      `${plan.cuts} echoes with cuts, ${cuts} failed`,
  );
  return echoes + cuts === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
