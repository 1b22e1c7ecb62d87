/**
 * The tables of the page: tunnels, ways in, services, and what ended. Pure.
 *
 * @module
 */
import {
  conditionOf,
  formatAge,
  formatBytes,
  formatCount,
  formatRate,
  UNKNOWN,
  whoseOf,
} from "./format.ts";
import { type Html, html } from "./html.ts";
import type {
  EndingRow,
  ServiceRow,
  Snapshot,
  TunnelRow,
  WayView,
} from "./snapshot.ts";
import type { Role } from "../wire/subjects.ts";

/** The columns of the tunnels, each with how it is set, and what it tells. */
export const TUNNEL_COLUMNS = [
  ["Who", "", "The client, where its key says which, and the application"],
  ["Target", "", "As it was asked for"],
  ["Age", "number", "Since the tunnel was opened"],
  ["Sent", "number", "From the socket here to NATS: a second, and in all"],
  ["Received", "number", "From NATS to the socket here: a second, and in all"],
  ["Held", "number", "Bytes that wait in this process for either side"],
  [
    "State",
    "",
    "half-closed: one direction has ended; silent: nothing is heard of the other process, or NATS is away; stalled: who is named has taken nothing for 10 s",
  ],
] as const;

/** A row for each tunnel. */
export function tunnelRows(
  { tunnels: { rows }, process: { role } }: Snapshot,
): Html {
  return rowsOr(
    rows.map((row) => tunnelRow(row, role)),
    TUNNEL_COLUMNS.length,
    "No tunnel is open.",
  );
}

/** A row for each that ended. */
export function endingRows({ endings, at }: Snapshot): Html {
  return rowsOr(
    endings.map((ending) => endingRow(ending, at)),
    7,
    "Nothing has ended yet.",
  );
}

/** That there are more tunnels than rows. */
export function more({ tunnels: { open, rows } }: Snapshot): Html {
  return open > rows.length
    ? html`${formatCount(rows.length)} of ${
      formatCount(open)
    }: those that stall, that have carried most, and the oldest.`
    : html``;
}

function tunnelRow(row: TunnelRow, role: Role): Html {
  const { id, target, forward, service, ms, rate, sent, received, held } = row;
  // A service that was asked for by its name stands there already.
  const by = forward ?? (target.startsWith("svc:") ? undefined : service);
  const waiting = held.send + held.receive;
  return html`<tr><td data-label="Who" title="${id}">${whoseOf(row)}${
    row.worker !== undefined && html`
      <small>worker ${row.worker}</small>
    `
  }</td><td data-label="Target">${target}${
    by !== undefined && html`
      <small>${by}</small>
    `
  }</td>${number("Age", ms, formatAge(ms))}${flow("Sent", rate?.sent, sent)}${
    flow("Received", rate?.received, received)
  }${
    number("Held", waiting, waiting === 0 ? "0" : formatBytes(waiting))
  }<td data-label="State" class="is-${row.condition}">${
    conditionOf(row, role)
  }</td></tr>`;
}

function number(label: string, value: number, text: string): Html {
  return html`
    <td class="number" data-label="${label}"
      data-v="${value}">${text}</td>
  `;
}

/** A rate, and below it how much it has been. */
function flow(label: string, rate: number | undefined, total: number): Html {
  return html`
    <td class="number" data-label="${label}"
      data-v="${(rate ?? 0) * 1e6 + total / 1e9}">${formatRate(
        rate,
      )}<small>${formatBytes(total)}</small></td>
  `;
}

/** The ways in of a client. */
export function wayTable(ways: readonly WayView[]): Html {
  return html`
    <table>
      <thead>
        <tr>
          <th scope="col">Listens at</th>
          <th scope="col">Leads to</th>
          <th scope="col">Name</th>
          <th scope="col" class="number">Open</th>
        </tr>
      </thead>
      <tbody>${rowsOr(
        ways.map(({ listen, target, name, open, acceptProxy }) =>
          html`<tr><th scope="row" data-label="Listens at">${listen}${
            acceptProxy === true && html`
              <small>PROXY headers</small>
            `
          }</th><td data-label="Leads to">${target}</td><td data-label="Name">${
            name ?? ""
          }</td>${number("Open", open, formatCount(open))}</tr>`
        ),
        4,
        "It listens nowhere now.",
      )}</tbody>
    </table>
  `;
}

/** The services of a server. */
export function serviceTable(services: readonly ServiceRow[]): Html {
  return html`
    <table>
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Where it is</th>
          <th scope="col">Health</th>
          <th scope="col" class="number">Open</th>
          <th scope="col" class="number">Opened</th>
        </tr>
      </thead>
      <tbody>${rowsOr(
        services.map(({ name, target, description, open, opened, ...health }) =>
          html`<tr><th scope="row" data-label="Name">${name}${
            description !== undefined && html`
              <small>${description}</small>
            `
          }</th><td data-label="Where it is">${target}</td><td data-label="Health">${
            healthOf(health)
          }</td>${number("Open", open, formatCount(open))}${
            number("Opened", opened, formatCount(opened))
          }</tr>`
        ),
        5,
        "No services: targets are asked for by their addresses.",
      )}</tbody>
    </table>
  `;
}

function healthOf(
  { up, checked, why }: Pick<ServiceRow, "up" | "checked" | "why">,
): Html {
  const text = up
    ? checked ? "in order" : "offered, not checked"
    : "out of order";
  return html`<span class="dot ${up ? "good" : "bad"}"></span> ${text}${
    why !== undefined && html`<small>${why}</small>`
  }`;
}

function endingRow(row: EndingRow, now: number): Html {
  const { at, kind, code, why, byPeer, target, ms, bytes } = row;
  return html`
    <tr>
      <td
        data-label="When"><time datetime="${iso(at)}" title="${iso(
          at,
        )}">${formatAge(now - at)} ago</time></td>
      <td data-label="Reason"
        class="${code === "ok" ? "is-ok" : "is-cut"}">${kind === "refusal" &&
          "not opened: "}<b>${code}</b>${byPeer === true && html`
          <small>by the other end</small>
        `}${why !== undefined && html`<small>${why}</small>`}</td>
      <td data-label="Target">${target ?? UNKNOWN}</td>
      <td data-label="Who">${whoseOf(row)}${row.worker !== undefined && html`
        <small>worker ${row.worker}</small>
      `}</td>
      <td class="number" data-label="Open for">${ms === undefined
        ? ""
        : formatAge(ms)}</td>
      <td class="number" data-label="Sent">${bytes &&
        formatBytes(bytes.sent)}</td>
      <td class="number" data-label="Received">${bytes &&
        formatBytes(bytes.received)}</td>
    </tr>
  `;
}

function rowsOr(
  rows: readonly Html[],
  columns: number,
  none: string,
): Html {
  return rows.length > 0 ? html`${rows}` : html`
    <tr class="none">
      <td colspan="${columns}">${none}</td>
    </tr>
  `;
}

/** A time as `<time>` has it. */
export function iso(at: number): string {
  return new Date(at).toISOString();
}
