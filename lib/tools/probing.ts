/**
 * Asks servers how they do: one where an open would go, or all that there are.
 *
 * @module
 */
import { Deadline } from "../base/abort.ts";
import { wakefulClock } from "../base/clock.ts";
import type { Reason } from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import { formatRough } from "../base/units.ts";
import { type Asker, type Heard, serviceProblem } from "../process/prober.ts";
import type { ServerReport } from "../wire/probe.ts";

/** Clocks that are further apart, in ms, are told of; each first open under a seal takes longer from a minute on. */
export const CLOCKS_APART_MS = 2_000;

/** Stands for any address: where the target is not said, the servers of all are asked. */
export const ANY_TARGET = { host: "0.0.0.0", port: 0 } as const;

/** How long silence on one subject may last before the next one is asked, too, in ms: as of opens. */
const DOUBT_MS = 1_000;

/** What it takes to ask where an open goes. */
export interface Line extends Pick<Asker, "subjectsTo" | "whyNobody"> {
  /** Whether it is connected. */
  readonly bus: Pick<Asker["bus"], "connected">;
  /** What asks. */
  readonly prober: Pick<Asker["prober"], "ask">;
}

/** What one question came to. */
export type Asked =
  | { readonly type: "heard"; readonly heard: Heard }
  | { readonly type: "lost"; readonly reason: Reason; readonly ms: number };

/** A server that has answered. */
export interface Listed {
  /** What it said. */
  readonly report: ServerReport;
  /** The round trip, in ms. */
  readonly ms: number;
  /** How far its clock is ahead of ours, in ms; undefined where it does not say. */
  readonly ahead: number | undefined;
}

/** All that was heard. */
export interface Listing {
  /** Servers, by their public IDs. */
  readonly servers: readonly Listed[];
  /** What else a person should know, a line each. */
  readonly notes: readonly string[];
  /** Whether NATS refuses the question to all. */
  readonly denied: boolean;
  /** Who answers opens and is too old to be listed, if one does. */
  readonly older: "old" | "v1" | undefined;
}

/**
 * Asks on each subject where an open would be answered, until one answers;
 * undefined when a signal ends it.
 */
export async function askOne(
  { bus, prober, subjectsTo, whyNobody }: Line,
  destination: Destination,
  { timeout, signal, onTrace }: {
    /** How long an answer may take, in ms. */
    readonly timeout: number;
    readonly signal: AbortSignal;
    readonly onTrace?: ((event: Uint8Array) => void) | undefined;
  },
): Promise<Asked | undefined> {
  const startedAt = wakefulClock.now();
  const ends = new Map<string, Heard["type"]>();
  const silent: string[] = [];
  const subjects = subjectsTo(destination);
  const [own] = subjects;
  const lost = (reason: Reason): Asked => {
    const ms = wakefulClock.now() - startedAt;
    return { type: "lost", ms, reason };
  };
  let foreign: string | undefined;
  using cleanup = new DisposableStack();
  const answer = Promise.withResolvers<readonly [Heard, subject: string]>();
  for (const subject of subjects) {
    const isLast = subject === subjects.at(-1);
    const over = Promise.withResolvers<undefined>();
    const onStop = (): void => over.resolve(undefined);
    signal.addEventListener("abort", onStop, { once: true });
    const asking = cleanup.use(prober.ask(subject, (heard) => {
      if (heard.type === "foreign") foreign = heard.what;
      else if (heard.type === "nobody" || heard.type === "denied") {
        ends.set(subject, heard.type);
        over.resolve(undefined);
      } else answer.resolve([heard, subject]);
    }, { onTrace }));
    using _timer = wakefulClock.after(
      isLast ? timeout : Math.min(timeout, DOUBT_MS),
      () => {
        // Whoever listens there may be no server, and one may be on the next.
        silent.push(subject);
        asking.tryNextKey();
        onStop();
      },
    );
    const answered = await Promise.race([answer.promise, over.promise]);
    signal.removeEventListener("abort", onStop);
    if (signal.aborted) return undefined;
    if (!bus.connected) {
      return lost({ code: "nats-down", text: "NATS is not connected" });
    }
    if (answered === undefined) continue;
    const [heard, at] = answered;
    const { target } = destination;
    const text = at !== own && "service" in target
      ? serviceProblem(target.service, heard)
      : undefined;
    return text === undefined
      ? { type: "heard", heard }
      : lost({ code: "no-such-service", text });
  }
  if (silent.length > 0) {
    const text = foreign ??
      `whoever listens on ${silent[0]} is silent for ${formatRough(timeout)}`;
    return lost({ code: "no-server", text });
  }
  return lost(
    whyNobody(destination, (subject) => ends.get(subject) === "denied"),
  );
}

