/** The set-ups of docs/security.md, run as they are printed, and what a neighbour can do in them. */
import assert from "node:assert/strict";
import { integrationTest } from "./support/integration_test.ts";
import { type RawMessage, RawNats } from "./support/raw_nats.ts";
import { connectRedis, type RedisConnection } from "./support/redis_client.ts";
import { parseAddress } from "./support/addresses.ts";
import { type PrintedSetup, startPrinted } from "./support/printed_setup.ts";
import type { LogEntry } from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial, readEnding } from "./support/transfer.ts";
import { soon } from "./support/waits.ts";

/** What Redis is told that the broker must not read where tunnels are sealed. */
const MARKER = "only-the-two-ends-know";

/** Everything that `nats` gets to see of what it subscribes to, as text. */
function listen(nats: RawNats, subjects: readonly string[]): string[] {
  const seen: string[] = [];
  for (const subject of subjects) {
    nats.subscribe(subject, ({ subject, headers, data }) => {
      const text = new TextDecoder("latin1").decode(data);
      seen.push(`${subject} ${JSON.stringify(headers)} ${text}`);
    });
  }
  return seen;
}

/** The ID of the one open tunnel, which a neighbour must guess. */
async function tunnelId({ client }: PrintedSetup): Promise<string> {
  const { id } = await client.entry(({ msg }) => msg === "tunnel open");
  return String(id);
}

/** RESET "shutdown", and data that would delete all, as docs/protocol.md writes frames. */
const HARM = [
  Uint8Array.of(4, 0, 0, 15),
  Uint8Array.of(
    ...[1, 0, ...new Uint8Array(24)],
    ...new TextEncoder().encode("FLUSHALL\r\n"),
  ),
];

/** Publishes what harms `victim` and its tunnel `id`, each in all the ways there are; how many messages that were. */
function harm(nats: RawNats, victim: string, id: string): number {
  const pair = id.replace(/[^.]+$/, "0");
  const next = Array.from({ length: 5 }, (_, at) => {
    const number = parseInt(id.replace(/.*\./, ""), 36) + at;
    return `p.data.to_client.${victim}.open.${number.toString(36)}`;
  });
  let count = 0;
  for (const bytes of HARM) {
    for (const side of ["server", "client"]) {
      for (const which of [id, pair]) {
        nats.publish(`p.data.to_${side}.${which}`, bytes);
        count++;
      }
    }
  }
  for (const subject of [...next, `p.data.to_client.${victim}.hold.0`]) {
    nats.publish(subject, `{"ID":"","Data":"cm9ndWU=","Metadata":null}`);
    count++;
  }
  return count;
}

/** Asks for a tunnel to `target` as `client` may, and gives the headers of the answer. */
async function answerTo(
  nats: RawNats,
  client: string,
  target: string,
): Promise<Readonly<Record<string, string>>> {
  const { promise, resolve } = Promise.withResolvers<RawMessage>();
  using _answers = nats.subscribe(`p.data.to_client.${client}.>`, resolve);
  ask(nats, { subject: `proxy.request.${client}`, client, target });
  return (await soon("it is answered", promise)).headers;
}

/** Asks for a tunnel to `target` on `subject` as `client`. */
function ask(
  nats: RawNats,
  options: {
    readonly subject: string;
    readonly client: string;
    readonly target: string;
  },
): void {
  const { hostname, port } = parseAddress(options.target);
  nats.publish(
    options.subject,
    `{"ID":"","Reply":"","Data":null,"Metadata":null}`,
    {
      headers: {
        remote_host: hostname,
        remote_port: String(port),
        "sproxy-version": "2",
        "sproxy-client": options.client,
        "sproxy-tunnel": "1",
        "sproxy-window": "65536",
        "sproxy-codec": "binary",
      },
      reply: `p.data.to_client.${options.client}.open.1`,
    },
  );
}

/** Connections that Redis has had. */
async function connectionsOf({ redis }: RedisConnection): Promise<number> {
  const info = await redis.info("stats");
  return Number(/^total_connections_received:(\d+)/m.exec(info)?.[1]);
}

/** Expects that both roles have nothing to warn of. */
function expectNoWarnings({ server, client }: PrintedSetup): void {
  for (const role of [server, client]) {
    const warned = ({ level }: LogEntry): boolean => /warn|error/.test(level);
    assert.deepEqual(role.entries().filter(warned), []);
  }
}

/**
 * Lets `edge8`, with the login that the document gives it, do all it can
 * against `edge7`, and expects that nothing comes of it.
 */
async function expectFenced(setup: PrintedSetup): Promise<void> {
  const { client, redis } = setup;
  await using direct = await connectRedis(parseAddress(redis.address));
  await using connection = await connectRedis(client.endpoint);
  assert.equal(await connection.redis.set(MARKER, MARKER), "OK");
  await using neighbour = await setup.connect("edge8");
  const spied = [
    "p.data.to_client.edge7.>",
    "p.data.to_server.>",
    "p.data.to_server.edge7.>",
    "p.data.>",
    "proxy.request",
    "proxy.request.*",
    "proxy.request.edge7",
    "_INBOX.>",
    ">",
  ];
  const seen = listen(neighbour, spied);
  await neighbour.flush();
  // The inbox of the test's own connection is refused, too.
  const refused = (what: string): string[] =>
    neighbour.errors.filter((error) => error.includes(`for ${what} to`));
  assert.equal(new Set(refused("Subscription")).size, spied.length + 1);
  const before = await connectionsOf(direct);
  let sent = harm(neighbour, "edge7", await tunnelId(setup));
  const target = redis.address;
  for (const subject of ["proxy.request.edge7", "proxy.request"]) {
    for (const client of ["edge7", "edge8"]) {
      ask(neighbour, { subject, client, target });
      sent++;
    }
  }
  // This it may publish; the server drops it.
  ask(neighbour, { subject: "proxy.request.edge8", client: "edge7", target });
  neighbour.publish("p.data.to_server.edge8.x.0", HARM[0] ?? "");
  await neighbour.flush();
  assert.equal(refused("Publish").length, sent, neighbour.errors.join("\n"));
  for (let count = 1; count <= 3; count++) {
    assert.equal(await connection.redis.incr("count"), count);
    await using another = await connectRedis(client.endpoint);
    assert.equal(await another.redis.get(MARKER), MARKER);
  }
  assert.equal(await connectionsOf(direct), before + 3);
  assert.deepEqual(seen, []);
}

