/**
 * Runs `deno task test:soak`: mixed traffic for an hour (or as long as told)
 * while faults strike at random: the broker is killed, restarted and stopped, links
 * are cut, refused, silenced and delayed, now and then a role is killed.
 *
 * Prints a line each minute and a verdict at the end; exit code 1 if a byte
 * was wrong, a job failed that had no reason to, something was left behind,
 * or memory grew.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { seededRandom } from "../integration_tests/support/chaos_flow.ts";
import { pause } from "../integration_tests/support/changes.ts";
import {
  type Stage,
  startStage,
} from "../integration_tests/support/chaos_stage.ts";
import { residentBytes } from "../integration_tests/support/proc_stats.ts";
import { startOwnRedis } from "../integration_tests/support/redis_server.ts";
import {
  type ClientRole,
  type RoleName,
  startClient,
} from "../integration_tests/support/roles.ts";
import { messageOf } from "../lib/base/errors.ts";
import { formatDuration, parseDuration } from "../lib/base/units.ts";
import { locate } from "./find_or_install.ts";
import { median } from "../bench/measure.ts";
import { runTraffic, type Tally } from "./soak_traffic.ts";

const MIB = 1024 * 1024;

/** Pause between two faults, in ms: at least, and what chance adds at most. */
const CALM = { least: 3_000, more: 12_000 } as const;

/** Time between two looks at memory, in ms. */
const SAMPLE = 5_000;

/**
 * Samples of one process from which on its memory is judged: ten minutes. In
 * the first few, the heap of a busy process moves by more than a leak would.
 */
const ENOUGH_SAMPLES = 120;

/**
 * What memory may grow by from the second quarter of a process's life to its
 * last, in bytes: collections come when they come.
 */
const SLACK = 48 * MIB;

/** How long after a fault a role may take to be back at NATS, in ms: its longest pause, and a margin. */
const RECONNECT = 5_000;

/** Failures shown one by one. */
const MOST_SHOWN = 50;

function say(line: string): void {
  // deno-lint-ignore no-console -- the tool's output
  console.log(line);
}

/** A fault: strikes, lasts, and is over when it resolves. */
type Fault = (stage: Stage, random: () => number) => Promise<void>;

/** One of the roles, by chance. */
function anyRole(random: () => number): RoleName {
  return random() < 0.5 ? "server" : "client";
}

/** All shorter than the peer time, so that no tunnel has a reason to end. */
const FAULTS: Readonly<Record<string, Fault>> = {
  "broker killed": async ({ nats }, random) => {
    await nats.kill();
    await pause(random() * 3_000);
    await nats.restart();
  },
  "broker restarted": async ({ nats }, random) => {
    await nats.stop();
    await pause(random() * 500);
    await nats.restart();
  },
  "broker stopped": async ({ nats }, random) => {
    nats.pause();
    await pause(random() * 6_000);
    nats.resume();
  },
  "link cut": async (stage, random) => {
    const relay = stage.relay(anyRole(random));
    const cuts = relay.cuts;
    relay.cutAfter(Math.floor(10 ** (2 + 5 * random())));
    await relay.whenCut(cuts + 1, { signal: AbortSignal.timeout(20_000) })
      .catch(() => relay.cut()); // too little traffic to get there
  },
  "both links cut": (stage) => {
    stage.relay("server").cut();
    stage.relay("client").cut();
    return Promise.resolve();
  },
  "dial refused": async (stage, random) => {
    const relay = stage.relay(anyRole(random));
    await relay.refuse();
    relay.cut();
    await pause(random() * 2_000);
    await relay.accept();
  },
  "link silent": async (stage, random) => {
    const relay = stage.relay(anyRole(random));
    relay.blackhole();
    await pause(random() * 5_000);
    await relay.resume();
  },
  "link slow": async (stage, random) => {
    const relay = stage.relay(anyRole(random));
    relay.delay(random() * 50);
    await pause(5_000);
    relay.delay(0);
  },
};

/** What happened, and when roles were last missing. */
class Chronicle {
  readonly faults = new Map<string, number>();
  /** When a fault last kept the server from NATS, the time to reconnect included. */
  lastServerOutage = -Infinity;
  #outage = false;
  #lastOutage = -Infinity;

