/**
 * What the main thread and its workers say to each other.
 *
 * @module
 */
import type { Address } from "../base/address.ts";
import type { Role } from "../config/options.ts";
import type { Readiness } from "./status_http.ts";
import type { Metric } from "./prometheus.ts";

/** From the main thread to a worker. */
export type ToWorker =
  | {
    readonly type: "start";
    readonly role: Role;
    /** The command line; the worker reads it anew, so that no secret is passed around. */
    readonly args: readonly string[];
    /** Number of the worker, from 1. */
    readonly index: number;
    /** How many there are: limits of the process are shared out. */
    readonly count: number;
    /** The address the first worker listens at, which the others share. */
    readonly address: Address | undefined;
  }
  | { readonly type: "drain" }
  | { readonly type: "now" };

/** From a worker to the main thread. */
export type FromWorker =
  | { readonly type: "started"; readonly address: Address | undefined }
  | {
    readonly type: "status";
    readonly readiness: Readiness;
    readonly metrics: readonly Metric[];
  }
  | { readonly type: "stopped" }
  | {
    readonly type: "failed";
    readonly kind: "usage" | "run" | "internal";
    readonly text: string;
  };