integrationTest("set-up A runs as printed", async () => {
  await using setup = await startPrinted("Set-up A");
  const { client, redis, natsUrl } = setup;
  expectNoWarnings(setup);
  await using connection = await connectRedis(client.endpoint);
  assert.equal(await connection.redis.set("key", MARKER), "OK");
  assert.equal(await connection.redis.get("key"), MARKER);
  // Another target is refused, and so is the old form.
  await using echo = startEcho();
  await using raw = await RawNats.connect(natsUrl);
  const denied = await answerTo(raw, "edge8", echo.address);
  assert.equal(denied["sproxy-code"], "denied");
  const { hostname, port } = parseAddress(redis.address);
  raw.publish("proxy.request", "{}", {
    headers: { remote_host: hostname, remote_port: String(port) },
    reply: "_INBOX.old.1",
  });
  const refused = await soon(
    "the old form is refused, in the log alone",
    setup.server.entry(({ reason }) => reason === "version"),
  );
  assert.equal(refused.msg, "open refused");
  assert.equal(echo.accepted, 0);
});

integrationTest(
  "set-up B runs as printed, and a neighbour with its own login can neither hear, cut nor feed another client's tunnels, nor ask or answer in its place",
  async () => {
    await using setup = await startPrinted("Set-up B");
    expectNoWarnings(setup);
    await using others = await setup.connect("others");
    const overheard = listen(others, [">"]);
    await expectFenced(setup);
    await others.flush();
    assert.deepEqual(overheard, []);
    // What is its own it may do: its login is not merely dead.
    await using neighbour = await setup.connect("edge8");
    const own = await answerTo(neighbour, "edge8", setup.redis.address);
    assert.equal(own["sproxy-code"], undefined);
    assert.ok(own["sproxy-window"]);
  },
);

integrationTest(
  "in set-up B who may do everything, as the broker's operator, reads a tunnel and cuts it",
  async () => {
    await using setup = await startPrinted("Set-up B", { operator: true });
    await using operator = await setup.connect("operator");
    const seen = listen(operator, [">"]);
    await operator.flush();
    const connection = await connectRedis(setup.client.endpoint);
    assert.equal(await connection.redis.set("key", MARKER), "OK");
    await operator.flush();
    const all = seen.join("\n");
    assert.ok(all.includes(MARKER) && all.includes("remote_host"));
    harm(operator, "edge7", await tunnelId(setup));
    await soon("the tunnel is cut", connection.whenEnded());
  },
);

integrationTest(
  "set-up C runs as printed, and a neighbour with its own login and key gets no further than its own rules",
  async () => {
    await using setup = await startPrinted("Set-up C");
    expectNoWarnings(setup);
    await expectFenced(setup);
    const { redis } = setup;
    await using direct = await connectRedis(parseAddress(redis.address));
    const before = await connectionsOf(direct);
    const file = await Deno.readTextFile(setup.folder.at("client.yaml"));
    await setup.folder.write("edge8.yaml", file.replaceAll("edge7", "edge8"));
    await using edge8 = await setup.startClient("edge8.yaml");
    using conn = await dial(edge8.endpoint);
    assert.equal((await soon("it ends", readEnding(conn))).bytes, 0);
    const { reason, why } = await edge8.entry(({ msg }) =>
      msg === "open failed"
    );
    assert.equal(reason, "denied");
    assert.match(String(why), /is not an allowed target \(clients: edge8\)/);
    assert.equal(await connectionsOf(direct), before);
  },
);

integrationTest(
  "in set-up C who may do everything on the broker reads neither target nor bytes, and cuts and opens nothing",
  async () => {
    await using setup = await startPrinted("Set-up C", { operator: true });
    const { client, redis } = setup;
    await using direct = await connectRedis(parseAddress(redis.address));
    await using operator = await setup.connect("operator");
    const seen = listen(operator, [">"]);
    await operator.flush();
    await using connection = await connectRedis(client.endpoint);
    assert.equal(await connection.redis.set("key", MARKER), "OK");
    await operator.flush();
    const before = await connectionsOf(direct);
    const heard = seen.length;
    harm(operator, "edge7", await tunnelId(setup));
    for (const subject of ["proxy.request.edge7", "proxy.request"]) {
      ask(operator, { subject, client: "edge7", target: redis.address });
    }
    await operator.flush();
    assert.equal(await connection.redis.get("key"), MARKER);
    assert.equal(await connectionsOf(direct), before);
    assert.ok(heard > 5);
    const all = seen.slice(0, heard).flatMap((text) => [
      text,
      // Bodies of opens carry bytes in base 64.
      ...(text.match(/[A-Za-z0-9+/]{24,}={0,2}/g) ?? []).map((part) =>
        part.length % 4 === 0 ? atob(part) : part
      ),
    ]).join("\n");
    for (const secret of [MARKER, redis.address, "remote_host"]) {
      assert.ok(!all.includes(secret), secret);
    }
  },
);
