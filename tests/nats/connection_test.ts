/** The life of a connection that is up, with a broker that does what it is told. */
import assert from "node:assert/strict";
import type { Bus, BusMessage } from "../../lib/nats/bus.ts";
import { connectNats, type NatsBus } from "../../lib/nats/connection.ts";
import type { NatsOptions } from "../../lib/nats/options.ts";
import { brokers } from "../support/brokers.ts";
import { READ_BYTES } from "../../lib/nats/inbox.ts";
import { LinkLog, payload } from "../support/link_log.ts";
import {
  type Script,
  ScriptedBroker,
  type ScriptedConnection,
} from "../support/scripted_broker.ts";

/** So long that a test which has to wait for it hangs visibly. */
const NEVER = 3_600_000;

function connect(
  broker: ScriptedBroker,
  options: Partial<NatsOptions> = {},
): Promise<NatsBus> {
  return connectNats({
    servers: brokers(broker.url),
    dialTimeout: NEVER,
    pingInterval: NEVER,
    random: () => 0,
    ...options,
  });
}

/** A broker that logs everyone in and then does as `after` says with the first. */
function afterLogin(after: Script): Script {
  return async (connection) => {
    await connection.login();
    await connection.until("PING");
    await connection.send("PONG\r\n");
    if (connection.number === 1) await after(connection);
    else await connection.serve();
  };
}

/** The same, but not before the test is ready to see what happens. */
function onceReady(after: Script): Script {
  return afterLogin(async (connection) => {
    await connection.until("PUB ready");
    await after(connection);
  });
}

/** Lets a broker go on that waits for it. */
function ready(bus: Bus): void {
  assert.equal(bus.publish("ready", payload("")), true);
}

/** The ID in a SUB line. */
function sidOf(line: string): number {
  return Number(line.split(" ").at(-1));
}

Deno.test("a PING is answered at once", async () => {
  const answered = Promise.withResolvers<string | undefined>();
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    await connection.send("PING\r\n");
    answered.resolve(await connection.line());
    await connection.serve();
  }));
  await using _bus = await connect(broker);
  assert.equal(await answered.promise, "PONG");
});

Deno.test("descriptors are lent for each attempt to connect, and not for longer", async () => {
  const loans = { made: 0, over: 0 };
  let atLogin = 0;
  await using broker = new ScriptedBroker(async (connection) => {
    if (connection.number === 1) return; // its end is that attempt's
    await connection.login();
    atLogin = loans.made;
    await connection.serve();
  });
  await using _bus = await connect(broker, {
    reserve: {
      lend: () => {
        loans.made++;
        return { [Symbol.dispose]: () => void loans.over++ };
      },
      has: () => true,
    },
  });
  assert.equal(atLogin, 2);
  assert.deepEqual(loans, { made: 2, over: 2 });
});

Deno.test("up comes after the broker has taken in all subscriptions", async () => {
  const resubscribed = Promise.withResolvers<string>();
  const confirm = Promise.withResolvers<void>();
  await using broker = new ScriptedBroker(async (connection) => {
    await connection.login();
    if (connection.number === 1) {
      await connection.until("PING");
      await connection.send("PONG\r\n");
      await connection.until("SUB a.b q ");
      return;
    }
    resubscribed.resolve(await connection.until("SUB"));
    await connection.until("PING");
    await confirm.promise;
    await connection.send("PONG\r\n");
    await connection.serve();
  });
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  bus.subscribe("a.b", () => {}, { queue: "q" });
  assert.match(await resubscribed.promise, /^SUB a\.b q \d+$/);
  assert.deepEqual(log.types, ["down"]);
  assert.equal(bus.connected, false);
  assert.equal(bus.publish("x", payload("lost")), false);
  const away = bus.stats();
  assert.ok(away.downMs > 0);
  confirm.resolve();
  await log.until(2);
  assert.deepEqual(log.events, [
    {
      type: "down",
      reason: `NATS at ${broker.address}: it closed the connection`,
    },
    { type: "up", server: broker.address },
  ]);
  assert.equal(bus.connected, true);
  const { reconnects, downMs, messagesOut, bytesIn, bytesOut } = bus.stats();
  assert.equal(reconnects, 1);
  assert.ok(downMs >= away.downMs);
  assert.equal(bus.stats().downMs, downMs);
  assert.equal(messagesOut, 0);
  assert.ok(bytesIn > 0 && bytesOut > 0);
  bus.publish("x", payload("hello"));
  assert.equal(bus.stats().messagesOut, 1);
});

