/**
 * Plots as SVG, as text: bars of ratios and curves on logarithmic axes. They
 * bring their own background, so that they read on light and dark pages.
 *
 * @module
 */

import { formatNumber } from "./format.ts";

/** A bar. */
export interface Bar {
  /** What it stands for. */
  readonly label: string;
  /** Its length; 1 is the line that all are compared with. */
  readonly value: number;
}

/** A curve. */
export interface Curve {
  /** Its name in the key. */
  readonly label: string;
  /** Its points, by rising `x`; both positive. Without any it is left out, and keeps its colour. */
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

const WIDTH = 820;
const FONT = 'font-family="sans-serif" font-size="12"';
const INK = "#333";
const PALE = "#ddd";
const BETTER = "#2a7f62";
const WORSE = "#b5523b";

/** Told apart also without colour vision (Okabe and Ito's palette). */
const CURVE_COLOURS = ["#777777", "#e69f00", "#0072b2", "#009e73"];

/** Ratios beyond this are cut off and say so. */
const MAX_BAR = 3;

/** Bars from 0, green from 1 on, with a line at 1. */
export function barChart(title: string, bars: readonly Bar[]): string {
  const left = 390;
  const row = 22;
  const top = 44;
  const height = top + bars.length * row + 16;
  const scale = (WIDTH - left - 60) / MAX_BAR;
  const rows = bars.map(({ label, value }, index) => {
    const y = top + index * row;
    const shown = Math.min(value, MAX_BAR);
    const more = value > MAX_BAR ? " →" : "";
    return [
      text(left - 8, y + 14, label, "end"),
      `<rect x="${left}" y="${y + 3}" width="${round(shown * scale)}" height="${
        row - 6
      }" fill="${value >= 1 ? BETTER : WORSE}"/>`,
      text(left + shown * scale + 5, y + 14, `${value.toFixed(2)}×${more}`),
    ].join("\n");
  });
  const one = round(left + scale);
  return svg(height, [
    text(WIDTH / 2, 20, title, "middle", 'font-weight="bold"'),
    ...rows,
    `<line x1="${one}" y1="${top - 6}" x2="${one}" y2="${
      height - 12
    }" stroke="${INK}" stroke-dasharray="4 3"/>`,
  ]);
}

/** What a chart of curves says beside them. */
export interface CurveOptions {
  /** Above the chart. */
  readonly title: string;
  /** Below it. */
  readonly xLabel: string;
  /** Beside it. */
  readonly yLabel: string;
}

/** Curves on two logarithmic axes; x is marked where there are points, y at powers of ten. */
export function curveChart(
  curves: readonly Curve[],
  options: CurveOptions,
): string {
  const all = curves.flatMap(({ points }) => points);
  const frame = { left: 80, right: WIDTH - 130, top: 40, bottom: 300 };
  const xs = [...new Set(all.map(({ x }) => x))].sort((a, b) => a - b);
  const exponents = all.map(({ y }) => Math.log10(y));
  const low = Math.floor(Math.min(...exponents));
  const high = Math.max(Math.ceil(Math.max(...exponents)), low + 1);
  const first = Math.log10(xs[0] ?? 1);
  const span = Math.log10(xs.at(-1) ?? 10) - first || 1;
  const atX = (x: number) =>
    frame.left +
    (Math.log10(x) - first) / span * (frame.right - frame.left - 20) + 10;
  const atY = (y: number) =>
    frame.bottom -
    (Math.log10(y) - low) / (high - low) * (frame.bottom - frame.top);
  const grid: string[] = [];
  for (let exponent = low; exponent <= high; exponent++) {
    const y = atY(10 ** exponent);
    grid.push(
      `<line x1="${frame.left}" y1="${round(y)}" x2="${frame.right}" y2="${
        round(y)
      }" stroke="${PALE}"/>`,
      text(frame.left - 8, y + 4, formatNumber(10 ** exponent), "end"),
    );
  }
  const marks = xs.map((x) =>
    text(atX(x), frame.bottom + 18, x.toLocaleString("en-US"), "middle")
  );
  const lines = curves.flatMap(({ label, points }, index) => {
    if (points.length === 0) return [];
    const colour = CURVE_COLOURS[index % CURVE_COLOURS.length] ?? INK;
    const path = points.map(({ x, y }) => `${round(atX(x))},${round(atY(y))}`);
    const y = frame.top + 12 + index * 20;
    return [
      `<polyline points="${
        path.join(" ")
      }" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...path.map((at) => {
        const [cx, cy] = at.split(",");
        return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`;
      }),
      `<rect x="${frame.right + 14}" y="${
        y - 9
      }" width="12" height="12" fill="${colour}"/>`,
      text(frame.right + 32, y + 2, label),
    ];
  });
  return svg(frame.bottom + 50, [
    text(WIDTH / 2, 20, options.title, "middle", 'font-weight="bold"'),
    ...grid,
    ...marks,
    ...lines,
    text(
      (frame.left + frame.right) / 2,
      frame.bottom + 40,
      options.xLabel,
      "middle",
    ),
    text(frame.left - 60, frame.top - 10, options.yLabel),
  ]);
}

function svg(height: number, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ${FONT}>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function text(
  x: number,
  y: number,
  content: string,
  anchor: "start" | "middle" | "end" = "start",
  more: string = "",
): string {
  return `<text x="${round(x)}" y="${
    round(y)
  }" fill="${INK}" text-anchor="${anchor}"${more === "" ? "" : ` ${more}`}>${
    escape(content)
  }</text>`;
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}
