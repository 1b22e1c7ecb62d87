/** The lines of a tunnel at both roles: each field in its order, and how much they matter. */
import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { type CapturedLog, captureLog } from "../support/capture_log.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import {
  CLIENT_SEAL,
  Pair,
  type PairOptions,
  SERVER_SEAL,
} from "../support/shell_pair.ts";

const SOURCE = { host: "10.0.0.7", port: 5_000 };
const QUARTER = 15 * 60_000;

/** A pair with one tunnel open by a forward that has a name. */
async function stage(
  options: PairOptions = {},
): Promise<{ pair: Pair; app: FakeSocket; target: FakeSocket }> {
  const pair = new Pair(options);
  const app = new FakeSocket("10.0.0.7:5000");
  pair.client.ingress.open({
    socket: app,
    target: { host: "db", port: 5432 },
    forward: "pg",
    endpoints: { source: SOURCE, destination: { host: "10.0.0.1", port: 1 } },
  });
  await pair.settle();
  const [target] = pair.server.targets;
  assert.ok(target);
  return { pair, app, target };
}

/** The lines of this message, as `level field=value …`, without the ID's value. */
function linesOf({ records }: CapturedLog, message: string): string[] {
  return records.filter(({ rawMessage }) => rawMessage === message)
    .map(({ level, properties }: LogRecord) =>
      [
        level,
        ...Object.entries(properties).map(([name, value]) =>
          name === "id" ? name : `${name}=${value}`
        ),
      ].join(" ")
    );
}

/** Which tunnel it is, at the client and at the server. */
const AT_CLIENT = "forward=pg peer=10.0.0.7:5000 id";
const AT_SERVER = "client=client1 source=10.0.0.7:5000 peer=target:0 id";

Deno.test("the lines of a tunnel's beginning and clean end, at both roles", async () => {
  using log = captureLog();
  const { pair, app, target } = await stage();
  using _pair = pair;
  assert.deepEqual(linesOf(log, "tunnel open"), [
    `info target=db:5432 ${AT_SERVER}`,
    `info target=db:5432 ${AT_CLIENT}`,
  ]);
  app.send("question");
  target.send("answer!");
  await pair.wait(1_000);
  app.end();
  target.end();
  await pair.wait(1_000);
  const ms = (line: string): string => line.replace(/ ms=\d+ /, " ms ");
  assert.deepEqual(linesOf(log, "tunnel closed").map(ms).sort(), [
    `info target=db:5432 reason=ok ms sent=7 received=8 ${AT_SERVER}`,
    `info target=db:5432 reason=ok ms sent=8 received=7 ${AT_CLIENT}`,
  ]);
});

Deno.test("the client's name stands in the lines of the server where a key vouches for it", async () => {
  using log = captureLog();
  const { pair } = await stage({
    client: { seal: CLIENT_SEAL },
    server: { seal: SERVER_SEAL },
  });
  using _pair = pair;
  assert.deepEqual(linesOf(log, "tunnel open"), [
    `info target=db:5432 ${AT_SERVER.replace("client1", "edge")}`,
    `info target=db:5432 ${AT_CLIENT}`,
  ]);
});

for (
  const [code, level] of [
    ["idle", "info"],
    ["half-closed", "info"],
    ["draining", "info"],
    ["shutdown", "info"],
    ["aborted", "warning"],
    ["denied", "warning"],
    ["peer-gone", "warning"],
    ["nats-down", "warning"],
    ["limit", "warning"],
    ["protocol", "warning"],
    ["internal", "warning"],
  ] as const
) {
  Deno.test(`a cut for ${code} is of level ${level} at both roles`, async () => {
    using log = captureLog();
    const { pair } = await stage();
    using _pair = pair;
    pair.client.ingress.session.abortAll({ code, text: "so it is" });
    await pair.wait(1_000);
    const ends = linesOf(log, "tunnel closed").map((line) =>
      line.replace(/ ms=\d+ /, " ms ")
    );
    const [cut, told] = [
      `${level} target=db:5432 reason=${code} ms sent=0 received=0`,
      "the other end says: so it is",
    ];
    assert.deepEqual(ends, [
      `${cut} by=local why=so it is ${AT_CLIENT}`,
      `${cut} by=peer why=${told} ${AT_SERVER}`,
    ]);
  });
}

