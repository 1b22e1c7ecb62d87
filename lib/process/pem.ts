/**
 * Certificates and keys in PEM text, looked at before a TLS library is given
 * them, which would not say which file is at fault.
 *
 * @module
 */
import type { createPrivateKey, KeyObject, X509Certificate } from "node:crypto";
import { quote } from "../base/text.ts";

/** What of `node:crypto` takes certificates and keys apart. */
export interface PemParser {
  /** Parses one certificate. */
  readonly X509Certificate: typeof X509Certificate;
  /** Parses a private key. */
  readonly createPrivateKey: typeof createPrivateKey;
}

/** Something of each file that is there. */
type Files = Readonly<Record<"ca" | "cert" | "key", string | undefined>>;

/** A certificate. */
const CERTIFICATE = /-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs;

/** A private key of any kind. */
const PRIVATE_KEY =
  /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----.*?-----END (?:[A-Z]+ )*PRIVATE KEY-----/s;

/**
 * What is wrong with the texts of a CA's, a certificate's and a key's file, a
 * sentence each that names the file and nothing of what is in it.
 */
export function* pemProblems(
  texts: Files,
  { paths, crypto }: { readonly paths: Files; readonly crypto: PemParser },
): Generator<string> {
  const refuse = (name: keyof Files, problem: string): string =>
    `Cannot use the file of --nats-tls-${name}, ${
      quote(paths[name] ?? "")
    }: ${problem}`;
  let certificate: X509Certificate | undefined;
  for (const name of ["ca", "cert"] as const) {
    const text = texts[name];
    if (text === undefined) continue;
    const found = parseCertificates(text, crypto);
    if (typeof found === "string") yield refuse(name, found);
    else if (name === "cert") certificate = found;
  }
  if (texts.key === undefined) return;
  const key = parseKey(texts.key, crypto);
  if (typeof key === "string") yield refuse("key", key);
  else if (certificate?.checkPrivateKey(key) === false) {
    yield refuse(
      "key",
      `it is not the key of the certificate in ${quote(paths.cert ?? "")}`,
    );
  }
}

/** The first certificate in `pem`, or what is wrong. */
function parseCertificates(
  pem: string,
  { X509Certificate }: PemParser,
): X509Certificate | string {
  const whole = pem.match(CERTIFICATE) ?? [];
  const begun = pem.match(/-----BEGIN CERTIFICATE-----/g) ?? [];
  if (begun.length === 0) return "it holds no certificate in PEM text";
  if (whole.length < begun.length) return "a certificate in it is cut off";
  try {
    // Of the rest of a long list one may be of a kind that is not known here.
    return new X509Certificate(whole[0] ?? "");
  } catch {
    return "its certificate is malformed";
  }
}

/** The private key in `pem`, or what is wrong. */
function parseKey(
  pem: string,
  { createPrivateKey }: PemParser,
): KeyObject | string {
  const [key] = PRIVATE_KEY.exec(pem) ?? [];
  if (key === undefined) {
    return "it holds no private key in PEM text, or not all of it";
  }
  if (key.includes("ENCRYPTED")) return "its private key is encrypted";
  try {
    return createPrivateKey(key);
  } catch {
    // Not even the cause is passed on: it may quote the secret.
    return "its private key is malformed";
  }
}
