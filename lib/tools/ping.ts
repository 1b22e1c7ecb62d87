/**
 * `ping`: asks again and again whether a server answers where an open would go,
 * and how long that takes.
 *
 * @module
 */
import { wakefulClock } from "../base/clock.ts";
import { blame, messageOf, UsageError } from "../base/errors.ts";
import { parseAddress } from "../base/address.ts";
import {
  type Destination,
  formatDestination,
  parseDestination,
  splitSite,
} from "../base/target.ts";
import { escapeUnsafe, quote } from "../base/text.ts";
import { type Heard, openProber, type ToolProber } from "../process/prober.ts";
import type { ToolCall } from "../process/tool.ts";
import type { TrialOutcome, Trials } from "../process/trial.ts";
import { ANY_TARGET, askOne, nameOf } from "./probing.ts";
import { countFlag, durationFlag } from "./flags.ts";
import { type Answer, PingStatistics } from "./ping_statistics.ts";
import { formatMs, rounded } from "./table.ts";
import { traceOf } from "./trace.ts";

/** Pause between two questions, in ms, unless told otherwise, and the shortest. */
const INTERVAL_MS = { otherwise: 1_000, least: 10 } as const;

/** How long an answer may take, in ms, unless told otherwise, and the shortest. */
const TIMEOUT_MS = { otherwise: 2_000, least: 10 } as const;

/** What is to be done. */
interface Plan {
  readonly destination: Destination;
  /** What is asked for, as people write it; empty for any target. */
  readonly text: string;
  readonly count: number;
  readonly interval: number;
  readonly timeout: number;
  readonly asJson: boolean;
  readonly trace: boolean;
  readonly open: boolean;
}

/** What one question came to, in words. */
type Outcome = Answer & {
  readonly line: string;
  readonly about: Readonly<Record<string, unknown>>;
};

/** Does it. */
export async function runPing(call: ToolCall): Promise<number> {
  const plan = planOf(call);
  await using asker = await openProber(call);
  const { config, signal, print } = call;
  using trials = plan.open && config.role === "client"
    ? (await import("../process/trial.ts")).trialsOf(
      config,
      asker,
      config.client.openTimeout,
    )
    : undefined;
  const statistics = new PingStatistics();
  if (!plan.asJson) print(headline(plan, asker));
  for (let seq = 1; seq <= plan.count && !signal.aborted; seq++) {
    if (seq > 1 && !await pause(plan.interval, signal)) break;
    const outcome = await ask(asker, { plan, trials, signal });
    // What a signal ends is neither an answer nor a loss.
    if (outcome === undefined) break;
    statistics.note(outcome);
    const { line, about, answered, ms } = outcome;
    const time = answered ? ` time=${formatMs(ms)}ms` : "";
    print(
      plan.asJson
        ? `${JSON.stringify({ seq, ...about })}\n`
        : `seq=${seq}${time} ${escapeUnsafe(line)}\n`,
    );
    if (outcome.trace !== undefined && !plan.asJson) print(outcome.trace);
  }
  print(
    plan.asJson
      ? `${JSON.stringify(statistics.json)}\n`
      : `\n${statistics.summary}\n`,
  );
  return statistics.lost === 0 && statistics.asked > 0 ? 0 : 1;
}

/**
 * What the words and flags ask for.
 *
 * @throws {UsageError} for what is no target, or a flag that does not fit.
 */
function planOf({ words: [word], flags }: ToolCall): Plan {
  const trace = flags.has("trace");
  const open = flags.has("open");
  const destination = word === undefined ? { target: ANY_TARGET } : parse(word);
  if (open && destination.target === ANY_TARGET) {
    throw new UsageError(
      "ping --open opens a tunnel: say the target, such as db:5432 or svc:db",
    );
  }
  if (open && trace) {
    throw new UsageError("--open and --trace are two uses: leave out one");
  }
  return {
    destination,
    text: word ?? "",
    count: countFlag(flags, "count") ?? (trace || open ? 1 : Infinity),
    interval: durationFlag(flags, "interval", INTERVAL_MS),
    timeout: durationFlag(flags, "timeout", TIMEOUT_MS),
    asJson: flags.has("json"),
    trace,
    open,
  };
}

function parse(word: string): Destination {
  try {
    const { rest, site } = splitSite(word);
    if (rest === "" && site !== undefined) return { target: ANY_TARGET, site };
    return parseDestination(word, (text) => parseAddress(text));
  } catch (error) {
    throw new UsageError(
      `${quote(word)} is no target of ping: ${
        messageOf(error)
      }; write HOST:PORT, svc:NAME or unix:PATH, and @SITE behind it or alone`,
      { cause: error },
    );
  }
}

