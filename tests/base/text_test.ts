import assert from "node:assert/strict";
import fc from "fast-check";
import {
  closest,
  escapeUnsafe,
  joined,
  quote,
  redactUrl,
} from "../../lib/base/text.ts";

Deno.test("escapeUnsafe() leaves no character that breaks a line or drives a terminal", () => {
  assert.equal(
    escapeUnsafe("a\r\n\tb\x1b[31m\x85\u2028\u202e\x00"),
    "a\\r\\n\\tb\\u001b[31m\\u0085\\u2028\\u202e\\u0000",
  );
  // Unseen: a zero-width space, a mark of byte order, and one outside the BMP.
  assert.equal(
    escapeUnsafe("h:22\u200b\ufeff\u{e0001}"),
    "h:22\\u200b\\ufeff\\udb40\\udc01",
  );
  assert.equal(escapeUnsafe("Grüße, 世界 🎉"), "Grüße, 世界 🎉");
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.doesNotMatch(escapeUnsafe(text), /[\p{Cc}\p{Zl}\p{Zp}]/u);
  }));
});

Deno.test("quote() gives JSON of the text, cut at the limit", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
      assert.equal(JSON.parse(quote(text)), text);
    }),
  );
  assert.equal(quote("x".repeat(81)), `"${"x".repeat(80)}…"`);
  assert.equal(quote("abc", 2), '"ab…"');
});

Deno.test("closest() finds the word that was meant", () => {
  const flags = ["nats-url", "nats-nkey", "listen-addr", "log-level", "window"];
  for (
    const [word, found] of [
      ["natsUrl", "nats-url"],
      ["nats_url", "nats-url"],
      ["NATS-URL", "nats-url"],
      ["nats-ulr", "nats-url"],
      ["listn-addr", "listen-addr"],
      ["widnow", "window"],
      ["loglevel", "log-level"],
      ["bogus", undefined],
      ["x", undefined],
      ["", undefined],
    ] as const
  ) assert.equal(closest(word, flags), found, word);
  assert.equal(closest("x".repeat(100_000), flags), undefined);
});

Deno.test("redactUrl() leaves nothing that stands before the last @, nor a seed", () => {
  for (
    const [text, shown] of [
      ["nats://localhost:4222", "nats://localhost:4222"],
      ["nats://ann:hunter2@host:1", "nats://***@host:1"],
      ["hunter2@host", "***@host"],
      ["nats://ann:hunter2@a,nats://ann:hunter2@b", "nats://***@b"],
      ["nats://ann:hunt,er2@host", "nats://***@host"],
      ["nats://ann:hunt\ner2@host", "nats://***@host"],
      ["nats://ann:hunter2@", "nats://***@"],
      ['"SXAACAIBAEAQCAIBAEAQCAIBAEAQ"', '"***"'],
      ["key SUAACAIBAEAQCAIBAEAQCAIBAEAQ,b", "key ***,b"],
      ["XSXACAIBAEAQCAIBAEAQCAIBAEAQ", "XSXACAIBAEAQCAIBAEAQCAIBAEAQ"],
    ] as const
  ) assert.equal(redactUrl(text), shown);
});

Deno.test("joined() names so many, and counts the others", () => {
  assert.equal(joined([], 2), "");
  assert.equal(joined(["a", "b"], 2), "a, b");
  assert.equal(joined(["a", "b", "c", "d"], 2), "a, b and 2 more");
});
