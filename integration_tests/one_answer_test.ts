/** One error or one answer is not the only one: what else may come on a listener, a request subject and a log. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { startStage, warm } from "./support/chaos_stage.ts";
import { freePort } from "./support/addresses.ts";
import { comes, connectAndReset, soon } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { RawNats } from "./support/raw_nats.ts";
import {
  PROJECT,
  spawnRole,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial, readToEnd } from "./support/transfer.ts";

/** Connections that are reset before the client comes to accept them. */
const RESETS = 40;

integrationTest(
  `${RESETS} connections that are reset before they are accepted do not hold up the next one`,
  async () => {
    await using stage = await startStage();
    await warm(stage);
    const { client } = stage;
    client.process.pause();
    for (let i = 0; i < RESETS; i++) await connectAndReset(client.endpoint);
    client.process.resume();
    using conn = await dial(client.endpoint);
    await soon("the next connection is served", roundTrip(conn), 30_000);
    // Else nothing was tried: the system tells of a reset only at the accept.
    assert.ok(await stage.metric("client", "sproxy_accept_errors_total") > 0);
  },
);

integrationTest(
  "a connection reset on the status port does not hold up the next one there",
  async () => {
    await using stage = await startStage();
    const { server } = stage;
    const [hostname = "", port] = (await server.statusAddress()).split(":");
    server.process.pause();
    for (let i = 0; i < RESETS; i++) {
      await connectAndReset({ hostname, port: Number(port) });
    }
    server.process.resume();
    const { status } = await soon(
      "the status is served",
      server.status("/health"),
      2_000,
    );
    assert.equal(status, 200);
  },
);

for (
  const { subjects, storage } of [
    { subjects: ["proxy.>"], storage: "memory" },
    { subjects: ["proxy.>", "p.data.>"], storage: "memory" },
    { subjects: ["*.>"], storage: "file" },
  ]
) {
  integrationTest(
    `a JetStream stream of ${subjects} (${storage}) is passed over, and named when nobody else answers`,
    async () => {
      await using nats = await startNatsServer({ config: "jetstream {}" });
      await using raw = await RawNats.connect(nats.url);
      const created = await raw.request(
        "$JS.API.STREAM.CREATE.CAPTURE",
        JSON.stringify({ name: "CAPTURE", subjects, storage, no_ack: false }),
      );
      assert.match(new TextDecoder().decode(created.data), /"CAPTURE"/);
      await using echo = startEcho();
      await using server = await startServer(nats.url);
      await using client = await startClient(nats.url, {
        target: echo.address,
        args: ["--open-timeout", "3s"],
      });
      for (let i = 0; i < 10; i++) {
        using conn = await dial(client.endpoint);
        await soon(`connection ${i} is served`, roundTrip(conn), 30_000);
      }
      await server.process.kill();
      using conn = await dial(client.endpoint);
      assert.equal((await readToEnd(conn)).length, 0);
      const { why } = await client.entry(({ msg }) => msg === "open failed");
      assert.match(
        String(why),
        /no server .*the JetStream stream "CAPTURE" captures/,
      );
    },
  );
}

for (
  const [what, body] of [
    ["words", "sorry, wrong number"],
    ["nothing", ""],
    ["JSON of its own", `{"status":"ok","id":7}`],
    ["a list", "[1,2,3]"],
    ["null", "null"],
    ["bytes that are no text", "\u{0}\u{1}\u{FFFD}"],
  ] as const
) {
  integrationTest(
    `a stranger who answers an open with ${what} first is passed over`,
    async () => {
      await using nats = await startNatsServer();
      await using raw = await RawNats.connect(nats.url);
      raw.subscribe("proxy.request", ({ reply }) => raw.publish(reply, body));
      await raw.flush();
      await using echo = startEcho();
      await using _server = await startServer(nats.url, {});
      await using client = await startClient(nats.url, {
        target: echo.address,
      });
      for (let i = 0; i < 3; i++) {
        using conn = await dial(client.endpoint);
        await soon(`connection ${i} is served`, roundTrip(conn), 30_000);
      }
    },
  );
}

/** What runs a client with its standard error led elsewhere by the shell. */
function led(redirect: string): readonly string[] {
  return ["sh", "-c", `exec "$@" ${redirect}`, "sh"];
}

for (
  const [what, through] of [
    ["goes to a disk that is full", led("2>/dev/full")],
    ["is closed", led("2>&-")],
    ["goes to a pipe whose reader has left", undefined],
  ] as const
) {
  integrationTest(
    `a client whose log ${what} serves all the same`,
    async () => {
      await using stage = await startStage();
      const port = freePort();
      await using _mute = await startMute(through, [
        ...["--nats-url", stage.nats.url, "--remote-addr", stage.echo.address],
        ...["--listen-addr", `127.0.0.1:${port}`, "--log-level", "debug"],
      ]);
      const endpoint = { hostname: "127.0.0.1", port };
      await comes(async () => {
        try {
          using conn = await dial(endpoint);
          await roundTrip(conn);
          return undefined;
        } catch (error) {
          return `it does not serve: ${error}`;
        }
      });
      for (let i = 0; i < 200; i++) {
        using conn = await dial(endpoint);
        await soon(`connection ${i} is served`, roundTrip(conn), 30_000);
      }
    },
  );
}

/** Starts a client through a command, or with a pipe for its log that nobody holds any more. */
async function startMute(
  through: readonly string[] | undefined,
  args: readonly string[],
): Promise<AsyncDisposable> {
  if (through !== undefined) {
    return await spawnRole("client", { through, args });
  }
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("client.ts", PROJECT).pathname, ...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  await child.stderr.cancel();
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}