Deno.test("down comes once, with the broker's last words", async () => {
  await using broker = new ScriptedBroker(onceReady(async (connection) => {
    await connection.send("-ERR 'Slow Consumer'\r\n");
  }));
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(2);
  assert.deepEqual(log.types, ["down", "up"]);
  assert.deepEqual(log.events[0], {
    type: "down",
    reason:
      `NATS at ${broker.address}: it closed the connection: "Slow Consumer"`,
  });
});

Deno.test("an error that the connection outlived is not blamed for its end", async () => {
  await using broker = new ScriptedBroker(onceReady(async (connection) => {
    await connection.send("-ERR 'Invalid Subject'\r\nPING\r\n");
    await connection.until("PONG");
  }));
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(2);
  assert.deepEqual(log.events[0], {
    type: "down",
    reason: `NATS at ${broker.address}: it closed the connection`,
  });
});

Deno.test("who listens to a bus that has ended is told so at once", async () => {
  await using broker = new ScriptedBroker(
    afterLogin((connection) => connection.serve()),
  );
  const bus = await connect(broker);
  await bus.close();
  const log = new LinkLog(bus);
  assert.deepEqual(log.types, ["closed"]);
});

Deno.test("a failed attempt after a short link counts as the first", async () => {
  const failures: number[] = [];
  await using broker = new ScriptedBroker(async (connection) => {
    if (connection.number === 2 || connection.number === 3) return;
    await connection.login();
    await connection.until("PING");
    await connection.send("PONG\r\n");
    if (connection.number === 1) await connection.until("PUB ready");
    else await connection.serve();
  });
  await using bus = await connect(broker, {
    onAttemptFailed: (attempt) => void failures.push(attempt.failures),
  });
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(2);
  assert.deepEqual(log.types, ["down", "up"]);
  assert.deepEqual(failures, [1, 2]);
});

Deno.test("an error is not blamed for an end that comes after messages", async () => {
  const received = Promise.withResolvers<void>();
  // More than one read takes: part of it comes after the error was read.
  const size = 3 * READ_BYTES;
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    const sid = sidOf(await connection.until("SUB a"));
    await connection.send(`-ERR 'Invalid Subject'\r\nMSG a ${sid} ${size}\r\n`);
    await connection.send(new Uint8Array(size));
    await connection.send("\r\n");
    await received.promise;
  }));
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  bus.subscribe("a", () => received.resolve());
  await log.until(2);
  assert.deepEqual(log.events[0], {
    type: "down",
    reason: `NATS at ${broker.address}: it closed the connection`,
  });
});

Deno.test("bytes that are no NATS end the connection, not the bus", async () => {
  await using broker = new ScriptedBroker(
    onceReady((connection) => connection.send("MSG a b c d e f g\r\n")),
  );
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(2);
  const [down] = log.events;
  assert.ok(down?.type === "down");
  assert.match(down.reason, /breaks the protocol: unexpected bytes/);
});

Deno.test("a flood of answers to nothing ends the connection, not the bus", async () => {
  await using broker = new ScriptedBroker(
    onceReady((connection) => connection.send("PONG\r\n".repeat(10_000))),
  );
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(2);
  const [down] = log.events;
  assert.ok(down?.type === "down");
  assert.match(down.reason, /floods us/);
});

Deno.test("a broker that stops answering pings is lost", async () => {
  await using broker = new ScriptedBroker(
    onceReady((connection) => connection.listen()),
  );
  await using bus = await connect(broker, { pingInterval: 400 });
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(2);
  assert.deepEqual(log.events[0], {
    type: "down",
    reason: `NATS at ${broker.address}: it answers no pings`,
  });
});

Deno.test("messages get to the handler of their subscription, whatever they contain", async () => {
  const received: string[] = [];
  const all = Promise.withResolvers<void>();
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    const a = sidOf(await connection.until("SUB a"));
    const b = sidOf(await connection.until("SUB b"));
    await connection.send(
      `MSG a ${a} 4\r\nMSG \r\nMSG b ${b} reply.to 6\r\nPING\r\n\r\n` +
        `HMSG a ${a} 16 16\r\nNATS/1.0 503\r\n\r\n\r\n` +
        `MSG unknown 999 2\r\nxx\r\nMSG b ${b} 0\r\n\r\n`,
    );
    await connection.serve();
  }));
  await using bus = await connect(broker);
  const note = (name: string) => (message: BusMessage): void => {
    const data = new TextDecoder().decode(message.data);
    received.push(
      [name, message.subject, message.reply, message.status, data].join("|"),
    );
    if (received.length === 4) all.resolve();
  };
  bus.subscribe("a", note("A"));
  bus.subscribe("b", note("B"));
  await all.promise;
  await bus.flush();
  assert.deepEqual(received, [
    "A|a||0|MSG ",
    "B|b|reply.to|0|PING\r\n",
    "A|a||503|",
    "B|b||0|",
  ]);
  assert.equal(bus.stats().messagesIn, 5);
  assert.equal(bus.stats().dropped, 1);
});

