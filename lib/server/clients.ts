/**
 * The clients that a server knows, by the keys they prove to have.
 *
 * @module
 */

/** A client that may open tunnels. */
export interface KnownClient {
  /** What it is called in logs. */
  readonly name: string;
  /** Most tunnels open at once; as for every client by default. */
  readonly maxTunnels?: number | undefined;
  /** Most tunnels being opened at once; all that nobody else needs by default. */
  readonly maxOpening?: number | undefined;
  /** Most opens a second; as for every client by default. */
  readonly rate?: number | undefined;
}

/** Which client has which key. */
export class ClientDirectory {
  readonly #byKey: ReadonlyMap<string, KnownClient>;

  /** A directory by public keys, as they are written. */
  constructor(byKey: ReadonlyMap<string, KnownClient>) {
    this.#byKey = byKey;
  }

  /** The client with this public key, if it is known. */
  find(publicKey: string): KnownClient | undefined {
    return this.#byKey.get(publicKey);
  }
}
