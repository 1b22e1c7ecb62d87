/** What a client does once: its command line, and what of variables and files counts there. */
import assert from "node:assert/strict";
import { parseCommandLine } from "../../lib/config/cli.ts";
import { UsageError } from "../../lib/base/errors.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";

Deno.test("-W takes one target, and no place to listen at", () => {
  for (
    const [args, target] of [
      [["-W", "db:5432"], { host: "db", port: 5432 }],
      [["-Wdb:1"], { host: "db", port: 1 }],
      [["--stdio", " [::1]:22 "], { host: "::1", port: 22 }],
      [["--stdio=a:1", "-W", "b:2"], { host: "b", port: 2 }],
    ] as const
  ) {
    const { client, tunnel } = parseRun("client", args).config;
    assert.deepEqual(client.oneShot, { kind: "stdio", target });
    assert.deepEqual(client.forwards, []);
    assert.equal(tunnel.max, 1);
  }
});

Deno.test("-W refuses what is no target, and flags that it cannot heed, with the reason", () => {
  for (
    const [args, message] of [
      [["-W"], "--stdio needs a value"],
      [
        ["-W", "db"],
        '--stdio: "db" is no target (HOST:PORT, svc:NAME or unix:PATH, perhaps with @SITE): its target "db" has no port',
      ],
      [["-W", "db:0"], "--stdio: "],
      [["-W", "db:1-2"], "it has more than one port"],
      [["-W", "::1:22"], "an IPv6 address goes in brackets"],
      [["-W", "a:1", "-L", "1:a:1"], "leave out --forward"],
      [["-W", "a:1", "--listen-addr", ":1"], "leave out --listen-addr"],
      [["-W", "a:1", "--remote-addr", "a:1"], "leave out --remote-addr"],
      [["-W", "a:1", "--workers=1"], "leave out --workers"],
    ] as const
  ) {
    assert.throws(
      () => parseCommandLine("client", args, fakeSources()),
      (error: unknown) => {
        assert.ok(error instanceof UsageError);
        assert.ok(error.message.includes(message), error.message);
        return true;
      },
    );
  }
  assert.throws(
    () => parseCommandLine("server", ["-W", "a:1"], fakeSources()),
    /"-W" \(only the client has it\)/,
  );
});

Deno.test("-W heeds of what variables and files say what is for one connection, too", () => {
  const sources = fakeSources({
    env: {
      FORWARD: "1:a:1",
      LISTEN_ADDR: ":1",
      STATUS_ADDR: ":2",
      LOG_LEVEL: "debug",
      OPEN_TIMEOUT: "2s",
    },
    files: {
      "./.nats-proxy-client.yaml": `client: { id: edge, forwards: ["2:a:1"] }
log: { level: debug, format: json }
workers: 2
`,
    },
  });
  const { config } = parseRun("client", ["-W", "a:1"], sources);
  assert.deepEqual(config.client.forwards, []);
  assert.equal(config.client.statusAddr, undefined);
  assert.deepEqual(config.log, { level: "warn", format: "json" });
  assert.equal(config.workers, 1);
  assert.equal(config.client.openTimeout, 2_000);
  assert.equal(config.client.id, "edge");
  const asked = parseRun(
    "client",
    ["-W", "a:1", "-v", "--status-addr", ":3"],
    sources,
  ).config;
  assert.equal(asked.log.level, "debug");
  assert.deepEqual(asked.client.statusAddr, { host: "", port: 3 });
  // What is wrong there is told all the same.
  assert.throws(
    () =>
      parseRun(
        "client",
        ["-W", "a:1"],
        fakeSources({
          files: { "./.nats-proxy-client.yaml": "log: {level: loud}" },
        }),
      ),
    /log\.level in /,
  );
});
