/** The command line of `exec`, and what its command is told. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/base/errors.ts";
import { formatDestination } from "../../lib/base/target.ts";
import { parseCommandLine } from "../../lib/config/cli.ts";
import { commandAt, type Exec } from "../../lib/config/exec.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";

/** What a command line asks for. */
function execOf(args: readonly string[]): Exec {
  const { oneShot } = parseRun("client", ["exec", ...args]).config.client;
  assert.ok(oneShot?.kind === "exec");
  return oneShot;
}

Deno.test("exec takes flags and targets in any order up to --, and then nothing but the command", () => {
  const { config } = parseRun(
    "client",
    // deno-fmt-ignore
    ["exec", "-L", "0:a:1", "db=db:5432", "-v", "[::1]:22", "--", "psql", "-p", "{port}", "--help", "--", "-W"],
  );
  assert.deepEqual(config.client.oneShot, {
    kind: "exec",
    targets: [
      { name: "db", target: { host: "db", port: 5432 } },
      { name: undefined, target: { host: "::1", port: 22 } },
    ],
    program: "psql",
    args: ["-p", "{port}", "--help", "--", "-W"],
  });
  assert.equal(config.log.level, "debug");
  assert.deepEqual(
    config.client.forwards.map((way) => [
      way.listen,
      "target" in way && formatDestination(way),
      way.name,
    ]),
    [
      [{ host: "127.0.0.1", port: 0 }, "db:5432", "db"],
      [{ host: "127.0.0.1", port: 0 }, "[::1]:22", undefined],
      [{ host: "localhost", port: 0 }, "a:1", undefined],
    ],
  );
  assert.equal(
    parseRun("client", ["exec", "a:1", "--", "ls"]).config.log.level,
    "warn",
  );
  for (const args of [["exec", "--help"], ["exec", "x", "-h", "--", "ls"]]) {
    assert.equal(parseCommandLine("client", args, fakeSources()).kind, "help");
  }
});

Deno.test("exec listens for its targets and its own flags alone", () => {
  const sources = fakeSources({
    env: { FORWARD: "1:a:1", LISTEN_ADDR: ":1", WORKERS: "2" },
    files: {
      "./.nats-proxy-client.yaml": 'client: { forwards: ["2:a:1"] }',
    },
  });
  const { config } = parseRun("client", ["exec", "a:1", "--", "ls"], sources);
  assert.equal(config.client.forwards.length, 1);
  assert.equal(config.workers, 1);
  const args = ["exec", "a:1", "--listen-addr", ":9", "--", "ls"];
  const { forwards } = parseRun("client", args, sources).config.client;
  assert.deepEqual(forwards.map(({ listen }) => listen), [
    { host: "127.0.0.1", port: 0 },
    { host: "", port: 9 },
  ]);
});

Deno.test("exec refuses what is incomplete, with the right form", () => {
  const form =
    "exec TARGET -- COMMAND, such as exec db:5432 -- psql -h {host} -p {port}";
  for (
    const [args, message] of [
      [[], `exec has no target: ${form}`],
      [["--", "ls"], `exec has no target: ${form}`],
      [["a:1"], `exec has no command after --: ${form}`],
      [["a:1", "--"], `exec has no command after --: ${form}`],
      [["a:1", "ls"], "exec has no command after --"],
      [
        ["a", "--", "ls"],
        'exec: "a" is no target (HOST:PORT, svc:NAME or unix:PATH, perhaps with @SITE): its target "a" has no port',
      ],
      [["a:1-2", "--", "ls"], "it has more than one port"],
      [["1=a:1", "--", "ls"], 'exec: "1=a:1" is no target'],
      [
        ["a:1", "b:2", "--", "ls"],
        "exec: each of several targets needs a name",
      ],
      [["a=a:1", "a=b:2", "--", "ls"], 'exec: two targets have the name "a"'],
      [["a:1", "-W", "a:1", "--", "ls"], "exec and --stdio are two uses"],
      [["a:1", "--bogus", "--", "ls"], 'Unknown flag "--bogus"'],
    ] as const
  ) {
    assert.throws(
      () => parseCommandLine("client", ["exec", ...args], fakeSources()),
      (error: unknown) => {
        assert.ok(error instanceof UsageError);
        assert.ok(error.message.includes(message), error.message);
        return true;
      },
    );
  }
  assert.throws(
    () =>
      parseCommandLine("server", ["exec", "a:1", "--", "ls"], fakeSources()),
    /Unexpected argument "exec"/,
  );
});

Deno.test("commandAt() puts places for what asks for them, and leaves all else", () => {
  const places = [
    { host: "127.0.0.1", port: 1 },
    { host: "::1", port: 2 },
  ];
  const { args, env } = commandAt(
    execOf([
      ...["db=a:1", "web=b:2", "--", "x"],
      ...[
        "{port}",
        "{host}:{port}",
        "{web.addr}",
        "http://{web.host}/{db.port}",
      ],
      ...[
        "{DB.port}",
        "{nosuch.port}",
        "{ports}",
        "{}",
        "{{port}}",
        "{print $1}",
        "${port}",
      ],
    ]),
    places,
  );
  assert.deepEqual(args, [
    ...["1", "127.0.0.1:1", "[::1]:2", "http://::1/1"],
    ...[
      "{DB.port}",
      "{nosuch.port}",
      "{ports}",
      "{}",
      "{1}",
      "{print $1}",
      "$1",
    ],
  ]);
  assert.deepEqual(env, {
    SPROXY_HOST: "127.0.0.1",
    SPROXY_PORT: "1",
    SPROXY_ADDR: "127.0.0.1:1",
    SPROXY_DB_HOST: "127.0.0.1",
    SPROXY_DB_PORT: "1",
    SPROXY_DB_ADDR: "127.0.0.1:1",
    SPROXY_WEB_HOST: "::1",
    SPROXY_WEB_PORT: "2",
    SPROXY_WEB_ADDR: "[::1]:2",
  });
  assert.deepEqual(
    commandAt(execOf(["a:1", "--", "x", "{port}"]), places.slice(0, 1)),
    {
      args: ["1"],
      env: {
        SPROXY_HOST: "127.0.0.1",
        SPROXY_PORT: "1",
        SPROXY_ADDR: "127.0.0.1:1",
      },
    },
  );
});
