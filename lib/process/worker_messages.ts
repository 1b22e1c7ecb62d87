/**
 * What the main thread and its workers say to each other.
 *
 * @module
 */
import type { Place } from "../base/place.ts";
import type { ReadFiles } from "../config/sources.ts";
import type { Part } from "../status/snapshot.ts";
import type { KeyTexts } from "./key_files.ts";
import type { Pipes } from "./login_files.ts";
import type { Reloaded } from "./reload.ts";
import type { Status } from "./status.ts";

/** From the main thread to a worker. */
export type ToWorker =
  | {
    readonly type: "start";
    /** The command line. */
    readonly args: readonly string[];
    /** The files read for the configuration: all workers have the same, also one started anew. */
    readonly files: ReadFiles;
    /** What the main thread has read of pipes. */
    readonly pipes: Pipes;
    /** What tunnels are sealed with; undefined where they are not. */
    readonly keys: KeyTexts | undefined;
    /** Number of the worker, from 1. */
    readonly index: number;
    /** How many there are: limits of the process are shared out. */
    readonly count: number;
    /** Its share of the tunnels that descriptors allow. */
    readonly tunnelsByDescriptors: number | undefined;
    /** Its share of the connections at front-ends whose request is not whole. */
    readonly maxStrangers: number | undefined;
    /** Where the first worker listens, which the others share. */
    readonly places: readonly Place[] | undefined;
    /** What was read anew last; undefined where all is as at the start. */
    readonly reload: WorkerReloaded | undefined;
  }
  /** Something was read anew: make it ready, and answer. */
  | WorkerReloaded & { readonly type: "prepare" }
  /** Take over what was made ready, or give it up. */
  | { readonly type: "commit" | "abandon" }
  /** Somebody looks closer: tell what there is, under the same number. */
  | { readonly type: "look"; readonly number: number }
  | { readonly type: "drain" | "now" };

/** What a worker has of what was read anew. */
export interface WorkerReloaded extends Omit<Reloaded, "config"> {
  /** Where a client's ways in listen, in their order; undefined where it is to choose. */
  readonly places: readonly Place[] | undefined;
}

/** From a worker to the main thread. */
export type FromWorker =
  | { readonly type: "started"; readonly places: readonly Place[] | undefined }
  | { readonly type: "status"; readonly status: Status }
  /** What there is, to the look of this number. */
  | { readonly type: "part"; readonly number: number; readonly part: Part }
  | {
    readonly type: "prepared";
    /** Open tunnels of ways in that will be gone. */
    readonly tunnels: number;
    /** Where a client's ways in will listen. */
    readonly places: readonly Place[] | undefined;
  }
  /** What was made ready counts, or is given up. */
  | { readonly type: "done" }
  | {
    /** Something cannot be made ready. */
    readonly type: "refused";
    /** Which error it was. */
    readonly kind: "usage" | "run";
    /** What went wrong, on one line. */
    readonly text: string;
  }
  /** An operator wants the process to drain. */
  | { readonly type: "drain" }
  | { readonly type: "stopped" }
  | WorkerFailure & { readonly type: "failed" };

/** Why a worker failed. */
export interface WorkerFailure {
  /** Which error it was; a fault of the program is internal. */
  readonly kind: "usage" | "run" | "internal";
  /** What went wrong, on one line. */
  readonly text: string;
  /** Where a fault was thrown. */
  readonly stack?: string | undefined;
}
