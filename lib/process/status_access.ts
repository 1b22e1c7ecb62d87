/**
 * Who may see what of the status port: pure, so that a request goes in and an
 * answer comes out.
 *
 * `/health` and `/ready` are for anybody, `/metrics` for anybody but pages of
 * others in a browser. Who talks to whom is for this machine alone, or for who
 * has the token.
 *
 * @module
 */
import { parseIp } from "../base/address.ts";
import type { Secret } from "../base/credentials.ts";
import { isLocalhost, specialRange } from "../base/special_addresses.ts";
import { FrontLogin } from "../front/login.ts";
import type { HttpRequest } from "./http.ts";

/** What an answer shows. */
export type Shown = "anybody" | "numbers" | "details";

/** Why an answer is refused. */
export interface Refused {
  /** 401 where a token would do. */
  readonly status: 401 | 403;
  /** Why, for people. */
  readonly reason: string;
}

/** Why a page is refused to a browser. */
const FOREIGN =
  "a browser is answered only at an IP address, localhost or a name without a dot, since any other name may be that of a page which has it point here (DNS rebinding)";

const CROSS_SITE = "a page of another site asks for it";

const FAR =
  "it is shown to this machine alone, since it says who talks to whom (--status-token lets others see it, too)";

const NO_TOKEN =
  "the token of --status-token is needed: as a bearer token, or as the password that a browser asks for, with any user";

/**
 * Headers that tell a browser from a scraper: it sends the first with every
 * request, and no page can keep it from doing so.
 */
const OF_BROWSERS = ["accept-language", "origin", "sec-fetch-site"] as const;

/** Headers with which a proxy says that it asks for somebody else. */
const OF_PROXIES = [
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "x-client-ip",
  "true-client-ip",
  "cf-connecting-ip",
  "via",
] as const;

/** Why `request` may not have an answer that shows so much; undefined where it may. */
export function objection(
  shown: Shown,
  request: HttpRequest,
  { own, token }: {
    /** The host that the listener was given. */
    readonly own: string;
    /** The token, where there is one: then it is asked of everybody, since a proxy on this machine may ask for anybody. */
    readonly token: Secret | undefined;
  },
): Refused | undefined {
  if (shown === "anybody") return undefined;
  if (isForeign(request, own)) return { status: 403, reason: FOREIGN };
  if (shown === "numbers") return undefined;
  if (isCrossSite(request)) return { status: 403, reason: CROSS_SITE };
  if (token !== undefined) {
    return hasToken(request, token)
      ? undefined
      : { status: 401, reason: NO_TOKEN };
  }
  return isNear(request) ? undefined : { status: 403, reason: FAR };
}

/**
 * Whether a page of somebody else's may be what asks: in a browser its own
 * name, which it has point at this machine, makes us a part of it. Scrapers
 * may use any name: they run no pages.
 */
function isForeign({ host = "", headers }: HttpRequest, own: string): boolean {
  if (!OF_BROWSERS.some((name) => headers.has(name))) return false;
  const [, bracketed] = /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(host) ?? [];
  const name = bracketed?.replace(/^\[(.*)\]$/, "$1") ?? "";
  const known = host === "" || parseIp(name) !== undefined ||
    isLocalhost(name) || /^[^.]+$/.test(name) ||
    name.toLowerCase() === own.toLowerCase();
  return !known;
}

/** Whether a page of another site asks for a part of itself; who follows a link from there means to come. */
function isCrossSite({ headers }: HttpRequest): boolean {
  const site = headers.get("sec-fetch-site");
  return site !== undefined && site !== "same-origin" && site !== "none" &&
    headers.get("sec-fetch-mode") !== "navigate";
}

/** Whether somebody on this machine asks, for himself as far as is known. */
function isNear({ peer, headers }: HttpRequest): boolean {
  const ip = parseIp(peer);
  return ip !== undefined && specialRange(ip)?.kind === "loopback" &&
    !OF_PROXIES.some((name) => headers.has(name));
}

/** Whether the token comes with the request: `Bearer TOKEN`, or `Basic` with it as the password of any user. */
function hasToken({ headers }: HttpRequest, token: Secret): boolean {
  const [, scheme = "", credentials = ""] =
    /^(\w+) +(\S+)$/.exec(headers.get("authorization") ?? "") ?? [];
  const given = scheme.toLowerCase() === "bearer"
    ? new TextEncoder().encode(credentials)
    : scheme.toLowerCase() === "basic"
    ? passwordIn(credentials)
    : undefined;
  // The comparison takes as long however much of it is right.
  return given !== undefined &&
    new FrontLogin("", token).admits(new Uint8Array(), given);
}

/** The password in the credentials of `Basic`; undefined where they are none (RFC 7617). */
function passwordIn(credentials: string): Uint8Array | undefined {
  try {
    const bytes = Uint8Array.fromBase64(credentials);
    const colon = bytes.indexOf(0x3a);
    return colon < 0 ? undefined : bytes.subarray(colon + 1);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