function headline(
  { destination, text, open }: Plan,
  { bus, subjectsTo }: ToolProber,
): string {
  const [subject] = subjectsTo(destination);
  const what = text === "" ? "servers" : escapeUnsafe(text);
  const how = open ? "opening tunnels" : `asking on ${subject}`;
  return `PING ${what} by NATS at ${bus.server}, ${how}\n`;
}

/** Asks once; undefined when a signal ends it. */
async function ask(
  asker: ToolProber,
  { plan, trials, signal }: {
    readonly plan: Plan;
    readonly trials: Trials | undefined;
    readonly signal: AbortSignal;
  },
): Promise<Outcome & { readonly trace?: string } | undefined> {
  if (trials !== undefined) {
    const stopped = Promise.withResolvers<undefined>();
    const onStop = (): void => stopped.resolve(undefined);
    signal.addEventListener("abort", onStop, { once: true });
    const outcome = await Promise.race([
      trials.open(plan.destination),
      stopped.promise,
    ]);
    signal.removeEventListener("abort", onStop);
    return outcome && ofOpen(outcome, plan);
  }
  if (!plan.trace) return await probe(asker, { plan, signal });
  const { bus, prober } = asker;
  const { timeout } = plan;
  const traced = await traceOf(bus, { to: prober.traceTo, timeout });
  const outcome = await probe(asker, {
    ...{ plan, signal },
    onTrace: traced.onEvent,
  });
  if (outcome === undefined) return undefined;
  const { text, json } = await traced.whole(signal);
  return { ...outcome, about: { ...outcome.about, trace: json }, trace: text };
}

function ofOpen(outcome: TrialOutcome, { destination }: Plan): Outcome {
  const { ms } = outcome;
  const target = formatDestination(destination);
  if (outcome.type === "open") {
    return {
      ...{ answered: true, ms, line: `${target} is open` },
      about: { open: true, ms: rounded(ms) },
    };
  }
  const { why, reason: code } = blame(outcome.by, outcome.reason);
  return {
    ...{ answered: false, ms, line: `${target} does not open: ${why}` },
    about: { open: false, ms: rounded(ms), code, why },
  };
}

async function probe(
  asker: ToolProber,
  { plan: { destination, timeout }, ...how }: {
    readonly plan: Plan;
    readonly signal: AbortSignal;
    readonly onTrace?: ((event: Uint8Array) => void) | undefined;
  },
): Promise<Outcome | undefined> {
  const asked = await askOne(asker, destination, { ...how, timeout });
  if (asked?.type !== "lost") return asked && ofHeard(asked.heard);
  const { ms, reason: { text: why } } = asked;
  return {
    ...{ answered: false, ms, line: `no answer: ${why}` },
    about: { answered: false, ms: rounded(ms), why },
  };
}

/** What a server's answer says. */
function ofHeard(heard: Heard): Outcome {
  const { ms } = heard;
  const answered = (
    line: string,
    about: Readonly<Record<string, unknown>> = {},
  ): Outcome => ({
    ...{ answered: true, ms, line },
    about: { answered: true, ms: rounded(ms), ...about },
  });
  switch (heard.type) {
    case "report": {
      const { facts, ...least } = heard.report;
      const from = `from ${nameOf(heard.report)}`;
      // A client without a key opens nothing there.
      if (facts === undefined && least.sealed) {
        return {
          ...answered(`${from}, which takes sealed opens only`),
          answered: false,
          about: { answered: false, ms: rounded(ms), ...least },
        };
      }
      const state = facts === undefined || facts.state === "ready"
        ? ""
        : ` (${facts.state})`;
      return answered(`${from}${state}`, { ...least, ...facts });
    }
    case "refused": {
      const { code, text } = heard.reason;
      return {
        ...answered(""),
        answered: false,
        line: `refused: ${text}`,
        about: { answered: false, ms: rounded(ms), code, why: text },
      };
    }
    case "old":
      return answered("from a server of an older version");
    case "v1":
      return answered("from a server of version 1");
    default:
      return answered("");
  }
}

/** Waits; false when a signal ends it. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onStop = (): void => resolve();
  signal.addEventListener("abort", onStop, { once: true });
  using _timer = wakefulClock.after(ms, onStop);
  await promise;
  signal.removeEventListener("abort", onStop);
  return !signal.aborted;
}
