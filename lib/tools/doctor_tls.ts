/**
 * The step of `doctor` that shakes hands: whether TLS is spoken, and what of
 * the broker's certificate is wrong.
 *
 * @module
 */
import { formatAddress, withoutZone } from "../base/address.ts";
import type { BrokerAddress } from "../base/broker_address.ts";
import { messageOf } from "../base/errors.ts";
import { joined, quote } from "../base/text.ts";
import type { BrokerFacts } from "../nats/first_words.ts";
import { greet } from "../nats/greeting.ts";
import { type DialFacts, hintFor } from "../nats/hints.ts";
import type { NatsTls } from "../nats/options.ts";
import type { PeerCertificate } from "../nats/peer_certificate.ts";
import type { Surgery } from "./doctor_context.ts";
import type { Finding } from "./report.ts";

/** A certificate that runs out sooner is warned of: time enough to renew it, in ms. */
const SOON_MS = 14 * 24 * 60 * 60 * 1_000;

/** Most names of a certificate that are shown. */
const MOST_NAMES = 5;

/** Whom to shake hands with. */
export interface TlsSubject {
  /** Address, or name, that is dialled. */
  readonly hostname: string;
  /** The broker. */
  readonly address: BrokerAddress;
  /** What it said in its greeting; undefined where TLS comes first. */
  readonly facts: BrokerFacts | undefined;
}

/** Shakes hands as a process would; whether what follows can be tried. */
export async function checkTls(
  { hostname, address, facts }: TlsSubject,
  { report, timeout, call, readLogin }: Surgery,
): Promise<boolean> {
  const { required } = call.config.nats.tls;
  const { port } = address;
  const step = "TLS";
  const about = formatAddress({ host: hostname, port });
  const tell = (
    finding: Pick<Finding, "state" | "found" | "todo">,
  ): boolean => {
    report.add({ step, about, ...finding });
    return finding.state !== "fail";
  };
  if (!required && facts !== undefined && facts.tls !== "required") {
    const found = facts.tls === "offered"
      ? "not used: the broker offers it, and tls:// in --nats-url would ask for it"
      : "not used: the broker has none";
    return tell({ state: "ok", found });
  }
  if (facts?.tls === "none") {
    return tell({
      state: "fail",
      found:
        "it does not offer TLS, which tls:// or a --nats-tls-... option asks for",
      todo: hintFor("it does not offer TLS", { websocket: false }),
    });
  }
  if (readLogin === undefined) {
    return tell({
      state: "skipped",
      found: "its files cannot be used, as said above",
    });
  }
  const { tls } = readLogin();
  if (facts?.wantsCertificate === true && tls?.identity === undefined) {
    return tell({
      state: "fail",
      found: "the broker wants a certificate of ours, and none is given",
      todo: "give --nats-tls-cert and --nats-tls-key",
    });
  }
  const tlsName = withoutZone(address.host);
  const late = AbortSignal.timeout(timeout);
  const signal = AbortSignal.any([call.signal, late]);
  let failure: string | undefined;
  try {
    const { socket } = await greet({
      ...{ hostname, port, tls, tlsName, signal },
      websocket: undefined,
      proxy: undefined,
    });
    socket[Symbol.dispose]();
  } catch (error) {
    call.signal.throwIfAborted();
    failure = late.aborted
      ? `no answer within ${timeout} ms`
      : messageOf(error);
  }
  const shown = await certificateOf({ hostname, port, tlsName, tls, signal });
  return tell(
    judge({
      ...{ failure, shown, tlsName },
      dialled: { tls, websocket: address.websocket !== undefined },
      now: Date.now(),
    }),
  );
}

/** The certificate of a broker; undefined where it cannot be had. */
async function certificateOf(
  { tls, ...where }: {
    readonly hostname: string;
    readonly port: number;
    readonly tlsName: string;
    readonly tls: NatsTls | undefined;
    readonly signal: AbortSignal;
  },
): Promise<PeerCertificate | undefined> {
  const { peerCertificate } = await import("../nats/peer_certificate.ts");
  try {
    return await peerCertificate({
      ...where,
      first: tls?.first === true,
      ca: tls?.ca,
    });
  } catch {
    // The handshake itself has said what is wrong.
    return undefined;
  }
}

/** What to say of a handshake, by the `failure` it ended with, if any, and the certificate that was shown. */
export function judge(
  { failure, shown, dialled, tlsName, now }: {
    readonly failure: string | undefined;
    /** How the broker was dialled. */
    readonly dialled: DialFacts;
    readonly shown: PeerCertificate | undefined;
    readonly tlsName: string;
    /** In ms since 1970. */
    readonly now: number;
  },
): Pick<Finding, "state" | "found" | "todo"> {
  const about = shown === undefined ? "" : `; ${describe(shown)}`;
  if (failure === undefined) {
    const left = shown === undefined ? Infinity : shown.to.getTime() - now;
    return left < SOON_MS
      ? {
        state: "warn",
        found: `its certificate runs out soon${about}`,
        todo: "renew it",
      }
      : { state: "ok", found: `the certificate is good${about}` };
  }
  const found = `${failure}${about}`;
  // What the certificate itself shows goes before the words about it.
  const todo = (shown && remedyOf(shown, { tlsName, now })) ??
    hintFor(failure, dialled);
  return { state: "fail", found, todo };
}

function remedyOf(
  { from, to, isForName, isKnown, issuer, names }: PeerCertificate,
  { tlsName, now }: { readonly tlsName: string; readonly now: number },
): string | undefined {
  if (to.getTime() < now) {
    return "renew the broker's certificate: it has run out";
  }
  if (from.getTime() > now) {
    return "it does not count yet: compare this machine's clock with the broker's";
  }
  if (!isForName) {
    return names.length === 0
      ? `make the broker a certificate with the name ${tlsName}: it has none`
      : `dial the broker by a name in its certificate, or make it one with the name ${tlsName}`;
  }
  return isKnown
    ? undefined
    : `give the certificate of its authority, ${
      quote(issuer)
    }, with --nats-tls-ca`;
}

function describe(
  { subject, issuer, names, from, to }: PeerCertificate,
): string {
  const day = (date: Date): string => date.toISOString().slice(0, 10);
  return `certificate of ${quote(subject)} for ${
    names.length === 0 ? "no name" : joined(names, MOST_NAMES)
  }, signed by ${quote(issuer)}, from ${day(from)} to ${day(to)}`;
}
