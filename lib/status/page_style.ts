/**
 * How the page looks: light and dark as the reader's system is, from a phone
 * to a wide screen. No colour stands alone: what it says is written, too.
 *
 * @module
 */

/** The style sheet. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --card: #fff; --ink: #1c2430; --soft: #566173;
  --rule: #e2e6ec; --sent: #1f66d1; --received: #b3560f;
  --good: #1a7f4b; --bad: #c02b3a; --warn: #96580a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #11151b; --card: #191f28; --ink: #e4e9f0; --soft: #9aa6b8;
    --rule: #2a323e; --sent: #6ea8ff; --received: #f0a35e;
    --good: #4cc38a; --bad: #ff7b86; --warn: #f2b45c;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums;
}
header, main, footer { max-width: 1160px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 28px; display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 16px; }
h1 { font-size: 22px; font-weight: 600; margin: 0; overflow-wrap: anywhere; letter-spacing: -0.01em; }
h2 { font-size: 16px; font-weight: 600; margin: 0; }
h3 { font-size: 13px; font-weight: 500; margin: 0; color: var(--soft); }
p { margin: 0; }
a { color: var(--sent); }
.state { font-size: 14px; }
.pill { display: inline-block; padding: 0 10px; border-radius: 999px; border: 1px solid currentColor; font-size: 13px; font-weight: 500; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.warn { color: var(--warn); font-weight: 600; }
.trouble { font-size: 14px; color: var(--soft); overflow-wrap: anywhere; }
.why { color: var(--bad); overflow-wrap: anywhere; }
.lost { flex-basis: 100%; color: var(--warn); }
.about { flex-basis: 100%; display: flex; flex-wrap: wrap; gap: 2px 20px; margin: 0; font-size: 14px; }
.about div { display: flex; gap: 6px; }
.about dt { color: var(--soft); }
.about dd { margin: 0; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 18px 20px; margin-top: 18px; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 18px; padding: 0; background: none; border: 0; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 14px 20px; min-width: 0; }
.value { font-size: 26px; line-height: 1.3; font-weight: 600; letter-spacing: -0.02em; white-space: nowrap; }
.under { font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
.away { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 4px 0 10px; font-size: 13px; color: var(--soft); min-height: 20px; }
.key::before { content: ""; display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 6px; vertical-align: 3px; background: currentColor; }
.key.sent { color: var(--sent); }
.key.received { color: var(--received); }
#hover { margin-left: auto; color: var(--ink); }
.plot { display: grid; grid-template-columns: auto 1fr; gap: 4px 10px; }
.y { display: flex; flex-direction: column; justify-content: space-between; text-align: right; margin: -8px 0; min-width: 72px; }
.x { display: flex; justify-content: space-between; grid-column: 2; }
.x, .y { font-size: 12px; color: var(--soft); }
.chart { display: block; width: 100%; height: 180px; overflow: visible; touch-action: pan-y; }
.chart path, .chart line { vector-effect: non-scaling-stroke; fill: none; }
.grid { stroke: var(--rule); stroke-width: 1; }
.line { stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; }
.line.sent { stroke: var(--sent); }
.line.received { stroke: var(--received); }
.chart .area { stroke: none; opacity: 0.12; }
.chart .area.sent { fill: var(--sent); }
.chart .area.received { fill: var(--received); }
.cursor { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; }
.link { margin-top: 8px; }
.link p { margin-bottom: 8px; overflow-wrap: anywhere; }
.hour { display: block; width: 100%; height: 14px; border-radius: 4px; }
.hour .before { fill: var(--rule); }
.hour .up { fill: var(--good); opacity: 0.3; }
.hour .out { fill: var(--bad); }
.outages { margin: 8px 0 0; padding: 0; list-style: none; font-size: 14px; color: var(--soft); }
.outages li { overflow-wrap: anywhere; }
.dot::before { content: ""; display: inline-block; width: 9px; height: 9px; border-radius: 50%; background: currentColor; }
.bar { display: flex; justify-content: space-between; align-items: center; gap: 16px; }
input { font: inherit; font-size: 14px; color: inherit; background: var(--ground); border: 1px solid var(--rule); border-radius: 8px; padding: 4px 12px; width: 15em; max-width: 60%; }
.note { font-size: 13px; color: var(--soft); }
.scroll { overflow-x: auto; margin-top: 8px; }
table { width: 100%; border-collapse: collapse; font-size: 14px; }
th, td { text-align: left; padding: 7px 12px 7px 0; vertical-align: top; border-bottom: 1px solid var(--rule); }
tbody tr:last-child > * { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: 13px; font-weight: 500; color: var(--soft); white-space: nowrap; }
tbody th { font-weight: 500; }
td, tbody th { overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; }
.number + td:not(.number), .number + th:not(.number) { padding-left: 16px; }
small { color: var(--soft); font-size: 12.5px; }
td.number > small, td > small + small, [data-label="Reason"] > small, [data-label="Health"] > small { display: block; }
thead button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
thead button:hover { color: var(--ink); text-decoration: underline; }
th[aria-sort] button { color: var(--ink); }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
th[aria-sort="descending"] button::after { content: " \\2193"; }
:focus-visible { outline: 2px solid var(--sent); outline-offset: 2px; }
.is-stalled { color: var(--warn); font-weight: 600; }
.is-silent, .is-half-closed { color: var(--soft); }
.is-cut b { color: var(--bad); }
.is-ok b { color: var(--good); font-weight: 500; }
b { font-weight: 600; }
.none td { color: var(--soft); }
footer { padding-top: 14px; padding-bottom: 32px; font-size: 13px; color: var(--soft); }
@media (max-width: 860px) {
  .tiles { grid-template-columns: repeat(2, 1fr); gap: 12px; }
}
@media (max-width: 640px) {
  header, main, footer { padding-left: 14px; padding-right: 14px; }
  section { padding: 14px; margin-top: 12px; }
  .tiles { padding: 0; }
  .tile { padding: 12px 14px; }
  .value { font-size: 21px; }
  .chart { height: 140px; }
  .y { min-width: 0; }
  #hover { margin-left: 0; flex-basis: 100%; min-height: 20px; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .sortable thead { position: static; width: auto; height: auto; clip-path: none; display: block; }
  thead tr { display: block; }
  .sortable thead tr { display: flex; flex-wrap: wrap; gap: 0 14px; padding: 0 0 4px; }
  .sortable thead th { border: 0; padding: 4px 0; }
  table, tbody, td, tbody th { display: block; }
  tr { padding: 10px 0; border-bottom: 1px solid var(--rule); }
  tbody tr:last-child { border-bottom: 0; }
  td, tbody th, tbody tr:last-child > * { border: 0; padding: 1px 0; }
  tbody tr { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 2px 10px; }
  tbody tr.none { display: block; }
  [data-label="Who"], [data-label="Target"], [data-label="Reason"] { grid-column: 1 / 3; }
  [data-label="State"], [data-label="When"] { grid-column: 3; grid-row: 1; text-align: right; }
  td.is-stalled, td.is-silent { grid-column: 1 / -1; grid-row: auto; text-align: left; }
  [data-label="Reason"] { grid-row: 1; }
  [data-label="Target"], [data-label="Listens at"], [data-label="Leads to"], [data-label="Where it is"], [data-label="Health"] { grid-column: 1 / -1; }
  th[data-label="Name"] { grid-column: 1 / -1; }
  td[data-label="Name"] { grid-column: 1 / 3; color: var(--soft); }
  #endings [data-label="Who"] { grid-column: 1 / -1; color: var(--soft); }
  td.number, th.number { text-align: left; white-space: normal; }
  .number + td:not(.number), .number + th:not(.number) { padding-left: 0; }
  td.number::before { content: attr(data-label); display: block; font-size: 12px; color: var(--soft); }
  [data-label="Held"] { grid-column: 1 / -1; }
  [data-label="Held"][data-v="0"], td:empty { display: none; }
  .none td { color: var(--soft); }
}
@media print { section { break-inside: avoid; } }
`;
