/**
 * `ping`: asks again and again whether a server answers where an open would go,
 * and how long that takes.
 *
 * @module
 */
import { wakefulClock } from "../base/clock.ts";
import { messageOf, UsageError } from "../base/errors.ts";
import { parseAddress } from "../base/address.ts";
import {
  type Destination,
  formatDestination,
  parseDestination,
  splitSite,
} from "../base/target.ts";
import { escapeUnsafe, quote } from "../base/text.ts";
import { formatRough } from "../base/units.ts";
import type { Opened, Opener } from "../process/opener.ts";
import {
  type Heard,
  openProber,
  serviceProblem,
  type ToolProber,
} from "../process/prober.ts";
import type { ToolCall } from "../process/tool.ts";
import type { ServerReport } from "../wire/probe.ts";
import { countFlag, durationFlag } from "./flags.ts";
import { type Answer, PingStatistics } from "./ping_statistics.ts";
import { formatMs } from "./table.ts";
import { traceOf } from "./trace.ts";

/** Pause between two questions, in ms, unless told otherwise, and the shortest. */
const INTERVAL_MS = { otherwise: 1_000, least: 10 } as const;

/** How long an answer may take, in ms, unless told otherwise, and the shortest. */
const TIMEOUT_MS = { otherwise: 2_000, least: 10 } as const;

/** Stands for any address: where the target is not said, the servers of all are asked. */
const ANY = { host: "0.0.0.0", port: 0 } as const;

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
  using opener = plan.open && config.role === "client"
    ? await (await import("../process/opener.ts")).openOpener(config, {
      bus: asker.bus,
      signal,
    })
    : undefined;
  const statistics = new PingStatistics();
  if (!plan.asJson) print(headline(plan, asker));
  for (let seq = 1; seq <= plan.count && !signal.aborted; seq++) {
    if (seq > 1 && !await pause(plan.interval, signal)) break;
    const outcome = await ask(asker, { plan, opener, signal });
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
  const destination = word === undefined ? { target: ANY } : parse(word);
  if (open && destination.target === ANY) {
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
    if (rest === "" && site !== undefined) return { target: ANY, site };
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
  { plan, opener, signal }: {
    readonly plan: Plan;
    readonly opener: Opener | undefined;
    readonly signal: AbortSignal;
  },
): Promise<Outcome & { readonly trace?: string } | undefined> {
  if (opener !== undefined) {
    const stopped = Promise.withResolvers<undefined>();
    const onStop = (): void => stopped.resolve(undefined);
    signal.addEventListener("abort", onStop, { once: true });
    const opened = await Promise.race([
      opener.open(plan.destination),
      stopped.promise,
    ]);
    signal.removeEventListener("abort", onStop);
    return opened && ofOpen(opened, plan);
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

function ofOpen(opened: Opened, { destination }: Plan): Outcome {
  const { ms } = opened;
  const target = formatDestination(destination);
  if (!("code" in opened)) {
    return {
      ...{ answered: true, ms, line: `${target} is open` },
      about: { open: true, ms: rounded(ms) },
    };
  }
  const { code, why } = opened;
  return {
    ...{ answered: false, ms, line: `${target} does not open: ${why}` },
    about: { open: false, ms: rounded(ms), code, why },
  };
}

/** Asks on each subject where an open would be answered, until one answers. */
async function probe(
  { bus, prober, subjectsTo, whyNobody }: ToolProber,
  { plan: { destination, timeout }, signal, onTrace }: {
    readonly plan: Plan;
    readonly signal: AbortSignal;
    readonly onTrace?: ((event: Uint8Array) => void) | undefined;
  },
): Promise<Outcome | undefined> {
  const startedAt = wakefulClock.now();
  const ends = new Map<string, Heard["type"]>();
  const lost = (why: string): Outcome => {
    const ms = wakefulClock.now() - startedAt;
    return {
      ...{ answered: false, ms, line: `no answer: ${why}` },
      about: { answered: false, ms: rounded(ms), why },
    };
  };
  let foreign: string | undefined;
  for (const subject of subjectsTo(destination)) {
    const { promise, resolve } = Promise.withResolvers<Heard | undefined>();
    const onStop = (): void => resolve(undefined);
    signal.addEventListener("abort", onStop, { once: true });
    using _timer = wakefulClock.after(timeout, onStop);
    using asking = prober.ask(subject, (heard) => {
      if (heard.type === "foreign") foreign = heard.what;
      else resolve(heard);
    }, { onTrace });
    const heard = await promise;
    signal.removeEventListener("abort", onStop);
    if (signal.aborted) return undefined;
    if (!bus.connected) return lost("NATS is not connected");
    if (heard === undefined) {
      asking.tryNextKey();
      return lost(
        foreign ??
          `whoever listens on ${subject} is silent for ${formatRough(timeout)}`,
      );
    }
    if (heard.type === "nobody" || heard.type === "denied") {
      ends.set(subject, heard.type);
      continue;
    }
    const { target } = destination;
    const why = ends.size > 0 && "service" in target
      ? serviceProblem(target.service, heard)
      : undefined;
    return why === undefined ? ofHeard(heard) : lost(why);
  }
  return lost(
    whyNobody(destination, (subject) => ends.get(subject) === "denied"),
  );
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

/** A server as people tell it from others: its host, its thread and its ID. */
function nameOf({ id, facts }: ServerReport): string {
  if (facts?.host === undefined) return id;
  const number = facts.worker === undefined ? "" : `#${facts.worker}`;
  const site = facts.site === undefined ? "" : ` @${facts.site}`;
  return `${facts.host}${number}${site} (${id})`;
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

function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
