/** What to do about what is said: each word of brokers, TLS and servers that people meet leads to something. */
import assert from "node:assert/strict";
import { type ErrorCode, WIRE_CODES } from "../../lib/base/errors.ts";
import { codeRemedy } from "../../lib/tools/code_remedies.ts";
import { remedyFor } from "../../lib/tools/remedies.ts";

Deno.test("remedies: by what brokers and libraries say", () => {
  const table: readonly (readonly [said: string, todo: RegExp])[] = [
    [
      'Requires net access to "127.0.0.1:9", run again with the --allow-net flag',
      /-A/,
    ],
    ["TLS failed: invalid peer certificate: UnknownIssuer", /--nats-tls-ca/],
    [
      "TLS failed: invalid peer certificate: certificate not valid for name",
      /--nats-url/,
    ],
    ["TLS failed: invalid peer certificate: certificate expired", /renew/],
    ["reading failed: received fatal alert: CertificateRequired", /tls-cert/],
    [
      "TLS failed: received corrupt message of type InvalidContentType",
      /first/,
    ],
    ["it does not offer TLS", /leave out tls:/],
    [
      'it closed the connection: "Authorization Violation"',
      /user and password/,
    ],
    ["Connection refused (os error 111)", /nothing listens/],
    ["getaddrinfo ENOTFOUND nats", /resolver/],
    ["No route to host (os error 113)", /firewall/],
    ["no answer within 5 s", /firewall/],
    ["its max_payload of 100 bytes is below the 4096 that are needed", /raise/],
  ];
  for (const [said, todo] of table) assert.match(remedyFor(said) ?? "", todo);
  assert.equal(remedyFor("something new"), undefined);
});

Deno.test("remedies: every code of a refused open leads to something", () => {
  const codes = Object.keys(WIRE_CODES) as ErrorCode[];
  for (const code of codes) {
    assert.match(codeRemedy({ code, text: "" }), /^\w.{10}/, code);
  }
  const denied = (text: string): string => codeRemedy({ code: "denied", text });
  assert.match(denied("NATS refuses what is published to x"), /permissions/);
  assert.match(
    denied("the server knows no client with the key X"),
    /public key/,
  );
  assert.match(denied("x is not an allowed target"), /--allow-target/);
  const none = (text: string): string =>
    codeRemedy({ code: "no-server", text });
  assert.match(none("no server listens on proxy.request"), /start a server/);
  assert.match(none("… not sealed with the right keys"), /--server-key/);
});
