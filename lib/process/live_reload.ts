/**
 * Reloads of a process, one after another: read anew, made ready by all parts,
 * and then taken over by all, or by none.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { UsageError } from "../base/errors.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { Role } from "../wire/subjects.ts";
import { setLogLevel } from "./log.ts";
import type {
  Prepared,
  ReloadCause,
  Reloaded,
  ReloadPart,
  Reloads,
} from "./reload.ts";
import type { Reloader } from "./reloader.ts";

const log = getLogger(["sproxy", "reload"]);

/** What {@linkcode LiveReload} is told. */
export interface LiveReloadOptions {
  /** Reads. */
  readonly reloader: Pick<Reloader, "read">;
  /** Takes over. */
  readonly parts: Pick<Reloads, "prepare">;
  /** What descriptors allow with this configuration. @throws {RunError} when they do not. */
  readonly fit: (
    config: ConfigByRole[Role],
  ) => Pick<Reloaded, "tunnelsByDescriptors" | "maxStrangers">;
  /** Called at the begin of each. */
  readonly onBegin: (cause: ReloadCause) => void;
  /** Called when a configuration has been taken over, and the log has told of it. */
  readonly onTaken: (config: ConfigByRole[Role]) => Promise<void>;
  /** Called at the end of each; `failed` when all stays as it was. */
  readonly onEnd?: (failed: boolean) => void;
}

/** Carries out what is asked for, in order; of what is asked for meanwhile the last counts. */
export class LiveReload implements Disposable {
  readonly #options: LiveReloadOptions;
  #asked: ReloadCause | undefined;
  #state: "held" | "open" | "ended" = "held";
  /** Resolves when nothing is under way. */
  #running: Promise<void> | undefined;

  /** Nothing is carried out yet. */
  constructor(options: LiveReloadOptions) {
    this.#options = options;
  }

  /** Asks for one; resolves when all that was asked for is done, or at once before the start. */
  async request(cause: ReloadCause): Promise<void> {
    this.#asked = cause;
    if (this.#state === "open") await (this.#running ??= this.#run());
  }

  /** All parts are there: from now on what is asked for is carried out. */
  start(): void {
    this.#state = "open";
    if (this.#asked !== undefined) void this.request(this.#asked);
  }

  /** Nothing is carried out any more. */
  [Symbol.dispose](): void {
    this.#state = "ended";
  }

  /** It never throws. */
  async #run(): Promise<void> {
    while (this.#asked !== undefined && this.#state === "open") {
      const cause = this.#asked;
      this.#asked = undefined;
      let failed = false;
      try {
        await this.#reload(cause);
      } catch (why) {
        failed = true;
        if (why instanceof UsageError) {
          log.error(
            `${cause}: the configuration or a key cannot be used; all stays as it is`,
            { why },
          );
        } else {
          log.error(
            `${cause}: the change cannot be made; all stays as it is`,
            { why },
          );
        }
      }
      this.#options.onEnd?.(failed);
    }
    this.#running = undefined;
  }

  async #reload(cause: ReloadCause): Promise<void> {
    const { reloader, parts, fit, onBegin, onTaken } = this.#options;
    onBegin(cause);
    const { reloaded, taken } = reloader.read(cause);
    const { config } = reloaded;
    const prepared = await parts.prepare({ ...reloaded, ...fit(config) });
    await prepared.commit();
    taken(prepared.tunnels);
    await onTaken(config);
  }
}

/** Takes over the level of the log, in a worker. */
export const logLevelPart: ReloadPart = {
  prepare: ({ config }): Prepared => ({
    commit: () => setLogLevel(config.log.level),
  }),
};
