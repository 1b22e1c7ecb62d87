/**
 * The parts of the page that change, each by its name: the state, the numbers,
 * the pictures, the link, and the tables. Pure.
 *
 * @module
 */
import { outageLine, throughputChart, totalText } from "./chart.ts";
import {
  formatAge,
  formatBytes,
  formatCount,
  formatRate,
  formatTrip,
  lastErrorOf,
  UNKNOWN,
} from "./format.ts";
import { type Html, html, type Part } from "./html.ts";
import {
  endingRows,
  iso,
  more,
  serviceTable,
  tunnelRows,
  wayTable,
} from "./page_tables.ts";
import type { LinkView, Snapshot } from "./snapshot.ts";

/** Outages that are told in words, the last: the line has all. */
const MAX_TOLD_OUTAGES = 5;

/** The parts at the moment of `snapshot`. */
export function partsOf(snapshot: Snapshot): Readonly<
  Record<
    | "state"
    | "trouble"
    | "about"
    | "tiles"
    | "chart"
    | "link"
    | "more"
    | "tunnels"
    | "places"
    | "endings",
    Html
  >
> {
  const { at, links, services, ways, process: { role, started } } = snapshot;
  return {
    state: state(snapshot),
    trouble: trouble(snapshot),
    about: about(snapshot),
    tiles: tiles(snapshot),
    chart: throughputChart(snapshot),
    link: links.length === 0
      ? html`<p>There was no connection to a broker yet.</p>`
      : html`${links.map((link) => linkOf(link, { at, started }))}`,
    more: more(snapshot),
    tunnels: tunnelRows(snapshot),
    places: role === "client" ? wayTable(ways) : serviceTable(services),
    endings: endingRows(snapshot),
  };
}

function state({ ready, notReady, silentWorkers = [] }: Snapshot): Html {
  const silent = silentWorkers.length > 0 &&
    html`
      <span class="why">not heard of worker ${silentWorkers.join(", ")}</span>
    `;
  return ready ? html`<span class="pill good">ready</span>${silent}` : html`
    <span class="pill bad">not ready</span> <span
      class="why">${notReady}</span>${silent}
  `;
}

/** Apart from the state, which is read out when it changes: this does each second. */
function trouble(snapshot: Snapshot): Html {
  const { at, ready, since } = snapshot;
  if (ready) return html``;
  const last = lastErrorOf(snapshot);
  return html`${since !== undefined && `for ${formatAge(at - since)}`}${
    since !== undefined && last !== undefined && "; "
  }${last}`;
}

function about({ process, at }: Snapshot): Html {
  const { host, pid, version, deno, protocol, started, site, workers } =
    process;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ["Host", host],
    ["Site", site],
    ["Up", formatAge(at - started)],
    ["PID", String(pid)],
    ["Workers", workers > 1 ? String(workers) : undefined],
    ["Version", `${version}, protocol ${protocol}, Deno ${deno}`],
  ];
  return html`${
    facts.map(([name, value]) =>
      value !== undefined && html`
        <div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>
      `
    )
  }`;
}

function tiles(snapshot: Snapshot): Html {
  const { tunnels, rate, links } = snapshot;
  const { open, opening, stalled, allowed } = tunnels;
  const under: Part[] = [
    // Before the first connection it is not known.
    allowed > 0 ? `of ${formatCount(allowed)}` : "",
    opening > 0 && `, ${formatCount(opening)} opening`,
    stalled > 0 && html`, <b class="warn">${formatCount(stalled)} stalled</b>`,
  ];
  const trips = links.flatMap(({ roundTrip }) => roundTrip ?? []);
  const away = links.filter(({ connected }) => !connected).length;
  return html`${tile("Tunnels open", formatCount(open), under)}${
    tile("Sent", formatRate(rate?.sent), [totalOf(snapshot.total.sent)])
  }${
    tile("Received", formatRate(rate?.received), [
      totalOf(snapshot.total.received),
    ])
  }${
    tile(
      "Round trip to NATS",
      trips.length === 0 ? UNKNOWN : formatTrip(Math.max(...trips)),
      [
        links.length === 0 || away > 0
          ? html`<b class="warn">not connected</b>`
          : links[0]?.server,
      ],
    )
  }<p class="away">${totalText(snapshot)}</p>`;
}

function totalOf(bytes: number): string {
  return `${formatBytes(bytes)} in all`;
}

function tile(label: string, value: string, under: readonly Part[]): Html {
  return html`
    <div class="tile">
      <h3>${label}</h3>
      <p class="value">${value}</p>
      <p class="under">${under}</p>
    </div>
  `;
}

function linkOf(
  link: LinkView,
  when: { readonly at: number; readonly started: number },
): Html {
  const { at } = when;
  const { worker, connected, server, roundTrip, reconnects, outages } = link;
  const told = outages.slice(-MAX_TOLD_OUTAGES).toReversed();
  return html`
    <div
      class="link"><p>${worker !== undefined &&
        `Worker ${worker}: `}<span class="dot ${connected
        ? "good"
        : "bad"}"></span> ${connected
        ? "connected to"
        : server === ""
        ? "not connected to any broker yet"
        : "not connected; last to"} <b>${server}</b>${roundTrip !== undefined &&
        `, round trip ${formatTrip(roundTrip)}`}${reconnects > 0 &&
        `, reconnected ${
          reconnects === 1 ? "once" : `${formatCount(reconnects)} times`
        } since the start`}</p>
    ${outageLine(link, when)}${told.length > 0 &&
      html`<ul class="outages">${
        told.map(({ from, to, why }) =>
          html`<li><time datetime="${iso(from)}" title="${iso(from)}">${
            formatAge(at - from)
          } ago</time> ${
            to === undefined
              ? html`<b class="warn">until now</b>`
              : `for ${
                to - from < 1000 ? `${to - from} ms` : formatAge(to - from)
              }`
          }: ${why}</li>`
        )
      }</ul>`}</div>
  `;
}
