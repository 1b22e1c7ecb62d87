/** The library: a tunnel from one's own program to a pair of streams. */
import assert from "node:assert/strict";
import { openTunnel, TunnelError } from "../mod.ts";
import { ByteSource, sha256 } from "./support/hash.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { run } from "./support/processes.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import { baseEnvironment, PROJECT, startServer } from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";

/** More than both windows hold. */
const SIZE = 16 * 1024 * 1024;

integrationTest(
  "the library's tunnel carries bytes both ways, and each end of stream",
  async () => {
    await using nats = await startNatsServer();
    await using _server = await startServer(nats.url);
    await using echo = startEcho();
    await using tunnel = await openTunnel({
      nats: nats.url,
      target: echo.address,
    });
    const bytes = new ByteSource(1, SIZE).rest();
    const write = async (): Promise<void> => {
      const writer = tunnel.writable.getWriter();
      await writer.write(bytes);
      await writer.close();
    };
    const read = async (): Promise<Uint8Array> =>
      new Uint8Array(
        await new Response(
          tunnel.readable as ReadableStream<Uint8Array<ArrayBuffer>>,
        ).arrayBuffer(),
      );
    const [back] = await Promise.all([read(), write()]);
    assert.equal(sha256(back), sha256(bytes));
    await tunnel.closed;
  },
);

integrationTest(
  "the library says why there is no tunnel, and ends one when told",
  async () => {
    await using nats = await startNatsServer();
    await assert.rejects(
      openTunnel({ nats: nats.url, target: "127.0.0.1:1" }),
      (error) => error instanceof TunnelError && error.code === "no-server",
    );
    await using _server = await startServer(nats.url);
    await using echo = startEcho();
    const stop = new AbortController();
    await using tunnel = await openTunnel({
      nats: nats.url,
      target: echo.address,
      signal: stop.signal,
    });
    stop.abort();
    await assert.rejects(
      tunnel.closed,
      (error) => error instanceof TunnelError && error.code === "shutdown",
    );
    await assert.rejects(tunnel.readable.getReader().read());
    const wrong = { nats: "nowhere://", target: "127.0.0.1:1" };
    await assert.rejects(openTunnel(wrong), /nowhere/);
  },
);

integrationTest(
  "examples/redis_ping.ts asks a Redis through the library",
  async () => {
    await using nats = await startNatsServer();
    await using redis = await startOwnRedis();
    await using _server = await startServer(nats.url);
    const { status, output } = await run(Deno.execPath(), {
      name: "example",
      args: [
        ...["run", "--no-prompt", "--allow-net", "--allow-read"],
        ...["--allow-sys=hostname", "--allow-env"],
        new URL("examples/redis_ping.ts", PROJECT).pathname,
        ...[nats.url, redis.address],
      ],
      env: await baseEnvironment(),
      clearEnv: true,
    });
    assert.ok(status.success, output);
    assert.match(output, /\+PONG/);
  },
);
