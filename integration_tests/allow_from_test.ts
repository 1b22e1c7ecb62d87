/** Who may connect to a client, by where he comes from. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { metricValue } from "./support/chaos_stage.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startTunnel, type Tunnel } from "./support/roles.ts";
import { comes, soon, told } from "./support/waits.ts";

const REFUSED = "connections from elsewhere are closed (--allow-from)";

/** Connections that are refused in a row. */
const MANY = 20;

/** Whether a connection from `localAddress` to `port` at `host` is served, and not closed. */
async function isServed(
  localAddress: string,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host, port, localAddress });
  socket.on("error", () => resolve(false));
  socket.once("close", () => resolve(false));
  socket.once("data", () => resolve(true));
  socket.write("x");
  try {
    return await soon("it is served or closed", promise);
  } finally {
    socket.destroy();
  }
}

/** Who of those with sources on the loopback is served. */
async function served(
  { client }: Tunnel,
  ...sources: readonly string[]
): Promise<string[]> {
  const { port } = client.endpoint;
  const found: string[] = [];
  for (const source of sources) {
    const host = source.includes(":") ? "::1" : "127.0.0.1";
    if (await isServed(source, { host, port })) found.push(source);
  }
  return found;
}

const SOURCES = ["127.0.0.1", "127.0.0.2", "127.1.0.1", "::1"];

for (
  const [listenAt, rules, admitted] of [
    ["0.0.0.0:0", ["127.0.0.1"], ["127.0.0.1"]],
    ["0.0.0.0:0", ["127.0.0.2/31", "::1"], ["127.0.0.2"]],
    // Both families at one listener: IPv4 comes as ::ffff:127.0.0.1, if at all.
    [":0", ["127.0.0.0/16"], ["127.0.0.1", "127.0.0.2"]],
    [":0", ["[::1]", "127.1.0.0/16"], ["127.1.0.1", "::1"]],
    [":0", ["::/0"], ["::1"]],
    [":0", [], SOURCES],
  ] as const
) {
  integrationTest(
    `a client at ${listenAt} with --allow-from ${rules} serves ${admitted}`,
    async () => {
      await using tunnel = await startTunnel({
        clientArgs: [
          ...["--listen-addr", listenAt],
          ...rules.flatMap((rule) => ["--allow-from", rule]),
        ],
      });
      const sources = listenAt === ":0"
        ? SOURCES
        : SOURCES.filter((source) => !source.includes(":"));
      assert.deepEqual(await served(tunnel, ...sources), [...admitted]);
    },
  );
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `a flood from elsewhere is counted, is a line or two of the log, and opens nothing: workers=${workers}`,
    async () => {
      await using tunnel = await startTunnel({
        clientArgs: [
          ...["--allow-from", "127.0.0.2", "--workers", workers],
          ...["--status-addr", "127.0.0.1:0"],
        ],
      });
      const { client, echo } = tunnel;
      const flood = new Array<string>(MANY).fill("127.0.0.1");
      assert.deepEqual(await served(tunnel, ...flood), []);
      assert.deepEqual(await served(tunnel, "127.0.0.2"), ["127.0.0.2"]);
      const lines = await told(client, REFUSED);
      assert.ok(lines.length >= 1 && lines.length <= Number(workers));
      for (const { level, peer, count } of lines) {
        assert.deepEqual([level, count], ["warn", 1]);
        assert.match(String(peer), /^127\.0\.0\.1:\d+$/);
      }
      assert.equal(echo.accepted, 1);
      assert.ok(!client.entries().some(({ msg }) => msg === "open failed"));
      // Workers tell of their counts twice a second.
      await comes(async () => {
        const { text } = await client.status("/metrics");
        const name = "sproxy_accepts_refused_total";
        const count = text.includes(name) ? metricValue(text, name) : 0;
        return count === MANY ? undefined : `${count} are counted`;
      });
    },
  );
}
