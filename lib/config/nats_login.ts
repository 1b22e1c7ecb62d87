/**
 * How to reach NATS and log in there: broker URLs, credentials, and the
 * wrapper that keeps secrets out of logs.
 *
 * @module
 */

import {
  type Address,
  formatAddress,
  tryParseAddress,
} from "../base/address.ts";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";

/** The port of a broker whose URL names none: that of NATS. */
const DEFAULT_PORT = "4222";

/** Text that must never be shown; prints as `(secret)` wherever it is printed. */
export class Secret {
  readonly #value: string;

  /** Wraps `value`. */
  constructor(value: string) {
    this.#value = value;
  }

  /** The text itself, for the one place that sends it. */
  reveal(): string {
    return this.#value;
  }

  /** `(secret)`. */
  toString(): string {
    return "(secret)";
  }

  /** `(secret)`. */
  toJSON(): string {
    return "(secret)";
  }
}

/** A broker to connect to. */
export interface NatsServer extends Address {
  /** Whether its URL demands TLS (`tls://`). */
  readonly tls: boolean;
}

/** How this process logs in to NATS. */
export type NatsAuth =
  | { readonly kind: "none" }
  | {
    readonly kind: "password";
    readonly user: string;
    readonly password: Secret;
  }
  | { readonly kind: "token"; readonly token: Secret }
  /** `path` is a credentials file: a JWT and its nkey seed. */
  | { readonly kind: "creds"; readonly path: string }
  /** `path` is a file with an nkey seed. */
  | { readonly kind: "nkey"; readonly path: string };

/** What a list of broker URLs says. */
export interface NatsUrls {
  /** The brokers, in the order written; at least one. */
  readonly servers: readonly NatsServer[];
  /** The credentials written in the URLs; kind `none` when there are none. */
  readonly auth: NatsAuth;
}

/** Everything that may say how to log in. */
export interface NatsLogin {
  /** What the URLs say. */
  readonly urls: NatsUrls;
  /** Value of nats.user. */
  readonly user: string | undefined;
  /** Value of nats.password. */
  readonly password: Secret | undefined;
  /** Value of nats.token. */
  readonly token: Secret | undefined;
  /** Value of nats.creds. */
  readonly creds: string | undefined;
  /** Value of nats.nkey. */
  readonly nkey: string | undefined;
}

/**
 * The brokers and credentials in `text`: comma-separated URLs, each
 * `nats://host:port`, `tls://host:port` or `host:port` (port 4222 when left
 * out), with `user:password@` or `token@` before the host.
 *
 * @throws {SyntaxError} naming `text`, without its credentials, and what is
 * wrong with it.
 */
export function parseNatsUrls(text: string): NatsUrls {
  const refuse = (problem: string): SyntaxError =>
    new SyntaxError(`${quote(redactUrl(text))} is no NATS URL: ${problem}`);
  const servers: NatsServer[] = [];
  let auth: NatsAuth = { kind: "none" };
  for (const part of text.split(",")) {
    if (part.trim() === "") throw refuse("it is empty, or a part of it is");
    const [, scheme = "nats", userInfo, place = ""] =
      /^(?:([a-z][a-z0-9+.-]*):\/\/)?(?:(.*)@)?(.*?)\/?$/is.exec(part.trim()) ??
        [];
    if (!/^(?:nats|tls)$/i.test(scheme)) {
      throw refuse("its scheme is neither nats:// nor tls://");
    }
    if (/[/?#]/.test(place)) throw refuse("it has more than host and port");
    const address = tryParseAddress(
      /^[^:]+$|\]$/.test(place) ? `${place}:${DEFAULT_PORT}` : place,
    );
    if (typeof address === "string") throw refuse(address);
    servers.push({ ...address, tls: scheme.toLowerCase() === "tls" });
    if (userInfo === undefined) continue;
    const found = parseUserInfo(userInfo);
    if (typeof found === "string") throw refuse(found);
    if (auth.kind !== "none" && !sameLogin(auth, found)) {
      throw refuse("it has different credentials for different servers");
    }
    auth = found;
  }
  return { servers, auth };
}

/** `server` as a URL; never with credentials. */
export function formatNatsServer(server: NatsServer): string {
  return `${server.tls ? "tls" : "nats"}://${formatAddress(server)}`;
}

/**
 * `text`, which may be one URL or several, with everything that could be a
 * secret replaced by `***`: whatever stands before the last `@`.
 */
export function redactUrl(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1***@");
}

/**
 * The one way to log in that `login` gives.
 *
 * @throws {UsageError} when it gives several, or half of one.
 */
export function resolveAuth(login: NatsLogin): NatsAuth {
  const { urls, user, password, token, creds, nkey } = login;
  if ((user === undefined) !== (password === undefined)) {
    throw new UsageError(
      user === undefined
        ? "nats.password is set but nats.user is not"
        : "nats.user is set but nats.password (NATS_PASSWORD) is not",
    );
  }
  const ways: [name: string, auth: NatsAuth][] = [];
  if (urls.auth.kind !== "none") {
    ways.push(["the credentials in nats.url", urls.auth]);
  }
  if (user !== undefined && password !== undefined) {
    ways.push(["nats.user", { kind: "password", user, password }]);
  }
  if (token !== undefined) ways.push(["nats.token", { kind: "token", token }]);
  if (creds !== undefined) {
    ways.push(["nats.creds", { kind: "creds", path: creds }]);
  }
  if (nkey !== undefined) {
    ways.push(["nats.nkey", { kind: "nkey", path: nkey }]);
  }
  if (ways.length > 1) {
    throw new UsageError(
      `There is more than one way to log in to NATS (${
        ways.map(([name]) => name).join(", ")
      }): keep one of them`,
    );
  }
  return ways[0]?.[1] ?? { kind: "none" };
}

/** The credentials of a URL, or what is wrong with them. */
function parseUserInfo(userInfo: string): NatsAuth | string {
  const colon = userInfo.indexOf(":");
  const name = decode(colon < 0 ? userInfo : userInfo.slice(0, colon));
  const password = decode(colon < 0 ? "" : userInfo.slice(colon + 1));
  if (name === undefined || password === undefined) {
    return "its credentials have a % that does not start a percent-encoding";
  }
  if (name === "") return "its credentials are empty or have no user name";
  if (colon < 0) return { kind: "token", token: new Secret(name) };
  if (password === "") return "its password is empty";
  return { kind: "password", user: name, password: new Secret(password) };
}

/** `text` without its percent-encodings, or undefined when one is broken. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** Whether two URLs log in as the same user with the same secret. */
function sameLogin(a: NatsAuth, b: NatsAuth): boolean {
  if (a.kind === "password" && b.kind === "password") {
    return a.user === b.user && a.password.reveal() === b.password.reveal();
  }
  return a.kind === "token" && b.kind === "token" &&
    a.token.reveal() === b.token.reveal();
}
