/**
 * What to do about a broker that cannot be reached or does not let us in: the
 * words of the system, of TLS libraries and of brokers, led to the flag that
 * changes something. The log and `doctor` say the same.
 *
 * @module
 */
import type { Credentials, Secret } from "../base/credentials.ts";
import { quote } from "../base/text.ts";
import { publicNkey } from "./nkey.ts";
import type { NatsTls } from "./options.ts";

/** How a broker was dialled. */
export interface DialFacts {
  /** How to log in. */
  readonly credentials?: Credentials | undefined;
  /** How to speak TLS. */
  readonly tls?: NatsTls | undefined;
  /** Whether it was to be a WebSocket. */
  readonly websocket: boolean;
}

/** Refusals of a login that trying again does not change. */
export const LOGIN_REFUSED =
  /authorization violation|authentication (?:expired|revoked)/i;

/** What TLS says of a certificate whose authority is not known; node:tls says the same of one that has expired. */
const UNKNOWN_AUTHORITY =
  /UnknownIssuer|unable to (?:verify|get)|self.signed|issuer/i;

/** The broker's word about our certificate, or about there being none. */
const OUR_CERTIFICATE =
  /fatal alert: \w*(?:certificate|UnknownCA|DecryptError)|certificate required|bad certificate/i;

/** What to do, by what is said; the first that fits counts. */
const HINTS: readonly (readonly [
  pattern: RegExp,
  hint: string | ((facts: DialFacts) => string),
])[] = [
  [LOGIN_REFUSED, ({ credentials }) => loginHint(credentials)],
  [
    OUR_CERTIFICATE,
    ({ tls }) =>
      tls?.identity === undefined
        ? "it wants a certificate of ours: give --nats-tls-cert and --nats-tls-key"
        : "it does not take our certificate: that of --nats-tls-cert must be of an authority that the broker trusts, and still valid",
  ],
  [
    /not valid for name|altnames/i,
    "dial the broker by a name that its certificate has, or have it made for this one",
  ],
  [
    /not valid yet/i,
    "the clock of this machine or of the broker's is wrong, or its certificate is for later",
  ],
  [
    /certificate.*expired/i,
    "have the broker's certificate renewed, or set the clock of this machine",
  ],
  [UNKNOWN_AUTHORITY, ({ tls }) => authorityHint(tls)],
  [
    /InvalidContentType|wrong version number/i,
    ({ websocket }) =>
      websocket
        ? "it speaks no TLS there: write ws:// in place of wss://, or give the port of its WebSockets with TLS"
        : "it speaks no TLS before its greeting: leave out --nats-tls-first; or it is not a NATS server",
  ],
  [
    /does not offer TLS/,
    "write nats:// in place of tls:// and leave out the --nats-tls options, or give the broker TLS",
  ],
  [
    /^no answer within/,
    ({ websocket, tls }) =>
      websocket || tls?.first === true
        ? "perhaps not a NATS server: another program listens there, or a firewall swallows what is sent"
        : "perhaps not a NATS server, which would speak first, as an HTTP server does not: check the port; one that wants TLS first needs --nats-tls-first, one of WebSockets ws:// or wss://; or a firewall swallows what is sent",
  ],
  [
    /^unexpected bytes|does not begin with INFO|^a control line is longer|INFO is no/,
    "not a NATS server: check host and port",
  ],
  [
    /^it closed the connection$/,
    "perhaps not a NATS server; if it is one, its log says why",
  ],
  [
    /maximum (?:account )?(?:active )?connections exceeded/i,
    "raise max_connections of the broker, or of the account",
  ],
  [
    /max_payload/,
    "raise max_payload in the broker's configuration, or that of the account",
  ],
  [/older than NATS/, "use a later nats-server: it knows no headers"],
  [
    /connection refused|ECONNREFUSED/i,
    "no broker listens there: check host and port, and whether it runs",
  ],
  [
    /temporary failure in name resolution|EAI_AGAIN|try again/i,
    "no name server answers this machine: mend its resolver; the name may be right",
  ],
  [
    /lookup|name or service not known|no such host|ENOTFOUND|EAI_|^Resolve /i,
    "the name is not known to this machine: check it, and the name servers (getent hosts NAME)",
  ],
  [
    /unreachable|no route|timed out|no answer/i,
    "a firewall or a wrong address: try from this machine with nc -vz HOST PORT",
  ],
];