Deno.test("a tunnel that is open for long has a line every quarter of an hour, with what moved since", async () => {
  using log = captureLog();
  const { pair, app } = await stage();
  using _pair = pair;
  await pair.wait(QUARTER - 1_000);
  assert.deepEqual(linesOf(log, "tunnel still open"), []);
  app.send("12345");
  await pair.wait(2_000);
  app.send("678");
  await pair.wait(QUARTER);
  const still = (line: string): string => line.replace(/ ms=\d+ /, " ms ");
  const begin = "info target=db:5432 condition=open ms";
  const atClient = linesOf(log, "tunnel still open").filter((line) =>
    line.endsWith(AT_CLIENT)
  );
  assert.deepEqual(atClient.map(still), [
    `${begin} sent=5 received=0 sentSince=5 receivedSince=0 held=0 ${AT_CLIENT}`,
    `${begin} sent=8 received=0 sentSince=3 receivedSince=0 held=0 ${AT_CLIENT}`,
  ]);
  assert.equal(linesOf(log, "tunnel still open").length, 4);
  assert.deepEqual(linesOf(log, "more tunnels still open"), []);
});

Deno.test("of very many long tunnels those that move most have lines, and the others one", async () => {
  using log = captureLog();
  using pair = new Pair();
  const MANY = 200;
  const apps: FakeSocket[] = [];
  for (let i = 0; i < MANY; i++) apps.push((await pair.open()).app);
  for (const [at, app] of apps.entries()) app.send("x".repeat(at + 1));
  await pair.wait(QUARTER + 2_000);
  const own = log.records.filter(({ rawMessage, properties }) =>
    rawMessage === "tunnel still open" && properties.client === undefined
  );
  assert.deepEqual(
    own.map(({ properties: { sentSince } }) => sentSince),
    Array.from({ length: 20 }, (_, at) => MANY - at),
  );
  const rest = (MANY - 20) * (MANY - 20 + 1) / 2;
  const others = linesOf(log, "more tunnels still open");
  assert.deepEqual(
    others.toSorted(),
    [
      `info tunnels=180 sentSince=${rest} receivedSince=0 held=0`,
      `info tunnels=180 sentSince=0 receivedSince=${rest} held=0`,
    ].toSorted(),
  );
  // What has ended is not told of again.
  for (const app of apps) app.end();
  for (const target of pair.server.targets) target.end();
  await pair.wait(1_000);
  const before = log.records.length;
  await pair.wait(QUARTER);
  assert.equal(log.records.length, before);
});

Deno.test("an open that fails again and again has a line, and then a count every 10 s", async () => {
  using log = captureLog();
  using pair = new Pair({
    server: { dial: () => Promise.reject(new Error("no luck")) },
  });
  for (let i = 0; i < 5; i++) pair.client.listener.connect();
  await pair.wait(1_000);
  const told = (): unknown[] =>
    log.records.filter(({ rawMessage }) => rawMessage === "open failed")
      .map(({ level, properties: { count, target, reason } }) => [
        ...[level, target, reason, count],
      ]);
  const line = ["warning", "target:5", "internal"];
  assert.deepEqual(told(), [[...line, undefined]]);
  await pair.wait(10_000);
  assert.deepEqual(told(), [[...line, undefined], [...line, 4]]);
});

Deno.test("a cut of which a person hears elsewhere is no warning", async () => {
  using log = captureLog();
  const { pair } = await stage({ client: { endsAreTold: true } });
  using _pair = pair;
  const reason = { code: "aborted", text: "so it is" } as const;
  pair.client.ingress.session.abortAll(reason);
  await pair.wait(1_000);
  const levels = linesOf(log, "tunnel closed").map((line) =>
    line.split(" ")[0]
  );
  assert.deepEqual(levels, ["info", "warning"]);
});
