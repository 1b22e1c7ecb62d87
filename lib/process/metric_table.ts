/**
 * All metrics there are: the one table that the pages, the reference in
 * `docs/metrics.md`, the dashboard and the alerts are held to.
 *
 * @module
 */
import type { MetricSpec } from "./metric.ts";

type Specs = Readonly<Record<string, MetricSpec>>;

/** Where Deno lets a process see that: with every permission only. */
const PROC_ONLY = "shown on Linux, 6.2 or later, with `-A`";

/** The process, whatever it does, by the names that all Prometheus clients use. */
const PROCESS = {
  process_cpu_seconds_total: {
    type: "counter",
    help: "Processor time of the process, all threads, in seconds",
  },
  process_resident_memory_bytes: {
    type: "gauge",
    help: "Resident memory of the process",
  },
  process_start_time_seconds: {
    type: "gauge",
    help: "When the process started, in seconds since 1970",
  },
  process_open_fds: {
    type: "gauge",
    help: "Open file descriptors",
    absent: PROC_ONLY,
  },
  process_max_fds: {
    type: "gauge",
    help: "Most open file descriptors",
    absent:
      "shown on Linux with `-A`, and wherever it is less than all tunnels may need",
  },
  sproxy_build_info: {
    type: "info",
    help: "1; which program it is, and what it runs on",
    labels: ["version", "deno", "protocol", "role"],
  },
  sproxy_ready: {
    type: "gauge",
    help: "1 while /ready says so: with several workers, while any is",
  },
  sproxy_workers: {
    type: "gauge",
    help: "Workers, as --workers says",
  },
  sproxy_workers_ready: {
    type: "gauge",
    help: "Workers that are ready",
  },
  sproxy_worker_failures_total: {
    type: "counter",
    help: "Times that a worker failed; it starts again",
  },
} as const satisfies Specs;

/** The connection to NATS; with several workers each has one. */
const LINK = {
  sproxy_nats_connected: {
    type: "gauge",
    help: "1 while connected to NATS, with every worker",
    of: "least",
  },
  sproxy_nats_reconnects_total: {
    type: "counter",
    help: "Times that the connection to NATS came back",
  },
  sproxy_nats_down_seconds_total: {
    type: "counter",
    help:
      "Seconds without a connection to NATS since there was one first, of all workers together",
  },
  sproxy_nats_messages_total: {
    type: "counter",
    help: "Messages to and from NATS; direction is sent or received",
    labels: ["direction"],
  },
  sproxy_nats_bytes_total: {
    type: "counter",
    help:
      "Bytes to and from NATS, what its protocol adds included; direction is sent or received",
    labels: ["direction"],
  },
  sproxy_nats_messages_dropped_total: {
    type: "counter",
    help:
      "Messages from NATS that were larger than it may send, or for a subscription that is gone",
  },
  sproxy_nats_congestions_total: {
    type: "counter",
    help:
      "Times that so much waited for NATS (512 KiB) that sockets were not read until half of it was gone",
  },
  sproxy_nats_congested_seconds_total: {
    type: "counter",
    help: "How long that was in all, in seconds, of all workers together",
  },
  sproxy_nats_max_payload_bytes: {
    type: "gauge",
    help: "Largest message that the broker takes",
    of: "least",
  },
} as const satisfies Specs;