/** Asks all servers, and one of those that take opens, which may be too old for the other question. */
export async function askAll(
  { prober, subjects, token }: Pick<Asker, "prober" | "subjects" | "token">,
  { timeout, signal }: {
    readonly timeout: number;
    readonly signal: AbortSignal;
  },
): Promise<Listing> {
  const servers = new Map<string, Listed>();
  const { promise: nobody, resolve } = Promise.withResolvers<void>();
  const ends = new Map<string, Heard["type"]>();
  const said = new Set<string>();
  const all = subjects.probeOf(token);
  const one = subjects.requestOf(token);
  const onHeard = (subject: string) => (heard: Heard): void => {
    switch (heard.type) {
      case "report": {
        const { report, ms } = heard;
        const before = servers.get(report.id);
        if (before !== undefined && before.ms <= ms) return;
        servers.set(report.id, listedAs(report, ms));
        break;
      }
      case "refused":
        said.add(`a server refuses to tell: ${heard.reason.text}`);
        break;
      case "foreign":
        said.add(`on ${subject} ${heard.what}`);
        break;
      default:
        ends.set(subject, heard.type);
        if (ends.get(all) !== undefined && ends.get(one) !== undefined) {
          resolve();
        }
    }
  };
  using _all = prober.askAll(all, onHeard(all));
  using _one = prober.ask(one, onHeard(one));
  using deadline = new Deadline(signal, {
    clock: wakefulClock,
    ms: timeout,
    late: () => new Error("time is up"),
  });
  const over = Promise.withResolvers<void>();
  deadline.signal.addEventListener("abort", () => over.resolve());
  await Promise.race([over.promise, nobody]);
  const end = ends.get(one);
  return {
    servers: [...servers.values()].toSorted(byPlace),
    denied: ends.get(all) === "denied",
    older: end === "old" || end === "v1" ? end : undefined,
    notes: [
      ...said,
      ...endNotes({
        ...{ all, one, ends, timeout },
        found: servers.size > 0 || said.size > 0,
      }),
    ],
  };
}

/** What the ends of both questions tell. */
export function endNotes(
  { all, one, ends, found, timeout }: {
    readonly all: string;
    readonly one: string;
    readonly ends: ReadonlyMap<string, Heard["type"]>;
    readonly found: boolean;
    readonly timeout: number;
  },
): readonly string[] {
  const notes: string[] = [];
  if (ends.get(all) === "denied") {
    notes.push(
      `NATS refuses what is published to ${all}: allow that, so that all servers can be listed`,
    );
  }
  if (ends.get(one) === "old") {
    notes.push(
      `a server on ${one} answers that is too old to be listed`,
    );
  } else if (!found && ends.get(one) === "denied") {
    notes.push(`NATS refuses what is published to ${one}`);
  } else if (
    !found && ends.get(all) === "nobody" && ends.get(one) === "nobody"
  ) {
    notes.push(
      `no server listens on ${all} or ${one}: start one, or check --nats-url and --request-subject, and the account of NATS`,
    );
  } else if (!found && notes.length === 0) {
    notes.push(`no server answered within ${formatRough(timeout)}`);
  }
  return notes;
}

/** `report`, which took so many ms, as of a server that is listed. */
export function listedAs(report: ServerReport, ms: number): Listed {
  const { time } = report.facts ?? {};
  const ahead = time && time - (wakefulClock.wallTime() - ms / 2);
  return { report, ms, ahead };
}

/** A server as people tell it from others: its host, its thread and its ID. */
export function nameOf({ id, facts }: ServerReport): string {
  if (facts?.host === undefined) return id;
  const number = facts.worker === undefined ? "" : `#${facts.worker}`;
  const site = facts.site === undefined ? "" : ` @${facts.site}`;
  return `${facts.host}${number}${site} (${id})`;
}

function byPlace({ report: a }: Listed, { report: b }: Listed): number {
  const key = ({ id, facts }: ServerReport): string =>
    [
      facts?.site ?? "",
      facts?.host ?? "",
      String(facts?.pid ?? 0).padStart(10, "0"),
      String(facts?.worker ?? 0).padStart(4, "0"),
      id,
    ].join("\n");
  return key(a) < key(b) ? -1 : 1;
}
