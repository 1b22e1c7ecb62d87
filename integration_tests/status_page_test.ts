/** The status page in a real browser, its snapshot with workers and tokens, and `top`. */
import assert from "node:assert/strict";
import type { Snapshot } from "../lib/status/snapshot.ts";
import { type Browser, startChromium } from "./support/chromium.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { locateAll } from "./support/optional_tools.ts";
import { run } from "./support/processes.ts";
import {
  baseEnvironment,
  PROJECT,
  type Role,
  runArguments,
  startTunnel,
  type Tunnel,
} from "./support/roles.ts";

/** Large, and so not installed for tests: they run where there is one. */
const CHROMIUM = (await locateAll("chromium")).get("chromium");

const TOKEN = "a-token-that-nobody-guesses";

/** What would be an element, and run, if it were no text. */
const HOSTILE = '<img src=x onerror="document.title=1">';

/** A connection through the tunnel that has sent and got back so many bytes. */
async function talk(
  { endpoint }: Tunnel,
  bytes: number,
): Promise<Deno.TcpConn> {
  const conn = await Deno.connect(endpoint);
  const writing = conn.write(new Uint8Array(bytes));
  const buffer = new Uint8Array(65_536);
  for (let got = 0; got < bytes;) got += await conn.read(buffer) ?? bytes;
  await writing;
  return conn;
}

async function snapshotOf(
  role: Role,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const address = await role.statusAddress();
  return await fetch(`http://${address}/snapshot.json`, { headers });
}

/** What `top` prints, asked with these words, and its exit code. */
async function top(
  home: string,
  ...words: readonly string[]
): Promise<{ readonly output: string; readonly code: number }> {
  const env = { ...await baseEnvironment(), HOME: home };
  const { output, status: { code } } = await run(Deno.execPath(), {
    args: [...await runArguments("client", env), "top", ...words],
    env,
    clearEnv: true,
    cwd: PROJECT.pathname,
  });
  return { output, code };
}

integrationTest(
  "the snapshot adds up what the workers have, and who has the token sees it, as top does",
  async () => {
    await using folder = await Folder.make();
    const file = await folder.write("token", `${TOKEN}\n`);
    await Deno.chmod(file, 0o600);
    await using tunnel = await startTunnel({
      serverArgs: ["--workers", "2", "--status-token", file],
      clientArgs: ["--status-addr", "127.0.0.1:0"],
      env: { HOME: folder.path },
    });
    const { server, client, echo } = tunnel;
    using conns = new DisposableStack();
    for (let at = 0; at < 8; at++) conns.use(await talk(tunnel, 10_000));
    // The client's is for this machine.
    const near: Snapshot = await (await snapshotOf(client)).json();
    assert.equal(near.tunnels.open, 8);
    assert.equal(near.tunnels.rows[0]?.target, echo.address);
    assert.equal(near.ways[0]?.open, 8);
    assert.ok(
      near.links[0]?.connected && near.links[0].roundTrip !== undefined,
    );
    const proxied = await snapshotOf(client, { "x-forwarded-for": "8.8.8.8" });
    assert.equal(proxied.status, 403);
    await proxied.text();
    // The server's has a token, of which its log says nothing.
    const without = await snapshotOf(server);
    assert.equal(without.status, 401);
    await without.text();
    const authorization = `Bearer ${TOKEN}`;
    const whole: Snapshot = await (await snapshotOf(server, { authorization }))
      .json();
    assert.equal(whole.tunnels.open, 8);
    assert.equal(whole.process.workers, 2);
    assert.deepEqual(whole.links.map(({ worker }) => worker), [1, 2]);
    for (const { worker } of whole.tunnels.rows) {
      assert.ok(worker === 1 || worker === 2);
    }
    assert.deepEqual(whole.total, { sent: 80_000, received: 80_000 });
    conns.dispose();
    // What ends, and how.
    let ended = whole;
    while (ended.endings.length < 8) {
      ended = await (await snapshotOf(server, { authorization })).json();
    }
    assert.ok(ended.endings.every(({ code }) => code === "ok"));
    const [clientAt, serverAt] = await Promise.all([
      client.statusAddress(),
      server.statusAddress(),
    ]);
    const [json, table] = await Promise.all([
      top(folder.path, serverAt, "--json", "--status-token", file),
      top(folder.path, clientAt.replace("127.0.0.1:", "")),
    ]);
    assert.equal(JSON.parse(json.output).process.pid, whole.process.pid);
    assert.match(table.output, /^.* client +pid \d+ .* ready\n0 tunnels of /);
    assert.match(table.output, /\nENDED LATELY\n.* ok /);
    assert.deepEqual([json.code, table.code], [0, 0]);
    const lines = [
      ...server.process.linesSince(0),
      ...client.process.linesSince(0),
    ];
    assert.ok(!lines.some((line) => line.includes(TOKEN)));
  },
);

