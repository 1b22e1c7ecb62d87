/**
 * What the page does in a browser: it takes the parts that have changed, which
 * the process has written, keeps the reader's order and filter, and says what
 * a point of the chart is. It makes no HTML of its own.
 *
 * @module
 */

/** The script; the page is whole without it. */
export const SCRIPT = `
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const live = new Map([...document.querySelectorAll("[data-live]")]
    .map((element) => [element.dataset.live, element]));
  const shown = new Map();
  const filter = byId("filter");
  const table = byId("tunnels");
  const heads = [...table.tHead.rows[0].cells];
  let order; // { column, descending }

  // The table, as the reader wants it.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const number = cell?.dataset.v;
    return number === undefined ? cell?.textContent ?? "" : Number(number);
  };
  const compare = (one, other) =>
    typeof one === "number" && typeof other === "number"
      ? one - other
      : String(one).localeCompare(String(other), undefined, { numeric: true });
  const arrange = () => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    if (order !== undefined) {
      const sign = order.descending ? -1 : 1;
      rows.sort((one, other) =>
        sign * compare(valueOf(one, order.column), valueOf(other, order.column)));
      body.append(...rows);
    }
    const wanted = filter.value.trim().toLowerCase().split(/\\s+/);
    for (const row of rows) {
      const text = (row.textContent + " " + (row.cells[0]?.title ?? "")).toLowerCase();
      row.hidden = !row.classList.contains("none") &&
        !wanted.every((word) => text.includes(word));
    }
    byId("unmatched").hidden = rows.length === 0 || rows.some((row) => !row.hidden);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const first = head.classList.contains("number");
      order = order?.column === column
        ? { column, descending: !order.descending }
        : { column, descending: first };
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
      arrange();
    });
    head.replaceChildren(button);
  });
  filter.hidden = false;
  table.classList.add("sortable");
  filter.addEventListener("input", arrange);

  // What the chart says where the pointer is.
  const chart = byId("chart");
  const output = byId("hover");
  let pointer;
  const point = () => {
    const svg = chart.querySelector("svg");
    svg.querySelector(".cursor")?.remove();
    const box = svg.getBoundingClientRect();
    const hovers = JSON.parse(svg.dataset.hovers);
    if (pointer === undefined || hovers.length === 0) {
      output.textContent = "";
      return;
    }
    const x = (pointer - box.left) / box.width * svg.viewBox.baseVal.width;
    const near = hovers.reduce((best, one) =>
      Math.abs(one[0] - x) < Math.abs(best[0] - x) ? one : best);
    const [at, when, sent, received, tunnels] = near;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "cursor");
    line.setAttribute("d", "M" + at + " 0V" + svg.viewBox.baseVal.height);
    svg.append(line);
    output.textContent =
      when + ": sent " + sent + ", received " + received + ", " + tunnels;
  };
  chart.addEventListener("pointermove", (event) => {
    pointer = event.clientX;
    point();
  });
  chart.addEventListener("pointerleave", () => {
    pointer = undefined;
    point();
  });

  // What has changed, for as long as somebody looks.
  let source;
  let again;
  const take = ({ data }) => {
    byId("lost").hidden = true;
    const parts = JSON.parse(data);
    for (const [name, html] of Object.entries(parts)) {
      const element = live.get(name);
      if (element === undefined || shown.get(name) === html) continue;
      // Who marks a line is about to copy it.
      const marked = getSelection();
      if (marked !== null && !marked.isCollapsed &&
        element.contains(marked.anchorNode)) continue;
      shown.set(name, html);
      element.innerHTML = html;
    }
    arrange();
    point();
  };
  const follow = () => {
    clearTimeout(again);
    if (document.hidden) return;
    // Not relative: in the page's own address may stand a token.
    source = new EventSource(location.origin + location.pathname.replace(/[^/]*$/, "events?view=page"));
    source.onmessage = take;
    source.onerror = () => {
      byId("lost").hidden = false;
      if (source.readyState !== EventSource.CLOSED) return;
      again = setTimeout(follow, 5000);
    };
  };
  document.addEventListener("visibilitychange", () => {
    source?.close();
    source = undefined;
    follow();
  });
  follow();
})();
`;
