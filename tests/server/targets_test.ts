/** Which targets are dialled, which addresses of them, for how long, and what a failure says. */
import assert from "node:assert/strict";
import { type Address, formatAddress } from "../../lib/base/address.ts";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import { systemClock } from "../../lib/base/clock.ts";
import { type ErrorCode, TunnelError } from "../../lib/base/errors.ts";
import type { TargetRules } from "../../lib/base/target_judge.ts";
import { parseTargetRule } from "../../lib/base/target_rules.ts";
import { directOf, type Socket } from "../../lib/net/socket.ts";
import { dial } from "../../lib/net/dial.ts";
import { dialTarget } from "../../lib/server/targets.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { turn } from "../support/memory_bus.ts";

const DB: Address = { host: "db", port: 5 };

/** Rules of the server that allow `patterns`, and none of which denies. */
function allowing(patterns: readonly string[]): TargetRules {
  return {
    allow: patterns.map(parseTargetRule),
    deny: [],
    called: { allow: "--allow-target", deny: "--deny-target" },
  };
}

/** Rejects when `signal` aborts, as everything real does. */
function untilAborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.throwIfAborted();
  signal.addEventListener("abort", () => reject(signal.reason));
  return promise;
}

/** A network whose hosts answer when the test says so, and a target in it. */
class Network {
  readonly clock = new FakeClock();
  readonly stop = new AbortController();
  /** What was resolved and dialled, and how long after the start. */
  readonly log: string[] = [];
  readonly #start = this.clock.now();
  readonly #dials = new Map<string, PromiseWithResolvers<Socket>>();
  readonly #names = Promise.withResolvers<string[]>();

  /** Dials `target`, and tells how it ended: a socket, or the code and text of an error. */
  async dial(target: Address, rules: readonly string[]): Promise<unknown> {
    try {
      return await dialTarget(target, {
        rules: [allowing(rules)],
        timeout: 10_000,
        signal: this.stop.signal,
        clock: this.clock,
        resolve: (host, signal) => {
          this.#note(host);
          return Promise.race([this.#names.promise, untilAborted(signal)]);
        },
        connect: (address, signal) => {
          this.#note(formatAddress(address));
          const dial = this.#of(address.host);
          return Promise.race([dial.promise, untilAborted(signal)]);
        },
      });
    } catch (error) {
      assert.ok(error instanceof TunnelError, String(error));
      return `${error.code}: ${error.text}`;
    }
  }

  /** Says which addresses the name has. */
  async resolve(...addresses: string[]): Promise<void> {
    this.#names.resolve(addresses);
    await turn();
  }

  async connect(host: string): Promise<FakeSocket> {
    const socket = new FakeSocket(host);
    this.#of(host).resolve(socket);
    await turn();
    return socket;
  }

  async refuse(host: string, code: ErrorCode = "refused"): Promise<void> {
    this.#of(host).reject(new TunnelError(code, `Dial ${host}: no`));
    await turn();
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, turn);
  }

  #note(what: string): void {
    this.log.push(`${what} ${this.clock.now() - this.#start}`);
  }

  #of(host: string): PromiseWithResolvers<Socket> {
    const dial = this.#dials.get(host) ?? Promise.withResolvers<Socket>();
    this.#dials.set(host, dial);
    return dial;
  }
}

Deno.test("dialTarget() refuses what no rule covers, and never dials it", async () => {
  const refused = "is not an allowed target (--allow-target)";
  const cases: [Address, string[], string[]][] = [
    [DB, ["other:5", "db:6"], []],
    [DB, ["10.0.0.0/8:5", "[fd00::/8]:5"], ["db 0"]],
    [{ host: "11.0.0.1", port: 5 }, ["10.0.0.0/8:5"], []],
  ];
  for (const [target, rules, log] of cases) {
    const network = new Network();
    void network.resolve("11.0.0.1", "fe80::1");
    assert.equal(
      await network.dial(target, rules),
      `denied: ${formatAddress(target)} ${refused}`,
    );
    assert.deepEqual(network.log, log);
    assert.equal(network.clock.timers, 0);
  }
});

Deno.test("dialTarget() looks a name up once, and dials an address that it has, whatever rule allows it", async () => {
  for (const rules of [[], ["db:5", "11.0.0.0/8:*"], ["*:1-9"]]) {
    const network = new Network();
    const dialling = network.dial(DB, rules);
    await network.resolve("10.0.0.1", "10.0.0.2");
    await network.refuse("10.0.0.1");
    const socket = await network.connect("10.0.0.2");
    assert.equal(await dialling, socket);
    assert.deepEqual(network.log, ["db 0", "10.0.0.1:5 0", "10.0.0.2:5 0"]);
    assert.equal(network.clock.timers, 0);
  }
});

Deno.test("dialTarget() dials an address that was asked for as it is, and looks nothing up", async () => {
  const network = new Network();
  const dialling = network.dial({ host: "10.0.0.1", port: 5 }, []);
  const socket = await network.connect("10.0.0.1");
  assert.equal(await dialling, socket);
  assert.deepEqual(network.log, ["10.0.0.1:5 0"]);
});

Deno.test("dialTarget() leaves out the addresses that it must not dial", async () => {
  const network = new Network();
  const dialling = network.dial(DB, []);
  await network.resolve("169.254.169.254", "::", "no address", "10.0.0.1");
  const socket = await network.connect("10.0.0.1");
  assert.equal(await dialling, socket);
  assert.deepEqual(network.log, ["db 0", "10.0.0.1:5 0"]);
});

