/**
 * Metrics of a process: collected, added up over its workers, and written in
 * the text format of Prometheus (version 0.0.4).
 *
 * @module
 */
import type { ServiceCount } from "../server/offers.ts";
import type { Session } from "../session/session.ts";

/** One number of a metric. */
export interface Sample {
  /** What sets it apart from the metric's other samples. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The number. */
  readonly value: number;
}

/** A metric with its samples. */
export interface Metric {
  /** Its name; that of a counter ends in `_total`. */
  readonly name: string;
  /** What it counts or measures, and its unit. */
  readonly help: string;
  /** Whether it only grows. */
  readonly type: "counter" | "gauge";
  /** What several workers make of it: the sum (default), or true only if it is of every one. */
  readonly of?: "all" | "every";
  /** Its numbers. */
  readonly samples: readonly Sample[];
}

/** The part of a role that is counted. */
export interface Counted {
  /** The tunnels. */
  readonly session: Session;
  /** Opens under way. */
  readonly opening: number;
  /** Names of the clients that are known by their keys, which are as many as the configuration has. */
  readonly clients?: readonly string[];
  /** The services of a server, which are as many as the configuration has. */
  readonly services?: readonly ServiceCount[];
  /** Why no tunnel can be opened, beside the link and the subscriptions. */
  readonly notReadyReason?: string | undefined;
  /** Which of the `refused` subscriptions there is no working without. */
  readonly missing: (refused: readonly string[]) => string | undefined;
}

/** The metrics of a role and its connection to NATS as they are now. */
export function collectMetrics(
  { session, opening, clients = [], services = [] }: Counted,
  nats: { readonly connected: boolean; readonly reconnects: number },
): Metric[] {
  const { counters, held, totals } = session;
  return [
    {
      ...metric(
        "sproxy_nats_connected",
        "1 while connected to NATS, with every worker",
        Number(nats.connected),
      ),
      of: "every",
    },
    metric(
      "sproxy_nats_reconnects_total",
      "Times the connection to NATS came back",
      nats.reconnects,
    ),
    metric("sproxy_tunnels_open", "Tunnels open now", session.size),
    metric(
      "sproxy_tunnels_stalled",
      "Tunnels of which one side has taken nothing for 10 s while bytes wait for it",
      session.stalled,
    ),
    metric(
      "sproxy_tunnels_allowed",
      "Most tunnels that --max-tunnels and the open files allow",
      session.allowed,
    ),
    metric("sproxy_tunnels_opening", "Opens under way", opening),
    metric(
      "sproxy_peers",
      "Processes with which tunnels are open, as each worker counts them",
      session.peerCount,
    ),
    metric("sproxy_tunnels_opened_total", "Tunnels opened", counters.opened),
    metric(
      "sproxy_tunnels_closed_total",
      "Tunnels ended, by reason",
      by("reason", counters.closedByCode),
    ),
    metric(
      "sproxy_opens_refused_total",
      "Opens that came to nothing, by reason",
      by("reason", counters.refusedByCode),
    ),
    metric(
      "sproxy_bytes_total",
      "Bytes of all tunnels: sent from local sockets, received from peers",
      by("direction", [
        ["sent", totals.bytesSent],
        ["received", totals.bytesReceived],
      ]),
    ),
    metric(
      "sproxy_held_bytes",
      "Bytes held: send = not acknowledged, receive = not written, unsent = not yet with NATS",
      by("buffer", Object.entries(held)),
    ),
    metric(
      "sproxy_replays_total",
      "Times that frames were sent again",
      totals.replays,
    ),
    metric(
      "sproxy_gaps_total",
      "Times that bytes were found missing",
      totals.gaps,
    ),
    metric(
      "sproxy_messages_malformed_total",
      "Messages dropped as malformed",
      counters.malformed,
    ),
    metric(
      "sproxy_messages_rejected_total",
      "Messages dropped because the other end of the sealed tunnel did not seal them, or not for now",
      counters.rejected,
    ),
    metric(
      "sproxy_messages_stray_total",
      "Frames for tunnels that do not exist",
      counters.unknownTunnel,
    ),
    metric(
      "sproxy_accept_errors_total",
      "Accepts that failed",
      counters.acceptErrors,
    ),
    metric(
      "sproxy_accepts_refused_total",
      "Connections closed because they come from where --allow-from lets nobody in",
      counters.acceptsRefused,
    ),
    ...clientMetrics(session, clients),
    ...serviceMetrics(services),
  ];
}