/** Rows of the table of tunnels that are shown. */
const ROWS =
  `[...document.querySelectorAll("#tunnels tbody tr:not(.none):not([hidden])")]`;

async function checkLive(browser: Browser, tunnel: Tunnel): Promise<void> {
  const address = await tunnel.client.statusAddress();
  const page = await browser.open(`http://${address}/`, {
    ...{ width: 1280, height: 800 },
  });
  assert.equal(await page.evaluate(`${ROWS}.length`), 0);
  using small = await talk(tunnel, 1_000);
  using large = await talk(tunnel, 3_000_000);
  await page.until(`${ROWS}.length === 2`);
  const { port } = small.localAddr as Deno.NetAddr;
  const largePort = (large.localAddr as Deno.NetAddr).port;
  // Sorted by what was sent, most first, and kept so by the next news.
  await page.evaluate(
    `[...document.querySelectorAll("#tunnels th button")][3].click()`,
  );
  const first = `${ROWS}[0]?.cells[0].textContent`;
  await page.until(`${first} === "127.0.0.1:${largePort}"`);
  await page.evaluate(`{
    const filter = document.getElementById("filter");
    filter.value = ":${port}";
    filter.dispatchEvent(new Event("input"));
  }`);
  assert.equal(await page.evaluate(`${ROWS}.length`), 1);
  assert.equal(await page.evaluate(first), `127.0.0.1:${port}`);
  small.close();
  await page.until(
    `document.querySelector("#endings tbody").textContent.includes("ok")`,
  );
  assert.equal(await page.evaluate(`${ROWS}.length`), 0);
  assert.equal(
    await page.evaluate("document.querySelectorAll('main img').length"),
    0,
  );
  const title = await page.evaluate("document.title");
  assert.equal(title, `${HOSTILE} · client · tcp-sproxy`);
  assert.deepEqual(page.errors, []);
}

integrationTest(
  "Chromium shows the page: live, light and dark, on a phone, without a script, and with a token",
  async () => {
    await using folder = await Folder.make();
    const file = await folder.write("token", TOKEN);
    await Deno.chmod(file, 0o600);
    await using tunnel = await startTunnel({
      serverArgs: ["--status-token", file],
      clientArgs: ["--status-addr", "127.0.0.1:0", "--nats-name", HOSTILE],
      env: { HOME: folder.path },
    });
    await using browser = await startChromium(
      CHROMIUM ?? "chromium",
      folder.at("profile"),
    );
    await checkLive(browser, tunnel);
    using _conn = await talk(tunnel, 5_000);
    const client = await tunnel.client.statusAddress();
    const plain = await browser.open(`http://${client}/`, {
      ...{ width: 800, height: 600, scripts: false },
    });
    const text = String(await plain.evaluate("document.body.innerText"));
    assert.ok(text.includes(tunnel.echo.address), text);
    assert.equal(
      await plain.evaluate(
        `getComputedStyle(document.getElementById("filter")).display`,
      ),
      "none",
    );
    const server = await tunnel.server.statusAddress();
    const grounds = new Set<unknown>();
    for (const dark of [false, true]) {
      // As a browser has it when its user has typed the token.
      const phone = await browser.open(`http://me:${TOKEN}@${server}/`, {
        ...{ width: 360, height: 740, dark },
      });
      const rates = `${ROWS}[0]?.cells[3].textContent.includes("/s")`;
      await phone.until(rates);
      const width = await phone.evaluate(
        "document.documentElement.scrollWidth",
      );
      assert.equal(width, 360, "nothing sticks out");
      grounds.add(
        await phone.evaluate("getComputedStyle(document.body).backgroundColor"),
      );
      assert.deepEqual(phone.errors, []);
    }
    assert.equal(grounds.size, 2);
  },
  { ignore: CHROMIUM === undefined },
);