Deno.test("dialTarget() tries the addresses that the rules cover, and no other, until one connects", async () => {
  const network = new Network();
  const dialling = network.dial(DB, ["10.0.0.0/8:*", "[fd00::/8]:*"]);
  await network.resolve("fd00::1", "11.0.0.1", "10.0.0.1", "10.0.0.2");
  await network.refuse("fd00::1");
  await network.refuse("10.0.0.1");
  const socket = await network.connect("10.0.0.2");
  assert.equal(await dialling, socket);
  assert.deepEqual(network.log, [
    "db 0",
    "[fd00::1]:5 0",
    "10.0.0.1:5 0",
    "10.0.0.2:5 0",
  ]);
  assert.equal(network.clock.timers, 0);
});

Deno.test("dialTarget() gives each address a head start, and takes the first that connects", async () => {
  const network = new Network();
  const dialling = network.dial(DB, ["10.0.0.0/8:*"]);
  await network.resolve("10.0.0.1", "10.0.0.2", "10.0.0.3");
  await network.wait(300);
  const second = await network.connect("10.0.0.2");
  assert.equal(await dialling, second);
  await network.wait(1_000);
  assert.deepEqual(network.log, ["db 0", "10.0.0.1:5 0", "10.0.0.2:5 250"]);
  assert.ok(!second.closed);
  assert.equal(network.clock.timers, 0);
});

Deno.test("dialTarget() closes a connection that comes in the same moment as another", async () => {
  const network = new Network();
  const dialling = network.dial(DB, ["10.0.0.0/8:*"]);
  await network.resolve("10.0.0.1", "10.0.0.2");
  await network.wait(250);
  const [first, second] = await Promise.all([
    network.connect("10.0.0.1"),
    network.connect("10.0.0.2"),
  ]);
  assert.equal(await dialling, first);
  assert.ok(!first.closed && second.closed);
});

Deno.test("dialTarget() tries at most eight addresses", async () => {
  const network = new Network();
  const dialling = network.dial(DB, ["10.0.0.0/8:*"]);
  const addresses = Array.from({ length: 300 }, (_, at) => `10.0.0.${at}`);
  await network.resolve(...addresses);
  for (const address of addresses.slice(0, 8)) await network.refuse(address);
  assert.match(String(await dialling), /^refused/);
  assert.equal(network.log.length, 1 + 8);
});

Deno.test("dialTarget() has one deadline for resolving and dialling", async () => {
  const resolving = new Network();
  const never = resolving.dial(DB, ["10.0.0.0/8:*"]);
  await resolving.wait(10_000);
  assert.equal(await never, "timeout: Resolve db: no answer in 10000 ms");

  const network = new Network();
  const late = network.dial(DB, ["10.0.0.0/8:*"]);
  let ended = false;
  void late.then(() => ended = true);
  await network.wait(8_000);
  await network.resolve("10.0.0.1", "10.0.0.2");
  await network.refuse("10.0.0.1");
  await network.wait(1_999);
  assert.ok(!ended);
  await network.wait(1);
  assert.equal(await late, "timeout: Dial db:5: no answer in 10000 ms");
  assert.equal(network.clock.timers, 0);
});

Deno.test("dialTarget() is given up with its signal, whose reason it throws", async () => {
  const network = new Network();
  const dialling = network.dial(DB, ["10.0.0.0/8:*"]);
  await network.resolve("10.0.0.1", "10.0.0.2");
  network.stop.abort(new TunnelError("draining", "about to stop"));
  assert.equal(await dialling, "draining: about to stop");
  assert.equal(network.clock.timers, 0);
  assert.equal(await network.dial(DB, []), "draining: about to stop");
});

Deno.test("dialTarget() tells the failure that says most of the target", async () => {
  const cases: [ErrorCode[], ErrorCode][] = [
    [["unreachable", "refused"], "refused"],
    [["refused", "unreachable"], "refused"],
    [["internal", "unreachable", "timeout"], "timeout"],
    [["refused", "limit"], "limit"],
    [["internal"], "internal"],
  ];
  for (const [codes, told] of cases) {
    const network = new Network();
    const dialling = network.dial(DB, ["10.0.0.0/8:*"]);
    await network.resolve(...codes.map((_, at) => `10.0.0.${at}`));
    for (const [at, code] of codes.entries()) {
      await network.refuse(`10.0.0.${at}`, code);
    }
    assert.match(String(await dialling), new RegExp(`^${told}: Dial 10`));
  }
});

Deno.test("dialTarget() reaches a real target whose first addresses refuse", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const pool = new BufferPool();
  const dialling = dialTarget({ host: "localhost", port }, {
    rules: [allowing(["[::1]:*", "127.0.0.0/8:*"])],
    timeout: 10_000,
    signal: new AbortController().signal,
    clock: systemClock,
    resolve: () => Promise.resolve(["::1", "127.0.0.2", "127.0.0.1"]),
    connect: (address, signal) => dial(address, { pool, signal }),
  });
  using theirs = await listener.accept();
  const socket = await dialling;
  assert.equal(socket.remote, `127.0.0.1:${port}`);
  // What was given up of the dial has not touched the connection.
  const direct = directOf(socket);
  await direct.writer.write(new TextEncoder().encode("hello"));
  const got = new Uint8Array(5);
  await theirs.read(got);
  assert.equal(new TextDecoder().decode(got), "hello");
  direct.close();
});
