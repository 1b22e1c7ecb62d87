/**
 * What a role is run in, and what that tells it: a process of its own, or a
 * worker of one.
 *
 * @module
 */
import type { Place } from "../base/place.ts";
import type { ReadAuth } from "./auth_reader.ts";
import type { KeyTexts } from "./key_files.ts";
import type { Pipes } from "./login_files.ts";
import type { CollectMetrics } from "./metrics.ts";
import type { Reloads } from "./reload.ts";
import type { StopSignals } from "./signals.ts";
import type { Look } from "./look.ts";
import type { Status } from "./status.ts";

/** What a role is run in: a process of its own, or a worker of one. */
export interface RoleHost {
  /** Most tunnels that its descriptors allow; undefined when that is not known. */
  readonly tunnelsByDescriptors?: number | undefined;
  /** Most connections whose request or PROXY header is not whole; undefined where descriptors do not say. */
  readonly maxStrangers?: number | undefined;
  /** How it is told to end. */
  readonly stop: StopSignals;
  /** Which of several threads it is; undefined for the only one. */
  readonly worker?: WorkerPlace | undefined;
  /** What was read of pipes, which nobody can read again. */
  readonly pipes: Pipes;
  /** Reads anew how to log in to NATS. */
  readonly readAuth: ReadAuth;
  /** What tunnels are sealed with; undefined where they are not. */
  readonly keys: KeyTexts | undefined;
  /** What takes over what is read anew; the role joins before it waits for anything. */
  readonly reloads: Pick<Reloads, "join" | "latest">;
  /** Does what SIGTERM does, to the process as a whole. */
  askDrain(): void;
  /** Collects its metrics; undefined where nobody is shown them. */
  readonly collect?: CollectMetrics | undefined;
  /** Shows the status that `read` gives from now on, and what `look` finds to whoever looks closer. */
  showStatus(read: () => Status, look: Look): void;
  /** It works; a client accepts connections at these places, in the order of its ways in. */
  onStarted(places?: readonly Place[]): void;
}

/** One of several threads that run a role. */
export interface WorkerPlace {
  /** Its number, from 1. */
  readonly index: number;
  /** Where a client's ways in listen, in their order, which all threads share; undefined where it is to choose. */
  readonly places: readonly Place[] | undefined;
}
