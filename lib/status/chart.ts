/**
 * The two pictures of the page, as SVG: what went through in ten minutes, and
 * the outages of an hour. Pure.
 *
 * @module
 */
import { formatAge, formatBytes, formatCount, formatRate } from "./format.ts";
import { type Html, html } from "./html.ts";
import { OUTAGE_SPAN_MS } from "./outages.ts";
import {
  type LinkView,
  MAX_POINTS,
  type Point,
  SLOT_MS,
  type Snapshot,
} from "./snapshot.ts";

/** Size of the drawing; it is stretched to the width that there is. */
const WIDTH = 1200;
const HEIGHT = 200;

/** The lowest top of the scale, in bytes a second: below that a line would show noise as mountains. */
const LEAST_TOP = 1024;

/** The throughput with its axes; what a point says is beside it, for whoever hovers. */
export function throughputChart({ points, at }: Snapshot): Html {
  const end = Math.floor(at / SLOT_MS) * SLOT_MS;
  const begin = end - MAX_POINTS * SLOT_MS;
  const shown = points.filter((point) => point.at >= begin);
  const perSecond = (bytes: number): number => bytes * 1000 / SLOT_MS;
  const peak = Math.max(
    0,
    ...shown.flatMap(({ sent, received }) => [sent, received]),
  );
  const top = niceTop(Math.max(LEAST_TOP, perSecond(peak)));
  const x = (point: Point): number =>
    round((point.at + SLOT_MS / 2 - begin) / (end - begin) * WIDTH);
  const y = (bytes: number): number =>
    round(HEIGHT - perSecond(bytes) / top * HEIGHT);
  const series = (of: (point: Point) => number): string =>
    shown.map((point, index) =>
      `${index === 0 ? "M" : "L"}${x(point)} ${y(of(point))}`
    ).join("");
  const area = (line: string): string => {
    const [first, last] = [shown[0], shown.at(-1)];
    return first === undefined || last === undefined
      ? ""
      : `${line}L${x(last)} ${HEIGHT}L${x(first)} ${HEIGHT}Z`;
  };
  const [sent, received] = [
    series((point) => point.sent),
    series((point) => point.received),
  ];
  const hovers = shown.map((point) => [
    x(point),
    `${formatAge(at - point.at)} ago`,
    formatRate(perSecond(point.sent)),
    formatRate(perSecond(point.received)),
    `${formatCount(point.tunnels)} tunnels`,
  ]);
  return html`
    <div class="plot">
      <div class="y"
        aria-hidden="true"><span>${axis(top)}</span><span>${axis(
          top / 2,
        )}</span><span>0</span></div>
      <svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}"
        preserveAspectRatio="none" role="img"
        aria-label="Throughput of the last ten minutes; at most ${formatRate(
          perSecond(peak),
        )}"
        data-hovers="${JSON.stringify(hovers)}">
        <path class="grid"
          d="M0 1H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 1}H${WIDTH}" />
        <path class="area received" d="${area(received)}" />
        <path class="area sent" d="${area(sent)}" />
        <path class="line received" d="${received}" />
        <path class="line sent" d="${sent}" />
      </svg>
      <div class="x"
        aria-hidden="true"><span>10 min ago</span><span>5 min</span><span>now</span></div>
    </div>
  `;
}

/** The last hour of a link, or what there is of it since the start: a bar, with its outages. */
export function outageLine(
  { outages, connected }: LinkView,
  { at, started }: { readonly at: number; readonly started: number },
): Html {
  const begin = at - OUTAGE_SPAN_MS;
  const x = (time: number): number =>
    round(Math.max(0, (time - begin) / OUTAGE_SPAN_MS) * WIDTH);
  const bars = outages.map(({ from, to = at, why }) => {
    const left = x(from);
    // However short, it is to be seen.
    const width = Math.max(6, round(x(to) - left));
    return html`
      <rect class="out" x="${Math.min(
        left,
        WIDTH - width,
      )}" y="0" width="${width}" height="20">
        <title>${formatAge(to - from)}, ${why}</title>
      </rect>
    `;
  });
  const first = Math.min(x(started), WIDTH - 6);
  const count = outages.length;
  const told = count === 0
    ? "no outage in the last hour"
    : `${count} outage${count === 1 ? "" : "s"} in the last hour`;
  return html`
    <svg class="hour" viewBox="0 0 ${WIDTH} 20" preserveAspectRatio="none"
      role="img"
      aria-label="${connected
        ? told
        : `not connected; ${told}`}"><rect class="before" x="0" y="0" width="${WIDTH}" height="20"><title>before the start</title></rect><rect class="up" x="${first}" y="0" width="${round(
          WIDTH - first,
        )}" height="20"/>${bars}</svg>
    <div class="x"
      aria-hidden="true"><span>1 h ago</span><span>30 min</span><span>now</span></div>
  `;
}

/** The least of 1, 2 and 5 times a power of two units that is no less: people read it at a glance. */
function niceTop(value: number): number {
  const unit = 1024 ** Math.floor(Math.log(value) / Math.log(1024));
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024];
  return unit * (steps.find((step) => step * unit >= value) ?? 1024);
}

/** A rate beside an axis, which has round ones. */
function axis(bytes: number): string {
  return formatRate(bytes).replace(/\.0(?= )/, "");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** What a chart's number of bytes is in words, for those who see none. */
export function totalText({ total }: Snapshot): string {
  return `${formatBytes(total.sent)} sent, ${
    formatBytes(total.received)
  } received since the start`;
}
