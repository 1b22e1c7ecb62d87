import assert from "node:assert/strict";
import type { Address } from "../../lib/base/address.ts";
import { RunError } from "../../lib/base/errors.ts";
import type { Metric } from "../../lib/process/metric.ts";
import { snapshot } from "../support/snapshots.ts";
import {
  serveStatus,
  type Status,
  type StatusServer,
} from "../../lib/process/status.ts";

const READY: Status = { notReadyReason: undefined, metrics: [] };

/** Serves what `read` gives on a free port of the loopback, or at `address`. */
function serve(
  read: () => Status = () => READY,
  address: Address = { host: "127.0.0.1", port: 0 },
): StatusServer {
  return serveStatus({
    address,
    flag: "--listen-addr",
    read,
    look: () => Promise.resolve(snapshot()),
    token: () => undefined,
    maxConnections: 32,
  });
}

/** A metric without samples. */
function metric(help: string): Metric {
  return { name: "up", help, type: "gauge", samples: [] };
}

/** The answer to one request, read to its end. */
async function ask(
  { address }: StatusServer,
  path: string,
  method = "GET",
  more: Readonly<Record<string, string>> = {},
): Promise<{ status: number; text: string; headers: Headers }> {
  const url = `http://127.0.0.1:${address.port}${path}`;
  const response = await fetch(url, {
    method,
    headers: { connection: "close", ...more },
  });
  const { status, headers } = response;
  return { status, headers, text: await response.text() };
}

Deno.test("serveStatus() says on /health that the process is up", async () => {
  await using server = serve(() => {
    throw new Error("not asked");
  });
  const { status, text, headers } = await ask(server, "/health");
  assert.equal(status, 200);
  assert.deepEqual(JSON.parse(text), { status: "ok" });
  assert.equal(headers.get("content-type"), "application/json");
  assert.equal(headers.get("cache-control"), "no-store");
});

Deno.test("serveStatus() says on /ready whether and why not", async () => {
  let status = READY;
  await using server = serve(() => status);
  const ready = await ask(server, "/ready?x=1");
  assert.equal(ready.status, 200);
  assert.deepEqual(JSON.parse(ready.text), { status: "ready" });
  status = {
    ...READY,
    notReadyReason: "draining",
    details: { workers: 3, ready: 0 },
  };
  const drained = await ask(server, "/ready");
  assert.equal(drained.status, 503);
  assert.deepEqual(JSON.parse(drained.text), {
    status: "not ready",
    reason: "draining",
    details: { workers: 3, ready: 0 },
  });
});

Deno.test("serveStatus() writes metrics for Prometheus", async () => {
  const metrics = [{ ...metric("Up"), samples: [{ value: 1 }] }];
  await using server = serve(() => ({ ...READY, metrics }));
  const { status, text, headers } = await ask(server, "/metrics");
  assert.equal(status, 200);
  assert.equal(text, "# HELP up Up\n# TYPE up gauge\nup 1\n");
  assert.equal(
    headers.get("content-type"),
    "text/plain; version=0.0.4; charset=utf-8",
  );
});

Deno.test("serveStatus() writes OpenMetrics for who asks for it", async () => {
  const metrics = [{ ...metric("Up"), samples: [{ value: 1 }] }];
  await using server = serve(() => ({ ...READY, metrics }));
  const { text, headers } = await ask(server, "/metrics", "GET", {
    accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
  });
  assert.equal(text, "# HELP up Up\n# TYPE up gauge\nup 1\n# EOF\n");
  assert.equal(
    headers.get("content-type"),
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
  );
});

/** The first line of the answer to a request that is written by hand. */
async function askRaw(
  { address }: StatusServer,
  ...lines: readonly string[]
): Promise<string> {
  using conn = await Deno.connect({
    hostname: "127.0.0.1",
    port: address.port,
  });
  await conn.write(new TextEncoder().encode([...lines, "", ""].join("\r\n")));
  const text = await new Response(conn.readable).text();
  return text.split("\r\n")[0] ?? "";
}

const BROWSER = "accept-language: *";

