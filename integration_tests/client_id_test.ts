/** Two clients with one --client-id: the second waits, and has it when the first is gone. */
import assert from "node:assert/strict";
import {
  type Endpoint,
  formatAddress,
  parseAddress,
} from "./support/addresses.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startFaultRelay } from "./support/fault_relay.ts";
import { startNatsServer } from "./support/nats_server.ts";
import {
  launchRole,
  type LogEntry,
  type Role,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho, type Target } from "./support/targets.ts";
import { dial, readToEnd } from "./support/transfer.ts";
import { comes, soon, whenReady } from "./support/waits.ts";

const ARGS = ["--client-id", "edge7", "--status-addr", "127.0.0.1:0"];

const isListening = ({ msg }: LogEntry): boolean => msg === "listening";
const isTold = ({ level, msg }: LogEntry): boolean =>
  level === "warn" && /--client-id edge7 is used by another process/.test(msg);

/** A client that need not come to listen. */
function launch(
  url: string,
  echo: Target,
  args: readonly string[] = [],
): Promise<Role> {
  return launchRole("client", url, {
    args: [...ARGS, "--remote-addr", echo.address, ...args],
  });
}

/** `role` listens (again) and carries a connection. */
async function expectServing(role: Role, since = 0): Promise<void> {
  const { address } = await soon(
    `the ${role.process.name} listens`,
    role.entry(isListening, { since }),
  );
  using conn = await dial(parseAddress(String(address)));
  await soon("it serves", roundTrip(conn), 5_000);
  await whenReady(role, 200);
}

/** Where `role` listens, once it does. */
async function listeningAt(role: Role): Promise<Endpoint> {
  const { address } = await role.entry(isListening);
  return parseAddress(String(address));
}

/** A connection that works. */
async function connect(endpoint: Endpoint): Promise<Deno.TcpConn> {
  const conn = await dial(endpoint);
  await roundTrip(conn);
  return conn;
}

/** The one of `roles` that is ready, when that is one and the others know of it. */
async function whoIsReady(roles: readonly Role[]): Promise<Role> {
  let ready: Role[] = [];
  await comes(async () => {
    const answers = await Promise.all(
      roles.map((one) => one.status("/ready")),
    );
    ready = roles.filter((_, i) => answers[i]?.status === 200);
    const told = answers.filter(({ text }) =>
      String(JSON.parse(text).reason).includes("edge7")
    );
    return ready.length === 1 && told.length === roles.length - 1
      ? undefined
      : `they answer ${answers.map(({ text }) => text.trim())}`;
  });
  const [one] = ready;
  assert.ok(one);
  return one;
}

integrationTest(
  "a second client with the same --client-id is told so in plain words, and costs the first no connection",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    await using first = await startClient(nats.url, {
      target: echo.address,
      args: ARGS,
    });
    using old = await connect(first.endpoint);
    await using second = await launch(nats.url, echo);
    await soon("the second says so", second.entry(isTold));
    for (let i = 0; i < 20; i++) {
      using conn = await dial(first.endpoint);
      await soon(`connection ${i} is served`, roundTrip(conn), 3_000);
    }
    await roundTrip(old);
    const text = await whenReady(second, 503, { matching: /edge7/ });
    assert.match(text, /--client-id edge7 is used by another process/);
    await whenReady(first, 200);
    assert.equal(second.entries().filter(isTold).length, 1);
    assert.ok(!second.entries().some(isListening));
    assert.ok(!first.entries().some(({ level }) => /warn|error/.test(level)));
  },
);

integrationTest(
  "a client that was killed and started again at once with its --client-id is taken for itself",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    for (let i = 0; i < 3; i++) {
      await using client = await launch(nats.url, echo);
      await expectServing(client);
      assert.ok(
        !client.entries().some(({ level }) => /warn|error/.test(level)),
      );
      await client.process.kill();
    }
  },
);

/** Only the word of a process that leaves can be what lets another take over. */
const NEVER = ["--peer-timeout", "1h", "--resume-timeout", "1h"];

integrationTest(
  "a client that waits for its --client-id has it as soon as the other has drained, which loses nothing",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    await using first = await launch(nats.url, echo, NEVER);
    using conn = await connect(await listeningAt(first));
    await using second = await launch(nats.url, echo, NEVER);
    await using third = await launch(nats.url, echo, NEVER);
    for (const one of [second, third]) await one.entry(isTold);
    first.process.signal("SIGTERM");
    await first.entry(({ msg }) => msg === "draining");
    await using fourth = await launch(nats.url, echo, NEVER);
    await fourth.entry(isTold);
    for (let i = 0; i < 20; i++) await roundTrip(conn);
    conn.close();
    const waiting = [second, third, fourth];
    for (let left = waiting.length; left > 0; left--) {
      const next = await whoIsReady(waiting);
      waiting.splice(waiting.indexOf(next), 1);
      await expectServing(next);
      for (const one of waiting) {
        await whenReady(one, 503, { matching: /edge7/ });
      }
      assert.equal((await next.process.stop()).code, 0);
    }
    assert.equal(first.process.ended, true);
    const closed = first.entries().find(({ msg }) => msg === "tunnel closed");
    assert.equal(closed?.reason, "ok");
  },
);

