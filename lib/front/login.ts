/**
 * The user and password that a front-end asks for.
 *
 * @module
 */
import type { Secret } from "../base/credentials.ts";

/** Longest user, and longest password, in bytes: what SOCKS5 can carry (RFC 1929). */
export const MAX_LOGIN_BYTES = 255;

const encoder = new TextEncoder();

/** Who may use a front-end. */
export class FrontLogin {
  readonly #user: Uint8Array;
  readonly #password: Uint8Array;

  /** This user alone, with this password. */
  constructor(user: string, password: Secret) {
    this.#user = encoder.encode(user);
    this.#password = encoder.encode(password.reveal());
  }

  /** Whether these are the right ones; how long that takes does not tell how much of them is. */
  admits(user: Uint8Array, password: Uint8Array): boolean {
    const wrong = difference(this.#user, user) |
      difference(this.#password, password);
    return wrong === 0;
  }
}

/** 0 where both are the same. */
function difference(own: Uint8Array, given: Uint8Array): number {
  let found = own.length ^ given.length;
  for (let at = 0; at < given.length; at++) {
    found |= (own[at % own.length] ?? 0) ^ (given[at] ?? 0);
  }
  return found;
}
