/** The page: what it shows, and that nothing foreign is anything but text in it. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { page } from "../../lib/status/page.ts";
import { html } from "../../lib/status/html.ts";
import { partsAsJson } from "../../lib/status/page.ts";
import { SCRIPT } from "../../lib/status/page_script.ts";
import { STYLE } from "../../lib/status/page_style.ts";
import type { Snapshot } from "../../lib/status/snapshot.ts";
import { ending, NOON, part, snapshot, tunnel } from "../support/snapshots.ts";

const HOSTILE = `"'><script>alert(1)</script>\u202e<img src=x onerror=y>&amp;`;

/** A snapshot in which each text that others have a say in is `text`. */
function foreign(text: string, role: "client" | "server"): Snapshot {
  const outage = { from: NOON - 9_000, to: NOON - 8_000, why: text };
  return snapshot([part({
    notReady: text,
    link: {
      ...{ connected: false, server: text, reconnects: 1 },
      outages: [outage, { from: NOON - 7_000, why: text }],
    },
    ways: [{ listen: text, name: text, target: text, open: 1 }],
    services: [{
      ...{ name: text, target: text, description: text, why: text },
      ...{ checked: true, up: false, opened: 0, open: 0 },
    }],
    endings: [
      ending({ target: text, peer: text, client: text, source: text }),
      ending({ code: "refused", why: text, byPeer: true, kind: "refusal" }),
    ],
  }, [
    tunnel({ target: text, peer: text, source: text, client: text, id: text }),
    tunnel({ forward: text, service: text }),
  ])], { role, name: text, host: text, site: text });
}

/** The tags of `text`, and what stands in their attributes apart. */
function tagsOf(text: string): string[] {
  return [...text.matchAll(/<(\/?[a-z!][^\s>/]*)(?:"[^"]*"|[^">])*>/gi)]
    .map(([, name = ""]) => name);
}

Deno.test("page() has what others wrote as text, whatever they wrote", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("client" as const, "server" as const),
      fc.oneof(fc.constant(HOSTILE), fc.string({ minLength: 1 })),
      (role, text) => {
        const harmless = page(foreign("x", role), "n");
        const written = page(foreign(text, role), "n");
        assert.deepEqual(tagsOf(written), tagsOf(harmless));
      },
    ),
    { examples: [["client", HOSTILE], ["server", HOSTILE]] },
  );
  const text = page(foreign(HOSTILE, "server"), "n");
  assert.ok(!text.includes("<img"));
  assert.ok(!text.includes("\u202e"));
  assert.equal(text.match(/<script/g)?.length, 1);
});

Deno.test("partsAsJson() escapes the same, on one line", () => {
  const text = partsAsJson(foreign(HOSTILE, "client"));
  assert.ok(!text.includes("<script") && !text.includes("<img"));
  assert.ok(!text.includes("\n"));
});

Deno.test("html`` escapes what is no HTML of its own, and leaves out what is nothing", () => {
  const inner = html`<b>${"a&b"}</b>`;
  const { text } = html`<p title="${'"x"'}">${[
    inner,
    1,
    false,
    undefined,
  ]}</p>`;
  assert.equal(text, '<p title="&quot;x&quot;"><b>a&amp;b</b>1</p>');
});

