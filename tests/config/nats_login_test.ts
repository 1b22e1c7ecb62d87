import assert from "node:assert/strict";
import { inspect } from "node:util";
import fc from "fast-check";
import {
  formatNatsServer,
  parseNatsUrls,
  redactUrl,
  Secret,
} from "../../lib/config/nats_login.ts";

Deno.test("Secret never prints, however it is printed", () => {
  const secret = new Secret("hunter2");
  assert.equal(secret.reveal(), "hunter2");
  for (
    const text of [
      String(secret),
      `${secret}`,
      JSON.stringify({ secret }),
      Deno.inspect({ secret }, { depth: 9 }),
      inspect({ secret }, { depth: 9, showHidden: true }),
      Object.values(secret).join(),
    ]
  ) assert.ok(!text.includes("hunter2"), text);
  assert.equal(JSON.stringify({ secret }), '{"secret":"(secret)"}');
});

Deno.test("parseNatsUrls() reads lists of URLs and plain addresses", () => {
  for (
    const [text, servers] of [
      ["nats://localhost:4222", ["nats://localhost:4222"]],
      ["localhost", ["nats://localhost:4222"]],
      ["TLS://a:1/", ["tls://a:1"]],
      ["a, b:2 ,nats://[::1]", [
        "nats://a:4222",
        "nats://b:2",
        "nats://[::1]:4222",
      ]],
      ["[::1]:5", ["nats://[::1]:5"]],
      ["nats://u:p@a,nats://u:p@b", ["nats://a:4222", "nats://b:4222"]],
    ] as const
  ) {
    assert.deepEqual(
      parseNatsUrls(text).servers.map(formatNatsServer),
      servers,
    );
  }
});

Deno.test("parseNatsUrls() takes credentials apart at the last @ and the first colon", () => {
  const { servers, auth } = parseNatsUrls("nats://ann:a:b@c@host");
  assert.deepEqual(servers, [{ host: "host", port: 4222, tls: false }]);
  assert.ok(auth.kind === "password");
  assert.equal(auth.user, "ann");
  assert.equal(auth.password.reveal(), "a:b@c");
});

Deno.test("redactUrl() leaves nothing that stands before the last @", () => {
  for (
    const [text, shown] of [
      ["nats://localhost:4222", "nats://localhost:4222"],
      ["nats://ann:hunter2@host:1", "nats://***@host:1"],
      ["hunter2@host", "***@host"],
      ["nats://ann:hunter2@a,nats://ann:hunter2@b", "nats://***@b"],
      ["nats://ann:hunt,er2@host", "nats://***@host"],
      ["nats://ann:hunt\ner2@host", "nats://***@host"],
      ["nats://ann:hunter2@", "nats://***@"],
    ] as const
  ) assert.equal(redactUrl(text), shown);
});

Deno.test("parseNatsUrls() never tells credentials in an error", () => {
  fc.assert(fc.property(
    fc.constantFrom("", "nats://", "tls://", "ws://", "nats:/"),
    fc.string(),
    fc.string(),
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