integrationTest(
  "a client that waits for its --client-id has it when the other is gone for as long as a peer may be",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    await using first = await launch(nats.url, echo);
    await first.entry(isListening);
    await using second = await launch(nats.url, echo, [
      ...["--peer-timeout", "500ms", "--peer-ping-interval", "100ms"],
    ]);
    await second.entry(isTold);
    await first.process.kill();
    await expectServing(second);
  },
);

integrationTest(
  "a client that waits for its --client-id is stopped like any other",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using first = await launch(nats.url, echo);
    await first.entry(isListening);
    await using second = await launch(nats.url, echo);
    await second.entry(isTold);
    assert.equal((await second.process.stop()).code, 0);
  },
);

integrationTest(
  "of clients that start at one moment with one --client-id, one listens and the others wait",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    // Until then none of them gets beyond its connection.
    await using relay = startFaultRelay(parseAddress(new URL(nats.url).host));
    await relay.refuse();
    await using cleanup = new AsyncDisposableStack();
    const all: Role[] = [];
    for (let i = 0; i < 3; i++) {
      all.push(cleanup.use(
        await launch(relay.url, echo, [
          ...["--nats-connect-timeout", "0"],
        ]),
      ));
    }
    await relay.accept();
    const holder = await whoIsReady(all);
    for (const one of all) {
      if (one !== holder) await soon("it is told", one.entry(isTold));
    }
    for (let i = 0; i < 5; i++) await expectServing(holder);
  },
);

integrationTest(
  "a broker that is away gives the --client-id to no other, and the tunnels go on",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    await using first = await launch(nats.url, echo);
    using conn = await connect(await listeningAt(first));
    await using second = await launch(nats.url, echo);
    await second.entry(isTold);
    for (let i = 0; i < 3; i++) {
      await nats.kill();
      await nats.restart();
      await soon("the tunnel goes on", roundTrip(conn));
      await expectServing(first);
      await whenReady(second, 503, { matching: /edge7/ });
    }
    assert.ok(!second.entries().some(isListening));
    assert.ok(!first.entries().some(isTold));
  },
);

integrationTest(
  "of two clients that used one --client-id in two halves of a cluster, the one that had it longer goes on when they join",
  async () => {
    await using echo = startEcho();
    await using here = await startNatsServer({
      cluster: { name: "c", routes: [] },
    });
    await using relay = startFaultRelay({
      hostname: "127.0.0.1",
      port: here.clusterPort,
    });
    await relay.refuse();
    await using there = await startNatsServer({
      cluster: { name: "c", routes: [relay.endpoint.port] },
    });
    await using _one = await startServer(here.url);
    await using _other = await startServer(there.url);
    await using first = await launch(here.url, echo);
    const endpoint = await listeningAt(first);
    using conn = await connect(endpoint);
    const forward = ["-L", `127.0.0.1:0:${echo.address}`];
    await using second = await launch(there.url, echo, forward);
    const late = await listeningAt(second);
    using lost = await connect(late);
    await relay.accept();
    await here.whenJoined(1);
    await soon("the second gives way", second.entry(isTold));
    await whenReady(second, 503, { matching: /edge7/ });
    await soon("its connection is cut", readToEnd(lost));
    await soon("the first goes on", roundTrip(conn));
    for (let i = 0; i < 10; i++) {
      using next = await dial(endpoint);
      await soon("it serves", roundTrip(next), 3_000);
    }
    assert.ok(!first.entries().some(isTold));
    const mark = second.process.mark();
    conn.close();
    assert.equal((await first.process.stop()).code, 0);
    await expectServing(second, mark);
    // All of its places again, on the ports that were chosen.
    const places = (since?: number): unknown[] =>
      second.entries(since).filter(isListening).map(({ address }) => address);
    await comes(() => {
      const { length } = places(mark);
      return Promise.resolve(length === 2 ? undefined : `at ${length} places`);
    });
    assert.equal(places(mark)[0], formatAddress(late));
    assert.deepEqual(places(mark), places().slice(0, 2));
  },
);

integrationTest(
  "a client that stood still while another took its --client-id has it back",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    await using first = await launch(nats.url, echo);
    await first.entry(isListening);
    first.process.pause();
    await using second = await launch(nats.url, echo);
    await expectServing(second);
    first.process.resume();
    await soon("the second gives way", second.entry(isTold));
    await whenReady(second, 503, { matching: /edge7/ });
    await expectServing(first);
    assert.ok(!first.entries().some(isTold));
  },
);

integrationTest(
  "workers share a --client-id with none but themselves",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    await using _server = await startServer(nats.url);
    const args = ["--workers", "2"];
    await using first = await launch(nats.url, echo, args);
    await first.entry(({ msg }) => msg === "workers started");
    for (let i = 0; i < 5; i++) await expectServing(first);
    assert.ok(!first.entries().some(({ level }) => /warn|error/.test(level)));
    await using second = await launch(nats.url, echo, args);
    await soon(
      "the second says so",
      second.entry(({ msg }) => /--client-id edge7-1 is used/.test(msg)),
    );
    await whenReady(second, 503, { matching: /edge7/ });
    assert.equal((await first.process.stop()).code, 0);
    await expectServing(second);
    assert.equal((await second.process.stop()).code, 0);
  },
);
