/**
 * Broker URLs: where the brokers are, and the credentials written there.
 *
 * @module
 */

import { tryParseAddress } from "../base/address.ts";
import type { BrokerAddress } from "../base/broker_address.ts";
import { type Credentials, Secret } from "../base/credentials.ts";
import { quote, redactUrl } from "../base/text.ts";
import { parseList } from "./list.ts";

/** The port of a broker whose URL names none, by its scheme: that of NATS, or of the web. */
const DEFAULT_PORTS: Readonly<Record<string, string>> = {
  nats: "4222",
  tls: "4222",
  ws: "80",
  wss: "443",
};

/** What a list of broker URLs says. */
export interface NatsUrls {
  /** The brokers, in the order written; at least one. */
  readonly servers: readonly BrokerAddress[];
  /** Whether one of them demands TLS (`tls://`). */
  readonly tls: boolean;
  /** The credentials written in the URLs; kind `none` when there are none. */
  readonly auth: Credentials<string>;
}

/**
 * The brokers and credentials in `text`: comma-separated URLs, each
 * `nats://host:port`, `tls://host:port` or `host:port` (port 4222 when left
 * out), `ws://host:port/path` or `wss://host:port/path` (80 and 443), with `user:password@` or `token@` before the host.
 *
 * @throws {ListError} naming each URL that is wrong, without its credentials,
 * and what is wrong with it.
 */
export function parseNatsUrls(text: string): NatsUrls {
  const whole = quote(redactUrl(text));
  const several = text.includes(",");
  const urls = parseList(text, (part, number) => {
    if (part === "") {
      throw refusal(whole, "it is empty, or a part of it is");
    }
    const url = parseUrl(part);
    if (typeof url !== "string") return url;
    // Where there are credentials, a part may be a piece of one with a comma.
    const shown = !several
      ? whole
      : text.includes("@")
      ? `part ${number} of ${whole}`
      : quote(part);
    throw refusal(shown, url);
  });
  const logins = urls.flatMap(({ auth }) => auth ?? []);
  const [auth = { kind: "none" }] = logins;
  if (logins.some((other) => !sameLogin(auth, other))) {
    throw refusal(whole, "it has different credentials for different servers");
  }
  return {
    servers: urls.map(({ server }) => server),
    tls: urls.some(({ tls }) => tls),
    auth,
  };
}

function refusal(shown: string, problem: string): SyntaxError {
  return new SyntaxError(`${shown} is no NATS URL: ${problem}`);
}

/** What one URL says. */
interface NatsUrl {
  readonly server: BrokerAddress;
  readonly tls: boolean;
  readonly auth: Credentials<string> | undefined;
}

/** What one URL says, or what is wrong with it. */
function parseUrl(text: string): NatsUrl | string {
  const [, written = "nats", userInfo, rest = ""] =
    /^(?:([a-z][a-z0-9+.-]*):\/\/)?(?:(.*)@)?(.*)$/is.exec(text) ?? [];
  const scheme = written.toLowerCase();
  const port = DEFAULT_PORTS[scheme];
  if (port === undefined) {
    return "its scheme is none of nats://, tls://, ws:// and wss://";
  }
  const isWeb = scheme === "ws" || scheme === "wss";
  const [, place = "", path = "/"] = /^(.*?)(\/.*)?$/s.exec(rest) ?? [];
  if (/[?#]/.test(place) || !isWeb && path !== "/") {
    return "it has more than host and port";
  }
  if (isWeb && !/^[!-"$-~]+$/.test(path)) {
    return "its path has characters that no URL has";
  }
  // In a URL the % before a zone is itself percent-encoded (RFC 6874).
  const plain = place.replace(/^(\[[^%\]]*)%25(?=[^\]])/, "$1%");
  const server = tryParseAddress(
    // A number alone is a port, of which only the host is missing.
    /^(?!\d+$)[^:]*$|\]$/.test(plain) ? `${plain}:${port}` : plain,
  );
  if (typeof server === "string") return server;
  const auth = userInfo === undefined ? undefined : parseUserInfo(userInfo);
  if (typeof auth === "string") return auth;
  return {
    server: isWeb
      ? { ...server, websocket: { tls: scheme === "wss", path } }
      : server,
    tls: scheme === "tls",
    auth,
  };
}

/** The credentials of a URL, or what is wrong with them. */
export function parseUserInfo(userInfo: string): NatsUrls["auth"] | string {
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
function sameLogin(a: NatsUrls["auth"], b: NatsUrls["auth"]): boolean {
  if (a.kind === "password" && b.kind === "password") {
    return a.user === b.user && a.password.reveal() === b.password.reveal();
  }
  return a.kind === "token" && b.kind === "token" &&
    a.token.reveal() === b.token.reveal();
}