Deno.test("a handler that throws disturbs nobody", async () => {
  const done = Promise.withResolvers<void>();
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    const a = sidOf(await connection.until("SUB a"));
    await connection.send(`MSG a ${a} 1\r\n1\r\nMSG a ${a} 1\r\n2\r\n`);
    await connection.serve();
  }));
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  bus.subscribe("a", ({ data }) => {
    if (data[0] === 0x32) return done.resolve();
    throw new Error("handler");
  });
  await done.promise;
  assert.deepEqual(log.types, []);
});

Deno.test("a disposed subscription gets nothing, and the broker is told", async () => {
  const unsubscribed = Promise.withResolvers<string>();
  const late = Promise.withResolvers<void>();
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    const sid = sidOf(await connection.until("SUB a"));
    unsubscribed.resolve(await connection.until("UNSUB"));
    await connection.send(`MSG a ${sid} 1\r\n1\r\n`);
    late.resolve();
    await connection.serve();
  }));
  await using bus = await connect(broker);
  const subscription = bus.subscribe("a", () => assert.fail("delivered"));
  assert.equal(subscription.subject, "a");
  subscription[Symbol.dispose]();
  subscription[Symbol.dispose]();
  assert.match(await unsubscribed.promise, /^UNSUB \d+$/);
  await late.promise;
  await bus.flush();
  assert.equal(bus.stats().dropped, 1);
});

for (
  const { what, answer } of [
    {
      what: "hears out what is on its way",
      answer: async (connection: ScriptedConnection, sid: number) => {
        await connection.send(`MSG a ${sid} 1\r\n1\r\n`);
        await connection.until("PING");
        await connection.send("PONG\r\n");
        await connection.until("PUB ready");
      },
    },
    { what: "ends with the link", answer: () => Promise.resolve() },
  ]
) {
  Deno.test(`a drained subscription ${what}, and is not asked for again`, async () => {
    const again: string[] = [];
    await using broker = new ScriptedBroker(async (connection) => {
      await connection.login();
      if (connection.number > 1) {
        return await connection.serve((line) => void again.push(line));
      }
      await connection.until("PING");
      await connection.send("PONG\r\n");
      const sid = sidOf(await connection.until("SUB a"));
      await connection.until("UNSUB");
      await answer(connection, sid);
    });
    await using bus = await connect(broker);
    const log = new LinkLog(bus);
    let received = 0;
    const subscription = bus.subscribe("a", () => void received++);
    await subscription.drain();
    await subscription.drain();
    assert.equal(received, what.startsWith("hears") ? 1 : 0);
    if (bus.connected) ready(bus);
    await log.until(2);
    await bus.flush();
    assert.deepEqual(again, []);
  });
}

Deno.test("a message larger than the broker itself takes is passed over", async () => {
  const received: string[] = [];
  const done = Promise.withResolvers<void>();
  await using broker = new ScriptedBroker(async (connection) => {
    await connection.login({ max_payload: 4096 });
    await connection.until("PING");
    await connection.send("PONG\r\n");
    const a = sidOf(await connection.until("SUB a"));
    const huge = 10 * READ_BYTES;
    await connection.send(`MSG a ${a} 5\r\nfirst\r\nMSG a ${a} ${huge}\r\n`);
    await connection.send(new Uint8Array(huge).fill(0x50));
    await connection.send(`\r\nMSG a ${a} 6\r\nsecond\r\n`);
    await connection.serve();
  });
  await using bus = await connect(broker);
  bus.subscribe("a", (message) => {
    received.push(new TextDecoder().decode(message.data));
    if (received.length === 2) done.resolve();
  });
  await done.promise;
  assert.deepEqual(received, ["first", "second"]);
  assert.equal(bus.stats().dropped, 1);
});

