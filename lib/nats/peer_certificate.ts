/**
 * The certificate that a broker shows, whatever it is worth: to say what is
 * wrong with it, which an error of the handshake does not.
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcp, isIP } from "node:net";
import { connect as connectTls } from "node:tls";

/** A certificate of the broker's, as far as people look at it. */
export interface PeerCertificate {
  /** Whose it is. */
  readonly subject: string;
  /** Who has signed it. */
  readonly issuer: string;
  /** The names and addresses it is for. */
  readonly names: readonly string[];
  /** From when on it counts. */
  readonly from: Date;
  /** Until when. */
  readonly to: Date;
  /** Whether it is for the name that was dialled. */
  readonly isForName: boolean;
  /** Whether one of the authorities that were given has signed it. */
  readonly isKnown: boolean;
}

/** Whom to ask for it. */
export interface CertificateOptions {
  /** IP address, or a name. */
  readonly hostname: string;
  /** Its port. */
  readonly port: number;
  /** What the certificate should be for. */
  readonly tlsName: string;
  /** Whether TLS comes before the greeting. */
  readonly first: boolean;
  /** PEM text of the authorities that are trusted beside those of the system. */
  readonly ca: string | undefined;
  /** Gives it up. */
  readonly signal: AbortSignal;
}

/**
 * Shakes hands without judging, and gives the certificate that was shown;
 * undefined where there was none.
 *
 * @throws what the system or the TLS library says when there is no handshake.
 * @throws the reason of `signal` when it aborts.
 */
export async function peerCertificate(
  options: CertificateOptions,
): Promise<PeerCertificate | undefined> {
  const { hostname, port, tlsName, first, ca, signal } = options;
  const tcp = connectTcp({ host: hostname, port, noDelay: true });
  tcp.on("error", () => {});
  using cleanup = new DisposableStack();
  cleanup.defer(() => tcp.destroy());
  await once(tcp, "connect", { signal });
  if (!first) await once(tcp, "data", { signal });
  const secure = connectTls({
    socket: tcp,
    host: tlsName,
    ...(isIP(tlsName) === 0 && { servername: tlsName }),
    rejectUnauthorized: false,
  });
  // A broker that wants a certificate of ours may complain behind the handshake.
  secure.on("error", () => {});
  cleanup.defer(() => secure.destroy());
  await once(secure, "secureConnect", { signal });
  const { raw } = secure.getPeerCertificate(true);
  return raw === undefined ? undefined : describe(raw, tlsName, ca);
}

function describe(
  raw: Uint8Array,
  tlsName: string,
  ca: string | undefined,
): PeerCertificate {
  const shown = new X509Certificate(raw);
  const authorities = ca?.match(
    /-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs,
  ) ?? [];
  const named = isIP(tlsName) === 0
    ? shown.checkHost(tlsName)
    : shown.checkIP(tlsName);
  return {
    subject: oneLine(shown.subject),
    issuer: oneLine(shown.issuer),
    names: shown.subjectAltName?.split(", ")
      .map((name) => name.replace(/^[A-Za-z ]+:/, "")) ?? [],
    from: new Date(shown.validFrom),
    to: new Date(shown.validTo),
    isForName: named !== undefined,
    isKnown: authorities.some((pem) => {
      const authority = new X509Certificate(pem);
      return shown.checkIssued(authority) && shown.verify(authority.publicKey);
    }),
  };
}

function oneLine(name: string): string {
  return name.replaceAll(/\s*\n\s*/g, ", ");
}