Deno.test("page() is whole without its script, and loads nothing", () => {
  const text = page(
    snapshot([part({
      total: { sent: 2 ** 20, received: 0 },
      points: [{ at: NOON - 10_000, sent: 5_120, received: 0, tunnels: 7 }],
      endings: [ending({ code: "idle", why: "no byte for 1m" })],
    }, [
      tunnel({
        client: "edge7",
        forward: "db",
        rate: { sent: 2_048, received: 0 },
      }),
      tunnel({ condition: "stalled", stalled: { side: "here", ms: 12_000 } }),
    ])]),
    "n0nce",
  );
  for (
    const shown of [
      ...["gw1 · client", "edge7 (127.0.0.1:40000)", "2.0 KiB/s"],
      ...[
        "stalled 12s: application does not read",
        "no byte for 1m",
        "up",
        "1h 00m",
        "n1:4222",
      ],
      ...["0.50 ms", "1.0 MiB in all", 'http-equiv="refresh"', "7 tunnels"],
      "1.0 KiB/s",
    ]
  ) assert.ok(text.toLowerCase().includes(shown.toLowerCase()), shown);
  const links = [...text.matchAll(/(?:src|href)="([^"]*)"/g)]
    .map(([, to = ""]) => to);
  assert.deepEqual(links.filter((to) => !to.startsWith("data:")), [
    "snapshot.json",
    "metrics",
  ]);
  assert.equal(text.match(/nonce="n0nce"/g)?.length, 2);
  assert.ok(!/ style=| on[a-z]+=/.test(text), "the policy forbids both");
  assert.ok(text.match(/<th scope="(?:col|row)"/g));
  assert.ok(!/<th(?! scope)[ >]/.test(text));
});

Deno.test("page() tells no hour before the start, and no broker where there was none", () => {
  const bar = /class="up" x="(\d+)"/;
  const young = page(snapshot([part()], { started: NOON - 1_800_000 }), "n");
  assert.equal(bar.exec(young)?.[1], "600");
  const old = page(snapshot([part()], { started: NOON - 9e6 }), "n");
  assert.equal(bar.exec(old)?.[1], "0");
  const link = { connected: false, server: "", reconnects: 0, outages: [] };
  assert.match(page(snapshot([part({ link })]), "n"), /to any broker yet/);
  const starting = {
    ...snapshot([]),
    since: NOON - 9_000,
    lastError: { text: "NATS at n1: <b>wrong</b>", at: NOON - 2_000 },
  };
  const text = page(starting, "n");
  assert.match(text, />for 9s; last error/);
  assert.match(text, /last error, 2s ago: NATS at n1: &lt;b&gt;wrong/);
  assert.match(text, /no connection to a broker yet/);
  assert.ok(!text.includes("of 0"));
});

Deno.test("page() of a process without anything says so, and of many tunnels how many there are", () => {
  const empty = page(snapshot([]), "n");
  for (const told of ["No tunnel is open.", "not ready", "starting"]) {
    assert.ok(empty.includes(told), told);
  }
  const many = part({}, [tunnel()]);
  const { tunnels } = many;
  const more = page(
    snapshot([{ ...many, tunnels: { ...tunnels, open: 12_034 } }]),
    "n",
  );
  assert.ok(more.includes("1 of 12,034: those that stall"));
});

Deno.test("the page's script is one, its style sheet closes what it opens, and text on either ground can be read", () => {
  assert.doesNotThrow(() => new Function(SCRIPT));
  assert.ok(!SCRIPT.includes("</"));
  const braces = (sign: string): number => STYLE.split(sign).length;
  assert.equal(braces("{"), braces("}"));
  // WCAG 2.1, 1.4.3: 4.5 to 1 for text.
  const themes = [...STYLE.matchAll(/--ground:[^}]*/g)].map(([text]) =>
    new Map(
      [...text.matchAll(/--(\w+): (#\w+)/g)].map((
        [, name = "", colour = ""],
      ) => [name, luminance(colour)]),
    )
  );
  assert.equal(themes.length, 2);
  for (const theme of themes) {
    for (
      const name of ["ink", "soft", "sent", "received", "good", "bad", "warn"]
    ) {
      for (const ground of ["ground", "card"]) {
        const [light = 0, dark = 1] = [theme.get(name), theme.get(ground)]
          .map((value) => value ?? NaN).toSorted((a, b) => b - a);
        const ratio = (light + 0.05) / (dark + 0.05);
        assert.ok(ratio >= 4.5, `${name} on ${ground}: ${ratio}`);
      }
    }
  }
});

/** How bright a colour is (WCAG 2.1). */
function luminance(colour: string): number {
  const long = colour.length === 4
    ? colour.replaceAll(/[^#]/g, "$&$&")
    : colour;
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = parseInt(long.slice(at, at + 2), 16) / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
