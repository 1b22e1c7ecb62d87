/**
 * What a {@linkcode Lab} and the process that makes it say to each other.
 *
 * @module
 */

import type { Line } from "./pipe.ts";

/** The lines of a lab. */
export interface Wiring {
  /** Decides which packets are lost. */
  readonly seed: number;
  /** For each namespace the line between it and the middle; the same both ways. */
  readonly lines: readonly Line[];
}

/** What the router says once it is there. */
export interface Made {
  /** The descriptors, in this process, that hold the namespaces. */
  readonly namespaces: readonly number[];
}

/** What the TUN device is called in every namespace. */
export const DEVICE = "path";

/** First three parts of all addresses; the last is the number of the namespace from 1 on. */
export const NETWORK = "10.77.0";

/** Bytes of the largest packet: Ethernet's. */
export const MTU = 1500;
