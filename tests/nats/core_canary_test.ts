/**
 * What lib/nats uses of nats-core beyond its public interface. The version is
 * pinned; when it is raised, this says what has changed before anything hangs.
 */
import assert from "node:assert/strict";
import * as core from "@nats-io/nats-core/internal";
import denoJson from "../../deno.json" with { type: "json" };

/** What must be a function on an object, by the file that calls it. */
function assertMethods(
  what: string,
  object: object,
  names: readonly string[],
): void {
  for (const name of names) {
    assert.equal(
      typeof Reflect.get(object, name),
      "function",
      `nats-core has no ${what}.${name}() any more`,
    );
  }
}

Deno.test("nats-core is pinned to the version whose internals are used", () => {
  for (const [name, target] of Object.entries(denoJson.imports)) {
    if (!name.startsWith("@nats-io/")) continue;
    assert.match(target, /@\d+\.\d+\.\d+(\/internal)?$/, name);
  }
});

Deno.test("nats-core still has the internals that lib/nats uses", () => {
  assertMethods("internal", core, [
    "credsAuthenticator",
    "nkeyAuthenticator",
    "parseOptions",
    "deadline",
    "setTransportFactory",
    "tokenAuthenticator",
    "usernamePasswordAuthenticator",
    "PermissionViolationError",
    "QueuedIteratorImpl",
  ]);
  const handler = new core.ProtocolHandler(
    core.parseOptions({ servers: "127.0.0.1:1" }),
    { publish: () => {} },
  );
  assertMethods("ProtocolHandler", handler, [
    "close",
    "dialLoop",
    "flush",
    "subscribe",
    "unsubscribe",
  ]);
  assert.ok(
    Array.isArray(handler.listeners),
    "ProtocolHandler.listeners is no array any more",
  );
  assert.equal(
    typeof handler.closed.then,
    "function",
    "ProtocolHandler.closed is no promise any more",
  );
  const subscription = new core.SubscriptionImpl(handler, "a.b", {
    queue: "q",
    callback: () => {},
  });
  assertMethods("SubscriptionImpl", subscription, [
    "drain",
    "getID",
    "unsubscribe",
  ]);
  assert.equal(subscription.getSubject(), "a.b");
});

/** A transport that does what a test says, and notes what nats-core asks of it. */
class FakeTransport implements core.Transport {
  readonly lang = "test";
  readonly version = "0";
  readonly isClosed = false;
  readonly sent: string[] = [];
  readonly #incoming = new core.QueuedIteratorImpl<Uint8Array>();
  readonly #closed = Promise.withResolvers<void>();
  options: core.ConnectionOptions | undefined;
  server = "";

  connect(
    server: core.Server,
    options: core.ConnectionOptions,
  ): Promise<void> {
    this.server = server.listen;
    this.options = options;
    this.receive(
      `INFO {"version":"2.9.0","headers":true,"connect_urls":["10.0.0.1:1"]}\r\n`,
    );
    return Promise.resolve();
  }

  receive(text: string): void {
    this.#incoming.push(new TextEncoder().encode(text));
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    return this.#incoming.iterate();
  }

  isEncrypted(): boolean {
    return false;
  }

  send(frame: Uint8Array): void {
    const text = new TextDecoder().decode(frame);
    this.sent.push(...text.trim().split("\r\n"));
    if (text.includes("PING")) this.receive("PONG\r\n");
  }

  close(): Promise<void> {
    this.#incoming.stop();
    return Promise.resolve();
  }

  /** The connection is lost. */
  lose(): void {
    this.#incoming.stop();
    this.#closed.resolve();
  }

  closed(): Promise<void> {
    return this.#closed.promise;
  }

  disconnect(): void {}
  discard(): void {}
}

/** Status events, noted as they are pushed. */
class StatusNotes extends core.QueuedIteratorImpl<core.Status> {
  readonly types: string[] = [];
  readonly #reconnected = Promise.withResolvers<void>();

  get reconnected(): Promise<void> {
    return this.#reconnected.promise;
  }

  override push(status: core.Status | (() => void)): void {
    if (typeof status === "function") return;
    this.types.push(status.type);
    if (status.type === "reconnect") this.#reconnected.resolve();
  }
}

Deno.test("nats-core still dials, logs in, subscribes and comes back as lib/nats expects", async () => {
  const transports: FakeTransport[] = [];
  core.setTransportFactory({
    factory: () => {
      const transport = new FakeTransport();
      transports.push(transport);
      if (transports.length === 2) {
        transport.send = () => handler.connectError?.(new Error("refused"));
      }
      return transport;
    },
  });
  let delays = 0;
  const options = core.parseOptions({
    servers: "brokers",
    ignoreClusterUpdates: true,
    reconnectDelayHandler: () => Math.min(1, delays++),
    maxReconnectAttempts: -1,
    waitOnFirstConnect: true,
  });
  const handler = new core.ProtocolHandler(options, { publish: () => {} });
  const notes = new StatusNotes();
  handler.listeners.push(notes);
  await handler.dialLoop();
  const [first] = transports;
  assert.equal(
    first?.options,
    options,
    "nats-core hands transports other options than it was given: adoptTransports() finds no bus",
  );
  assert.match(first.sent[0] ?? "", /^CONNECT .*"no_responders":true/);
  assert.equal(first.sent[1], "PING", "nats-core no longer pings at login");

  const refused = Promise.withResolvers<Error | null>();
  const open = new core.SubscriptionImpl(handler, "open", {
    callback: () => {},
  });
  const secret = new core.SubscriptionImpl(handler, "secret", {
    queue: "q",
    callback: (error) => refused.resolve(error),
  });
  for (const each of [open, secret]) handler.subscribe(each);
  const sid = open.getID();
  await handler.flush();
  first.receive(
    `-ERR 'Permissions Violation for Subscription to "secret" using queue "q"'\r\n`,
  );
  assert.ok(
    await refused.promise instanceof core.PermissionViolationError,
    "a refused subscription is not told by its callback any more",
  );
  assert.ok(
    notes.types.includes("error"),
    "status events are not pushed as they happen any more",
  );

  first.lose();
  await notes.reconnected;
  assert.equal(
    transports.length,
    3,
    "connectError() no longer makes nats-core dial again at once",
  );
  assert.ok(delays > 0, "nats-core no longer asks how long to wait");
  for (const { server } of transports) {
    assert.equal(server, "brokers:4222", "nats-core dials what is announced");
  }
  assert.deepEqual(
    transports[2]?.sent.filter((line) => line.startsWith("SUB")),
    [`SUB open ${sid}`],
    "nats-core subscribes anew with other IDs, or to what was refused",
  );
  await handler.close();
  assert.equal(await handler.closed, undefined);
});

Deno.test("nats-core's deadline() still ends a wait", async () => {
  await assert.rejects(
    core.deadline(new Promise<void>(() => {}), 1),
    core.TimeoutError,
  );
});
