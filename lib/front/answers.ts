/**
 * What applications are told of a target that they do not get: each code of
 * ours as SOCKS and HTTP have it.
 *
 * @module
 */
import type { ErrorCode, Reason } from "../base/errors.ts";

/** Replies of SOCKS5 (RFC 1928, 6). */
export const SOCKS5 = {
  succeeded: 0x00,
  failure: 0x01,
  notAllowed: 0x02,
  networkUnreachable: 0x03,
  hostUnreachable: 0x04,
  refused: 0x05,
  ttlExpired: 0x06,
  commandNotSupported: 0x07,
  addressTypeNotSupported: 0x08,
} as const;

/** A code as applications are told it. */
interface Answer {
  readonly socks5: number;
  /** The status of an answer to CONNECT. */
  readonly http: number;
}

/** What has no line of its own: a failure here or on the way, not the target's. */
const ANY: Answer = { socks5: SOCKS5.failure, http: 502 };

/** Nobody could do it now; a little later it may work. */
const NOT_NOW: Answer = { socks5: SOCKS5.failure, http: 503 };

/** The table; README.md has it for people. */
const ANSWERS: { readonly [C in ErrorCode]?: Answer } = {
  refused: { socks5: SOCKS5.refused, http: 502 },
  unreachable: { socks5: SOCKS5.hostUnreachable, http: 502 },
  "no-such-host": { socks5: SOCKS5.hostUnreachable, http: 404 },
  denied: { socks5: SOCKS5.notAllowed, http: 403 },
  // SOCKS has no better word for it, and others say it so.
  timeout: { socks5: SOCKS5.ttlExpired, http: 504 },
  limit: NOT_NOW,
  draining: NOT_NOW,
  "no-server": NOT_NOW,
  "nats-down": NOT_NOW,
};

/** The reply of SOCKS5 that says `reason`. */
export function socks5Reply({ code, text }: Reason): number {
  // The code is one for both: a server's words tell which.
  if (code === "unreachable" && /network is unreachable/i.test(text)) {
    return SOCKS5.networkUnreachable;
  }
  return (ANSWERS[code] ?? ANY).socks5;
}

/** The status that says `reason` in answer to CONNECT. */
export function connectStatus({ code }: Reason): number {
  return (ANSWERS[code] ?? ANY).http;
}

/** The same in answer to another request, of which 404 would say that its page is gone. */
export function gatewayStatus(reason: Reason): number {
  const status = connectStatus(reason);
  return status === 404 ? 502 : status;
}
