/**
 * The clients that a server knows, by the keys they prove to have.
 *
 * @module
 */
import { type Address, parseIp } from "../base/address.ts";
import type { Reason } from "../base/errors.ts";
import type { UnixPath } from "../base/place.ts";
import type { Service } from "../base/service.ts";
import { formatTarget, type Target } from "../base/target.ts";
import {
  judgeName,
  judgePath,
  judgeTarget,
  type TargetRules,
} from "../base/target_judge.ts";
import { exactRule, type TargetRule } from "../base/target_rules.ts";

/** A client that may open tunnels. */
export interface KnownClient {
  /** What it is called in logs and metrics. */
  readonly name: string;
  /** Its public keys, as they are written. */
  readonly keys: readonly string[];
  /** What it may reach: all of these must allow it. */
  readonly targets: readonly TargetRules[];
  /** The services it may ask for; undefined for all. */
  readonly services?: readonly string[] | undefined;
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
   * Why the holder of a key may have no tunnel to `target`; undefined if they
   * may.
   *
   * @param about Where it has led to, and the service that it is for, where
   * those are known.
   */
  objection(
    publicKey: string,
    target: Target,
    { dialled, service }: {
      readonly dialled?: Address | UnixPath | undefined;
      readonly service?: Service | undefined;
    },
  ): Reason | undefined {
    const client = this.find(publicKey);
    if (client === undefined) return unknownKey(publicKey);
    const ip = dialled && ipOf(dialled);
    if (!("service" in target)) return judge(client.targets, target, ip);
    const refusal = serviceObjection(client, target.service);
    // Of one that is not offered any more it is not known where it was.
    if (refusal !== undefined || service === undefined) return refusal;
    const now = dialled !== undefined && hasMoved(service.target, dialled)
      ? { ...service, target: dialled }
      : service;
    return judge(rulesForService(now, client.targets), now.target, ip);
  }
}

function ipOf(target: Address | UnixPath): string | undefined {
  return "path" in target || parseIp(target.host) === undefined
    ? undefined
    : target.host;
}

/** Whether a service that is at `target` now was elsewhere for certain when `dialled` was. */
function hasMoved(
  target: Address | UnixPath,
  dialled: Address | UnixPath,
): boolean {
  if ("path" in target || "path" in dialled) {
    return formatTarget(target) !== formatTarget(dialled);
  }
  const ip = ipOf(target);
  return target.port !== dialled.port ||
    ip !== undefined && ip !== dialled.host;
}

/** Why `rules` do not let `target` be reached at `ip`, where that is known. */
function judge(
  rules: readonly TargetRules[],
  target: Address | UnixPath,
  ip: string | undefined,
): Reason | undefined {
  if ("path" in target) return judgePath(rules, target.path);
  const { host } = target;
  const address = ip ?? (parseIp(host) === undefined ? undefined : host);
  if (address === undefined) return judgeName(rules, target);
  const verdict = judgeTarget(rules, target, [address]);
  return "refusal" in verdict ? verdict.refusal : undefined;
}

/** Why a client may not ask for the service of this name; undefined if it may. */
export function serviceObjection(
  { name, services }: Pick<KnownClient, "name" | "services">,
  service: string,
): Reason | undefined {
  if (services === undefined || services.includes(service)) return undefined;
  const text =
    `the service "${service}" is not one that this client may have (clients: ${name})`;
  return { code: "denied", text };
}

/** The rules for the target of a service: who wrote it allowed it, and what `rules` deny stays denied. */
export function rulesForService(
  { name, target }: Service,
  rules: readonly TargetRules[],
): readonly TargetRules[] {
  const called = `the service ${name}`;
  return [
    {
      allow: [exactRule(target)],
      deny: [],
      called: { allow: called, deny: called },
      vouched: true,
    },
    ...rules.map(({ deny, called }) => ({ allow: [], deny, called })),
  ];
}

/**
 * What a client may reach. What the server denies, it denies to all; what it
 * allows counts for those whose entry does not say what they may reach. One
 * whose entry has `services` and no `allow` reaches nothing else.
 */
export function rulesOf(
  { name, allow, deny = [], services }: {
    readonly name: string;
    readonly allow?: readonly TargetRule[] | undefined;
    readonly deny?: readonly TargetRule[] | undefined;
    readonly services?: readonly string[] | undefined;
  },
  general: TargetRules,
): readonly TargetRules[] {
  const where = `clients: ${name}`;
  const own = {
    allow: allow ?? [],
    deny,
    called: { allow: where, deny: where },
    servicesOnly: services !== undefined,
  };
  // Its own list is said of this client alone, and so goes before the general one.
  return [
    allow === undefined
      ? general
      : { allow: [], deny: general.deny, called: general.called },
    own,
  ];
}

/** Nobody who is known has this key. */
export function unknownKey(publicKey: string): Reason {
  return {
    code: "denied",
    text: `the server knows no client with the key ${publicKey}`,
  };
}
