import assert from "node:assert/strict";
import fc from "fast-check";
import { formatAddress } from "../../lib/base/address.ts";
import { formatBroker } from "../../lib/base/broker_address.ts";
import { parseNatsUrls } from "../../lib/config/nats_url.ts";

Deno.test("parseNatsUrls() reads lists of URLs and plain addresses", () => {
  for (
    const [text, tls, servers] of [
      ["nats://localhost:4222", false, ["localhost:4222"]],
      ["localhost", false, ["localhost:4222"]],
      ["TLS://a:1/", true, ["a:1"]],
      ["nats://a,tls://b", true, ["a:4222", "b:4222"]],
      ["a, b:2 ,nats://[::1]", false, ["a:4222", "b:2", "[::1]:4222"]],
      ["[::1]:5", false, ["[::1]:5"]],
      ["[fe80::1%eth0]", false, ["[fe80::1%eth0]:4222"]],
      ["nats://[fe80::1%25eth0]:5", false, ["[fe80::1%eth0]:5"]],
      ["nats://u:p@[fe80::1%25]", false, ["[fe80::1%25]:4222"]],
      ["nats://u:p@a,nats://u:p@b", false, ["a:4222", "b:4222"]],
    ] as const
  ) {
    const urls = parseNatsUrls(text);
    assert.deepEqual(urls.servers.map(formatAddress), servers);
    assert.equal(urls.tls, tls, text);
  }
});

Deno.test("parseNatsUrls() reads URLs of WebSockets, each with its path", () => {
  for (
    const [text, wanted] of [
      ["ws://a", "ws://a:80/"],
      ["wss://a", "wss://a:443/"],
      ["WSS://a:8443/", "wss://a:8443/"],
      ["wss://u:p@[::1]:1/nats?x=/y", "wss://[::1]:1/nats?x=/y"],
      ["ws://a/%20,nats://b,tls://c", "ws://a:80/%20 b:4222 c:4222"],
    ] as const
  ) {
    const { servers } = parseNatsUrls(text);
    assert.equal(servers.map(formatBroker).join(" "), wanted);
  }
  // TLS of a WebSocket is its own matter.
  assert.equal(parseNatsUrls("wss://a,b").tls, false);
});

Deno.test("parseNatsUrls() takes credentials apart at the last @ and the first colon", () => {
  const { servers, auth } = parseNatsUrls("nats://ann:a:b@c@host");
  assert.deepEqual(servers, [{ host: "host", port: 4222 }]);
  assert.ok(auth.kind === "password");
  assert.equal(auth.user, "ann");
  assert.equal(auth.password.reveal(), "a:b@c");
});

Deno.test("parseNatsUrls() never tells credentials in an error", () => {
  fc.assert(fc.property(
    fc.constantFrom("", "nats://", "tls://", "ws://", "nats:/"),
    fc.oneof(fc.string(), fc.constantFrom("u:", "u:x,", ",[", "a,b:")),
    fc.oneof(fc.string(), fc.constantFrom(",", ":1,x", "],", ",,ws://")),
    fc.constantFrom("host", "host:0", "", "::1", "a b", "host/path"),
    (scheme, before, after, host) => {
      try {
        parseNatsUrls(`${scheme}${before}hunter2${after}@${host}`);
      } catch (error) {
        assert.ok(error instanceof SyntaxError);
        assert.ok(!error.message.includes("hunter2"), error.message);
      }
    },
  ));
});
