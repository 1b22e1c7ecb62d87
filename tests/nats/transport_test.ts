/** How a connection to a broker begins and ends, with brokers that behave in every way. */
import assert from "node:assert/strict";
import type { Bus, LinkEvent } from "../../lib/nats/bus.ts";
import { RunError } from "../../lib/base/errors.ts";
import { connectNats } from "../../lib/nats/connection.ts";
import type { FailedAttempt, NatsOptions } from "../../lib/nats/options.ts";
import { Secret } from "../../lib/base/credentials.ts";
import { brokers } from "../support/brokers.ts";
import { payload } from "../support/link_log.ts";
import {
  infoLine,
  type Script,
  ScriptedBroker,
} from "../support/scripted_broker.ts";

/** So long that a test which has to wait for it hangs visibly. */
const NEVER = 3_600_000;

/** Options for `broker` that collect the failed attempts. */
function optionsFor(
  broker: ScriptedBroker,
  failed: FailedAttempt[] = [],
): NatsOptions {
  return {
    servers: brokers(broker.url),
    dialTimeout: NEVER,
    pingInterval: NEVER,
    random: () => 0,
    onAttemptFailed: (attempt) => void failed.push(attempt),
  };
}

/** Resolves at the next link event of `type`. */
function linkEvent(bus: Bus, type: LinkEvent["type"]): Promise<LinkEvent> {
  const { promise, resolve } = Promise.withResolvers<LinkEvent>();
  bus.onLink((event) => event.type === type && resolve(event));
  return promise;
}

const healthy: Script = async (connection) => {
  await connection.login();
  await connection.serve();
};

/** A broker whose first connection goes as `first` says, and every other one well. */
function firstBadly(first: Script): Script {
  return (connection) =>
    connection.number === 1 ? first(connection) : healthy(connection);
}

Deno.test("connectNats() logs in and says who it is", async () => {
  const said = Promise.withResolvers<string>();
  await using broker = new ScriptedBroker(async (connection) => {
    said.resolve(await connection.login());
    await connection.serve();
  });
  await using bus = await connectNats({
    ...optionsFor(broker),
    name: "test client",
    credentials: { kind: "password", user: "u", password: new Secret("p") },
  });
  const { name, user, pass, headers, no_responders, verbose } = JSON.parse(
    (await said.promise).slice("CONNECT ".length),
  );
  assert.deepEqual(
    { name, user, pass, headers, no_responders, verbose },
    {
      name: "test client",
      user: "u",
      pass: "p",
      headers: true,
      no_responders: true,
      verbose: false,
    },
  );
  assert.equal(bus.connected, true);
  assert.equal(bus.server, broker.address);
  assert.equal(bus.maxPayload, 1024 * 1024);
});

const BAD_STARTS: readonly {
  readonly what: string;
  readonly script: Script;
  readonly reason: RegExp;
}[] = [
  {
    what: "closes at once",
    script: () => Promise.resolve(),
    reason: /^it closed the connection$/,
  },
  {
    what: "closes after half a line",
    script: (connection) => connection.send("INFO {"),
    reason: /^it closed the connection$/,
  },
  {
    what: "speaks another protocol",
    script: (connection) => connection.send("HTTP/1.1 400 Bad Request\r\n\r\n"),
    reason: /unexpected bytes "HTTP/,
  },
  {
    what: "does not begin with INFO",
    script: (connection) => connection.send("PING\r\n"),
    reason: /does not begin with INFO/,
  },
  {
    what: "sends an INFO that is no JSON",
    script: (connection) => connection.send("INFO {nonsense}\r\n"),
    reason: /its INFO is no JSON/,
  },
  {
    what: "sends an INFO that is no object",
    script: (connection) => connection.send("INFO [1]\r\n"),
    reason: /its INFO is no object/,
  },
  {
    what: "sends a line without end",
    script: (connection) => connection.send("INFO " + "x".repeat(100_000)),
    reason: /control line is longer than 65536 bytes/,
  },
  {
    what: "is too old for headers",
    script: (connection) => connection.greet({ headers: false }),
    reason: /older than NATS 2\.2/,
  },
  {
    what: "slips in bytes before TLS",
    script: (connection) =>
      connection.send(infoLine({ tls_required: true }) + "PING\r\n"),
    reason: /sends more before TLS/,
  },
  {
    what: "demands TLS and speaks none",
    script: async (connection) => {
      await connection.greet({ tls_required: true });
      await connection.bytes();
      await connection.send("no TLS\r\n");
    },
    reason: /^TLS failed: /,
  },
  {
    what: "closes after the greeting",
    script: async (connection) => {
      await connection.greet();
      await connection.until("CONNECT");
    },
    reason: /^it closed the connection$/,
  },
  {
    what: "complains and closes during login",
    script: async (connection) => {
      await connection.greet();
      await connection.until("PING");
      await connection.send("-ERR 'maximum connections exceeded'\r\n");
    },
    reason: /^it closed the connection: "maximum connections exceeded"$/,
  },
  {
    what: "sends garbage during login",
    script: async (connection) => {
      await connection.greet();
      await connection.until("PING");
      await connection.send("garbage\r\n");
    },
    reason: /breaks the protocol: unexpected bytes "garbage/,
  },
  {
    what: "closes right after the login",
    script: (connection) => connection.login().then(() => {}),
    reason: /^it closed the connection$/,
  },
  {
    what: "complains right after the login",
    script: async (connection) => {
      await connection.greet();
      await connection.until("PING");
      await connection.send("PONG\r\n-ERR 'Server Shutdown'\r\n");
    },
    reason: /^it closed the connection: "Server Shutdown"$/,
  },
  {
    what: "closes when it is asked to confirm",
    script: async (connection) => {
      await connection.login();
      await connection.until("PING");
    },
    reason: /^it closed the connection$/,
  },
];