Deno.test("messages larger than the read buffer arrive whole", async () => {
  const sizes = [READ_BYTES - 100, READ_BYTES, 3 * READ_BYTES, 10, 1024 * 1024];
  const received: boolean[] = [];
  const done = Promise.withResolvers<void>();
  const pattern = (size: number): Uint8Array =>
    Uint8Array.from({ length: size }, (_, i) => i * 31 + (i >> 8));
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    const a = sidOf(await connection.until("SUB a"));
    for (const size of sizes) {
      await connection.send(`MSG a ${a} ${size}\r\n`);
      await connection.send(pattern(size));
      await connection.send("\r\n");
    }
    await connection.serve();
  }));
  await using bus = await connect(broker);
  bus.subscribe("a", ({ data }) => {
    const expected = pattern(sizes[received.length] ?? 0);
    received.push(
      data.length === expected.length &&
        data.every((byte, i) => byte === expected[i]),
    );
    if (received.length === sizes.length) done.resolve();
  });
  await done.promise;
  assert.deepEqual(received, sizes.map(() => true));
});

Deno.test("a refused subscription is told, and asked for again after a reconnect", async () => {
  const refused: (readonly [string, string])[] = [];
  const told = Promise.withResolvers<void>();
  const again = Promise.withResolvers<string>();
  const others: string[] = [];
  await using broker = new ScriptedBroker(async (connection) => {
    await connection.login();
    const note = (line: string): Promise<void> | void => {
      if (!line.startsWith("SUB secret")) return void others.push(line);
      if (connection.number > 1) return again.resolve(line);
      return connection.send(
        `-ERR 'Permissions Violation for Subscription to "secret" using queue "q"'\r\n`,
      );
    };
    if (connection.number > 1) return await connection.serve(note);
    const serving = connection.serve(note);
    await told.promise;
    connection.close();
    await serving;
  });
  await using bus = await connect(broker, {
    onSubscriptionError: (subject, reason) => {
      refused.push([subject, reason]);
      told.resolve();
    },
  });
  const log = new LinkLog(bus);
  using _open = bus.subscribe("open", () => {});
  using _secret = bus.subscribe("secret", () => {}, { queue: "q" });
  await told.promise;
  assert.deepEqual(refused, [[
    "secret",
    'Permissions Violation for Subscription to "secret" using queue "q"',
  ]]);
  assert.match(await again.promise, /^SUB secret q \d+$/);
  await log.until(4);
  assert.deepEqual(
    log.types,
    ["subscriptions", "down", "up", "subscriptions"],
  );
  assert.deepEqual(bus.refusedSubjects, []);
});

Deno.test("a subscription is unconfirmed until the broker has answered what came after it, or it is given up", async () => {
  const asked = Promise.withResolvers<void>();
  const confirm = Promise.withResolvers<void>();
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    await connection.until("SUB later");
    asked.resolve();
    await confirm.promise;
    await connection.serve();
  }));
  await using bus = await connect(broker);
  assert.equal(bus.brokerVersion, "2.9.10");
  const waiting = (): string | undefined => bus.unconfirmed?.subject;
  assert.equal(waiting(), undefined);
  using _later = bus.subscribe("later", () => {});
  const other = bus.subscribe("other", () => {});
  await asked.promise;
  assert.equal(waiting(), "later");
  other[Symbol.dispose]();
  confirm.resolve();
  await bus.flush();
  assert.equal(waiting(), undefined);
});

Deno.test("a refused subscription that can be done without is told to who asked, once for each connection, and to nobody else", async () => {
  const asked: string[] = [];
  const told: string[] = [];
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  await using broker = new ScriptedBroker(async (connection) => {
    await connection.login();
    const serving = connection.serve((line) => {
      if (!line.startsWith("SUB extra")) return;
      asked.push(`${connection.number} ${line.split(" ")[1]}`);
      return connection.send(
        `-ERR 'Permissions Violation for Subscription to "extra"'\r\n`,
      );
    });
    if (connection.number === 1) {
      await first.promise;
      connection.close();
    }
    await serving;
  });
  await using bus = await connect(broker, {
    onSubscriptionError: (subject) => void told.push(`bus ${subject}`),
  });
  const log = new LinkLog(bus);
  using _extra = bus.subscribe("extra", () => {}, {
    onRefused: (reason) => {
      told.push(reason);
      (told.length === 1 ? first : second).resolve();
    },
  });
  await second.promise;
  const reason = 'Permissions Violation for Subscription to "extra"';
  assert.deepEqual(told, [reason, reason]);
  assert.deepEqual(asked, ["1 extra", "2 extra"]);
  assert.deepEqual(bus.refusedSubjects, []);
  assert.ok(!log.types.includes("subscriptions"), log.types.join());
});

