/**
 * What a group of scenarios is given, and the loops they share: ways opened
 * together, measured in turn, and always ended.
 *
 * @module
 */

import type { Figure, Parts, WayName } from "./measure.ts";
import { turnOrder } from "./measure.ts";
import type { SshKit } from "./ssh.ts";
import type { Tools } from "./tools.ts";
import { openWay, type Way, type WayOptions } from "./ways.ts";

/** How the bench runs, and where it puts what it finds. */
export interface Bench {
  /** One short round, for a first look. */
  readonly quick: boolean;
  /** Rounds of the main figures. */
  readonly rounds: number;
  /** The ways to measure. */
  readonly ways: readonly WayName[];
  /** Flags for both roles of a tunnel. */
  readonly roleArgs: readonly string[];
  /** Other people's programs. */
  readonly tools: Tools;
  /** The top of another checkout, to be measured beside this one. */
  readonly against: URL | undefined;
  /** Keys for ssh; undefined when it is missing. */
  readonly ssh: SshKit | undefined;
  /** Aborts when the bench is interrupted or takes far too long. */
  readonly signal: AbortSignal;
  /** Says what is going on. */
  say(line: string): void;
  /** Keeps a value. */
  record(figure: Figure, value: Measured): void;
  /** Keeps why something cannot be measured here. */
  skip(what: string, why: string): void;
  /** Keeps what went wrong where something should have been measured. */
  fail(what: string, error: unknown): void;
}

/** A value of one way in one round. */
export interface Measured {
  /** Which way. */
  readonly way: WayName;
  /** Which round, from 0. */
  readonly round: number;
  /** The value, in the figure's unit. */
  readonly value: number;
  /** Whose shares it is the sum of, where it is one. */
  readonly parts?: Parts;
}

/** Scenarios that belong together: what `--only` names. */
export interface Group {
  /** What `--only` calls it. */
  readonly name: string;
  /** Its heading in the report. */
  readonly title: string;
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
  options: Pick<WayOptions, "target" | "delay" | "serverArgs">,
): Promise<OpenWays> {
  await using cleanup = new AsyncDisposableStack();
  const list: Way[] = [];
  for (const name of names.filter((name) => bench.ways.includes(name))) {
    if (name === "other" && !bench.against) continue;
    if (name === "ssh" && !bench.ssh) {
      bench.skip("ssh -L", "ssh, sshd or ssh-keygen is missing");
      continue;
    }
    try {
      const way = await openWay(name, {
        ...options,
        ssh: bench.ssh,
        roleArgs: bench.roleArgs,
        against: bench.against,
        signal: bench.signal,
      });
      list.push(cleanup.use(way));
    } catch (error) {
      bench.signal.throwIfAborted();
      bench.fail(`opening ${name}`, error);
    }
  }
  const owned = cleanup.move();
  return { list, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/**
 * Measures each way once in each round, each first in its turn. A failure is
 * noted and costs that one value.
 */
export async function inTurn(
  bench: Bench,
  ways: readonly Way[],
  options: {
    /** What is measured, for messages. */
    readonly what: string;
    readonly rounds: number;
    readonly measure: (way: Way, round: number) => Promise<void>;
  },
): Promise<void> {
  const { what, rounds, measure } = options;
  for (let round = 0; round < rounds; round++) {
    for (const way of turnOrder(ways, round)) {
      bench.signal.throwIfAborted();
      try {
        await measure(way, round);
      } catch (error) {
        bench.signal.throwIfAborted();
        bench.fail(`${what}, ${way.name}, round ${round + 1}`, error);
      }
    }
  }
}

/** Waits; rejects with the bench's reason when it is ended. */
export async function pause(bench: Bench, milliseconds: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  bench.signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
  bench.signal.throwIfAborted();
}
