/**
 * Judges a target by rules and by the addresses that its name has, so that
 * what was judged can be dialled.
 *
 * A rule that denies goes before any that allows. Beyond that:
 *
 * - Link-local (the metadata of clouds), unspecified, multicast and broadcast
 *   addresses are left alone unless a rule names them: an address, or a network
 *   no wider than the range of its kind. `*` and `0.0.0.0/0` name nobody.
 * - Loopback addresses are not reached through a name, except `localhost`.
 * - Private addresses are not reached through `*.example.com`: whoever has a
 *   name there says what its address is (DNS rebinding). One name alone that
 *   the operator wrote is his to vouch for, and mostly means such an address.
 *
 * Unix sockets are left alone unless a rule has their very path.
 *
 * Who allows `*`, or has no rules that allow, lets loopback and private
 * addresses be asked for in any form: a name gives nobody more than that.
 *
 * @module
 */

import { type Address, formatAddress, parseIp, zoneOf } from "./address.ts";
import type { Reason } from "./errors.ts";
import { formatPlace } from "./place.ts";
import {
  embeddedIn,
  isLocalhost,
  type SpecialRange,
  specialRange,
} from "./special_addresses.ts";
import {
  covers,
  coversPath,
  type Destination,
  type TargetRule,
} from "./target_rules.ts";

/** What somebody may reach. */
export interface TargetRules {
  /** Patterns, one of which must cover the target; none at all allow every target. */
  readonly allow: readonly TargetRule[];
  /** Patterns, none of which may cover the target. */
  readonly deny: readonly TargetRule[];
  /** What both lists are called where people wrote them. */
  readonly called: { readonly allow: string; readonly deny: string };
  /** Only named services may be reached: no pattern at all allows no target. */
  readonly servicesOnly?: boolean;
  /** What they allow was written for one target that is known: they open addresses of any kind. */
  readonly vouched?: boolean;
}

/** The addresses that may be dialled, or why there are none. */
export type Verdict =
  | { readonly addresses: readonly string[] }
  | { readonly refusal: Reason };

/**
 * Why no address of a target's name could be dialled, so that it need not be
 * looked up; undefined where one may.
 */
export function judgeName(
  all: readonly TargetRules[],
  target: Address,
): Reason | undefined {
  const { host, port } = target;
  const destination = { name: host, port };
  for (const rules of all) {
    const { allow, called } = rules;
    const denied = deniedBy(rules, destination);
    if (denied !== undefined) return deny(formatAddress(target), denied, rules);
    if (isClosed(rules)) return servicesOnly(formatAddress(target), rules);
    const open = allow.length === 0 ||
      allow.some((rule) =>
        covers(rule, destination) ||
        // Which address it has will tell.
        rule.host.kind === "network" && port >= rule.minPort &&
          port <= rule.maxPort
      );
    if (!open) return notAllowed(formatAddress(target), called.allow);
  }
  return undefined;
}

/**
 * Those addresses of a target that each of `all` allows.
 *
 * @param found What its name was resolved to, or the address that was asked
 * for; what is none is left out.
 */
export function judgeTarget(
  all: readonly TargetRules[],
  target: Address,
  found: readonly string[],
): Verdict {
  const addresses: string[] = [];
  let refusal: Reason | undefined;
  for (const address of found) {
    const ip = parseIp(address);
    if (ip === undefined) continue;
    const why = objection(all, target, { address, ip });
    if (why === undefined) addresses.push(address);
    else refusal ??= why;
  }
  if (addresses.length > 0) return { addresses };
  refusal ??= denial(`${formatAddress(target)} has no address`);
  return { refusal };
}

/** Why the Unix socket at `path` must not be dialled; undefined where each of `all` lets it be, and one names it. */
export function judgePath(
  all: readonly TargetRules[],
  path: string,
): Reason | undefined {
  const shown = formatPlace({ path });
  let named = false;
  for (const rules of all) {
    const { allow, deny: denying, called } = rules;
    const denied = denying.find((rule) => coversPath(rule, path));
    if (denied !== undefined) return deny(shown, denied, rules);
    if (isClosed(rules)) return servicesOnly(shown, rules);
    if (allow.length === 0) continue;
    if (!allow.some((rule) => coversPath(rule, path))) {
      return notAllowed(shown, called.allow);
    }
    named = true;
  }
  return named ? undefined : denial(
    `${shown} is a Unix socket, which only a rule for that path opens (${
      all.at(-1)?.called.allow ?? "--allow-target"
    })`,
  );
}

function isClosed({ allow, servicesOnly }: TargetRules): boolean {
  return servicesOnly === true && allow.length === 0;
}

function servicesOnly(shown: string, { called }: TargetRules): Reason {
  return denial(
    `${shown} is no service, and nothing else may be reached here (${called.allow})`,
  );
}

/** Why an address of `target` must not be dialled. */
function objection(
  all: readonly TargetRules[],
  target: Address,
  { address, ip }: { readonly address: string; readonly ip: readonly number[] },
): Reason | undefined {
  const name = parseIp(target.host) === undefined ? target.host : undefined;
  const destination = { name, ip, zone: zoneOf(address), port: target.port };
  const shown = formatAddress(target) +
    (name === undefined ? "" : ` (${address})`);
  const range = specialRange(ip);
  const named = range === undefined ||
    all.some(({ allow }) =>
      allow.some((rule) =>
        rule.host.kind === "network" && rule.host.bits >= range.bits &&
        covers(rule, destination)
      )
    ) ||
    all.some(({ allow, vouched }) =>
      vouched === true && allow.some((rule) => covers(rule, destination))
    );
  for (const rules of all) {
    const { allow, called } = rules;
    const denied = deniedBy(rules, destination);
    if (denied !== undefined) return deny(shown, denied, rules);
    if (isClosed(rules)) return servicesOnly(shown, rules);
    const covering = allow.filter((rule) => covers(rule, destination));
    if (allow.length > 0 && covering.length === 0) {
      return notAllowed(formatAddress(target), called.allow);
    }
    if (named) continue;
    const opened = allow.length === 0
      ? range.kind !== "guarded"
      : covering.some((rule) => opens(rule, range, name));
    if (!opened) {
      return denial(
        `${shown} is ${range.what}, which here only a rule for that address opens (${called.allow})`,
      );
    }
  }
  return undefined;
}

/** Whether a rule that covers an address of a special range, but does not name it, opens it. */
function opens(
  { host }: TargetRule,
  { kind }: SpecialRange,
  name: string | undefined,
): boolean {
  switch (kind) {
    case "guarded":
      return false;
    case "loopback":
      return /^(?:any|network)$/.test(host.kind) ||
        name !== undefined && isLocalhost(name);
    case "private":
      return host.kind !== "domain";
  }
}

/** The first rule that denies a destination, also by what its address stands for, and in whatever zone. */
function deniedBy(
  { deny }: TargetRules,
  destination: Destination,
): TargetRule | undefined {
  const { ip } = destination;
  const forms = [ip, ip && embeddedIn(ip)?.ip];
  return deny.find((rule) => {
    const { host } = rule;
    // Of one zone there is more than one way to write it.
    const zone = host.kind === "network" ? host.zone : undefined;
    return forms.some((ip) => covers(rule, { ...destination, ip, zone }));
  });
}

function notAllowed(shown: string, flag: string): Reason {
  return denial(`${shown} is not an allowed target (${flag})`);
}

function deny(
  shown: string,
  rule: TargetRule,
  { called }: TargetRules,
): Reason {
  return denial(`${shown} is denied by ${rule.text} (${called.deny})`);
}

function denial(text: string): Reason {
  return { code: "denied", text };
}