Deno.test("a refused publish leaves the link up", async () => {
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    await connection.until("PUB");
    await connection.send(
      `-ERR 'Permissions Violation for Publish to "x"'\r\n`.repeat(3),
    );
    await connection.serve();
  }));
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  assert.equal(bus.publish("x", payload("y")), true);
  await bus.flush();
  await bus.flush();
  assert.ok(bus.connected);
  assert.deepEqual(new Set(log.types), new Set(["denied"]));
});

Deno.test("publish() takes the broker's maximum, headers included, and no byte more", async () => {
  await using broker = new ScriptedBroker(async (connection) => {
    await connection.login({ max_payload: 5000 });
    await connection.serve();
  });
  await using bus = await connect(broker);
  assert.equal(bus.maxPayload, 5000);
  assert.equal(bus.publish("x", payload("y".repeat(5000))), true);
  assert.throws(() => bus.publish("x", payload("y".repeat(5001))), RangeError);
  assert.throws(
    () =>
      bus.publish("x", payload("y".repeat(4990)), { headers: [["a", "b"]] }),
    RangeError,
  );
  assert.throws(() => bus.publish("x y", payload("")), TypeError);
});

Deno.test("a broker that changes its maximum is told of, on the same link", async () => {
  await using broker = new ScriptedBroker(onceReady(async (connection) => {
    await connection.send(`INFO {"max_payload":5000,"headers":true}\r\n`);
    await connection.serve();
  }));
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(1);
  assert.deepEqual(log.events, [{ type: "limit", maxPayload: 5000 }]);
  assert.equal(bus.maxPayload, 5000);
  assert.ok(bus.connected);
});

Deno.test("maxPayload is that of the broker connected to now", async () => {
  await using broker = new ScriptedBroker(async (connection) => {
    await connection.login({ max_payload: connection.number * 5000 });
    await connection.until("PING");
    await connection.send("PONG\r\n");
    if (connection.number > 1) await connection.serve();
    else await connection.until("PUB ready");
  });
  await using bus = await connect(broker);
  assert.equal(bus.maxPayload, 5000);
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(2);
  assert.equal(bus.maxPayload, 10000);
});

Deno.test("publish() encodes before it returns", async () => {
  const got = Promise.withResolvers<string | undefined>();
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    await connection.until("PUB");
    got.resolve(await connection.line());
    await connection.serve();
  }));
  await using bus = await connect(broker);
  const bytes = new TextEncoder().encode("before");
  bus.publish("x", {
    byteLength: bytes.length,
    encodeInto: (target, at) => target.set(bytes, at),
  });
  bytes.fill(0x2a);
  assert.equal(await got.promise, "before");
});

Deno.test("an encoder that throws leaves nothing half-written", async () => {
  const lines: string[] = [];
  await using broker = new ScriptedBroker(
    afterLogin((connection) =>
      connection.serve((line) => void lines.push(line))
    ),
  );
  await using bus = await connect(broker);
  bus.publish("a", payload("1"));
  assert.throws(() =>
    bus.publish("b", {
      byteLength: 3,
      encodeInto: () => {
        throw new Error("encoder");
      },
    }), /encoder/);
  bus.publish("c", payload("2"));
  await bus.flush();
  assert.deepEqual(lines, ["PUB a 1", "1", "PUB c 1", "2"]);
});

Deno.test("subscribe() is with the broker before what is published after it", async () => {
  const lines: string[] = [];
  await using broker = new ScriptedBroker(
    afterLogin((connection) =>
      connection.serve((line) => void lines.push(line))
    ),
  );
  await using bus = await connect(broker);
  bus.publish("early", payload(""));
  bus.subscribe("answers", () => {});
  bus.publish("question", payload(""), { reply: "answers" });
  await bus.flush();
  const order = lines.filter((line) => line !== "");
  assert.ok(
    order.findIndex((line) => line.startsWith("SUB answers")) <
      order.findIndex((line) => line.startsWith("PUB question")),
    order.join(", "),
  );
});

