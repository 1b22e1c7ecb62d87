/** What is said of a handshake, by how it ended and the certificate that was shown. */
import assert from "node:assert/strict";
import type { PeerCertificate } from "../../lib/nats/peer_certificate.ts";
import { judge } from "../../lib/tools/doctor_tls.ts";

const DAY = 24 * 60 * 60 * 1_000;
const NOW = Date.parse("2026-06-01T00:00:00Z");

const GOOD: PeerCertificate = {
  subject: "CN=nats",
  issuer: "CN=our CA",
  names: ["nats.example.com"],
  from: new Date(NOW - DAY),
  to: new Date(NOW + 100 * DAY),
  isForName: true,
  isKnown: true,
};

function judged(
  failure: string | undefined,
  shown: Partial<PeerCertificate> | undefined,
): readonly [state: string, found: string, todo: string | undefined] {
  const { state, found, todo } = judge({
    failure,
    shown: shown && { ...GOOD, ...shown },
    dialled: { websocket: false },
    tlsName: "nats.example.com",
    now: NOW,
  });
  return [state, found, todo];
}

Deno.test("a handshake that succeeds is well, unless its certificate runs out soon", () => {
  const [state, found] = judged(undefined, {});
  assert.equal(state, "ok");
  assert.match(
    found,
    /certificate of "CN=nats" for nats\.example\.com, signed by "CN=our CA", from 2026-05-31 to 2026-09-09/,
  );
  const [soon, , todo] = judged(undefined, { to: new Date(NOW + 13 * DAY) });
  assert.deepEqual([soon, todo], ["warn", "renew it"]);
  assert.equal(judged(undefined, undefined)[0], "ok");
});

Deno.test("a handshake that fails is explained by the certificate before the words of the library", () => {
  const failure = "TLS failed: invalid peer certificate: UnknownIssuer";
  const table: readonly (readonly [
    shown: Partial<PeerCertificate> | undefined,
    todo: RegExp,
  ])[] = [
    [{ to: new Date(NOW - DAY) }, /renew the broker's certificate/],
    [{ from: new Date(NOW + DAY) }, /compare this machine's clock/],
    [{ isForName: false }, /dial the broker by a name in its certificate/],
    [{ isForName: false, names: [] }, /with the name nats\.example\.com/],
    [{ isKnown: false }, /its authority, "CN=our CA", with --nats-tls-ca/],
    // Nothing is wrong with it: what the library says counts.
    [{}, /--nats-tls-ca/],
    [undefined, /--nats-tls-ca/],
  ];
  for (const [shown, todo] of table) {
    const [state, found, what] = judged(failure, shown);
    assert.equal(state, "fail");
    assert.ok(found.startsWith(failure), found);
    assert.match(what ?? "", todo);
  }
});
