/**
 * Shows Redis through NATS, before your eyes: `deno task demo`.
 *
 * Starts nats-server, redis-server, `server.ts` and `client.ts` as real
 * processes on ports the OS chooses, drives Redis through the tunnel, kills
 * and restarts the broker under an open connection, and stops everything.
 *
 * @module
 */

import { within } from "../integration_tests/support/changes.ts";
import { messageOf, RunError } from "../lib/base/errors.ts";
import { ByteSource, sha256 } from "../integration_tests/support/hash.ts";
import {
  type NatsServer,
  startNatsServer,
} from "../integration_tests/support/nats_server.ts";
import {
  describeStatus,
  type Process,
  ProcessEnded,
} from "../integration_tests/support/processes.ts";
import { connectRedis } from "../integration_tests/support/redis_client.ts";
import { startOwnRedis } from "../integration_tests/support/redis_server.ts";
import {
  type LogEntry,
  PROJECT,
  startTunnel,
  type Tunnel,
} from "../integration_tests/support/roles.ts";
import { findOrInstall } from "./find_or_install.ts";

/** Longer than everything takes on a slow machine; then the demo counts as hung. In ms. */
const TIME_LIMIT = 60_000;

/** New connections in a row that step 4 opens. */
const CONNECTIONS = 50;

/** Size of the large value, in bytes. */
const VALUE_SIZE = 1024 * 1024;

/** Lines of a log shown on failure. */
const TAIL = 15;

function say(line = ""): void {
  // deno-lint-ignore no-console -- the demo's output
  console.log(line);
}

/** A failed expectation of the demo. */
function expect(condition: boolean, what: string): void {
  if (!condition) throw new RunError(`Expected ${what}`);
}

/** Runs a step and says how long it took. */
async function timed(what: string, step: () => Promise<string>): Promise<void> {
  const started = performance.now();
  let result: string;
  try {
    result = await step();
  } catch (error) {
    throw new RunError(`${what}: ${messageOf(error)}`, { cause: error });
  }
  const took = (performance.now() - started).toFixed(1);
  say(`   ${what.padEnd(34)} ${result}  (${took} ms)`);
}

async function drive(tunnel: Tunnel, nats: NatsServer): Promise<void> {
  await using connection = await connectRedis(tunnel.endpoint);
  const { redis } = connection;

  say("\n3. Redis through the tunnel");
  await timed("PING", () => redis.ping());
  await timed("SET greeting hello", () => redis.set("greeting", "hello"));
  await timed("GET greeting", async () => {
    const value = await redis.get("greeting");
    expect(value === "hello", `"hello", got ${JSON.stringify(value)}`);
    return String(value);
  });
  await timed("1,000 INCR in one pipeline", async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 1000; i++) pipeline.incr("counter");
    await pipeline.exec();
    const count = await redis.get("counter");
    expect(count === "1000", `counter 1000, got ${count}`);
    return `counter = ${count}`;
  });
  await timed("SET and GET a 1 MiB value", async () => {
    const value = new ByteSource(1, VALUE_SIZE).rest();
    await redis.set("large", Buffer.from(value));
    const back = await redis.getBuffer("large");
    const hash = sha256(value);
    expect(
      back !== null && sha256(back) === hash,
      "the same SHA-256 both ways",
    );
    return `SHA-256 ${hash.slice(0, 16)}... both ways`;
  });
  await timed("SUBSCRIBE, PUBLISH", async () => {
    await using subscriber = await connectRedis(tunnel.endpoint);
    const { promise, resolve } = Promise.withResolvers<string>();
    subscriber.redis.on("message", (_channel, text) => resolve(text));
    await subscriber.redis.subscribe("news");
    await redis.publish("news", "it works");
    const text = await promise;
    expect(text === "it works", `"it works", got ${JSON.stringify(text)}`);
    return `received "${text}"`;
  });

  say("\n4. New connections");
  await timed(`${CONNECTIONS} in a row, one PING each`, async () => {
    for (let i = 0; i < CONNECTIONS; i++) {
      await using one = await connectRedis(tunnel.endpoint);
      await one.redis.ping();
    }
    return "all answered";
  });

  say("\n5. The broker dies under an open connection");
  const before = await redis.client("ID");
  await timed("kill -9 nats-server", async () => {
    await nats.kill();
    return "gone";
  });
  const waiting = redis.set("during the outage", "not lost");
  // Awaited below; without this a failure before then would be unhandled.
  waiting.catch(() => {});
  await timed("SET while it is away", async () => {
    const first = await Promise.race([
      waiting.then(() => "answered"),
      new Promise<string>((wake) => setTimeout(() => wake("waits"), 500)),
    ]);
    expect(first === "waits", "no answer without a broker");
    return "waits, as it must";
  });
  await timed("start it again on the same port", async () => {
    await nats.restart();
    return "listening";
  });
  await timed("the SET from before", async () => `${await waiting}`);
  await timed("GET on the same connection", async () => {
    const value = await redis.get("during the outage");
    const after = await redis.client("ID");
    expect(value === "not lost", `"not lost", got ${JSON.stringify(value)}`);
    expect(after === before, `client ID ${before} as before, got ${after}`);
    return `"${value}", still Redis client ${after}`;
  });
}

