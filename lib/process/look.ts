/**
 * Looks at a process: what its threads tell, put together, with the rates since
 * the look before.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { VERSION } from "../config/cli.ts";
import type { ConfigByRole } from "../config/config.ts";
import { merge } from "../status/merge.ts";
import { Rates } from "../status/rates.ts";
import type { Part, ProcessView, Snapshot } from "../status/snapshot.ts";
import { PROTOCOL_VERSION } from "../wire/open.ts";
import type { Role } from "../wire/subjects.ts";
import { hostname } from "./connect.ts";
import type { Status } from "./status.ts";

/** What never changes of this process, which runs `config` in so many threads. */
export function processView(
  config: ConfigByRole[Role],
  workers: number,
): ProcessView {
  const { name } = config.nats;
  const host = hostname();
  const site = config.role === "server" ? config.server.site : undefined;
  return {
    role: config.role,
    ...(name !== undefined && { name }),
    version: VERSION,
    deno: Deno.version.deno,
    protocol: PROTOCOL_VERSION,
    ...(host !== undefined && { host }),
    pid: Deno.pid,
    started: Math.round(performance.timeOrigin),
    ...(site !== undefined && { site }),
    workers,
  };
}

/** What the threads of a process tell, and the numbers of those that did not in time. */
export interface Parts {
  /** What each told. */
  readonly parts: readonly Part[];
  /** Workers that have not answered. */
  readonly silentWorkers?: readonly number[];
}

/** Asks the threads of a process, for as long as that may take. */
export type Look = () => Promise<Parts>;

/** A look that is no older, in ms, does for another who asks: many askers cost one. */
const SHARED_MS = 200;

/** Looks on behalf of all who ask. */
export class Looks {
  /** Asks the threads. */
  look: Look = () => Promise.resolve({ parts: [] });
  /** Since when it is as it is, and what went wrong last. */
  status: () => Pick<Status, "since" | "lastError"> = () => ({});
  readonly #process: ProcessView;
  readonly #clock: Clock;
  readonly #rates = new Rates();
  #last:
    | { readonly snapshot: Promise<Snapshot>; readonly at: number }
    | undefined;

  /** Looks at the process that is `process`. */
  constructor(process: ProcessView, clock: Clock) {
    this.#process = process;
    this.#clock = clock;
  }

  /** The process now, or a moment ago. */
  snapshot(): Promise<Snapshot> {
    const now = this.#clock.now();
    const last = this.#last;
    if (last !== undefined && now - last.at < SHARED_MS) return last.snapshot;
    const snapshot = this.#take();
    this.#last = { snapshot, at: now };
    return snapshot;
  }

  async #take(): Promise<Snapshot> {
    const { parts, silentWorkers } = await this.look();
    const at = this.#clock.wallTime();
    const snapshot = merge(this.#process, parts, { at, silentWorkers });
    const { since, lastError } = this.status();
    return this.#rates.of({
      ...snapshot,
      ...(since !== undefined && { since }),
      ...(lastError !== undefined && { lastError }),
    });
  }
}
