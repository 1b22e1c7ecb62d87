/**
 * The metrics page of a process.
 *
 * @module
 */
import type { Session } from "../session/session.ts";
import type { Metric } from "./prometheus.ts";

/** What of a process the metrics tell. */
export interface MetricsSource {
  /** The tunnels. */
  readonly session: Session;
  /** Opens under way. */
  readonly opening: number;
  /** Whether NATS is connected. */
  readonly connected: boolean;
  /** Times the connection to NATS came back. */
  readonly reconnects: number;
}

/** All metrics of one session as they are now. */
export function collectMetrics(source: MetricsSource): Metric[] {
  const { session, opening, connected, reconnects } = source;
  const { counters, held, totals } = session;
  return [
    {
      name: "sproxy_nats_connected",
      help: "1 while connected to NATS, with every worker",
      type: "gauge",
      of: "every",
      samples: [{ value: Number(connected) }],
    },
    counter(
      "sproxy_nats_reconnects_total",
      "Times the connection to NATS came back",
      reconnects,
    ),
    gauge("sproxy_tunnels_open", "Tunnels open now", session.size),
    gauge("sproxy_tunnels_opening", "Opens under way", opening),
    gauge(
      "sproxy_peers",
      "Processes with which tunnels are open, as each worker counts them",
      session.peerCount,
    ),
    counter(
      "sproxy_tunnels_opened_total",
      "Tunnels opened",
      counters.opened,
    ),
    {
      name: "sproxy_tunnels_closed_total",
      help: "Tunnels ended, by reason",
      type: "counter",
      samples: [...counters.closedByCode].map(([reason, value]) => ({
        labels: { reason },
        value,
      })),
    },
    {
      name: "sproxy_opens_refused_total",
      help: "Opens that came to nothing, by reason",
      type: "counter",
      samples: [...counters.refusedByCode].map(([reason, value]) => ({
        labels: { reason },
        value,
      })),
    },
    {
      name: "sproxy_bytes_total",
      help:
        "Bytes of all tunnels: sent from local sockets, received from peers",
      type: "counter",
      samples: [
        { labels: { direction: "sent" }, value: totals.bytesSent },
        { labels: { direction: "received" }, value: totals.bytesReceived },
      ],
    },
    {
      name: "sproxy_held_bytes",
      help:
        "Bytes held: send = not acknowledged, receive = not written, unsent = not yet with NATS",
      type: "gauge",
      samples: Object.entries(held).map(([buffer, value]) => ({
        labels: { buffer },
        value,
      })),
    },
    counter(
      "sproxy_replays_total",
      "Times that frames were sent again, in ended tunnels",
      totals.replays,
    ),
    counter(
      "sproxy_gaps_total",
      "Times that bytes were found missing, in ended tunnels",
      totals.gaps,
    ),
    counter(
      "sproxy_messages_malformed_total",
      "Messages dropped as malformed",
      counters.malformed,
    ),
    counter(
      "sproxy_messages_stray_total",
      "Frames for tunnels that do not exist",
      counters.unknownTunnel,
    ),
    counter(
      "sproxy_accept_errors_total",
      "Accepts that failed",
      counters.acceptErrors,
    ),
  ];
}

/** What is true of the process as a whole, however many workers it has. */
export function processMetrics(): Metric[] {
  return [
    gauge(
      "sproxy_resident_bytes",
      "Resident memory of the process",
      Deno.memoryUsage().rss,
    ),
  ];
}

function gauge(name: string, help: string, value: number): Metric {
  return { name, help, type: "gauge", samples: [{ value }] };
}

function counter(name: string, help: string, value: number): Metric {
  return { name, help, type: "counter", samples: [{ value }] };
}
