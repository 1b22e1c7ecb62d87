/**
 * A process at one moment as lines for a terminal. Pure.
 *
 * @module
 */
import { escapeUnsafe } from "../base/text.ts";
import {
  conditionOf,
  formatAge,
  formatBytes,
  formatCount,
  formatRate,
  formatTrip,
  lastErrorOf,
  UNKNOWN,
  whoseOf,
} from "../status/format.ts";
import type { EndingRow, Snapshot, TunnelRow } from "../status/snapshot.ts";
import type { Role } from "../wire/subjects.ts";

/** What rows may be sorted by, in the order of the key that changes it. */
export const ORDERS = ["rate", "age", "held", "target"] as const;

/** One of them. */
export type Order = (typeof ORDERS)[number];

/** Where it is shown. */
export interface Screen {
  /** Columns there are; without it, as many as it takes. */
  readonly columns?: number;
  /** Lines there are; without it, as many as it takes. */
  readonly lines?: number;
  /** What rows are sorted by. */
  readonly order: Order;
  /** Whether it has bold letters. */
  readonly styled: boolean;
}

/** Least columns of who, and of a target. */
const LEAST_WIDTH = 12;

/** Ends that are shown below the tunnels where there is room. */
const MAX_ENDINGS = 8;

/** Between two columns. */
const GAP = "  ";

/** The lines, none longer than the screen is wide. */
export function topLines(snapshot: Snapshot, screen: Screen): string[] {
  const { columns = Infinity, lines = Infinity, styled } = screen;
  const cut = (line: string): string =>
    line.length <= columns ? line : `${line.slice(0, columns - 1)}…`;
  const bold = (line: string): string =>
    styled ? `\x1b[1m${line}\x1b[22m` : line;
  const head = headLines(snapshot).map(escapeUnsafe).map(cut);
  const [first = "", ...others] = head;
  const { rows, open } = snapshot.tunnels;
  const endings = snapshot.endings.slice(0, MAX_ENDINGS);
  const forEndings = endings.length === 0 ? 0 : endings.length + 2;
  // The tunnels first: what is left over is for what has ended.
  const room = Math.max(2, lines - head.length - 2);
  const isAll = open <= rows.length && rows.length <= room;
  const shown = rows.toSorted(COMPARE[screen.order])
    .slice(0, isAll ? rows.length : room - 1);
  const [heading = "", ...table] = tableLines(shown, {
    columns,
    role: snapshot.process.role,
  })
    .map(cut);
  const hidden = open - shown.length;
  const body = [
    ...table,
    ...(hidden > 0 ? [cut(`… and ${formatCount(hidden)} more`)] : []),
  ];
  const rest = room - body.length;
  return [
    bold(first),
    ...others,
    "",
    bold(heading),
    ...body,
    ...(forEndings > 0 && rest >= forEndings
      ? [
        "",
        bold("ENDED LATELY"),
        ...endings.map((ending) =>
          cut(escapeUnsafe(endingLine(ending, snapshot.at)))
        ),
      ]
      : []),
  ];
}

/** What goes first. */
const COMPARE: Readonly<
  Record<Order, (one: TunnelRow, other: TunnelRow) => number>
> = {
  rate: (one, other) => flowOf(other) - flowOf(one),
  age: (one, other) => other.ms - one.ms,
  held: (one, other) => heldOf(other) - heldOf(one),
  target: (one, other) => one.target.localeCompare(other.target),
};