Deno.test("serveStatus() shows metrics under any name, but to no browser under one that may be a page's", async () => {
  const table: [host: string, sign: string, status: number][] = [
    // Scrapers and people with curl.
    ["sproxy.corp.example.com:8080", "user-agent: Prometheus/3.0", 200],
    ["tcp-sproxy-server.default.svc.cluster.local", "accept: */*", 200],
    ["evil.example:8080", "x: y", 200],
    // Browsers.
    ["evil.example:8080", BROWSER, 403],
    ["EVIL.example", BROWSER, 403],
    ["evil.example.", BROWSER, 403],
    ["127.0.0.1.evil.example", BROWSER, 403],
    ["localhost.evil.example", BROWSER, 403],
    ["[evil.example]:80", BROWSER, 403],
    ["a:b:c", BROWSER, 403],
    ["evil.example", "origin: http://evil.example", 403],
    ["evil.example", "Sec-Fetch-Site: same-origin", 403],
    ["127.0.0.1:8080", BROWSER, 200],
    ["[::1]:8080", BROWSER, 200],
    ["[fe80::1%eth0]", BROWSER, 200],
    ["localhost:8080", BROWSER, 200],
    ["LOCALHOST", BROWSER, 200],
    ["db.localhost:1", BROWSER, 200],
    ["tcp-sproxy-server:8080", BROWSER, 200],
    ["", BROWSER, 200],
  ];
  await using server = serve();
  for (const [host, sign, status] of table) {
    for (const [path, wanted] of [["/metrics", status], ["/ready", 200]]) {
      const line = await askRaw(
        server,
        `GET ${path} HTTP/1.1`,
        `Host: ${host}`,
        sign,
      );
      assert.match(line, new RegExp(`^HTTP/1.1 ${wanted} `), `${host} ${sign}`);
    }
  }
  const proxied = "GET http://evil.example/metrics HTTP/1.1";
  assert.match(
    await askRaw(server, proxied, "Host: localhost", BROWSER),
    /403/,
  );
});

Deno.test("serveStatus() shows metrics to a browser under the name it listens on", async () => {
  await using server = serve(undefined, { host: "127.1", port: 0 });
  const head = ["GET /metrics HTTP/1.1", "Host: 127.1:8080", BROWSER];
  assert.match(await askRaw(server, ...head), /200/);
});

Deno.test("serveStatus() refuses what is no request", async () => {
  await using server = serve();
  for (
    const lines of [
      ["GET /health"],
      ["get /health HTTP/1.1"],
      ["GET /health HTTP/2"],
      ["GET health HTTP/1.1"],
      ["GET /health HTTP/1.1", "Host: a", "host: b"],
      ["GET /health HTTP/1.1", "no header"],
      ["GET /health HTTP/1.1", "a: b", " folded"],
    ]
  ) {
    assert.match(await askRaw(server, ...lines), /^HTTP\/1.1 400 /, lines[1]);
  }
});

Deno.test("serveStatus() answers HEAD without a body", async () => {
  await using server = serve();
  for (const path of ["/health", "/ready", "/metrics"]) {
    const { status, text } = await ask(server, path, "HEAD");
    assert.deepEqual([status, text], [200, ""], path);
  }
});

Deno.test("serveStatus() refuses other paths and methods", async () => {
  await using server = serve();
  for (const path of ["/page", "/health/", "/Health", "/readyz", "//health"]) {
    assert.equal((await ask(server, path)).status, 404, path);
  }
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
    const { status, headers } = await ask(server, "/health", method);
    assert.equal(status, 405, method);
    assert.equal(headers.get("allow"), "GET, HEAD");
  }
  assert.equal((await ask(server, "/nope", "POST")).status, 404);
});

Deno.test("serveStatus() answers 500 when its source fails, and goes on", async () => {
  let fails = true;
  await using server = serve(() => {
    if (fails) throw new Error("fails");
    return READY;
  });
  const { status, text } = await ask(server, "/metrics");
  assert.deepEqual([status, text], [500, '{"status":"error"}\n']);
  fails = false;
  assert.equal((await ask(server, "/metrics")).status, 200);
});

Deno.test("serveStatus() names flag and address when the port is taken", async () => {
  await using server = serve();
  const { port } = server.address;
  for (const host of ["127.0.0.1", ""]) {
    assert.throws(
      () => serve(undefined, { host, port }),
      (error: unknown) => {
        assert.ok(error instanceof RunError);
        assert.equal(
          error.message,
          `Cannot serve the status on --listen-addr ${host}:${port}: ` +
            "the port is in use; choose another, or off",
        );
        return true;
      },
    );
  }
});

