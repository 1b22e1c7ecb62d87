/**
 * Says which paths `--paths` names.
 *
 * @module
 */

import { UsageError } from "../../lib/base/errors.ts";
import type { Path } from "./lab.ts";

/** A path and what it is called in the tables. */
export interface PathName {
  /** E.g. `60 ms, 1 %`. */
  readonly title: string;
  /** What it is like. */
  readonly path: Path;
}

/** What is measured unless told otherwise. */
export const DEFAULT_PATHS =
  "20/0,20/0.1,20/1,60/0,60/0.1,60/1,200/0,200/0.1,200/1,narrow";

/** A line that is slow rather than long. */
const NARROW: PathName = {
  title: "20 ms, 50 Mbit/s",
  path: { rtt: 20, rate: 50e6 },
};

/** Longest round trip that can be asked for, in ms: a satellite and back is 600. */
const MAX_RTT = 2_000;

/**
 * The paths of a list with commas: `narrow`, or round trip in ms and loss in %,
 * as in `60/0.1`.
 *
 * @throws {UsageError} when one is neither.
 */
export function readPaths(list: string): readonly PathName[] {
  return list.split(",").map((text) => {
    if (text === "narrow") return NARROW;
    const [, rtt, percent] = /^(\d+)\/(\d+(?:\.\d+)?)$/.exec(text) ?? [];
    if (
      rtt === undefined || percent === undefined || Number(percent) > 100 ||
      Number(rtt) < 1 || Number(rtt) > MAX_RTT
    ) {
      throw new UsageError(
        `--paths "${text}" is neither narrow nor RTT/LOSS in ms and %, such as 60/0.1`,
      );
    }
    return {
      title: `${rtt} ms, ${percent} %`,
      path: { rtt: Number(rtt), loss: Number(percent) / 100 },
    };
  });
}
