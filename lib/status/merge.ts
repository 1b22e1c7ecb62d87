/**
 * The parts that the threads of a process tell, put together: pure.
 *
 * @module
 */
import { worthShowing } from "../session/worth_showing.ts";
import {
  type Flow,
  MAX_ROWS,
  type Part,
  type Point,
  type ProcessView,
  type ServiceRow,
  type Snapshot,
  type WayView,
} from "./snapshot.ts";

/** Most ends and refusals that are shown, whatever the number of workers. */
const MAX_ENDINGS = 100;

/** The part of a process that has not told anything yet, or cannot. */
export function emptyPart(notReady: string): Part {
  return {
    notReady,
    tunnels: { open: 0, opening: 0, stalled: 0, allowed: 0, rows: [] },
    total: { sent: 0, received: 0 },
    ...{ points: [], ways: [], services: [], endings: [] },
  };
}

/** `part` as that of worker `index`: its rows say so. */
export function ofWorker(part: Part, worker: number): Part {
  const { link, tunnels, endings } = part;
  return {
    ...part,
    ...(link !== undefined && { link: { ...link, worker } }),
    tunnels: {
      ...tunnels,
      rows: tunnels.rows.map((row) => ({ ...row, worker })),
    },
    endings: endings.map((ending) => ({ ...ending, worker })),
  };
}

/** What the threads of a process come to; ready while one of them is, as the others' share goes to it. */
export function merge(
  process: ProcessView,
  parts: readonly Part[],
  { at, silentWorkers = [] }: {
    readonly at: number;
    readonly silentWorkers?: readonly number[] | undefined;
  },
): Snapshot {
  const reasons = parts.map(({ notReady }) => notReady);
  const ready = reasons.includes(undefined) && parts.length > 0;
  const notReady = reasons.find((reason) => reason !== undefined);
  const sum = (of: (part: Part) => number): number =>
    parts.reduce((all, part) => all + of(part), 0);
  return {
    ...{ at, process, ready },
    ...(!ready && { notReady: notReady ?? "starting" }),
    links: parts.flatMap(({ link }) => link ?? []),
    tunnels: {
      open: sum(({ tunnels }) => tunnels.open),
      opening: sum(({ tunnels }) => tunnels.opening),
      stalled: sum(({ tunnels }) => tunnels.stalled),
      allowed: sum(({ tunnels }) => tunnels.allowed),
      rows: worthShowing(
        parts.flatMap(({ tunnels }) => tunnels.rows)
          .toSorted((one, other) => other.ms - one.ms),
        MAX_ROWS,
        ({ condition, sent, received }) => ({
          stalled: condition === "stalled",
          bytes: sent + received,
        }),
      ),
    },
    total: {
      sent: sum(({ total }) => total.sent),
      received: sum(({ total }) => total.received),
    },
    points: mergePoints(parts.map(({ points }) => points)),
    ways: mergeRows(
      parts.flatMap(({ ways }) => ways),
      ({ listen }) => listen,
      addWay,
    ),
    services: mergeRows(
      parts.flatMap(({ services }) => services),
      ({ name }) => name,
      addService,
    ),
    endings: parts.flatMap(({ endings }) => endings)
      .toSorted((one, other) => other.at - one.at)
      .slice(0, MAX_ENDINGS),
    ...(silentWorkers.length > 0 && { silentWorkers }),
  };
}

/** Points of the same slot, added up. */
function mergePoints(all: readonly (readonly Point[])[]): readonly Point[] {
  const slots = new Map<number, Point>();
  for (const point of all.flat()) {
    const before = slots.get(point.at);
    slots.set(
      point.at,
      before === undefined ? point : {
        ...addFlow(before, point),
        at: point.at,
        tunnels: before.tunnels + point.tunnels,
      },
    );
  }
  return [...slots.values()].toSorted((one, other) => one.at - other.at);
}

/** Rows of the same key, made one by `add`. */
function mergeRows<T>(
  rows: readonly T[],
  keyOf: (row: T) => string,
  add: (one: T, other: T) => T,
): readonly T[] {
  const merged = new Map<string, T>();
  for (const row of rows) {
    const key = keyOf(row);
    const before = merged.get(key);
    merged.set(key, before === undefined ? row : add(before, row));
  }
  return [...merged.values()];
}

function addWay(one: WayView, other: WayView): WayView {
  return { ...one, open: one.open + other.open };
}

/** Offered as long as one worker offers it; who does not says why. */
function addService(one: ServiceRow, other: ServiceRow): ServiceRow {
  const why = one.why ?? other.why;
  return {
    ...one,
    up: one.up || other.up,
    ...(why !== undefined && { why }),
    opened: one.opened + other.opened,
    open: one.open + other.open,
  };
}

function addFlow(one: Flow, other: Flow): Flow {
  return {
    sent: one.sent + other.sent,
    received: one.received + other.received,
  };
}
