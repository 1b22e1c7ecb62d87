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
    "setTransportFactory",
    "tokenAuthenticator",
    "usernamePasswordAuthenticator",
    "PermissionViolationError",
    "QueuedIteratorImpl",
    "TimeoutError",
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
  assertMethods("SubscriptionImpl", subscription, ["getID", "unsubscribe"]);
  assert.equal(subscription.getSubject(), "a.b");
});

Deno.test("nats-core tells status events by QueuedIteratorImpl.push()", () => {
  const iterator = new core.QueuedIteratorImpl<string>();
  iterator.push("event");
  assert.equal(iterator.getReceived() + iterator.getPending(), 1);
});
