/**
 * What to do about what brokers, systems and TLS libraries say: the remedies
 * that docs/troubleshooting.md has, by the words that they are for.
 *
 * @module
 */

/** Remedies by what is said; the first that fits counts. */
const REMEDIES: readonly (readonly [said: RegExp, todo: string])[] = [
  [
    /Requires \w+ access/,
    "give Deno that permission, or all with -A (README.md has what each role needs)",
  ],
  [
    /UnknownIssuer|unable to (?:verify|get)/i,
    "give the certificate of the authority that has signed it with --nats-tls-ca",
  ],
  [
    /not ?valid ?for ?name/i,
    "dial the broker by a name that its certificate has, in --nats-url",
  ],
  [
    /expired(?! account)/i,
    "renew it: what has run out is a certificate or a login (--nats-creds)",
  ],
  [
    /CertificateRequired|certificate required|bad certificate|BadCertificate/i,
    "the broker wants a certificate of ours that it knows: give --nats-tls-cert and --nats-tls-key",
  ],
  [
    /InvalidContentType|wrong version number/i,
    "it speaks no TLS before its greeting: leave out --nats-tls-first, or write ws:// in place of wss://",
  ],
  [
    /does not offer TLS/,
    "leave out tls:// and the --nats-tls-... options, or configure TLS in the broker",
  ],
  [
    /authorization violation|authentication/i,
    "check the user and password, token, nkey or credentials file; the broker's log says which user it saw",
  ],
  [
    /max_payload/,
    "raise max_payload in the broker's configuration, or that of the account",
  ],
  [
    /older than NATS/,
    "use a later nats-server",
  ],
  [
    /refused/i,
    "nothing listens at that port: start it, or check host and port",
  ],
  [
    /lookup|no such host|ENOTFOUND|Name or service|EAI_|not known|Resolve/i,
    "check the name, and the resolver of this machine (getent hosts NAME)",
  ],
  [
    /unreachable|no route|timed out|no answer|silent/i,
    "a firewall or a wrong address: try from this machine with nc -vz HOST PORT",
  ],
];

/** What to do about what `said` says; undefined where there is nothing to add. */
export function remedyFor(said: string): string | undefined {
  return REMEDIES.find(([pattern]) => pattern.test(said))?.[1];
}