/** What to do about what the runtime does not let this program do; undefined where it is something else. */
export function runtimeHint(reason: string): string | undefined {
  return /Requires \w+ access/.test(reason)
    ? "give Deno that permission, or all with -A (README.md has what each role needs)"
    : undefined;
}

/** What to do about anything that the permissions of a login do not let it do. */
export const GRANT_HINT =
  "grant it to this login ('permissions' prints all that it needs), or take another login";

/** What to do about a subscription that a broker refuses with these words. */
export function subscribeHint(reason: string): string {
  return /maximum subscriptions/i.test(reason)
    ? "raise max_subscriptions of the broker, or the limit of the account"
    : GRANT_HINT;
}

/**
 * `reason` without what differs between refusals of the same subject: one that
 * is taken away has the number of the subscription, one that is asked for its
 * queue group.
 */
export function refusalOf(reason: string): string {
  return reason.replace(/ (?:\(sid "\d+"\)|using queue ".*")$/, "");
}

/** What to do about `reason`, a clause about a broker; undefined where the words say it, or nothing is known. */
export function hintFor(reason: string, facts: DialFacts): string | undefined {
  const found = HINTS.find(([pattern]) => pattern.test(reason))?.[1];
  return runtimeHint(reason) ??
    (typeof found === "function" ? found(facts) : found);
}

/** What a login is, for people: who, by what, and never the secret. */
export function loginText(
  { credentials, tls }: Pick<DialFacts, "credentials" | "tls">,
): string {
  const certificate = tls?.identity === undefined
    ? ""
    : ", and a certificate (--nats-tls-cert)";
  return credentialsText(credentials) + certificate;
}

function credentialsText(credentials: Credentials | undefined): string {
  switch (credentials?.kind) {
    case undefined:
    case "none":
      return "no login";
    case "password":
      return `user ${quote(credentials.user)} and a password`;
    case "token":
      return "a token";
    case "jwt":
      return credentials.seed === undefined
        ? "a bearer's JWT"
        : "a JWT and its seed";
    case "nkey":
      return `${nkeyText(credentials.file)}${of(credentials.path)}`;
    case "creds":
      return `credentials${of(credentials.path)}`;
  }
}

/** By its public half, which is what the broker's configuration has. */
function nkeyText(seed: Secret): string {
  const nkey = publicNkey(seed.reveal());
  return nkey === undefined ? "an nkey" : `the nkey ${nkey}`;
}

function of(path: string | undefined): string {
  return path === undefined ? "" : ` in ${quote(path)}`;
}

function loginHint(credentials: Credentials | undefined): string {
  switch (credentials?.kind) {
    case undefined:
    case "none":
      return "it wants a login: give --nats-creds, --nats-nkey, --nats-user with NATS_PASSWORD, or NATS_TOKEN";
    case "password":
      return "check the user and the password, NATS_PASSWORD";
    case "token":
      return "check the token, NATS_TOKEN";
    default:
      return "the broker does not know this key or takes it no more: check that the file is for this broker and account, and not expired or revoked";
  }
}

function authorityHint(tls: NatsTls | undefined): string {
  const authority = tls?.ca === undefined
    ? "give the authority of the broker's certificate with --nats-tls-ca"
    : "the broker's certificate is of another authority than the file of --nats-tls-ca has";
  return tls?.identity === undefined
    ? authority
    : `${authority}, or it has expired`;
}
