/**
 * What a process says of itself as a whole at one moment: to a page, to NATS,
 * to an operator's tools.
 *
 * @module
 */
import type { Session } from "../session/session.ts";
import type { TunnelView } from "../session/view.ts";

/** How a process does. */
export type ProcessState = "ready" | "draining" | "not-ready";

/** What is counted of a process, and whether it can do its work. */
export interface ProcessReport {
  /** Whether it can. */
  readonly state: ProcessState;
  /** Tunnels open, being opened, and open but stuck; and the most of them. */
  readonly tunnels: {
    readonly open: number;
    readonly opening: number;
    readonly stalled: number;
    readonly limit: number;
  };
  /** Bytes of all tunnels: from local sockets, and from the other ends. */
  readonly bytes: { readonly sent: number; readonly received: number };
  /** Bytes held: not acknowledged, not written, not yet with NATS. */
  readonly held: Readonly<Record<"send" | "receive" | "unsent", number>>;
  /** Tunnels that were opened. */
  readonly opened: number;
  /** Tunnels that ended, by code; `ok` for a clean end. */
  readonly closed: Readonly<Record<string, number>>;
  /** Opens that came to nothing, by code. */
  readonly refused: Readonly<Record<string, number>>;
  /** Times that frames were sent again. */
  readonly replays: number;
  /** Times that bytes were found missing. */
  readonly gaps: number;
  /** Times that the connection to NATS came back. */
  readonly reconnects: number;
  /** Events of the record that were lost; undefined where none is kept. */
  readonly unrecorded: number | undefined;
}

/** What a report is made of. */
export interface Reported {
  /** The tunnels. */
  readonly session: Session;
  /** Opens under way. */
  readonly opening: number;
  /** How it does. */
  readonly state: ProcessState;
  /** Times that the connection to NATS came back. */
  readonly reconnects: number;
}

/** The report of a process, or of one of its workers. */
export function reportOf(
  { session, opening, state, reconnects }: Reported,
): ProcessReport {
  const { counters, totals, held, size, stalled, allowed } = session;
  return {
    state,
    tunnels: { open: size, opening, stalled, limit: allowed },
    bytes: { sent: totals.bytesSent, received: totals.bytesReceived },
    held,
    opened: counters.opened,
    closed: Object.fromEntries(counters.closedByCode),
    refused: Object.fromEntries(counters.refusedByCode),
    replays: totals.replays,
    gaps: totals.gaps,
    reconnects,
    unrecorded: session.unrecorded,
  };
}

/**
 * A tunnel as whoever carries its messages may see it: where tunnels are sealed
 * that is who talks when and how much, and not to what.
 */
export function sealedView(
  { id, service, ms, sent, received, held, condition, stalled }: TunnelView,
): Omit<TunnelView, "target" | "peer"> {
  return {
    ...{ id, ms, sent, received, held, condition },
    ...(service !== undefined && { service }),
    ...(stalled !== undefined && { stalled }),
  };
}
