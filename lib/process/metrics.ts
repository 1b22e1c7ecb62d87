/**
 * The metrics of a role and its connection to NATS, collected.
 *
 * @module
 */
import { type ErrorCode, WIRE_CODES } from "../base/errors.ts";
import type { DurationHistogram } from "../base/histogram.ts";
import type { NatsStats } from "../nats/connection.ts";
import type { Reserve } from "../net/descriptors.ts";
import type { ServiceState } from "../server/offers.ts";
import type { Outcomes } from "../session/counters.ts";
import type { FrameCounts } from "../session/frame_counts.ts";
import type { Session } from "../session/session.ts";
import type { Survey } from "../session/survey.ts";
import type { Tallies } from "../session/tallies.ts";
import type { Metric, Sample } from "./metric.ts";
import { type MetricName, METRICS } from "./metric_table.ts";
import { formatNumber } from "./metrics_page.ts";

/** The part of a role that is counted. */
export interface Counted {
  /** The tunnels. */
  readonly session: Session;
  /** Opens under way. */
  readonly opening: number;
  /** The services of a server, which are as many as the configuration has. */
  readonly services?: readonly ServiceState[];
  /** Why no tunnel can be opened, beside the link and the subscriptions. */
  readonly notReadyReason?: string | undefined;
  /** What went wrong last with what that depends on, where it has not gone well since. */
  readonly lastFailure?: string | undefined;
  /** What `/ready` tells of it beside. */
  readonly readyDetails?: Readonly<Record<string, number>>;
  /** Which of the `refused` subscriptions there is no working without. */
  readonly missing: (refused: readonly string[]) => string | undefined;
}

/** A connection to NATS, as far as it is counted. */
export interface CountedLink {
  /** Whether it is there. */
  readonly connected: boolean;
  /** Largest message that the broker takes, in bytes. */
  readonly maxPayload: number;
  /** What went through. */
  stats(): NatsStats;
}

/** What is counted of a process, or a worker, as far as there is any of it yet. */
export interface Countable {
  /** The role. */
  readonly counted?: Counted | undefined;
  /** Its connection to NATS. */
  readonly link?: CountedLink | undefined;
  /** The descriptors that are kept for that. */
  readonly reserve?: Pick<Reserve, "whole"> | undefined;
}

/** The metrics of a role and its connection to NATS as they are now, as far as there are any yet. */
export function collectMetrics(
  { counted, link, reserve }: Countable,
): Metric[] {
  return [
    ...linkMetrics(link),
    metric("sproxy_descriptors_short", Number(reserve?.whole === false)),
    ...(counted === undefined ? [] : roleMetrics(counted)),
  ];
}

/** Collects metrics. */
export type CollectMetrics = typeof collectMetrics;

function linkMetrics(link: CountedLink | undefined): Metric[] {
  const connected = metric(
    "sproxy_nats_connected",
    Number(link?.connected ?? false),
  );
  if (link === undefined) return [connected];
  const stats = link.stats();
  return [
    connected,
    metric("sproxy_nats_reconnects_total", stats.reconnects),
    metric("sproxy_nats_down_seconds_total", stats.downMs / 1000),
    metric(
      "sproxy_nats_messages_total",
      bothWays(stats.messagesOut, stats.messagesIn),
    ),
    metric("sproxy_nats_bytes_total", bothWays(stats.bytesOut, stats.bytesIn)),
    metric("sproxy_nats_messages_dropped_total", stats.dropped),
    metric("sproxy_nats_congestions_total", stats.congestions),
    metric("sproxy_nats_congested_seconds_total", stats.congestedMs / 1000),
    metric("sproxy_nats_max_payload_bytes", link.maxPayload),
  ];
}

