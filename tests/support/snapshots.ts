/** Snapshots of processes as tests of what shows them want them. */
import type {
  EndingRow,
  Part,
  ProcessView,
  Snapshot,
  TunnelRow,
} from "../../lib/status/snapshot.ts";
import { merge } from "../../lib/status/merge.ts";

/** Midday of a day in 2026, in ms since 1970. */
export const NOON = Date.UTC(2026, 5, 1, 12);

/** A process that has been up for an hour. */
export const PROCESS: ProcessView = {
  ...{ role: "client", version: "1.2.3", deno: "2.9.6", protocol: 2 },
  ...{ host: "gw1", pid: 4711, started: NOON - 3_600_000, workers: 1 },
};

/** A tunnel that has been open for a minute. */
export function tunnel(about: Partial<TunnelRow> = {}): TunnelRow {
  return {
    ...{ id: "c.s.1", target: "db:5432", peer: "127.0.0.1:40000" },
    ...{ ms: 60_000, sent: 1024, received: 2048, condition: "open" },
    held: { send: 0, receive: 0 },
    ...about,
  };
}

/** A tunnel that ended a minute ago. */
export function ending(about: Partial<EndingRow> = {}): EndingRow {
  return {
    ...{ at: NOON - 60_000, kind: "end", id: "c.s.0", target: "db:5432" },
    ...{ peer: "127.0.0.1:39999", code: "ok", ms: 5_000 },
    bytes: { sent: 1, received: 2 },
    ...about,
  };
}

/** What a thread tells that works, and has nothing open unless `rows` say so. */
export function part(
  about: Partial<Part> = {},
  rows: readonly TunnelRow[] = [],
): Part {
  return {
    link: {
      ...{ connected: true, server: "n1:4222", reconnects: 0 },
      ...{ roundTrip: 0.5, outages: [] },
    },
    tunnels: {
      ...{ open: rows.length, opening: 0, stalled: 0, allowed: 100, rows },
    },
    total: { sent: 0, received: 0 },
    ...{ points: [], ways: [], services: [], endings: [] },
    ...about,
  };
}

/** A process at noon, of so many threads. */
export function snapshot(
  parts: readonly Part[] = [part()],
  process: Partial<ProcessView> = {},
): Snapshot {
  return merge({ ...PROCESS, ...process }, parts, { at: NOON });
}