Deno.test("flush() asks the broker only after all that was published", async () => {
  const order: string[] = [];
  await using broker = new ScriptedBroker(afterLogin(async (connection) => {
    for (;;) {
      const line = await connection.line();
      if (line === undefined) return;
      order.push(line.slice(0, 4));
      if (line === "PING") await connection.send("PONG\r\n");
    }
  }));
  await using bus = await connect(broker);
  const message = payload("x".repeat(16 * 1024));
  for (let i = 0; i < 100; i++) bus.publish("bulk", message);
  await bus.flush();
  assert.equal(order.filter((start) => start === "PUB ").length, 100);
  assert.equal(order.at(-1), "PING");
});

Deno.test("flush() fails when the link is lost before, or down", async () => {
  const asked = Promise.withResolvers<ScriptedConnection>();
  const blocked = Promise.withResolvers<void>();
  await using broker = new ScriptedBroker(async (connection) => {
    await connection.login();
    if (connection.number > 1) return await blocked.promise;
    await connection.until("PING");
    await connection.send("PONG\r\n");
    await connection.until("PING");
    asked.resolve(connection);
    await connection.listen();
  });
  await using bus = await connect(broker);
  const log = new LinkLog(bus);
  const flushed = assert.rejects(bus.flush(), /it closed the connection/);
  (await asked.promise).close();
  await flushed;
  assert.deepEqual(log.types, ["down"]);
  await assert.rejects(bus.flush(), /not connected/);
  blocked.resolve();
});

Deno.test("close() sends what is queued, tells it once and stays closed", async () => {
  const lines: string[] = [];
  await using broker = new ScriptedBroker(
    afterLogin((connection) =>
      connection.serve((line) => void lines.push(line))
    ),
  );
  const bus = await connect(broker);
  const log = new LinkLog(bus);
  for (let i = 0; i < 1000; i++) bus.publish(`s.${i}`, payload("x"));
  const closing = bus.close();
  assert.equal(bus.connected, false);
  assert.equal(bus.publish("late", payload("x")), false);
  await Promise.all([closing, bus.close(), bus[Symbol.asyncDispose]()]);
  assert.equal(lines.filter((line) => line.startsWith("PUB")).length, 1000);
  assert.deepEqual(log.events, [{ type: "closed" }]);
  assert.equal(bus.publish("late", payload("x")), false);
  await assert.rejects(bus.flush());
});

Deno.test("close() does not wait for ever", async () => {
  await using broker = new ScriptedBroker(
    afterLogin((connection) => connection.listen()),
  );
  const bus = await connect(broker);
  bus.publish("x", payload("y"));
  await bus.close(50);
});

Deno.test("close() ends a bus whose link is down", async () => {
  await using broker = new ScriptedBroker(async (connection) => {
    if (connection.number > 1) return;
    await connection.login();
    await connection.until("PING");
    await connection.send("PONG\r\n");
    await connection.until("PUB ready");
  });
  const bus = await connect(broker, { random: () => 0.5 });
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(1);
  await bus.close();
  assert.deepEqual(log.types, ["down", "closed"]);
});

Deno.test("listeners end with their signal, and one that throws disturbs nobody", async () => {
  await using broker = new ScriptedBroker(onceReady(() => Promise.resolve()));
  await using bus = await connect(broker);
  const controller = new AbortController();
  bus.onLink(() => assert.fail("called"), controller.signal);
  bus.onLink(() => assert.fail("called"), AbortSignal.abort());
  controller.abort();
  bus.onLink(() => {
    throw new Error("listener");
  });
  const log = new LinkLog(bus);
  ready(bus);
  await log.until(2);
  assert.deepEqual(log.types, ["down", "up"]);
});

Deno.test("connectNats() goes to the first server that answers, and on to the next when it is lost", async () => {
  const closed = new ScriptedBroker(() => Promise.resolve());
  const dead = closed.url;
  await closed[Symbol.asyncDispose]();
  const leave = Promise.withResolvers<void>();
  await using first = new ScriptedBroker(async (connection) => {
    if (connection.number > 1) return;
    await connection.login();
    const serving = connection.serve();
    await leave.promise;
    connection.close();
    await serving;
  });
  await using second = new ScriptedBroker(afterLogin((c) => c.serve()));
  await using bus = await connectNats({
    servers: brokers(dead, first.url, second.url),
    pingInterval: NEVER,
    random: () => 0,
  });
  assert.equal(bus.server, first.address);
  const log = new LinkLog(bus);
  leave.resolve();
  await log.until(2);
  assert.equal(bus.server, second.address);
  assert.deepEqual(log.events[1], { type: "up", server: second.address });
});
