/**
 * The way of a message through NATS, as its brokers tell it (ADR-41, nats-server
 * 2.11): each sends one event with what came in, and what went out where to.
 *
 * @module
 */
import { parse, recordOf } from "../base/foreign_json.ts";
import { escapeUnsafe } from "../base/text.ts";
import { formatMs } from "./table.ts";

/** Kinds of connections, by their numbers in events. */
const KINDS: readonly string[] = [
  "client",
  "route",
  "gateway",
  "system",
  "leaf node",
  "JetStream",
  "account",
];

/** The kind of an application's connection. */
const CLIENT = 0;

/** The account where nothing says otherwise. */
const GLOBAL_ACCOUNT = "$G";

/** Most events that are read of one message, and most steps of one: a broker out of its mind sends more. */
export const MAX_EVENTS = 256;

/** Longest text of an event that is shown, in UTF-16 units. */
const MAX_TEXT = 200;

/** One thing that a broker did with the message. */
export interface TraceStep {
  /** What: `in`, `eg`, `sm` (mapped), `si`, `se` (to another account), `js`. */
  readonly type: string;
  /** When, in ms since 1970, with fractions. */
  readonly at: number;
  /** What kind of connection it was; undefined where it was none. */
  readonly kind: string | undefined;
  /** What the other end of that is called. */
  readonly name: string;
  /** What was made of the message, or which subscription took it. */
  readonly about: string;
  /** Why it went no further. */
  readonly error: string | undefined;
  /** Which event tells how it went on there. */
  readonly hop: string | undefined;
}

/** What one broker did with it. */
export interface TraceEvent {
  /** The broker's name. */
  readonly server: string;
  /** Its cluster. */
  readonly cluster: string;
  /** Its version. */
  readonly version: string;
  /** Its place in the way: empty for the first, then `1`, `1.2` and so on. */
  readonly hop: string;
  /** To how many other brokers it went from here. */
  readonly hops: number;
  /** What it did, in its order. */
  readonly steps: readonly TraceStep[];
}

/** The event in `data`; undefined where it is none. */
export function parseTraceEvent(data: Uint8Array): TraceEvent | undefined {
  const event = recordOf(parse(new TextDecoder().decode(data))) ?? {};
  const server = recordOf(event.server) ?? {};
  if (!Array.isArray(event.events) || typeof server.name !== "string") {
    return undefined;
  }
  const headers = recordOf(recordOf(event.request)?.header) ?? {};
  const [hop] = Object.entries(headers)
    .filter(([name]) => name.toLowerCase() === "nats-trace-hop")
    .flatMap(([, values]) => Array.isArray(values) ? values : []);
  return {
    server: textOf(server.name),
    cluster: textOf(server.cluster),
    version: textOf(server.ver),
    hop: textOf(hop),
    hops: typeof event.hops === "number" ? event.hops : 0,
    steps: event.events.slice(0, MAX_EVENTS).map((step: unknown) =>
      stepOf(recordOf(step) ?? {})
    ),
  };
}

function stepOf(step: Readonly<Record<string, unknown>>): TraceStep {
  const { type, kind, name, error, hop, subj, sub, queue, to, stream, acc } =
    step;
  const words = [
    // Routes, gateways and leaf nodes bring what the first client sent.
    kind === CLIENT ? textOf(subj) : "",
    textOf(sub),
    to === undefined ? "" : `to ${textOf(to)}`,
    queue === undefined ? "" : `queue ${textOf(queue)}`,
    stream === undefined ? "" : `stream ${textOf(stream)}`,
    acc === undefined || acc === GLOBAL_ACCOUNT ? "" : `account ${textOf(acc)}`,
  ];
  return {
    type: textOf(type),
    at: timeOf(textOf(step.ts)),
    kind: typeof kind === "number" ? KINDS[kind] ?? `kind ${kind}` : undefined,
    name: textOf(name),
    about: words.filter((word) => word !== "").join(", "),
    error: error === undefined ? undefined : textOf(error),
    hop: hop === undefined ? undefined : textOf(hop),
  };
}

