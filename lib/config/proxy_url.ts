/**
 * The URL of a proxy on the way to NATS.
 *
 * @module
 */

import { tryParseAddress } from "../base/address.ts";
import type { BrokerProxy } from "../base/broker_proxy.ts";
import { quote, redactUrl } from "../base/text.ts";
import { MAX_LOGIN_BYTES } from "../front/login.ts";
import { parseUserInfo } from "./nats_url.ts";

/** What each scheme is, and the port that a URL without one means. */
const SCHEMES: Readonly<
  Record<string, { readonly kind: BrokerProxy["kind"]; readonly port: number }>
> = {
  socks5: { kind: "socks5", port: 1080 },
  // Elsewhere: have the proxy look names up. Here it always does.
  socks5h: { kind: "socks5", port: 1080 },
  http: { kind: "http", port: 80 },
};

/**
 * The proxy at the URL `text`; undefined for `none` and `-`, which the `nats`
 * command takes for none.
 *
 * @throws {SyntaxError} naming `text` without its credentials, and what is wrong.
 */
export function parseProxyUrl(text: string): BrokerProxy | undefined {
  if (text === "none" || text === "-") return undefined;
  const proxy = tryParse(text);
  if (typeof proxy !== "string") return proxy;
  throw new SyntaxError(
    `${
      quote(redactUrl(text))
    } is no proxy's URL, such as socks5://host:1080 or http://user:password@host:3128: ${proxy}`,
  );
}

/** The proxy, or what is wrong. */
function tryParse(text: string): BrokerProxy | string {
  const [, scheme = "", userInfo, place = ""] =
    /^(?:([a-z][a-z0-9+.-]*):\/\/)?(?:(.*)@)?(.*?)\/?$/is.exec(text) ?? [];
  const known = SCHEMES[scheme.toLowerCase()];
  if (known === undefined || !Object.hasOwn(SCHEMES, scheme.toLowerCase())) {
    return "its scheme is neither socks5:// nor http://";
  }
  if (/[/?#]/.test(place)) return "it has more than host and port";
  const { kind, port } = known;
  const address = tryParseAddress(
    /^[^:]+$|\]$/.test(place) ? `${place}:${port}` : place,
  );
  if (typeof address === "string") return address;
  if (userInfo === undefined) return { kind, address };
  const login = parseUserInfo(userInfo);
  if (typeof login === "string") return login;
  if (login.kind !== "password") return "its user has no password";
  const { user, password } = login;
  const length = (part: string): number =>
    new TextEncoder().encode(part).length;
  if (Math.max(length(user), length(password.reveal())) > MAX_LOGIN_BYTES) {
    return `its user or password is longer than ${MAX_LOGIN_BYTES} bytes`;
  }
  if (/[:\p{Cc}]/u.test(user) || /\p{Cc}/u.test(password.reveal())) {
    return "its user or password has characters that no proxy takes";
  }
  return { kind, address, login: { user, password } };
}