for (const { what, script, reason } of BAD_STARTS) {
  Deno.test(`connectNats() tries again at once after a broker that ${what}`, async () => {
    const failed: FailedAttempt[] = [];
    await using broker = new ScriptedBroker(firstBadly(script));
    await using bus = await connectNats(optionsFor(broker, failed));
    assert.equal(bus.connected, true);
    assert.deepEqual(
      failed.map(({ server, failures }) => ({ server, failures })),
      [{ server: broker.address, failures: 1 }],
    );
    assert.match(failed[0]?.reason ?? "", reason);
  });
}

const SILENT: readonly (readonly [what: string, script: Script])[] = [
  ["says nothing", (connection) => connection.listen()],
  ["does not answer the login", async (connection) => {
    await connection.greet();
    await connection.listen();
  }],
  ["does not answer the TLS handshake", async (connection) => {
    await connection.greet({ tls_required: true });
    await connection.listen();
  }],
];

for (const [what, script] of SILENT) {
  Deno.test(`connectNats() tries again after a broker that ${what}`, async () => {
    const failed: FailedAttempt[] = [];
    await using broker = new ScriptedBroker(firstBadly(script));
    await using _bus = await connectNats({
      ...optionsFor(broker, failed),
      // Long enough for the second attempt on a busy machine.
      dialTimeout: 1000,
    });
    assert.equal(failed[0]?.reason, "no answer within 1 s");
  });
}

Deno.test("connectNats() gives up when its time is over, and says why", async () => {
  await using broker = new ScriptedBroker(() => Promise.resolve());
  await assert.rejects(
    connectNats({ ...optionsFor(broker), connectTimeout: 100 }),
    (error: unknown) =>
      error instanceof RunError &&
      error.message ===
        `Could not connect to NATS within 0.1 s. The last attempt: NATS at ${broker.address}: it closed the connection (perhaps not a NATS server; if it is one, its log says why)`,
  );
});

Deno.test("connectNats() names the broker that has not answered when its time is over", async () => {
  await using broker = new ScriptedBroker((connection) => connection.listen());
  await assert.rejects(
    connectNats({ ...optionsFor(broker), connectTimeout: 100 }),
    new RegExp(`NATS at ${broker.address}: no answer yet$`),
  );
});

Deno.test("connectNats() ends when its signal aborts, at any moment", async () => {
  const moments: Script[] = [
    (connection) => connection.listen(),
    async (connection) => {
      await connection.greet();
      await connection.until("PING");
      await connection.listen();
    },
    async (connection) => {
      await connection.login();
      await connection.until("PING");
      await connection.listen();
    },
  ];
  for (const moment of moments) {
    const controller = new AbortController();
    const reason = new Error("enough");
    await using broker = new ScriptedBroker(async (connection) => {
      // While the script waits for a line, the client waits for us.
      const done = moment(connection);
      setTimeout(() => controller.abort(reason), 0);
      await done;
    });
    await assert.rejects(
      connectNats({ ...optionsFor(broker), signal: controller.signal }),
      reason,
    );
  }
});

Deno.test("connectNats() does not begin when its signal has aborted", async () => {
  await using broker = new ScriptedBroker(healthy);
  const reason = new Error("too late");
  await assert.rejects(
    connectNats({ ...optionsFor(broker), signal: AbortSignal.abort(reason) }),
    reason,
  );
});

Deno.test("connectNats() ends when its signal aborts in the same turn", async () => {
  await using broker = new ScriptedBroker(healthy);
  const controller = new AbortController();
  const reason = new Error("on second thoughts");
  const connecting = connectNats({
    ...optionsFor(broker),
    signal: controller.signal,
  });
  controller.abort(reason);
  await assert.rejects(connecting, reason);
});

