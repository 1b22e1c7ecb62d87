/** What people are told to do about a broker. */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { type Credentials, Secret } from "../../lib/base/credentials.ts";
import {
  hintFor,
  loginText,
  refusalOf,
  subscribeHint,
} from "../../lib/nats/hints.ts";

const SECRET = new Secret("hunter2");
const PLAIN = { websocket: false };
const IDENTITY = { identity: { cert: "c", key: SECRET } };
const REFUSED = 'it closed the connection: "Authorization Violation"';

Deno.test("hintFor() leads each reason to what can be changed", () => {
  for (
    const [reason, facts, hint] of [
      [
        "TLS failed: invalid peer certificate: UnknownIssuer",
        PLAIN,
        /^give .* --nats-tls-ca$/,
      ],
      [
        "TLS failed: … UnknownIssuer",
        { ...PLAIN, tls: { ca: "c" } },
        /^the broker's certificate is of another authority/,
      ],
      ["TLS failed: unable to verify the first certificate", {
        ...PLAIN,
        tls: IDENTITY,
      }, /--nats-tls-ca, or it has expired$/],
      [
        "reading failed: received fatal alert: BadCertificate",
        PLAIN,
        /give --nats-tls-cert and --nats-tls-key$/,
      ],
      [
        "reading failed: received fatal alert: CertificateRequired",
        PLAIN,
        /give --nats-tls-cert and --nats-tls-key$/,
      ],
      [
        "failed to lookup address information: Temporary failure in name resolution",
        PLAIN,
        /^no name server answers this machine/,
      ],
      ["reading failed: received fatal alert: UnknownCA", {
        ...PLAIN,
        tls: IDENTITY,
      }, /^it does not take our certificate/],
      [
        'TLS failed: certificate not valid for name "a"; certificate is only valid for DnsName("b")',
        PLAIN,
        /^dial the broker by a name/,
      ],
      [
        "TLS failed: invalid peer certificate: certificate expired: verification time 1 (UNIX)",
        PLAIN,
        /renewed, or set the clock/,
      ],
      [
        "TLS failed: invalid peer certificate: certificate not valid yet: …",
        PLAIN,
        /^the clock of this machine/,
      ],
      [
        "TLS failed: received corrupt message of type InvalidContentType",
        PLAIN,
        /leave out --nats-tls-first/,
      ],
      ["TLS failed: received corrupt message of type InvalidContentType", {
        websocket: true,
      }, /write ws:/],
      ["it does not offer TLS", PLAIN, /^write nats:/],
      [
        "no answer within 5 s",
        PLAIN,
        /^perhaps not a NATS server, .*--nats-tls-first/,
      ],
      [
        "no answer within 5 s",
        { ...PLAIN, tls: { first: true } },
        /^perhaps not a NATS server: another program/,
      ],
      ['unexpected bytes "HTTP/1.1 400"', PLAIN, /^not a NATS server/],
      ["it does not begin with INFO", PLAIN, /^not a NATS server/],
      ["it closed the connection", PLAIN, /its log says why$/],
      [
        'it closed the connection: "Maximum Connections Exceeded"',
        PLAIN,
        /^raise max_connections/,
      ],
      ["Connection refused (os error 111)", PLAIN, /^no broker listens there/],
      ["connect ECONNREFUSED 127.0.0.1:1", PLAIN, /^no broker listens there/],
      ["failed to lookup address information: …", PLAIN, /name servers/],
      ["getaddrinfo ENOTFOUND nats", PLAIN, /getent hosts NAME/],
      ["No route to host (os error 113)", PLAIN, /^a firewall/],
      ["it is older than NATS 2.2", PLAIN, /^use a later nats-server/],
      [
        "its max_payload of 100 bytes is below the 4096 that are needed",
        PLAIN,
        /^raise max_payload/,
      ],
      ["something new", PLAIN, /^$/],
    ] as const
  ) assert.match(hintFor(reason, facts) ?? "", hint, reason);
});

Deno.test("a refused login is named, and what to check, without a secret", () => {
  const logins:
    readonly (readonly [Credentials | undefined, string, RegExp])[] = [
      [undefined, "no login", /^it wants a login: give /],
      [{ kind: "none" }, "no login", /^it wants a login: give /],
      [
        { kind: "password", user: "b\nob", password: SECRET },
        String.raw`user "b\nob" and a password`,
        /NATS_PASSWORD$/,
      ],
      [{ kind: "token", token: SECRET }, "a token", /NATS_TOKEN$/],
      [{ kind: "jwt", jwt: SECRET }, "a bearer's JWT", /expired or revoked$/],
      [
        { kind: "jwt", jwt: SECRET, seed: SECRET },
        "a JWT and its seed",
        /expired or revoked$/,
      ],
      [
        { kind: "nkey", file: SECRET, path: "/n" },
        'an nkey in "/n"',
        /expired or revoked$/,
      ],
      [{ kind: "creds", file: SECRET }, "credentials", /expired or revoked$/],
    ];
  for (const [credentials, text, hint] of logins) {
    assert.equal(loginText({ credentials }), text);
    const told = hintFor(REFUSED, { ...PLAIN, credentials });
    assert.match(told ?? "", hint);
    assert.ok(!`${loginText({ credentials })} ${told}`.includes("hunter2"));
  }
});

Deno.test("loginText() names a key by its public half, and a certificate", () => {
  const user = nkeys.createUser();
  const seed = new TextDecoder().decode(user.getSeed());
  const credentials = {
    ...{ kind: "nkey", path: "/n" } as const,
    file: new Secret(seed),
  };
  assert.equal(
    loginText({ credentials, tls: IDENTITY }),
    `the nkey ${user.getPublicKey()} in "/n", and a certificate (--nats-tls-cert)`,
  );
});

Deno.test("subscribeHint() tells a want of permission from one of room", () => {
  const denied = 'Permissions Violation for Subscription to "a"';
  assert.match(subscribeHint(denied), /^grant it to this login/);
  const full = "Maximum Subscriptions Exceeded";
  assert.match(subscribeHint(full), /^raise max_subscriptions/);
});

Deno.test("two refusals of a subject are one cause, taken away or asked for", () => {
  const refused = 'Permissions Violation for Subscription to "proxy.request"';
  assert.equal(refusalOf(`${refused} (sid "4")`), refused);
  assert.equal(refusalOf(`${refused} using queue "tcp-sproxy"`), refused);
  assert.equal(refusalOf(refused), refused);
  assert.equal(
    refusalOf("maximum subscriptions exceeded"),
    "maximum subscriptions exceeded",
  );
});
