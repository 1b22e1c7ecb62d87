/**
 * Gives a group of measurements what it needs: ways opened together, measured
 * in turn, and always ended.
 *
 * @module
 */

import { messageOf } from "../lib/base/errors.ts";
import type { Endpoint } from "../integration_tests/support/addresses.ts";
import type { PathName } from "./lab/path_names.ts";
import { type Figure, type Parts, turnOrder, type WayName } from "./measure.ts";
import { openWay, type Way, type WayOptions } from "./ways.ts";

/** How the bench runs, and where it puts what it finds. */
export interface Bench
  extends Pick<WayOptions, "roleArgs" | "ssh" | "peers" | "against"> {
  /** Rounds of the main figures. */
  readonly rounds: number;
  /** The ways to measure. */
  readonly ways: readonly WayName[];
  /** The long paths to measure. */
  readonly paths: readonly PathName[];
  /** Paths of other people's programs, by command. */
  readonly tools: ReadonlyMap<string, string>;
  /** Aborts when the bench is interrupted. */
  readonly signal: AbortSignal;
  /** Keeps a value. */
  record(way: WayName, round: number, measured: Measured): void;
  /** Keeps why something was not measured; with a `fault` the bench fails. */
  skip(what: string, why: string, fault?: "fault"): void;
}

/** A value of one way in one round. */
export interface Measured {
  /** What it is a value of. */
  readonly figure: Figure;
  /** The value, in the figure's unit. */
  readonly value: number;
  /** Whose shares it is the sum of, where it is one. */
  readonly parts?: Parts;
}

/** Measurements that belong together: what `--only` names. */
export interface Group {
  /** What `--only` calls it. */
  readonly name: string;
  /** Its heading in the report. */
  readonly title: string;
  /** How it measures, for the report: Markdown. */
  readonly method: string;
  /** Measures; rejects only when nothing more of it can be measured. */
  readonly run: (bench: Bench) => Promise<void>;
}

/** Ways that are open, in the order of the tables. */
export interface OpenWays extends AsyncDisposable {
  /** Those that could be opened. */
  readonly list: readonly Way[];
}

/** Opens those of `names` that the bench is to measure; one that fails is skipped. */
export async function openWays(
  bench: Bench,
  names: readonly WayName[],
  target: Endpoint,
  options: Omit<WayOptions, keyof Bench | "target"> = {},
): Promise<OpenWays> {
  return await openEach(
    bench,
    names,
    (name) => openWay(name, { ...bench, ...options, target }),
  );
}

/** As {@linkcode openWays}, of ways that are opened by `open`. */
export async function openEach<Name extends WayName>(
  bench: Bench,
  names: readonly Name[],
  open: (name: Name) => Promise<Way>,
): Promise<OpenWays> {
  await using cleanup = new AsyncDisposableStack();
  const list: Way[] = [];
  for (const name of names.filter((name) => bench.ways.includes(name))) {
    if (name === "ssh" && !bench.ssh) {
      bench.skip("ssh -L", "ssh, sshd or ssh-keygen is missing");
      continue;
    }
    try {
      list.push(cleanup.use(await open(name)));
    } catch (error) {
      bench.signal.throwIfAborted();
      bench.skip(`opening ${name}`, messageOf(error), "fault");
    }
  }
  const owned = cleanup.move();
  return { list, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/**
 * Measures each way once in each round, each first in its turn. A failure is
 * noted and costs what that way had in that round.
 */
export async function inTurn(
  bench: Bench,
  ways: readonly Way[],
  options: {
    /** What is measured, for messages. */
    readonly what: string;
    /** At most so many rounds. */
    readonly atMost?: number;
    readonly measure: (way: Way) => Promise<readonly Measured[]>;
  },
): Promise<void> {
  const { what, atMost = Infinity, measure } = options;
  for (let round = 0; round < Math.min(bench.rounds, atMost); round++) {
    for (const way of turnOrder(ways, round)) {
      bench.signal.throwIfAborted();
      try {
        for (const one of await measure(way)) {
          bench.record(way.name, round, one);
        }
      } catch (error) {
        bench.signal.throwIfAborted();
        const where = `${what}, ${way.name}, round ${round + 1}`;
        bench.skip(where, messageOf(error), "fault");
      }
    }
  }
}

/** Bytes a second as Gbit/s, the unit of bulk. */
export function gigabits(bytesPerSecond: number): number {
  return bytesPerSecond * 8 / 1e9;
}
