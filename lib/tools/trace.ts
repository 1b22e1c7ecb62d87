/**
 * Gathers what brokers tell of the way of one message, as long as more may come.
 *
 * @module
 */
import { Deadline } from "../base/abort.ts";
import { wakefulClock } from "../base/clock.ts";
import type { NatsBus } from "../nats/connection.ts";
import { JsonMessage } from "../wire/json.ts";
import {
  isWhole,
  MAX_EVENTS,
  parseTraceEvent,
  renderTrace,
  type TraceEvent,
} from "./trace_events.ts";

/** The first version of nats-server that traces messages (ADR-41). */
const TRACES_FROM = [2, 11] as const;

/** What is known of the way of a message. */
export interface Trace {
  /** For people, with a line end. */
  readonly text: string;
  /** For programs. */
  readonly json: unknown;
}

/** A trace that is being gathered. */
export interface Traced {
  /** Takes an event; undefined where nothing is traced, and nobody to be asked. */
  readonly onEvent: ((event: Uint8Array) => void) | undefined;
  /** What is known once no more is to be waited for. */
  whole(signal: AbortSignal): Promise<Trace>;
}

/** Begins to gather what comes at `to`, by the brokers behind `bus`, in `timeout` ms at most. */
export async function traceOf(
  bus: NatsBus,
  { to, timeout }: { readonly to: string; readonly timeout: number },
): Promise<Traced> {
  const why = await whyNoTrace(bus, to);
  if (why !== undefined) {
    return { onEvent: undefined, whole: () => Promise.resolve(none(why)) };
  }
  const events: TraceEvent[] = [];
  let onChange = (): void => {};
  return {
    onEvent: (data) => {
      const event = parseTraceEvent(data);
      if (event === undefined || events.length >= MAX_EVENTS) return;
      events.push(event);
      onChange();
    },
    whole: async (signal) => {
      await gathered(events, {
        ...{ signal, timeout },
        onNext: (next) => onChange = next,
      });
      return events.length === 0
        ? none(`NATS at ${bus.server} tells nothing of the way`)
        : { text: renderTrace(events), json: events };
    },
  };
}

/** Why the brokers would tell nothing of the way; undefined where they would. */
async function whyNoTrace(
  bus: NatsBus,
  to: string,
): Promise<string | undefined> {
  const { server, brokerVersion } = bus;
  if (!canTrace(brokerVersion)) {
    const from = TRACES_FROM.join(".");
    return `NATS at ${server} has version ${brokerVersion}, which traces no messages: that begins with ${from}`;
  }
  // It takes no message at all that is to be traced to where its sender may not publish.
  const may = await bus.mayPublish(to, new JsonMessage(new Uint8Array(0)));
  return may
    ? undefined
    : `NATS traces no messages of ours: it refuses what is published to ${to}, where its brokers would tell of the way`;
}

function none(why: string): Trace {
  return { text: `${why}\n`, json: { traced: false, why } };
}

/** Whether nats-server of this version traces messages. */
export function canTrace(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [fromMajor, fromMinor] = TRACES_FROM;
  return major > fromMajor || major === fromMajor && minor >= fromMinor;
}

/** Waits until all is there that is spoken of, or nothing more comes. */
async function gathered(
  events: readonly TraceEvent[],
  { signal, timeout, onNext }: {
    readonly signal: AbortSignal;
    readonly timeout: number;
    readonly onNext: (next: () => void) => void;
  },
): Promise<void> {
  using deadline = new Deadline(signal, {
    clock: wakefulClock,
    ms: timeout,
    late: () => new Error("time is up"),
  });
  const stop = deadline.signal;
  while (!stop.aborted && !isWhole(events)) {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    onNext(() => resolve(true));
    stop.addEventListener("abort", () => resolve(false), { once: true });
    if (!await promise) return;
  }
}