/** Whether all events are there that those which are there speak of. */
export function isWhole(events: readonly TraceEvent[]): boolean {
  const hops = new Set(events.map(({ hop }) => hop));
  return hops.has("") &&
    events.every(({ steps }) =>
      steps.every(({ hop, error }) =>
        hop === undefined || error !== undefined || hops.has(hop)
      )
    );
}

/** The way as an indented list, with times since it began and a line end; what is missing is said. */
export function renderTrace(events: readonly TraceEvent[]): string {
  const byHop = new Map(events.map((event) => [event.hop, event]));
  const first = byHop.get("");
  const start = first?.steps[0]?.at ?? events[0]?.steps[0]?.at ?? 0;
  const lines: string[] = [];
  const shown = new Set<TraceEvent>();
  const show = (event: TraceEvent, depth: number): void => {
    // A broker that names itself would be shown for ever.
    if (shown.has(event)) return;
    shown.add(event);
    const put = (at: number, more: number, text: string): void => {
      const time = at < start ? "skew" : `${formatMs(at - start)}ms`;
      const indent = "  ".repeat(depth + more);
      lines.push(`${time.padStart(9)}  ${indent}${escapeUnsafe(text)}`);
    };
    const { server, cluster, version, steps } = event;
    const about = [
      version === "" ? "" : `version ${version}`,
      cluster === "" || cluster === server ? "" : `cluster ${cluster}`,
    ].filter((word) => word !== "").join(", ");
    put(
      steps[0]?.at ?? start,
      0,
      `broker ${server}${about === "" ? "" : ` (${about})`}`,
    );
    for (const step of steps) {
      put(step.at, 1, wordsOf(step));
      if (step.error !== undefined) put(step.at, 2, `error: ${step.error}`);
      if (step.hop === undefined) continue;
      const next = byHop.get(step.hop);
      if (next !== undefined) show(next, depth + 2);
      else if (step.error === undefined) {
        put(step.at, 2, "nothing is known from there on");
      }
    }
    if (!steps.some(({ type }) => type === "eg" || type === "js")) {
      const refused = steps.some(({ error }) => error !== undefined);
      if (!refused) put(steps.at(-1)?.at ?? start, 1, "nobody listens there");
    }
  };
  if (first !== undefined) show(first, 0);
  // Of a way whose beginning no event tells, all that is known.
  for (const event of [...events].sort(byHopOrder)) show(event, 0);
  return lines.map((line) => `${line}\n`).join("");
}

/** One step in words. */
function wordsOf({ type, kind, name, about }: TraceStep): string {
  const who = [kind ?? "", name === "" ? "" : JSON.stringify(name)]
    .filter((word) => word !== "").join(" ");
  const what = STEPS.get(type) ?? type;
  const tail = about === "" ? "" : `: ${about}`;
  return `${what}${who === "" ? "" : ` ${who}`}${tail}`;
}

const STEPS: ReadonlyMap<string, string> = new Map([
  ["in", "from"],
  ["eg", "to"],
  ["sm", "mapped"],
  ["si", "imported as a service"],
  ["se", "exported as a stream"],
  ["js", "stored by JetStream"],
]);

function byHopOrder({ hop: a }: TraceEvent, { hop: b }: TraceEvent): number {
  return a < b ? -1 : 1;
}

/** The time in `text` in ms since 1970, to the nanosecond that a broker gives. */
function timeOf(text: string): number {
  const [, seconds, fraction = "", zone = "Z"] =
    /^(.*T[\d:]+)(\.\d+)?(Z|[+-]\d\d:\d\d)?$/.exec(text) ?? [];
  const whole = Date.parse(`${seconds}${zone}`);
  return Number.isNaN(whole) ? 0 : whole + Number(fraction || 0) * 1_000;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value.slice(0, MAX_TEXT) : "";
}
