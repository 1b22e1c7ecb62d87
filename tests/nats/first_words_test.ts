/** What speaks at an address, by its first bytes, however they are cut. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { firstWordsOf } from "../../lib/nats/first_words.ts";

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

const INFO =
  `INFO {"server_id":"ID","server_name":"näts","version":"2.10.7","max_payload":8192,"headers":true,"auth_required":true,"tls_verify":true,"tls_required":true,"jetstream":true,"cluster":"c"} \r\n`;

Deno.test("first words: a broker's, with what it says of itself, wherever they are cut", () => {
  const all = bytes(INFO + "PING\r\n");
  const end = bytes(INFO).length;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: all.length }), (cut) => {
      const words = firstWordsOf(all.subarray(0, cut));
      if (cut < end) return words === undefined;
      assert.deepEqual(words, {
        kind: "nats",
        facts: {
          version: "2.10.7",
          name: "näts",
          maxPayload: 8192,
          headers: true,
          wantsLogin: true,
          tls: "required",
          wantsCertificate: true,
          jetStream: true,
          cluster: "c",
        },
      });
      return true;
    }),
  );
});

Deno.test("first words: a broker that says little", () => {
  const words = firstWordsOf(
    bytes('INFO {"server_id":"A","server_name":"A","tls_available":true}\n'),
  );
  assert.ok(words?.kind === "nats");
  const { facts } = words;
  assert.deepEqual(
    [facts.version, facts.name, facts.maxPayload, facts.headers, facts.tls],
    ["unknown", undefined, undefined, false, "offered"],
  );
});

Deno.test("first words: HTTP, TLS, and something else, of which a little is shown", () => {
  assert.deepEqual(firstWordsOf(bytes("HTTP/1.0 400 Bad\r\n")), {
    kind: "http",
  });
  assert.deepEqual(firstWordsOf(Uint8Array.of(21, 3, 3, 0, 2, 2, 40)), {
    kind: "tls",
  });
  for (
    const line of [
      "SSH-2.0-OpenSSH_9.6",
      "INFO no JSON",
      "INFO {broken}",
      "+OK " + "x".repeat(100),
    ]
  ) {
    assert.deepEqual(firstWordsOf(bytes(`${line}\r\n`)), {
      kind: "other",
      words: line.slice(0, 40),
    });
  }
  // Without an end it is taken for what it is when there is enough of it.
  assert.equal(firstWordsOf(bytes("x".repeat(100))), undefined);
  assert.equal(firstWordsOf(bytes("x".repeat(16 * 1024)))?.kind, "other");
});

Deno.test("first words: any bytes are something, or not enough", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (some) => {
    const words = firstWordsOf(some);
    return words === undefined || words.kind !== "nats";
  }));
});
