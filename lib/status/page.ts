/**
 * The page: a process at one moment as HTML. It works without a script, which
 * only keeps it up to date. Pure.
 *
 * @module
 */
import { html, trusted } from "./html.ts";
import { partsOf } from "./page_parts.ts";
import { SCRIPT } from "./page_script.ts";
import { STYLE } from "./page_style.ts";
import { TUNNEL_COLUMNS } from "./page_tables.ts";
import type { Snapshot } from "./snapshot.ts";

/** How often a browser without a script asks again, in s. */
const REFRESH_S = 5;

/** The parts of the page that change, as JSON, by the name that the script finds each by. */
export function partsAsJson(snapshot: Snapshot): string {
  const parts = Object.entries(partsOf(snapshot));
  return JSON.stringify(
    Object.fromEntries(parts.map(([name, { text }]) => [name, text])),
  );
}

/** The whole page; `nonce` is what its style and script are allowed by. */
export function page(snapshot: Snapshot, nonce: string): string {
  const { process: { role, host, name } } = snapshot;
  const live = partsOf(snapshot);
  const title = `${name ?? host ?? `pid ${snapshot.process.pid}`} · ${role}`;
  return html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>${title} · tcp-sproxy</title>
        <link rel="icon"
          href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M1 5h9l-3-3M15 11H6l3 3' fill='none' stroke='%233b7dd8' stroke-width='2'/%3E%3C/svg%3E">
        <noscript><meta http-equiv="refresh" content="${REFRESH_S}"></noscript>
        <style nonce="${nonce}">${trusted(STYLE)}</style>
      </head>
      <body>
        <header>
          <h1>${title}</h1>
          <p class="state" role="status" data-live="state">${live.state}</p>
          <p class="trouble" data-live="trouble">${live.trouble}</p>
          <p class="lost" id="lost"
            hidden>No news from the process: it has gone, or too many follow it already. This is what it said last.</p>
          <dl class="about" data-live="about">${live.about}</dl>
        </header>
        <main>
          <section class="tiles" aria-label="At a glance"
            data-live="tiles">${live.tiles}</section>
          <section aria-labelledby="h-throughput">
            <h2 id="h-throughput">Throughput</h2>
            <p
              class="legend"><span class="key sent">sent to NATS</span> <span class="key received">received from NATS</span> <output id="hover"></output></p>
            <div id="chart" data-live="chart">${live.chart}</div>
          </section>
          <section aria-labelledby="h-link">
            <h2 id="h-link">Link to NATS</h2>
            <div data-live="link">${live.link}</div>
          </section>
          <section aria-labelledby="h-tunnels">
            <div class="bar"><h2 id="h-tunnels">Tunnels</h2>
    <input id="filter" type="search" placeholder="Filter" aria-label="Filter the tunnels" autocomplete="off" spellcheck="false" hidden></div>
            <p class="note" data-live="more">${live.more}</p>
            <p class="note" id="unmatched"
              hidden>No tunnel that is listed matches the filter.</p>
            <div class="scroll">
              <table id="tunnels">
                <thead>
                  <tr>${TUNNEL_COLUMNS.map(([label, kind, about]) =>
                    html`<th scope="col" class="${kind}" title="${about}">${label}</th>`
                  )}</tr>
                </thead>
                <tbody data-live="tunnels">${live.tunnels}</tbody>
              </table>
            </div>
          </section>
          <section aria-labelledby="h-places">
            <h2 id="h-places">${role === "client"
              ? "Forwards"
              : "Services"}</h2>
            <div class="scroll" data-live="places">${live.places}</div>
          </section>
          <section aria-labelledby="h-endings">
            <h2 id="h-endings">Ended lately</h2>
            <div class="scroll">
              <table id="endings">
                <thead>
                  <tr>
                    <th scope="col">When</th>
                    <th scope="col">Reason</th>
                    <th scope="col">Target</th>
                    <th scope="col">Who</th>
                    <th scope="col" class="number">Open for</th>
                    <th scope="col" class="number">Sent</th>
                    <th scope="col" class="number">Received</th>
                  </tr>
                </thead>
                <tbody data-live="endings">${live.endings}</tbody>
              </table>
            </div>
          </section>
        </main>
        <footer>
          <p>Shown to this machine, or with a token. The same for programs: <a href="snapshot.json">snapshot.json</a>, <a href="metrics">metrics</a>.</p>
        </footer>
        <script nonce="${nonce}">${trusted(SCRIPT)}</script>
      </body>
    </html>
  `.text;
}