Deno.test({
  name: "serveStatus() says so when it may not listen",
  permissions: { net: [] },
  fn(): void {
    for (const host of ["127.0.0.1", ""]) {
      assert.throws(
        () => serve(undefined, { host, port: 8080 }),
        (error: unknown) => {
          assert.ok(error instanceof RunError);
          assert.match(
            error.message,
            /^Cannot serve the status on --listen-addr \S*:8080: Requires net access/,
          );
          return true;
        },
      );
    }
  },
});

Deno.test("serveStatus() listens on IPv4 too for an empty host", async () => {
  await using server = serve(undefined, { host: "", port: 0 });
  assert.equal((await ask(server, "/health")).status, 200);
});

/** A listener on the IPv6 loopback; undefined where there is none. */
function listenIpv6(): Deno.TcpListener | undefined {
  try {
    return Deno.listen({ hostname: "::1", port: 0 });
  } catch (error) {
    if (error instanceof Deno.errors.AddrNotAvailable) return undefined;
    throw error;
  }
}

Deno.test("serveStatus() does not settle for IPv4 when the port is taken on IPv6", () => {
  using taken = listenIpv6();
  if (taken === undefined) return;
  const { port } = taken.addr;
  assert.throws(
    () => serve(undefined, { host: "", port }),
    /the port is in use/,
  );
});

Deno.test("serveStatus() ends when disposed, and disposal may be repeated", async () => {
  const server = serve();
  await ask(server, "/health");
  await server[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  const { host, port } = server.address;
  using freed = Deno.listen({ hostname: host, port });
  assert.equal(freed.addr.transport, "tcp");
});

Deno.test("serveStatus() ends though a reader has stopped in the middle", async () => {
  // More than the sockets of both sides hold.
  const metrics = [metric("x".repeat(32 * 1024 * 1024))];
  const server = serve(() => ({ ...READY, metrics }));
  const { host, port } = server.address;
  using conn = await Deno.connect({ hostname: host, port });
  const request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  await conn.write(new TextEncoder().encode(request));
  assert.notEqual(await conn.read(new Uint8Array(16)), null);
  await server[Symbol.asyncDispose]();
});

Deno.test("serveStatus() goes on after garbage", async () => {
  await using server = serve();
  const { host, port } = server.address;
  for (
    const garbage of ["\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n"]
  ) {
    using conn = await Deno.connect({ hostname: host, port });
    await conn.write(new TextEncoder().encode(garbage));
    const buffer = new Uint8Array(1024);
    const count = await conn.read(buffer);
    const text = new TextDecoder().decode(buffer.subarray(0, count ?? 0));
    assert.doesNotMatch(text, /^HTTP\/1\.1 200/);
  }
  assert.equal((await ask(server, "/health")).status, 200);
});

Deno.test("serveStatus() answers beside a thousand half requests, and keeps none of them for ever", async () => {
  await using server = serve();
  const { host: hostname, port } = server.address;
  const half = new TextEncoder().encode("GET /health HTTP/1.1\r\nHost: ");
  const conns: Deno.TcpConn[] = [];
  try {
    for (let i = 0; i < 1_000; i++) {
      const conn = await Deno.connect({ hostname, port });
      conns.push(conn);
      await conn.write(half);
    }
    assert.equal((await ask(server, "/health")).status, 200);
    // The oldest have gone to make room.
    const [oldest] = conns;
    assert.ok(oldest);
    const ending = await oldest.read(new Uint8Array(1)).catch(() => null);
    assert.equal(ending, null);
  } finally {
    for (const conn of conns) conn.close();
  }
});

Deno.test("serveStatus() says so of a request that is too long", async () => {
  await using server = serve();
  const { host: hostname, port } = server.address;
  using conn = await Deno.connect({ hostname, port });
  const long = `GET /health HTTP/1.1\r\nX: ${"x".repeat(9_000)}\r\n\r\n`;
  await conn.write(new TextEncoder().encode(long));
  const answer = await new Response(conn.readable).text();
  assert.match(answer, /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/);
});