/** What is counted of each service; nothing where there is none. */
function serviceMetrics(services: readonly ServiceCount[]): Metric[] {
  if (services.length === 0) return [];
  return [
    {
      ...metric(
        "sproxy_service_up",
        "1 while a service is offered, by every worker",
        by("service", services.map(({ name, up }) => [name, Number(up)])),
      ),
      of: "every",
    },
    metric(
      "sproxy_service_tunnels_opened_total",
      "Tunnels opened to a service",
      by("service", services.map(({ name, opened }) => [name, opened])),
    ),
  ];
}

/** What the tunnels of each known client come to; nothing where none is known. */
function clientMetrics(session: Session, names: readonly string[]): Metric[] {
  const clients = [...session.totalsOf(names)];
  if (clients.length === 0) return [];
  return [
    metric(
      "sproxy_client_tunnels",
      "Tunnels open now, by client, as its key says who it is",
      by("client", clients.map(([name, { tunnels }]) => [name, tunnels])),
    ),
    metric(
      "sproxy_client_bytes_total",
      "Bytes of the tunnels of a client: sent to it, received from it",
      clients.flatMap(([client, { bytesSent, bytesReceived }]) => [
        { labels: { client, direction: "sent" }, value: bytesSent },
        { labels: { client, direction: "received" }, value: bytesReceived },
      ]),
    ),
  ];
}

/** What is true of the process as a whole, however many workers it has. */
export function processMetrics(): Metric[] {
  const { rss } = Deno.memoryUsage();
  return [
    metric("sproxy_resident_bytes", "Resident memory of the process", rss),
  ];
}

/** A metric of one number or of many samples; its name says whether it only grows. */
function metric(
  name: string,
  help: string,
  values: number | readonly Sample[],
): Metric {
  const type = name.endsWith("_total") ? "counter" : "gauge";
  const samples = typeof values === "number" ? [{ value: values }] : values;
  return { name, help, type, samples };
}

/** A sample for each entry, told apart by `label`. */
function by(
  label: string,
  entries: Iterable<readonly [string, number]>,
): Sample[] {
  return Array.from(
    entries,
    ([text, value]) => ({ labels: { [label]: text }, value }),
  );
}

/** Several workers' metrics as one, sample by sample. */
export function sumMetrics(all: readonly (readonly Metric[])[]): Metric[] {
  const groups = Map.groupBy(all.flat(), ({ name }) => name);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const join = first.of === "every" ? Math.min : add;
    const joined = new Map<string, Sample>();
    for (const sample of group.flatMap(({ samples }) => samples)) {
      const key = JSON.stringify(sample.labels ?? {});
      const known = joined.get(key);
      const value = known ? join(known.value, sample.value) : sample.value;
      joined.set(key, { ...sample, value });
    }
    return [{ ...first, samples: [...joined.values()] }];
  });
}

function add(a: number, b: number): number {
  return a + b;
}

/** The content type of what {@linkcode formatMetrics} gives. */
export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** `metrics` as a page for Prometheus. */
export function formatMetrics(metrics: readonly Metric[]): string {
  return metrics.flatMap(({ name, help, type, samples }) => [
    `# HELP ${name} ${escape(help)}\n`,
    `# TYPE ${name} ${type}\n`,
    ...samples.map(({ labels = {}, value }) => {
      const pairs = Object.entries(labels).map(([label, text]) =>
        `${label}="${escape(text).replaceAll('"', '\\"')}"`
      );
      const list = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
      return `${name}${list} ${value}\n`;
    }),
  ]).join("");
}

function escape(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