  /** Now, while a role is missing; else when one last was. */
  get lastRoleOutage(): number {
    return this.#outage ? performance.now() : this.#lastOutage;
  }

  note(fault: string): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  }

  async withoutRole(body: () => Promise<void>): Promise<void> {
    this.#outage = true;
    await body();
    this.#lastOutage = performance.now();
    this.#outage = false;
  }
}

/** Lets faults strike until told to stop. */
async function runFaults(
  stage: Stage,
  options: {
    readonly chronicle: Chronicle;
    readonly random: () => number;
    /** Time between two kills of a role, in ms; 0 for never. */
    readonly killEvery: number;
    readonly stop: AbortSignal;
  },
): Promise<void> {
  const { chronicle, random, killEvery, stop } = options;
  const names = Object.keys(FAULTS);
  let killAt = performance.now() + killEvery;
  let victim: RoleName = "client";
  while (!stop.aborted) {
    await pause(CALM.least + random() * CALM.more);
    if (stop.aborted) return;
    if (killEvery > 0 && performance.now() >= killAt) {
      killAt = performance.now() + killEvery;
      victim = victim === "client" ? "server" : "client";
      chronicle.note(`${victim} killed`);
      await chronicle.withoutRole(() => stage.restart(victim));
      continue;
    }
    const name = names[Math.floor(random() * names.length)] ?? "";
    chronicle.note(name);
    chronicle.lastServerOutage = Infinity;
    await FAULTS[name]?.(stage, random);
    chronicle.lastServerOutage = performance.now() + RECONNECT;
  }
}

/** The memory of processes over their lives. */
class MemoryLog {
  readonly #lives = new Map<string, number[]>();

  /** Takes a sample of each; returns them by name, in MiB, for people. */
  async sample(
    processes: Readonly<Record<string, number>>,
  ): Promise<string> {
    const shown: string[] = [];
    for (const [name, pid] of Object.entries(processes)) {
      let bytes: number;
      try {
        bytes = await residentBytes(pid);
      } catch {
        continue; // just being restarted
      }
      const life = `${name} ${pid}`;
      const samples = this.#lives.get(life) ?? [];
      samples.push(bytes);
      this.#lives.set(life, samples);
      shown.push(`${name} ${Math.round(bytes / MIB)}`);
    }
    return shown.join(", ");
  }

  /** A line for each life that was long enough, and whether it grew. */
  verdicts(): { readonly line: string; readonly grew: boolean }[] {
    return [...this.#lives].flatMap(([life, samples]) => {
      if (samples.length < ENOUGH_SAMPLES) return [];
      const quarter = samples.length >> 2;
      const early = median(samples.slice(quarter, 2 * quarter)) ?? 0;
      const late = median(samples.slice(-quarter)) ?? 0;
      const grew = late > early + SLACK;
      const line = `${life}: ${Math.round(early / MIB)} MiB early, ${
        Math.round(late / MIB)
      } MiB late, ${samples.length} samples: ${grew ? "GREW" : "flat"}`;
      return [{ line, grew }];
    });
  }
}

/** Sums of a map as "a 1, b 2". */
function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
}

/** Waits until nothing of the traffic is left in either role. */
async function expectNothingLeft(stage: Stage): Promise<string | undefined> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    let left = 0;
    for (const role of ["server", "client"] as const) {
      for (const gauge of ["tunnels_open", "tunnels_opening", "held_bytes"]) {
        left += await stage.metric(role, `sproxy_${gauge}`);
      }
    }
    if (left === 0) return undefined;
    if (performance.now() > deadline) return `${left} tunnels or bytes left`;
    await pause(200);
  }
}

