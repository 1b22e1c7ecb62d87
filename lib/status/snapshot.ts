/**
 * What a process says of itself to people and their tools at one moment: the
 * page, `/snapshot.json` and `top` show it, and nothing else.
 *
 * @module
 */
import type { ServiceView } from "../server/offers.ts";
import type { Ending } from "../session/recent.ts";
import type { TunnelView } from "../session/view.ts";
import type { Role } from "../wire/subjects.ts";

/**
 * Most tunnels that are told one by one; of the others the number.
 * A page of 250 rows is 100 KiB a second, and longer than anybody reads.
 */
export const MAX_ROWS = 250;

/** Time of one point of the throughput, in ms; slots begin at its multiples since 1970, so that those of workers add up. */
export const SLOT_MS = 5_000;

/** Points that are kept: ten minutes. */
export const MAX_POINTS = 120;

/** Bytes in both directions. */
export interface Flow {
  /** From local sockets to the other ends. */
  readonly sent: number;
  /** From the other ends. */
  readonly received: number;
}

/** What went through in one slot of time. */
export interface Point extends Flow {
  /** When the slot began, in ms since 1970. */
  readonly at: number;
  /** Tunnels open at its end. */
  readonly tunnels: number;
}

/** A time without NATS. */
export interface Outage {
  /** When the connection was lost, in ms since 1970. */
  readonly from: number;
  /** When it came back; undefined while it has not. */
  readonly to?: number;
  /** Why it was lost. */
  readonly why: string;
}

/** A connection to NATS. */
export interface LinkView {
  /** Number of the worker that has it, where there are several. */
  readonly worker?: number;
  /** Whether there is one now. */
  readonly connected: boolean;
  /** The broker of this one, or of the last; empty where there never was any. */
  readonly server: string;
  /** How long the broker takes to answer, in ms, behind what waits to be sent; undefined where it has not answered. */
  readonly roundTrip?: number;
  /** Times it came back. */
  readonly reconnects: number;
  /** The outages of the last hour, the oldest first. */
  readonly outages: readonly Outage[];
}

/** A way in of a client. */
export interface WayView {
  /** Where it listens. */
  readonly listen: string;
  /** Its name, where it has one. */
  readonly name?: string;
  /** Where its connections go, or how they say it: `socks`, `http-proxy`. */
  readonly target: string;
  /** Whether its connections have to begin with a PROXY header. */
  readonly acceptProxy?: true;
  /** Tunnels open now. */
  readonly open: number;
}

/** A service, with the tunnels to it that are open. */
export interface ServiceRow extends ServiceView {
  /** Tunnels open now. */
  readonly open: number;
}

/** A tunnel, as a row of a table. */
export interface TunnelRow extends TunnelView {
  /** Number of the worker that has it, where there are several. */
  readonly worker?: number;
  /** Bytes a second since the last look; undefined where there was none. */
  readonly rate?: Flow;
}

/** What ended, as a row of a table. */
export interface EndingRow extends Omit<Ending, "at"> {
  /** When, in ms since 1970. */
  readonly at: number;
  /** Number of the worker that had it, where there are several. */
  readonly worker?: number;
}

/** What one thread knows: the process, or one of its workers. */
export interface Part {
  /** Why it cannot do its work; undefined where it can. */
  readonly notReady?: string;
  /** Its connection to NATS; undefined before the first. */
  readonly link?: LinkView;
  /** Its tunnels. */
  readonly tunnels: {
    /** Open now. */
    readonly open: number;
    /** Being opened. */
    readonly opening: number;
    /** Open ones of which one side takes nothing. */
    readonly stalled: number;
    /** Most that may be open. */
    readonly allowed: number;
    /** Open ones, the oldest first, {@linkcode MAX_ROWS} at most: those that stall or have carried most, and the oldest. */
    readonly rows: readonly TunnelRow[];
  };
  /** Bytes of all tunnels since the start. */
  readonly total: Flow;
  /** What went through lately, the oldest first. */
  readonly points: readonly Point[];
  /** A client's ways in. */
  readonly ways: readonly WayView[];
  /** A server's services. */
  readonly services: readonly ServiceRow[];
  /** What ended lately, the last first. */
  readonly endings: readonly EndingRow[];
}

/** What never changes while a process runs. */
export interface ProcessView {
  /** Which program. */
  readonly role: Role;
  /** What the broker's monitoring calls it, where that was configured. */
  readonly name?: string;
  /** Version of the program. */
  readonly version: string;
  /** Version of Deno. */
  readonly deno: string;
  /** Version of the wire. */
  readonly protocol: number;
  /** Name of the machine, where the process may know it. */
  readonly host?: string;
  /** Process ID. */
  readonly pid: number;
  /** When it started, in ms since 1970. */
  readonly started: number;
  /** The place that a server answers for. */
  readonly site?: string;
  /** Threads that share the work. */
  readonly workers: number;
}

/** Something that went wrong. */
export interface LastError {
  /** What, on one line. */
  readonly text: string;
  /** When it was noted last, in ms since 1970. */
  readonly at: number;
}

/** A process at one moment. */
export interface Snapshot extends Omit<Part, "link"> {
  /** When that was, in ms since 1970. */
  readonly at: number;
  /** The process. */
  readonly process: ProcessView;
  /** Whether it can do its work. */
  readonly ready: boolean;
  /** Since when it can, or cannot, in ms since 1970; undefined where that is not known. */
  readonly since?: number;
  /** What went wrong last, also where it is over. */
  readonly lastError?: LastError;
  /** Its connections to NATS, one of each worker. */
  readonly links: readonly LinkView[];
  /** Workers that did not answer in time, and are not counted here. */
  readonly silentWorkers?: readonly number[];
  /** Bytes a second of all tunnels since the last look; undefined where there was none. */
  readonly rate?: Flow;
}
