/**
 * A reload over several workers: the main thread sees to it that new places can
 * be listened at, all workers make ready, and then all take over, or none.
 *
 * @module
 */
import { RunError, UsageError } from "../base/errors.ts";
import type { Place } from "../base/place.ts";
import type { WayIn } from "../config/ways_in.ts";
import type { Prepared, Reloaded, ReloadPart } from "./reload.ts";
import { continuations, mayCollide } from "./way_changes.ts";
import type {
  FromWorker,
  ToWorker,
  WorkerReloaded,
} from "./worker_messages.ts";
import { checkListenable } from "./ways_in.ts";

/** What a worker answers in a reload. */
export type WorkerAnswer = FromWorker & {
  readonly type: "prepared" | "refused" | "done";
};

/** The part of a worker that matters here. */
export interface ReloadingWorker {
  /** Its share of what the process may have. */
  share(all: number | undefined): number | undefined;
  /** Tells it, and waits for its answer; undefined where none runs, or it ends meanwhile. */
  ask(message: ToWorker): Promise<WorkerAnswer | undefined>;
}

/** Carries a reload to all workers. */
export class WorkerReload implements ReloadPart {
  readonly #workers: readonly ReloadingWorker[];
  #waysIn: readonly WayIn[];
  /** Where they listen; undefined until the first one does. */
  places: readonly Place[] | undefined;
  /** What was taken over last. */
  #latest: Reloaded | undefined;
  /** What waits for the end of the one that is under way. */
  #waiting: Set<() => void> | undefined;

  /** `workers` may grow; `waysIn` are those of the start. */
  constructor(
    workers: readonly ReloadingWorker[],
    waysIn: readonly WayIn[],
  ) {
    this.#workers = workers;
    this.#waysIn = waysIn;
  }

  /** What a worker is told that starts now; undefined where all is as at the start. */
  latestFor(worker: ReloadingWorker): WorkerReloaded | undefined {
    const latest = this.#latest;
    return latest && shareOf({ ...latest, places: this.places }, worker);
  }

  /**
   * Calls `start` when no reload is under way, perhaps at once: a worker begins
   * with what was taken over before or after one.
   */
  whenIdle(start: () => void): Disposable {
    if (this.#waiting === undefined) start();
    else this.#waiting.add(start);
    return { [Symbol.dispose]: () => void this.#waiting?.delete(start) };
  }

  /**
   * Has all workers make ready.
   *
   * @throws {RunError | UsageError} what keeps one from it.
   */
  async prepare(reloaded: Reloaded): Promise<Prepared> {
    this.#waiting = new Set();
    const asked: ReloadingWorker[] = [];
    const end = async (type: "commit" | "abandon"): Promise<void> => {
      await Promise.all(asked.map((worker) => worker.ask({ type })));
      const waiting = this.#waiting;
      this.#waiting = undefined;
      for (const start of waiting ?? []) start();
    };
    try {
      const { config } = reloaded;
      const waysIn = config.role === "client" ? config.client.forwards : [];
      const known = this.places !== undefined;
      const wanted = await this.#place(waysIn);
      const workers = [...this.#workers];
      const answers = await Promise.all(workers.map((worker) => {
        asked.push(worker);
        const share = shareOf({ ...reloaded, places: wanted }, worker);
        return worker.ask({ type: "prepare", ...share });
      }));
      const refused = answers.find((answer) => answer?.type === "refused");
      if (refused?.type === "refused") {
        const { kind, text } = refused;
        throw new (kind === "usage" ? UsageError : RunError)(text);
      }
      const prepared = answers.flatMap((answer) =>
        answer?.type === "prepared" ? [answer] : []
      );
      return {
        tunnels: prepared.reduce((sum, { tunnels }) => sum + tunnels, 0),
        commit: async () => {
          this.#latest = reloaded;
          this.#waysIn = waysIn;
          // The first one may have chosen meanwhile.
          if (known) this.places = wanted;
          else if (this.places !== undefined) {
            this.places = prepared[0]?.places ?? this.places;
          }
          await end("commit");
        },
        abandon: () => end("abandon"),
      };
    } catch (error) {
      await end("abandon");
      throw error;
    }
  }

  /**
   * Where each of `waysIn` is to listen: those that stay where they do, new
   * ones where nobody does, unless it is a listener of ours that goes.
   */
  async #place(waysIn: readonly WayIn[]): Promise<readonly Place[]> {
    const from = continuations(this.#waysIn, waysIn);
    const placeOf = (at: number): Place | undefined =>
      this.places?.[at] ?? this.#waysIn[at]?.listen;
    const gone = this.#waysIn.flatMap((_, at) =>
      from.includes(at) ? [] : placeOf(at) ?? []
    );
    const isFree = ({ listen }: WayIn, at: number): boolean =>
      from[at] === undefined && !gone.some((it) => mayCollide(it, listen));
    const found = await checkListenable(waysIn.filter(isFree));
    let next = 0;
    return waysIn.map((wayIn, at) => {
      if (isFree(wayIn, at)) return found[next++]?.place ?? wayIn.listen;
      const old = from[at];
      return (old === undefined ? undefined : placeOf(old)) ?? wayIn.listen;
    });
  }
}

/** What of `reloaded` goes to `worker`. */
function shareOf(
  { files, keys, places, tunnelsByDescriptors, maxStrangers }: Reloaded,
  worker: ReloadingWorker,
): WorkerReloaded {
  return {
    files,
    keys,
    places,
    tunnelsByDescriptors: worker.share(tunnelsByDescriptors),
    maxStrangers: worker.share(maxStrangers),
  };
}
