/**
 * How to log in to a broker, and the wrapper that keeps secrets out of logs.
 *
 * @module
 */

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

/**
 * How to log in. `F` is what stands for a file: its content, or, before it is
 * read, its path.
 */
export type Credentials<F = Secret> =
  | { readonly kind: "none" }
  | {
    readonly kind: "password";
    readonly user: string;
    readonly password: Secret;
  }
  | { readonly kind: "token"; readonly token: Secret }
  /** A credentials file has a JWT and its nkey seed, an nkey file the seed alone, `SU...`. */
  | {
    readonly kind: "creds" | "nkey";
    readonly file: F;
    /** Where the file was read, for errors. */
    readonly path?: string;
  }
  /** The two parts of a credentials file; without the seed the JWT is a bearer's. */
  | { readonly kind: "jwt"; readonly jwt: Secret; readonly seed?: Secret };