Deno.test("connectNats() takes a refused login for final, and keeps the password to itself", async () => {
  let connections = 0;
  await using broker = new ScriptedBroker(async (connection) => {
    connections++;
    await connection.greet({ auth_required: true });
    await connection.until("PING");
    await connection.send("-ERR 'Authorization Violation'\r\n");
  });
  await assert.rejects(
    connectNats({
      ...optionsFor(broker),
      credentials: {
        kind: "password",
        user: "eve",
        password: new Secret("hunter2"),
      },
    }),
    (error: unknown) =>
      error instanceof RunError &&
      /refuses our login, user "eve" and a password: "Authorization Violation" \(check/
        .test(error.message) &&
      !Deno.inspect(error).includes("hunter2"),
  );
  assert.equal(connections, 1);
});

Deno.test("connectNats() tries again though its listener throws", async () => {
  await using broker = new ScriptedBroker(firstBadly(() => Promise.resolve()));
  await using bus = await connectNats({
    ...optionsFor(broker),
    onAttemptFailed: () => {
      throw new Error("listener");
    },
  });
  assert.equal(bus.connected, true);
});

Deno.test("a login refused later does not end the bus", async () => {
  await using broker = new ScriptedBroker(async (connection) => {
    if (connection.number === 2 || connection.number === 3) {
      await connection.greet({ auth_required: true });
      await connection.until("PING");
      return connection.send("-ERR 'Authorization Violation'\r\n");
    }
    await connection.login();
    if (connection.number === 1) {
      await connection.until("PING");
      await connection.send("PONG\r\n");
      return void await connection.until("PUB ready");
    }
    await connection.serve();
  });
  const failed: FailedAttempt[] = [];
  await using bus = await connectNats(optionsFor(broker, failed));
  const up = linkEvent(bus, "up");
  bus.publish("ready", payload(""));
  await up;
  assert.equal(bus.connected, true);
  assert.ok(failed.length >= 2);
});

/** One who refuses everybody's login. */
const closed: Script = async (connection) => {
  await connection.greet({ auth_required: true });
  await connection.until("PING");
  await connection.send("-ERR 'Authorization Violation'\r\n");
};

Deno.test("connectNats() goes past a broker that refuses the login to one that does not", async () => {
  await using strict = new ScriptedBroker(closed);
  await using open = new ScriptedBroker(healthy);
  const failed: FailedAttempt[] = [];
  await using bus = await connectNats({
    ...optionsFor(strict, failed),
    servers: brokers(strict.url, open.url),
  });
  assert.equal(bus.server, open.address);
  assert.deepEqual(failed.map(({ server }) => server), [strict.address]);
});

Deno.test("connectNats() takes a refused login for final when no other broker is left", async () => {
  await using first = new ScriptedBroker(closed);
  await using second = new ScriptedBroker(closed);
  await assert.rejects(
    connectNats({
      ...optionsFor(first),
      servers: brokers(first.url, second.url),
    }),
    /refuses our login/,
  );
});

Deno.test("connectNats() goes past a broker that greets and does not answer the login", async () => {
  await using mute = new ScriptedBroker(async (connection) => {
    await connection.greet();
    await connection.listen();
  });
  await using open = new ScriptedBroker(healthy);
  await using bus = await connectNats({
    ...optionsFor(mute),
    servers: brokers(mute.url, open.url),
    // Long enough for the second attempt on a busy machine.
    dialTimeout: 1000,
  });
  assert.equal(bus.server, open.address);
});

Deno.test("connectNats() leaves no connection to a broker that says nothing, and sends it nothing", async () => {
  const left = Promise.withResolvers<string | undefined>();
  await using silent = new ScriptedBroker(async (connection) => {
    left.resolve(await connection.line());
  });
  await using open = new ScriptedBroker(healthy);
  await using bus = await connectNats({
    ...optionsFor(silent),
    servers: brokers(silent.url, open.url),
  });
  assert.equal(await left.promise, undefined);
  assert.equal(bus.server, open.address);
});

for (const ignoreDiscovered of [false, true]) {
  const what = ignoreDiscovered ? "does not dial" : "dials";
  Deno.test(`connectNats() ${what} what a cluster announces: ignoreDiscovered=${ignoreDiscovered}`, async () => {
    let dials = 0;
    await using other = new ScriptedBroker(async (connection) => {
      dials++;
      await healthy(connection);
    });
    await using first = new ScriptedBroker(async (connection) => {
      // It comes back after a while, so that there is an end in any case.
      if (connection.number > 1 && connection.number < 4) return;
      await connection.login({ connect_urls: [other.address] });
      await connection.until("PING");
      await connection.send("PONG\r\n");
      if (connection.number === 1) await connection.until("PUB ready");
      else await connection.serve();
    });
    await using bus = await connectNats({
      ...optionsFor(first),
      random: () => 0.9,
      ignoreDiscovered,
    });
    const up = linkEvent(bus, "up");
    bus.publish("ready", payload(""));
    await up;
    const expected = ignoreDiscovered ? first : other;
    assert.equal(bus.server, expected.address);
    assert.equal(dials, ignoreDiscovered ? 0 : 1);
  });
}

Deno.test("connectNats() dials each address of a name, and the name where none is found", async () => {
  await using broker = new ScriptedBroker(healthy);
  const port = broker.address.split(":").at(-1);
  const name = "localhost";
  for (
    const resolve of [
      // Nothing listens at the first.
      () => Promise.resolve(["127.0.0.2", "127.0.0.1"]),
      () => Promise.resolve([]),
      () => Promise.reject(new Error("no resolver")),
    ]
  ) {
    await using bus = await connectNats({
      ...optionsFor(broker),
      servers: brokers(`${name}:${port}`),
      resolve,
    });
    assert.equal(bus.server, `${name}:${port}`);
  }
});