/** The command, with names in place of the paths of this machine. */
function shown({ commandLine }: Process): string {
  return commandLine
    .replace(Deno.execPath(), "deno")
    .replace(PROJECT.pathname, "");
}

/** The log entries of a role that a reader of the demo wants to see. */
function showEntries(name: string, entries: readonly LogEntry[]): void {
  const ended = entries.filter(({ msg }) => /tunnel/.test(String(msg)));
  const rest = entries.filter(({ msg }) => !/tunnel/.test(String(msg)));
  for (const entry of rest) say(`   ${name}: ${formatEntry(entry)}`);
  for (const entry of ended.slice(0, 3)) {
    say(`   ${name}: ${formatEntry(entry)}`);
  }
  if (ended.length > 3) {
    say(`   ${name}: ... and ${ended.length - 3} more lines about tunnels`);
  }
}

function formatEntry({ msg, level, ...rest }: LogEntry): string {
  const fields = Object.entries(rest)
    .filter(([key]) => !/^(time|@?timestamp|ts|logger|category)$/.test(key))
    .map(([key, value]) =>
      `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`
    );
  return [level, msg, ...fields].join(" ");
}

async function stop(process: Process): Promise<void> {
  const status = await process.stop();
  say(`   ${process.name}: SIGTERM, ${describeStatus(status)}`);
  expect(
    status.success,
    `${process.name} to end with exit code 0, got ${describeStatus(status)}`,
  );
}

async function demo(roles: Process[]): Promise<void> {
  say("tcp-sproxy demo: Redis through NATS\n\n1. Programs");
  await findOrInstall((line) => say(`   ${line}`));

  say("\n2. Four processes");
  const started = (process: Process): void =>
    say(`   [${process.pid}] ${shown(process)}`);
  await using nats = await startNatsServer();
  started(nats.process);
  await using redis = await startOwnRedis();
  started(redis.process);
  await using tunnel = await startTunnel({ nats, target: redis.address });
  const { server, client } = tunnel;
  for (const { process } of [server, client]) {
    roles.push(process);
    started(process);
  }
  say(`   application -> ${tunnel.address} -> NATS ${nats.url}`);
  say(`               -> server -> redis ${redis.address}`);

  await drive(tunnel, nats);

  say("\n6. Everything is stopped");
  await stop(client.process);
  await stop(server.process);
  await redis.process.stop();
  await nats.stop();
  say("   redis-server, nats-server: stopped");

  say("\n7. What the two roles logged");
  showEntries("client", client.entries());
  showEntries("server", server.entries());
}

/** Shows the end of the log of the process that failed; of both roles, if none did. */
function showLogs(error: unknown, roles: readonly Process[]): void {
  const failed = error instanceof ProcessEnded ? [error.process] : roles;
  for (const process of failed) {
    say(`\n--- end of the log of ${process.name}\n${process.tail(TAIL)}`);
  }
}

async function main(): Promise<number> {
  const roles: Process[] = [];
  const started = performance.now();
  // Ends the children too: they are killed when this process unloads.
  Deno.addSignalListener("SIGINT", () => Deno.exit(130));
  Deno.addSignalListener("SIGTERM", () => Deno.exit(143));
  try {
    await within(TIME_LIMIT, () => demo(roles));
    const took = ((performance.now() - started) / 1000).toFixed(1);
    say(`\nThe demo succeeded in ${took} s.`);
    return 0;
  } catch (error) {
    showLogs(error, roles);
    // deno-lint-ignore no-console -- the demo's output
    console.error(`\nThe demo failed: ${messageOf(error)}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main());
