/**
 * File descriptors of the process: how many are free, and a few held in
 * reserve for what must not fail when guests have taken all others.
 *
 * The runtime has no getrlimit, and /proc/self/limits is closed to a process
 * without every permission. So they are counted by opening something cheap.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { isShortage } from "../base/errors.ts";

/** What can be opened at no cost: a device, or the directory that the tasks may read. */
const CHEAP = ["/dev/null", "."] as const;

/** Where Linux shows a process its descriptors and limits. */
const SHOWN = { descriptors: "/proc/self/fd", limits: "/proc/self/limits" };

/** What the system tells of the descriptors of this process. */
export interface ToldDescriptors {
  /** How many are open now; undefined where that is not told. */
  readonly open: () => number | undefined;
  /** Most that may be; undefined where there is no limit. */
  readonly limit: number | undefined;
}

/**
 * What Linux tells, to a process that has every permission at this moment: it
 * may give some up later. Undefined to others, and elsewhere.
 */
export function toldDescriptors(): ToldDescriptors | undefined {
  const isShown = Object.values(SHOWN).every((path) =>
    // Not asked for: the question would wait on a terminal.
    Deno.permissions.querySync({ name: "read", path }).state === "granted"
  );
  if (!isShown) return undefined;
  try {
    const text = readFileSync(SHOWN.limits, "utf8");
    const [, limit] = /^Max open files +(\d+)/m.exec(text) ?? [];
    // Kept open: it could not be opened later on.
    const held = openSync(SHOWN.descriptors, "r");
    return {
      // Before Linux 6.2 it is 0.
      open: () => fstatSync(held).size || undefined,
      limit: limit === undefined ? undefined : Number(limit),
    };
  } catch {
    // Another system, or not every permission: the runtime wants all for these.
    return undefined;
  }
}

/** Descriptors to take and give back. */
export interface DescriptorSource {
  /** The lowest number that was free; undefined when there is none. */
  take(): number | undefined;
  /** Gives it back. */
  free(descriptor: number): void;
}

/**
 * The descriptors of this process; undefined where nothing may be opened to
 * take one, and on Windows, which has no limit to speak of.
 */
export function systemDescriptors(): DescriptorSource | undefined {
  if (Deno.build.os === "windows") return undefined;
  const path = CHEAP.find(canOpen);
  if (path === undefined) return undefined;
  return {
    take(): number | undefined {
      try {
        return openSync(path, "r");
      } catch (error) {
        if (isShortage(error)) return undefined;
        throw error;
      }
    },
    free: closeSync,
  };
}

/** Whether `path` can be opened, but for a shortage; asks nobody for a permission. */
function canOpen(path: string): boolean {
  const { state } = Deno.permissions.querySync({ name: "read", path });
  if (state !== "granted") return false;
  try {
    closeSync(openSync(path, "r"));
    return true;
  } catch (error) {
    return isShortage(error);
  }
}

/** How many descriptors a process may have. */
export interface DescriptorCount {
  /** How many are free. */
  readonly free: number;
  /** The limit on all of them; undefined when there are more than were asked for. */
  readonly limit: number | undefined;
}

/**
 * Counts the free descriptors, up to `most`: takes them all for a moment (30 ms
 * for a thousand, 0.1 s for 16,384), so nothing else may need one meanwhile.
 */
export function countDescriptors(
  source: DescriptorSource,
  most: number,
): DescriptorCount {
  const taken: number[] = [];
  let highest: number | undefined;
  let exhausted = false;
  try {
    while (taken.length < most) {
      const descriptor = source.take();
      exhausted = descriptor === undefined;
      if (descriptor === undefined) break;
      taken.push(descriptor);
      highest = Math.max(highest ?? 0, descriptor);
    }
  } finally {
    for (const descriptor of taken) source.free(descriptor);
  }
  return {
    free: taken.length,
    // All numbers below the limit were taken, the last one by us.
    limit: exhausted && highest !== undefined ? highest + 1 : undefined,
  };
}

/**
 * Descriptors that are really held, and lent to the connection to NATS when
 * there are too few others; until they are back, guests wait. A count alone
 * knows nothing of a limit that is lowered while the process runs.
 */
export class Reserve implements Disposable {
  readonly #source: DescriptorSource | undefined;
  readonly #held: number[] = [];
  #size: number;
  #loans = 0;

  /** Holds `size` descriptors, or as many of them as there are. */
  constructor(size: number, source: DescriptorSource | undefined) {
    this.#source = source;
    this.#size = source === undefined ? 0 : size;
    this.#fill();
  }

  /** Whether all of it is there: lent or missing, guests get nothing. */
  get whole(): boolean {
    return this.#held.length === this.#size;
  }

  /** Whether fewer are free than the reserve holds. */
  get short(): boolean {
    return !this.has(this.#size);
  }

  /** Whether `count` are free, or as many as the reserve is to hold. */
  has(count: number): boolean {
    const taken: number[] = [];
    const missing = (): boolean => taken.length < Math.min(count, this.#size);
    while (missing()) {
      const descriptor = this.#take();
      if (descriptor === undefined) break;
      taken.push(descriptor);
    }
    this.#free(taken);
    return !missing();
  }

  /**
   * Asks whether a guest may take a descriptor; what is missing here goes first.
   *
   * @throws {Error} with code EMFILE when it may not.
   */
  check(): void {
    if (this.whole) return;
    if (this.#loans === 0) this.#fill();
    if (this.whole) return;
    throw Object.assign(
      new Error("Too many open files: the last ones are kept for NATS"),
      { code: "EMFILE" },
    );
  }

  /** Sees to it that as many are free as the reserve holds, until disposed. */
  lend(): Disposable {
    using loan = new DisposableStack();
    if (this.#loans > 0 || this.short) {
      this.#loans++;
      this.#free(this.#held.splice(0));
      loan.defer(() => {
        if (--this.#loans === 0) this.#fill();
      });
    }
    return loan.move();
  }

  /** Gives all back for good. */
  [Symbol.dispose](): void {
    this.#size = 0;
    this.#free(this.#held.splice(0));
  }

  #fill(): void {
    while (this.#held.length < this.#size) {
      const descriptor = this.#take();
      if (descriptor === undefined) return;
      this.#held.push(descriptor);
    }
  }

  #take(): number | undefined {
    try {
      return this.#source?.take();
    } catch {
      // What could be opened cannot be any more, which is no reason to serve
      // nobody: the reserve stays as it is.
      this.#size = this.#held.length;
      return undefined;
    }
  }

  #free(descriptors: readonly number[]): void {
    for (const descriptor of descriptors) this.#source?.free(descriptor);
  }
}