/** Tunnels that are open, or were. */
const TUNNELS = {
  sproxy_tunnels_open: { type: "gauge", help: "Tunnels open now" },
  sproxy_tunnels_opened_total: {
    type: "counter",
    help: "Tunnels that were opened",
  },
  sproxy_tunnels_closed_total: {
    type: "counter",
    help: "Tunnels that have ended, by reason; ok is a clean end",
    labels: ["reason"],
  },
  sproxy_tunnel_duration_seconds: {
    type: "histogram",
    help: "How long tunnels were open that have ended",
  },
  sproxy_tunnels_stalled: {
    type: "gauge",
    help:
      "Tunnels of which one side has taken nothing for 10 s while bytes wait for it",
  },
  sproxy_tunnels_paused: {
    type: "gauge",
    help:
      "Tunnels whose local socket is not read just now, and why: credit, the other end takes no more; window, as much is on its way as the window or the memory allows; pace, a version 1 peer; nats, too much waits for NATS",
    labels: ["reason"],
  },
  sproxy_bytes_total: {
    type: "counter",
    help:
      "Bytes of all tunnels; direction is sent (from local sockets) or received (from the other ends)",
    labels: ["direction"],
  },
  sproxy_held_bytes: {
    type: "gauge",
    help:
      "Bytes held, by buffer: send, not acknowledged; receive, not written; unsent, not yet with NATS",
    labels: ["buffer"],
  },
  sproxy_window_bytes: {
    type: "gauge",
    help:
      "What the other ends of all tunnels may have under way, version 1 left out",
  },
  sproxy_window_largest_bytes: {
    type: "gauge",
    help: "The same of the one tunnel that may have most",
    of: "most",
  },
  sproxy_peers: {
    type: "gauge",
    help:
      "Processes at the other ends of open tunnels, as each worker counts them",
  },
} as const satisfies Specs;

/** Tunnels that are to be, and connections. */
const OPENS = {
  sproxy_tunnels_opening: { type: "gauge", help: "Opens under way" },
  sproxy_opens_refused_total: {
    type: "counter",
    help: "Opens that came to nothing, by reason",
    labels: ["reason"],
  },
  sproxy_open_duration_seconds: {
    type: "histogram",
    help:
      "From the accept of a connection to the answer to its open; result is ok or failed",
    labels: ["result"],
    role: "client",
  },
  sproxy_dial_duration_seconds: {
    type: "histogram",
    help:
      "How long it took to dial a target, its name looked up and a PROXY header sent; result is ok or failed",
    labels: ["result"],
    role: "server",
  },
  sproxy_accept_errors_total: {
    type: "counter",
    help: "Accepts that failed",
    role: "client",
  },
  sproxy_accepts_refused_total: {
    type: "counter",
    help:
      "Connections closed because they come from where --allow-from lets nobody in",
    role: "client",
  },
} as const satisfies Specs;

/** What goes between the two processes, and what was lost on the way. */
const WIRE = {
  sproxy_round_trip_seconds: {
    type: "histogram",
    help:
      "Round trips to the processes at the other ends, through NATS, one each --peer-ping-interval, more while bytes flow",
  },
  sproxy_frames_total: {
    type: "counter",
    help:
      "Frames of version 2, by type (data, ack, fin, reset, ping, pong) and direction (sent, received)",
    labels: ["direction", "type"],
  },
  sproxy_resumes_total: {
    type: "counter",
    help: "Times that a tunnel went on when the connection to NATS came back",
  },
  sproxy_replays_total: {
    type: "counter",
    help: "Times that frames were sent again",
  },
  sproxy_gaps_total: {
    type: "counter",
    help: "Times that bytes were found missing",
  },
  sproxy_messages_malformed_total: {
    type: "counter",
    help: "Messages dropped as malformed",
  },
  sproxy_messages_rejected_total: {
    type: "counter",
    help:
      "Messages dropped because the other end of the sealed tunnel did not seal them, or not for now",
  },
  sproxy_messages_stray_total: {
    type: "counter",
    help: "Frames for tunnels that do not exist",
  },
  sproxy_audit_events_lost_total: {
    type: "counter",
    help:
      "Events of --audit-subject that could not be published, as far as is known; 0 where there is none",
  },
} as const satisfies Specs;

/** What is the most there may be. */
const LIMITS = {
  sproxy_tunnels_limit: {
    type: "gauge",
    help: "Most tunnels, as --max-tunnels says",
  },
  sproxy_tunnels_allowed: {
    type: "gauge",
    help: "The same, or what the open files allow if that is less",
  },
  sproxy_descriptors_short: {
    type: "gauge",
    help:
      "1 while the descriptors that are kept for NATS are in use or missing, so that nothing is accepted or dialled",
    of: "most",
  },
  sproxy_tunnels_opening_limit: {
    type: "gauge",
    help: "Most opens under way, as --max-opening says",
  },
  sproxy_memory_budget_bytes: {
    type: "gauge",
    help: "Most bytes held in each direction, as --memory-budget says",
  },
  sproxy_window_limit_bytes: {
    type: "gauge",
    help: "Most bytes under way in one direction of a tunnel, as --window says",
    of: "most",
  },
} as const satisfies Specs;