function roleMetrics(
  { session, opening, services = [] }: Counted,
): Metric[] {
  const { counters, held, role, limits } = session;
  const survey = session.survey();
  const { totals, paused, windows, largestWindow } = survey;
  return [
    metric("sproxy_tunnels_open", session.size),
    metric("sproxy_tunnels_opened_total", counters.opened),
    metric(
      "sproxy_tunnels_closed_total",
      byReason(END_CODES, counters.closedByCode),
    ),
    metric("sproxy_tunnel_duration_seconds", buckets(counters.lives)),
    metric("sproxy_tunnels_stalled", session.stalled),
    metric("sproxy_tunnels_paused", by("reason", paused)),
    metric(
      "sproxy_bytes_total",
      bothWays(totals.bytesSent, totals.bytesReceived),
    ),
    metric("sproxy_held_bytes", by("buffer", Object.entries(held))),
    metric("sproxy_window_bytes", windows),
    metric("sproxy_window_largest_bytes", largestWindow),
    metric("sproxy_peers", session.peerCount),
    metric("sproxy_tunnels_opening", opening),
    metric(
      "sproxy_opens_refused_total",
      byReason(REFUSAL_CODES, counters.refusedByCode),
    ),
    ...(role === "client"
      ? [
        metric("sproxy_open_duration_seconds", outcomes(counters.opens)),
        metric("sproxy_accept_errors_total", counters.acceptErrors),
        metric("sproxy_accepts_refused_total", counters.acceptsRefused),
      ]
      : [metric("sproxy_dial_duration_seconds", outcomes(counters.dials))]),
    metric("sproxy_round_trip_seconds", buckets(counters.roundTrips)),
    metric("sproxy_frames_total", [
      ...frames("sent", counters.frames.sent),
      ...frames("received", counters.frames.received),
    ]),
    metric("sproxy_resumes_total", counters.resumes),
    metric("sproxy_replays_total", totals.replays),
    metric("sproxy_gaps_total", totals.gaps),
    metric("sproxy_messages_malformed_total", counters.malformed),
    metric("sproxy_messages_rejected_total", counters.rejected),
    metric("sproxy_messages_stray_total", counters.unknownTunnel),
    metric("sproxy_audit_events_lost_total", session.unrecorded ?? 0),
    metric("sproxy_tunnels_limit", limits.maxTunnels),
    metric("sproxy_tunnels_allowed", session.allowed),
    metric("sproxy_tunnels_opening_limit", limits.maxOpening),
    metric("sproxy_memory_budget_bytes", limits.memoryBudget),
    metric("sproxy_window_limit_bytes", limits.maxWindow),
    ...(role === "client" ? tallied("forward", counters.forwards, survey) : [
      ...(services.length === 0 ? [] : [
        metric(
          "sproxy_service_up",
          by("service", services.map(({ name, up }) => [name, Number(up)])),
        ),
      ]),
      ...tallied("service", counters.services, survey),
      ...tallied("client", counters.clients, survey),
    ]),
  ];
}

/**
 * How tunnels end and opens fail: all that can be said, since the other end may
 * say any of it. A counter is there from the start, as nothing can be told of
 * the growth of one that begins with 1.
 */
const END_CODES = Object.keys(WIRE_CODES) as readonly ErrorCode[];
const REFUSAL_CODES = END_CODES.filter((code) => code !== "ok");

/** What is counted of each name of one kind; nothing where there are no names. */
function tallied(
  kind: "forward" | "service" | "client",
  tallies: Tallies,
  { byTally }: Survey,
): Metric[] {
  const all = [...tallies];
  if (all.length === 0) return [];
  const each = (value: "open" | "opened" | "refused"): Sample[] =>
    by(kind, all.map((tally) => [tally.name, tally[value]]));
  return [
    metric(`sproxy_${kind}_tunnels_open`, each("open")),
    metric(`sproxy_${kind}_tunnels_opened_total`, each("opened")),
    metric(`sproxy_${kind}_opens_refused_total`, each("refused")),
    metric(
      `sproxy_${kind}_bytes_total`,
      all.flatMap((tally) => {
        const now = byTally.get(tally);
        return bothWays(
          tally.bytesSent + (now?.bytesSent ?? 0),
          tally.bytesReceived + (now?.bytesReceived ?? 0),
          { [kind]: tally.name },
        );
      }),
    ),
  ];
}

/** The metric of this name in the table, with one number or many samples. */
export function metric(
  name: MetricName,
  values: number | readonly Sample[],
): Metric {
  const { type, help, of } = METRICS[name];
  const samples = typeof values === "number" ? [{ value: values }] : values;
  return { name, type, help, ...(of !== undefined && { of }), samples };
}

/** A sample for each entry, told apart by `label`. */
export function by(
  label: string,
  entries: Iterable<readonly [string, number]>,
): Sample[] {
  return Array.from(
    entries,
    ([text, value]) => ({ labels: { [label]: text }, value }),
  );
}

function byReason(
  codes: readonly ErrorCode[],
  counts: ReadonlyMap<ErrorCode, number>,
): Sample[] {
  return by("reason", codes.map((code) => [code, counts.get(code) ?? 0]));
}

function bothWays(
  sent: number,
  received: number,
  labels: Readonly<Record<string, string>> = {},
): Sample[] {
  return [
    { labels: { ...labels, direction: "sent" }, value: sent },
    { labels: { ...labels, direction: "received" }, value: received },
  ];
}

function frames(direction: string, counts: FrameCounts): Sample[] {
  return Object.entries(counts)
    .map(([type, value]) => ({ labels: { direction, type }, value }));
}

function outcomes({ ok, failed }: Outcomes): Sample[] {
  return [
    ...buckets(ok, { result: "ok" }),
    ...buckets(failed, { result: "failed" }),
  ];
}

/** The samples of a histogram. */
function buckets(
  { bounds, cumulative, sum }: DurationHistogram,
  labels?: Readonly<Record<string, string>>,
): Sample[] {
  const ends = [...bounds, Infinity];
  return [
    ...cumulative.map((value, at): Sample => ({
      suffix: "_bucket",
      labels: { ...labels, le: formatNumber(ends[at] ?? Infinity) },
      value,
    })),
    { suffix: "_sum", ...(labels && { labels }), value: sum },
    {
      suffix: "_count",
      ...(labels && { labels }),
      value: cumulative.at(-1) ?? 0,
    },
  ];
}
