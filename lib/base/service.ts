/**
 * Services: what a server offers by its name, and where that is.
 *
 * @module
 */
import type { Address } from "./address.ts";
import type { UnixPath } from "./place.ts";

/** How a service's target is tried. Durations are in ms. */
export interface CheckTimes {
  /** Time from the end of a check to the next. */
  readonly period: number;
  /** How long one may take. */
  readonly timeout: number;
  /** Failed checks in a row after which the service is not offered any more. */
  readonly failures: number;
}

/** The versions of the PROXY protocol, as people write them. */
export const PROXY_VERSIONS = ["v1", "v2"] as const;

/** One of them. */
export type ProxyVersion = (typeof PROXY_VERSIONS)[number];

/** Something that a server offers. */
export interface Service {
  /** What clients call it; no other has the name. */
  readonly name: string;
  /** What is dialled for it. */
  readonly target: Address | UnixPath;
  /** What it is, for people. */
  readonly description?: string | undefined;
  /** How its target is tried; undefined where it is offered in any case. */
  readonly check?: CheckTimes | undefined;
  /** What its target is told in front of each connection; undefined for nothing. */
  readonly proxyProtocol?: ProxyVersion | undefined;
}

/** Most services of a server: one subscription each, and beside it perhaps a check. */
export const MAX_SERVICES = 256;