/** What is counted of each way in of a client. */
const FORWARDS = {
  sproxy_forward_tunnels_open: {
    type: "gauge",
    help: "Tunnels open now, by the way in by which they came",
    labels: ["forward"],
    role: "client",
  },
  sproxy_forward_tunnels_opened_total: {
    type: "counter",
    help: "Tunnels that were opened, by way in",
    labels: ["forward"],
    role: "client",
  },
  sproxy_forward_opens_refused_total: {
    type: "counter",
    help: "Opens that came to nothing, by way in",
    labels: ["forward"],
    role: "client",
  },
  sproxy_forward_bytes_total: {
    type: "counter",
    help: "Bytes of tunnels, by way in and direction",
    labels: ["forward", "direction"],
    role: "client",
  },
} as const satisfies Specs;

/** What is counted of each service of a server. */
const SERVICES = {
  sproxy_service_up: {
    type: "gauge",
    help: "1 while a service is offered, by every worker",
    labels: ["service"],
    of: "least",
    role: "server",
  },
  sproxy_service_tunnels_open: {
    type: "gauge",
    help: "Tunnels open now, by service",
    labels: ["service"],
    role: "server",
  },
  sproxy_service_tunnels_opened_total: {
    type: "counter",
    help: "Tunnels that were opened, by service",
    labels: ["service"],
    role: "server",
  },
  sproxy_service_opens_refused_total: {
    type: "counter",
    help: "Opens that came to nothing, by service",
    labels: ["service"],
    role: "server",
  },
  sproxy_service_bytes_total: {
    type: "counter",
    help: "Bytes of tunnels, by service and direction",
    labels: ["service", "direction"],
    role: "server",
  },
} as const satisfies Specs;

/** What is counted of each client that a server knows by its key. */
const CLIENTS = {
  sproxy_client_tunnels_open: {
    type: "gauge",
    help: "Tunnels open now, by client",
    labels: ["client"],
    role: "server",
  },
  sproxy_client_tunnels_opened_total: {
    type: "counter",
    help: "Tunnels that were opened, by client",
    labels: ["client"],
    role: "server",
  },
  sproxy_client_opens_refused_total: {
    type: "counter",
    help: "Opens that came to nothing, by client",
    labels: ["client"],
    role: "server",
  },
  sproxy_client_bytes_total: {
    type: "counter",
    help:
      "Bytes of tunnels, by client and direction: sent to it, received from it",
    labels: ["client", "direction"],
    role: "server",
  },
} as const satisfies Specs;

/** The table in parts, each with the title that people see. */
export const METRIC_GROUPS = [
  ["The process", PROCESS],
  ["The link to NATS", LINK],
  ["Tunnels", TUNNELS],
  ["Opens and connections", OPENS],
  ["Between the two processes", WIRE],
  ["Limits", LIMITS],
  ["By forward", FORWARDS],
  ["By service", SERVICES],
  ["By client", CLIENTS],
] as const satisfies readonly (readonly [string, Specs])[];

/** The name of a metric. */
export type MetricName =
  | keyof typeof PROCESS
  | keyof typeof LINK
  | keyof typeof TUNNELS
  | keyof typeof OPENS
  | keyof typeof WIRE
  | keyof typeof LIMITS
  | keyof typeof FORWARDS
  | keyof typeof SERVICES
  | keyof typeof CLIENTS;

/** The table, by names. */
export const METRICS: Readonly<Record<MetricName, MetricSpec>> = {
  ...PROCESS,
  ...LINK,
  ...TUNNELS,
  ...OPENS,
  ...WIRE,
  ...LIMITS,
  ...FORWARDS,
  ...SERVICES,
  ...CLIENTS,
};
