/**
 * Holds docs/troubleshooting.md to the source, both ways: it quotes each
 * message that a user can meet, and nothing that no source says.
 */
import assert from "node:assert/strict";
import { WIRE_CODES } from "../../lib/base/errors.ts";
import { literalsOf } from "../support/literals.ts";
import { isQuoted, messagesOf, quotesOf, Said } from "../support/messages.ts";

const PROJECT = new URL("../../", import.meta.url);
const GUIDE = "docs/troubleshooting.md";

/** Files whose texts are no messages. */
const NO_MESSAGES: ReadonlySet<string> = new Set([
  "lib/config/completion.ts", // what shells read
  "lib/config/help.ts", // what `--help` says
  "lib/config/permissions.ts", // what `permissions` prints
  "lib/front/http_answer.ts", // the protocol of an HTTP proxy
  "lib/process/http.ts", // the protocol of the status port
  "lib/process/metric_table.ts", // what the metrics mean
  "lib/process/metrics_page.ts", // the formats of their page
  "lib/tools/code_remedies.ts", // what to do about a message
  "lib/tools/permissions_text.ts", // what `permissions` prints
  "lib/process/status_headers.ts", // the protocol of the status port
  "lib/status/chart.ts", // what the page shows
  "lib/status/page.ts",
  "lib/status/page_parts.ts",
  "lib/status/page_script.ts",
  "lib/status/page_style.ts",
  "lib/status/page_tables.ts",
  "lib/tools/top_view.ts", // what `top` shows
  "lib/tools/trace_events.ts", // the list that `ping --trace` shows
  "lib/process/start_line.ts", // what is served to whom
]);

/** Texts elsewhere that look like messages, and that no user meets as one. */
const NOT_TOLD: ReadonlySet<string> = new Set([
  // Faults of the program: told as `internal error` or `tunnel failed`.
  "Cannot back off before attempt …",
  "A message of … bytes is larger than the … that NATS takes",
  "… is no header name",
  "No bus has these options",
  "a worker runs a role",
  "no tool is called …",
  "a trial has no connection",
  // Ends that the process itself brings about.
  "the bus is closed",
  "The bus is closed",
  "The connection to NATS ended before all was sent",
  "it was discarded",
  "another was first",
  "the command has ended",
  "time is up",
  "the tunnel has ended",
  // Why of lines of level debug.
  "it cannot be answered",
  "no connection ID in the subject",
  "a sealed open came a second time",
  "its sender asks too often",
  "what came as a probe asks for a target",
  // Between programs.
  "STOPPING=1 EXTEND_TIMEOUT_USEC=…",
  "RELOADING=1 MONOTONIC_USEC=…",
  "sproxy hold",
  "GET … HTTP/1.1",
  "Host: …",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: …",
  "CONNECT … HTTP/1.1",
  "Proxy-Authorization: Basic …",
  "sproxy mac",
  "sproxy … lane",
  "# public key: … … ",
  "PUB … ",
  "NATS/1.0  ",
  "tcp-sproxy …… pid …",
  "the process that holds this client ID is about to stop",
  "GET, HEAD",
  "why",
  "Host: …",
  "Connection: close",
  "connection: close",
  "GET /snapshot.json HTTP/1.1",
  "authorization: Bearer …",
  "text/html; charset=utf-8",
  "q quit  s sort: …", // the last line of `top`
  "It asks the status address of the process: that of the configuration, or",
  "the one given. Keys: q ends it, s sorts by the next column.",
  ", behind PROXY headers", // what `check` shows
  // What `doctor` is, and words of its lines.
  "Each line says ok, warn, FAIL or skipped, what was found, and what to do.",
  "It is nats-server's configuration unless a flag says otherwise.",
  "Beside what it reads it opens a tunnel to each target of a client's forwards",
  "and closes it, dials each service of a server, and sends 8 MiB through NATS,",
  "to nobody but itself.",
  "tcp-sproxy … …, protocol … and 1, Deno …",
  // What NATS is told of a service, and who asks one.
  "INFO",
  "TCP connections through NATS",
  "pid …",
  // Parts of texts, or of other programs', and words beside a message.
  "server",
  "checks of services", // who pays for a look-up
  "here",
  "there",
  "tcp-sproxy … … (protocol … and 1, Deno …) ",
  "default of …", // which is never wrong
  "boolean",
  "Invalid TOML document: ",
]);

/** The path and text of each source. */
async function readSources(): Promise<(readonly [string, string])[]> {
  const paths = [...await filesIn("lib/"), "client.ts", "server.ts"];
  return await Promise.all(
    paths.map(async (path) => [path, await read(path)] as const),
  );
}

async function filesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (
    const { name, isDirectory } of Deno.readDir(new URL(folder, PROJECT))
  ) {
    if (isDirectory) found.push(...await filesIn(`${folder}${name}/`));
    else found.push(`${folder}${name}`);
  }
  return found.sort();
}

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, PROJECT));
}

const sources = await readSources();
const guide = await read(GUIDE);
const quotes = quotesOf(guide);

Deno.test("troubleshooting: the guide has each message of the sources", () => {
  const missing: string[] = [];
  let found = 0;
  for (const [path, source] of sources) {
    if (NO_MESSAGES.has(path)) continue;
    for (const { text, line } of messagesOf(source)) {
      found++;
      if (NOT_TOLD.has(text) || isQuoted(text, quotes)) continue;
      missing.push(`${path}:${line}: ${text}`);
    }
  }
  assert.ok(found > 250, `only ${found} messages were found`);
  assert.deepEqual(missing, [], `not in ${GUIDE}`);
});

Deno.test("troubleshooting: the guide quotes only what a source says", () => {
  const said = new Said([
    ...sources.flatMap(([, source]) => literalsOf(source)).map(({ text }) =>
      text
    ),
    ...Object.keys(WIRE_CODES),
  ]);
  const gone = quotes.flatMap((quote) =>
    said.unsaid(quote).map((part) => `${quote}: no source says "${part}"`)
  );
  assert.ok(quotes.length > 250, `only ${quotes.length} quotes were found`);
  assert.deepEqual(gone, []);
});

Deno.test("troubleshooting: the guide has each code", () => {
  const codes = Object.keys(WIRE_CODES);
  assert.deepEqual(codes.filter((code) => !quotes.includes(code)), []);
});

Deno.test("troubleshooting: what is left out of the guide is there, and is not in the guide", () => {
  const all = new Set(
    sources.flatMap(([, source]) => messagesOf(source)).map(({ text }) => text),
  );
  assert.deepEqual([...NOT_TOLD].filter((text) => !all.has(text)), []);
  assert.deepEqual([...NOT_TOLD].filter((it) => isQuoted(it, quotes)), []);
  const paths = sources.map(([path]) => path);
  assert.deepEqual([...NO_MESSAGES].filter((it) => !paths.includes(it)), []);
});
