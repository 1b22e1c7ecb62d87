/**
 * The clients that a server knows, by the keys they prove to have.
 *
 * @module
 */
import type { Address } from "../base/address.ts";
import type { Reason } from "../base/errors.ts";
import {
  judgeName,
  judgeTarget,
  type TargetRules,
} from "../base/target_judge.ts";
import type { TargetRule } from "../base/target_rules.ts";

/** A client that may open tunnels. */
export interface KnownClient {
  /** What it is called in logs and metrics. */
  readonly name: string;
  /** Its public keys, as they are written. */
  readonly keys: readonly string[];
  /** What it may reach: all of these must allow it. */
  readonly targets: readonly TargetRules[];
  /** Most tunnels open at once; undefined where the limit for any client counts. */
  readonly maxTunnels?: number | undefined;
  /** Most tunnels being opened at once; undefined where it has no share of its own. */
  readonly maxOpening?: number | undefined;
  /** Most opens a second; undefined where the limit for any client counts. */
  readonly rate?: number | undefined;
}

/** Which client has which key. */
export class ClientDirectory {
  readonly #clients: readonly KnownClient[];
  readonly #byKey: ReadonlyMap<string, KnownClient>;

  /** A directory of clients, no two of which have a name or a key in common. */
  constructor(clients: readonly KnownClient[]) {
    this.#clients = clients;
    this.#byKey = new Map(
      clients.flatMap((client) => client.keys.map((key) => [key, client])),
    );
  }

  /** The names of all of them. */
  get names(): readonly string[] {
    return this.#clients.map(({ name }) => name);
  }

  /** The client with this public key, if it is known. */
  find(publicKey: string): KnownClient | undefined {
    return this.#byKey.get(publicKey);
  }

  /**
   * Why the holder of a key may have no tunnel to `target`, which was dialled at
   * `ip`; undefined if they may.
   */
  objection(
    publicKey: string,
    target: Address,
    ip: string | undefined,
  ): Reason | undefined {
    const client = this.find(publicKey);
    if (client === undefined) return unknownKey(publicKey);
    if (ip === undefined) return judgeName(client.targets, target);
    const verdict = judgeTarget(client.targets, target, [ip]);
    return "refusal" in verdict ? verdict.refusal : undefined;
  }
}

/**
 * What a client may reach. What the server denies, it denies to all; what it
 * allows counts for those whose entry does not say what they may reach.
 */
export function rulesOf(
  { name, allow, deny = [] }: {
    readonly name: string;
    readonly allow?: readonly TargetRule[] | undefined;
    readonly deny?: readonly TargetRule[] | undefined;
  },
  general: TargetRules,
): readonly TargetRules[] {
  const where = `clients: ${name}`;
  const own = {
    allow: allow ?? [],
    deny,
    called: { allow: where, deny: where },
  };
  return [allow === undefined ? general : { ...general, allow: [] }, own];
}

/** Nobody who is known has this key. */
export function unknownKey(publicKey: string): Reason {
  return {
    code: "denied",
    text: `the server knows no client with the key ${publicKey}`,
  };
}