/** The soak itself; returns what is wrong, nothing if all is well. */
async function soak(
  options: {
    readonly time: number;
    readonly seed: number;
    /** Time between two kills of a role, in ms; 0 for never. */
    readonly killEvery: number;
  },
): Promise<string[]> {
  const { time, seed, killEvery } = options;
  const random = seededRandom(seed);
  await using cleanup = new AsyncDisposableStack();
  const stage = cleanup.use(await startStage({ relays: true }));
  let redisClient: ClientRole | undefined;
  if (await locate("redis-server") !== undefined) {
    const redis = cleanup.use(await startOwnRedis());
    redisClient = cleanup.use(
      await startClient(stage.relay("client").url, {
        target: redis.address,
        name: "redis client",
      }),
    );
  }
  const stopping = new AbortController();
  const chronicle = new Chronicle();
  const memory = new MemoryLog();
  const tally: Tally = {
    done: new Map(),
    bytes: 0,
    excused: 0,
    refused: 0,
    failures: [],
  };
  const traffic = runTraffic({
    stage,
    random,
    redis: () => redisClient,
    lastRoleOutage: () => chronicle.lastRoleOutage,
    lastServerOutage: () => chronicle.lastServerOutage,
    stop: stopping.signal,
  }, tally);
  const faults = runFaults(stage, {
    chronicle,
    random,
    killEvery,
    stop: stopping.signal,
  });
  const started = performance.now();
  let minutes = 0;
  while (performance.now() < started + time) {
    await pause(Math.min(SAMPLE, started + time - performance.now()));
    const shown = await memory.sample({
      server: stage.server.process.pid,
      client: stage.client.process.pid,
      ...(redisClient && { "redis client": redisClient.process.pid }),
      "nats-server": stage.nats.process.pid,
      "this tool": Deno.pid,
    });
    if (performance.now() < started + (minutes + 1) * 60_000) continue;
    minutes++;
    const open = await stage.metric("client", "sproxy_tunnels_open").catch(
      () => NaN, // just being restarted
    );
    say(
      `${minutes} min: MiB: ${shown}; ${open} tunnels; ${
        Math.round(tally.bytes / MIB)
      } MiB there and back; jobs: ${listed(tally.done)}; ` +
        `${tally.excused} cut with a killed role; ` +
        `${tally.refused} refused without a server; ${tally.failures.length} failures`,
    );
  }
  stopping.abort();
  await faults;
  for (const role of ["server", "client"] as const) {
    await stage.relay(role).resume();
  }
  await traffic;
  const left = await expectNothingLeft(stage);
  say(`faults: ${listed(chronicle.faults)}`);
  say(`jobs: ${listed(tally.done)}; ${tally.excused} cut with a killed role`);
  const verdicts = memory.verdicts();
  for (const { line } of verdicts) say(`memory of ${line}`);
  if (verdicts.length === 0) say("too short to judge memory");
  return [
    ...tally.failures.slice(0, MOST_SHOWN),
    ...(tally.failures.length > MOST_SHOWN
      ? [`and ${tally.failures.length - MOST_SHOWN} more failures`]
      : []),
    ...(left === undefined ? [] : [left]),
    ...verdicts.filter(({ line, grew }) =>
      grew && !line.startsWith("this tool")
    ).map(({ line }) => `memory: ${line}`),
  ];
}

const HELP =
  `deno task test:soak [--time DURATION] [--seed N] [--kill-every DURATION]

  --time DURATION  how long, such as 90s, 10m or 1h (default 1h)
  --seed N         where chance starts (default random)
  --kill-every DURATION
                   how often a role is killed, 0 for never (default 10m); the
                   memory of those that live for ten minutes is judged`;

async function main(args: readonly string[]): Promise<number> {
  let time: number;
  let seed: number;
  let killEvery: number;
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        time: { type: "string", default: "1h" },
        seed: { type: "string", default: String(Date.now() % 2 ** 32) },
        "kill-every": { type: "string", default: "10m" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      say(HELP);
      return 0;
    }
    time = parseDuration(values.time);
    seed = Number(values.seed);
    killEvery = parseDuration(values["kill-every"]);
  } catch (error) {
    say(`${messageOf(error)}\n\n${HELP}`);
    return 2;
  }
  say(`soaking for ${formatDuration(time)}, seed ${seed}`);
  const wrong = await soak({ time, seed, killEvery });
  for (const line of wrong) say(line);
  say(
    wrong.length === 0
      ? "== all bytes exact, nothing left behind, no memory seen to grow"
      : `== FAILED: ${wrong.length} findings`,
  );
  return wrong.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
