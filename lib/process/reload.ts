/**
 * What a reload is to the parts of a process: keys and clients, a client's
 * ways in, and whatever else may change while it runs. All of it counts at
 * once, or, if one thing is wrong, nothing does.
 *
 * @module
 */
import type { Place } from "../base/place.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { ReadFiles } from "../config/sources.ts";
import type { Role } from "../wire/subjects.ts";
import type { KeyTexts } from "./key_files.ts";

/** What asked for a reload. */
export type ReloadCause = "SIGHUP" | "watch";

/** What was read anew. */
export interface Reloaded {
  /** The configuration, of which only what a {@linkcode ReloadPart} takes over counts. */
  readonly config: ConfigByRole[Role];
  /** The texts of the files of keys that it names; undefined where nothing is sealed. */
  readonly keys: KeyTexts | undefined;
  /** The config file as it was read, for other threads. */
  readonly files: ReadFiles;
  /** Where a client's ways in are to listen, in their order, where that is decided. */
  readonly places?: readonly Place[] | undefined;
  /** Most tunnels that descriptors then allow; undefined when that is not known. */
  readonly tunnelsByDescriptors?: number | undefined;
  /** Most connections at front-ends whose request is not whole. */
  readonly maxStrangers?: number | undefined;
}

/** What one part of a process has made ready to take over. */
export interface Prepared {
  /** Open tunnels of ways in that will be gone. */
  readonly tunnels?: number | undefined;
  /** Where a client's ways in will listen, in their order. */
  readonly places?: readonly Place[] | undefined;
  /** Takes it over, which cannot fail. */
  commit(): void | Promise<void>;
  /** All stays as it was. */
  abandon?(): void | Promise<void>;
}

/**
 * A part of a process that takes over something of what is read anew: keys and
 * clients, ways in, services, the level of the log. All parts make ready what
 * may fail, and only then does any take something over.
 */
export interface ReloadPart {
  /**
   * Makes ready what a reload changes here; nothing has changed yet.
   *
   * @throws {UsageError | RunError} when that cannot be, and nothing is to change anywhere.
   */
  prepare(reloaded: Reloaded): Prepared | Promise<Prepared>;
}

/** What all parts have made ready. */
type PreparedAll = Required<Prepared> & {
  readonly tunnels: number;
  abandon(): Promise<void>;
};

/** All parts of a process, or of a worker. */
export class Reloads implements ReloadPart {
  readonly #parts: ReloadPart[] = [];
  #latest: Reloaded | undefined;

  /** Begins with what was read anew already, if anything was. */
  constructor(latest?: Reloaded) {
    this.#latest = latest;
  }

  /** What was taken over last; undefined where all is as at the start. */
  get latest(): Reloaded | undefined {
    return this.#latest;
  }

  /** From now on `part` takes over what is read anew. */
  join(part: ReloadPart): void {
    this.#parts.push(part);
  }

  /** Makes all parts ready; one that cannot be leaves the others as they were. */
  async prepare(reloaded: Reloaded): Promise<PreparedAll> {
    const ready: Prepared[] = [];
    const abandon = async (): Promise<void> => {
      for (const prepared of ready.toReversed()) await prepared.abandon?.();
    };
    try {
      for (const part of this.#parts) ready.push(await part.prepare(reloaded));
    } catch (error) {
      await abandon();
      throw error;
    }
    const places = ready.map(({ places }) => places)
      .find((places) => places !== undefined);
    return {
      tunnels: ready.reduce((sum, { tunnels = 0 }) => sum + tunnels, 0),
      places,
      abandon,
      commit: async () => {
        this.#latest = { ...reloaded, places };
        for (const prepared of ready) await prepared.commit();
      },
    };
  }
}
