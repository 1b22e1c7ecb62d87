/** The page, the snapshot and the events as the status port serves them. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { Secret } from "../../lib/base/credentials.ts";
import {
  serveStatus,
  type StatusOptions,
  type StatusServer,
} from "../../lib/process/status.ts";
import type { Snapshot } from "../../lib/status/snapshot.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { part, snapshot, tunnel } from "../support/snapshots.ts";

function serve(options: Partial<StatusOptions> = {}): StatusServer {
  return serveStatus({
    address: { host: "127.0.0.1", port: 0 },
    flag: "--status-addr",
    read: () => ({ notReadyReason: undefined, metrics: [] }),
    look: () => Promise.resolve(snapshot()),
    token: () => undefined,
    maxConnections: 32,
    ...options,
  });
}

/** The answer to a request, its body perhaps still on its way. */
async function ask(
  { address: { port } }: StatusServer,
  path: string,
  init: RequestInit = {},
): Promise<Response> {
  const headers = { connection: "close", ...init.headers };
  return await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers });
}

/** The events of an answer, as they come. */
async function* eventsOf(response: Response): AsyncGenerator<unknown> {
  const { body } = response;
  assert.ok(body !== null);
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    rest += text;
    for (let end; (end = rest.indexOf("\n\n")) >= 0;) {
      const [, data] = /^data: (.*)$/.exec(rest.slice(0, end)) ?? [];
      rest = rest.slice(end + 2);
      if (data !== undefined) yield JSON.parse(data);
    }
  }
}

Deno.test("the page comes with a policy that lets in nothing else, and stays with its reader", async () => {
  await using server = serve();
  const response = await ask(server, "/");
  const text = await response.text();
  const { headers } = response;
  const policy = headers.get("content-security-policy") ?? "";
  const [, nonce = ""] = /script-src 'nonce-(\w{32})'/.exec(policy) ?? [];
  assert.ok(nonce !== "" && text.includes(`<script nonce="${nonce}">`));
  assert.match(policy, /^default-src 'none';.*frame-ancestors 'none'$/);
  assert.doesNotMatch(policy, /unsafe|\*|http/);
  assert.equal(headers.get("content-type"), "text/html; charset=utf-8");
  for (
    const [name, value] of [
      ["x-content-type-options", "nosniff"],
      ["x-frame-options", "DENY"],
      ["referrer-policy", "no-referrer"],
      ["cache-control", "no-store"],
      ["cross-origin-resource-policy", "same-origin"],
    ] as const
  ) assert.equal(headers.get(name), value);
  const again = await ask(server, "/");
  assert.ok(!(await again.text()).includes(nonce), "another for each");
});

/** A turn of the event loop, in which sockets have their news. */
function turn(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  return promise;
}

/** The next of `events`. */
async function next<T>(events: AsyncGenerator<T>): Promise<T | undefined> {
  const { value } = await events.next();
  return value;
}

Deno.test("/snapshot.json is what is seen, and /events goes on with it, in either form", async () => {
  let looks = 0;
  const look = (): Promise<Snapshot> =>
    Promise.resolve(snapshot([part({}, [tunnel({ ms: ++looks * 1000 })])]));
  const clock = new FakeClock();
  await using server = serve({ look, clock });
  const response = await ask(server, "/snapshot.json");
  assert.equal((await response.json()).tunnels.rows[0].ms, 1_000);
  const answer = await ask(server, "/events");
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  const events = eventsOf(answer);
  const age = (event: unknown): number | undefined =>
    (event as Snapshot).tunnels.rows[0]?.ms;
  assert.equal(age(await next(events)), 2_000);
  await clock.advance(1_000);
  assert.equal(age(await next(events)), 3_000);
  const parts = eventsOf(await ask(server, "/events?view=page"));
  await clock.advance(1_000);
  assert.match(
    (await next(parts) as Record<string, string>).tunnels ?? "",
    /^ ?<tr>/,
  );
  const head = await ask(server, "/events", { method: "HEAD" });
  assert.equal(await head.text(), "");
  await events.return(undefined);
  await parts.return(undefined);
  // Whoever has left is noticed, and nobody looks for them any more.
  while (clock.timers > 0) await turn();
  const before = looks;
  await clock.advance(60_000);
  assert.equal(looks, before);
});

Deno.test("those who follow are so many, and none of them makes room for others", async () => {
  await using server = serve({ maxConnections: 8, clock: new FakeClock() });
  const first = eventsOf(await ask(server, "/events"));
  const second = await ask(server, "/events");
  const third = await ask(server, "/events");
  assert.equal(third.status, 503);
  assert.equal((await third.json()).status, "too many follow already");
  using idle = new DisposableStack();
  for (let times = 0; times < 20; times++) {
    const { port } = server.address;
    idle.use(await Deno.connect({ hostname: "127.0.0.1", port }));
  }
  assert.equal((await (await ask(server, "/health")).json()).status, "ok");
  assert.ok((await next(first) as Snapshot).ready);
  await second.body?.cancel();
  await first.return(undefined);
});

Deno.test("who does not read is left out, and cut after five seconds", async () => {
  // More than the sockets of both sides hold.
  const big = snapshot([part({ notReady: "x".repeat(16 * 1024 * 1024) })]);
  const clock = new FakeClock();
  let looks = 0;
  await using server = serve({
    clock,
    look: () => {
      looks++;
      return Promise.resolve(big);
    },
  });
  const { port } = server.address;
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const request = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n";
  await conn.write(new TextEncoder().encode(request));
  const buffer = new Uint8Array(64 * 1024);
  let bytes = await conn.read(buffer) ?? 0;
  while (looks < 1) bytes += await conn.read(buffer) ?? 0;
  // Others are answered meanwhile.
  assert.equal((await (await ask(server, "/health")).json()).status, "ok");
  await clock.advance(5_000);
  for (;;) {
    const count = await conn.read(buffer).catch(() => null);
    if (count === null) break;
    bytes += count;
  }
  assert.ok(bytes < 16 * 1024 * 1024, `${bytes}`);
});

Deno.test("a token that is changed ends what was followed with the one before", async () => {
  let token = "0123456789abcdef";
  const clock = new FakeClock();
  await using server = serve({ token: () => new Secret(token), clock });
  const refused = await ask(server, "/events");
  assert.equal(refused.status, 401);
  assert.match(refused.headers.get("www-authenticate") ?? "", /^Basic realm=/);
  assert.ok(!(await refused.text()).includes(token));
  const headers = { authorization: `Bearer ${token}` };
  const events = eventsOf(await ask(server, "/events", { headers }));
  assert.ok(await next(events));
  token = "fedcba9876543210";
  await clock.advance(1_000);
  assert.equal(await next(events), undefined, "it has ended");
});

Deno.test("what fails while somebody follows is told, and goes on", async () => {
  using log = captureLog();
  let fails = true;
  const clock = new FakeClock();
  await using server = serve({
    clock,
    look: () =>
      fails ? Promise.reject(new Error("no")) : Promise.resolve(snapshot()),
  });
  const events = eventsOf(await ask(server, "/events"));
  while (log.records.length === 0) await turn();
  fails = false;
  await clock.advance(1_000);
  assert.ok((await next(events) as Snapshot).ready);
  await events.return(undefined);
});