function headLines(snapshot: Snapshot): string[] {
  const { process, at, ready, notReady, tunnels, rate, links } = snapshot;
  const { role, name, host, pid, started, site, workers, version } = process;
  const { silentWorkers = [], services } = snapshot;
  const about = [
    `${name ?? host ?? ""} ${role}`.trim(),
    `pid ${pid}`,
    ...(site === undefined ? [] : [`site ${site}`]),
    ...(workers > 1 ? [`${workers} workers`] : []),
    `up ${formatAge(at - started)}`,
    `version ${version}`,
    ready ? "ready" : `NOT READY: ${notReady ?? ""}`,
  ];
  const { open, allowed, opening, stalled } = tunnels;
  const last = lastErrorOf(snapshot);
  const counts = [
    `${formatCount(open)} tunnel${open === 1 ? "" : "s"}${
      allowed > 0 ? ` of ${formatCount(allowed)}` : ""
    }`,
    ...(opening > 0 ? [`${formatCount(opening)} opening`] : []),
    ...(stalled > 0 ? [`${formatCount(stalled)} stalled`] : []),
    `sent ${formatRate(rate?.sent)}`,
    `received ${formatRate(rate?.received)}`,
  ];
  return [
    about.join(GAP),
    ...(last === undefined ? [] : [last]),
    counts.join(GAP),
    ...links.map((link) => linkLine(link, at)),
    ...(silentWorkers.length > 0
      ? [`not heard of worker ${silentWorkers.join(", ")}`]
      : []),
    ...services.filter(({ up }) => !up).map(({ name, why }) =>
      `service ${name} is out of order${why === undefined ? "" : `: ${why}`}`
    ),
  ];
}

function linkLine(link: Snapshot["links"][number], at: number): string {
  const { worker, connected, server, roundTrip, outages } = link;
  const last = outages.at(-1);
  return [
    `NATS ${server === "" ? UNKNOWN : server}`,
    ...(worker === undefined ? [] : [`worker ${worker}`]),
    connected ? "connected" : "NOT CONNECTED",
    ...(roundTrip === undefined ? [] : [`round trip ${formatTrip(roundTrip)}`]),
    ...(last === undefined ? [] : [
      `${outages.length} outage${
        outages.length === 1 ? "" : "s"
      } in the last hour, the last ${
        formatAge(at - last.from)
      } ago: ${last.why}`,
    ]),
  ].join(GAP);
}

/** The headings and a line for each row. */
function tableLines(
  rows: readonly TunnelRow[],
  { columns, role }: { readonly columns: number; readonly role: Role },
): string[] {
  const cells = rows.map((row) =>
    [
      whoseOf(row),
      row.worker === undefined ? row.target : `${row.target} #${row.worker}`,
      formatAge(row.ms),
      formatRate(row.rate?.sent),
      formatRate(row.rate?.received),
      formatBytes(heldOf(row)),
      conditionOf(row, role),
    ].map(escapeUnsafe)
  );
  const all = [
    ["WHO", "TARGET", "AGE", "SENT", "RECEIVED", "HELD", "STATE"],
    ...cells,
  ];
  const widths = [0, 1, 2, 3, 4, 5, 6].map((at) =>
    Math.max(...all.map((row) => (row[at] ?? "").length))
  );
  shrink(widths, columns - GAP.length * (widths.length - 1));
  return all.map((row) =>
    row.map((text, at) => {
      const width = widths[at] ?? 0;
      const short = text.length > width ? `${text.slice(0, width - 1)}…` : text;
      return at >= 2 && at <= 5 ? short.padStart(width) : short.padEnd(width);
    }).join(GAP).trimEnd()
  );
}

/** Takes from who and target, the wider first, what is too much for `room`. */
function shrink(widths: number[], room: number): void {
  for (;;) {
    const [who = 0, target = 0] = widths;
    const over = widths.reduce((sum, width) => sum + width, 0) - room;
    const at = who > target ? 0 : 1;
    const widest = Math.max(who, target);
    if (over <= 0 || widest <= LEAST_WIDTH) return;
    const other = Math.max(LEAST_WIDTH, Math.min(who, target));
    widths[at] = Math.max(other === widest ? widest - 1 : other, widest - over);
  }
}

function endingLine(
  row: EndingRow,
  now: number,
): string {
  const { at, kind, code, why, target, ms } = row;
  return [
    `${formatAge(now - at)} ago`.padEnd(12),
    kind === "refusal" ? `not opened: ${code}` : code,
    target ?? UNKNOWN,
    whoseOf(row),
    ...(ms === undefined ? [] : [`after ${formatAge(ms)}`]),
    ...(why === undefined ? [] : [why]),
  ].join(GAP);
}

function flowOf({ rate }: TunnelRow): number {
  return rate === undefined ? 0 : rate.sent + rate.received;
}

function heldOf({ held }: TunnelRow): number {
  return held.send + held.receive;
}
