/**
 * Bounds what tests wait for, so that one that hangs says what did not happen;
 * and sends what no well-behaved peer sends.
 *
 * @module
 */

import { connect } from "node:net";
import type { Endpoint } from "./addresses.ts";
import { pause, within } from "./changes.ts";
import { currentSignal } from "./integration_test.ts";
import { openFiles } from "./proc_stats.ts";
import type { LogEntry, Role } from "./roles.ts";

/** How long what comes by itself may take on a busy machine, in ms. */
const SOON = 30_000;

/** Pause between looks at what can only be asked for, in ms. */
const LOOK_PAUSE = 20;

/**
 * What `work` gives, but within `limit` ms.
 *
 * @throws {Error} saying that `what` did not happen.
 */
export async function soon<T>(
  what: string,
  work: Promise<T>,
  limit: number = SOON,
): Promise<T> {
  return await within(limit, () => work, { complaint: `${what}: not` });
}

/**
 * Looks again and again until `probe` holds; `limit`, in ms, or the test's own
 * ends it.
 *
 * @throws {Error} what `describe` says, when it never did.
 */
export async function eventually(
  probe: () => Promise<boolean>,
  describe: () => string,
  limit = Infinity,
): Promise<void> {
  const signal = currentSignal();
  const end = performance.now() + limit;
  while (!await probe()) {
    if (signal?.aborted || performance.now() > end) {
      throw new Error(describe(), { cause: signal?.reason });
    }
    await pause(LOOK_PAUSE);
  }
}

/**
 * Looks again and again until `probe` gives no complaint.
 *
 * @throws {Error} the last complaint, after `limit` ms.
 */
export async function comes(
  probe: () => Promise<string | undefined>,
  limit: number = SOON,
): Promise<void> {
  let complaint: string | undefined;
  await eventually(
    async () => (complaint = await probe()) === undefined,
    () => `${complaint}, after ${limit / 1000} s`,
    limit,
  );
}

/** Which lines {@linkcode told} waits for. */
export interface TellingOptions {
  /** How many of them; default 1. */
  readonly count?: number;
  /** Only those after this mark of the process. */
  readonly since?: number;
}

/**
 * All lines of a role's log that say `what`, once there are `count` of them:
 * what it has done is seen elsewhere before its line is read here.
 *
 * @throws {Error} saying what was not told.
 */
export async function told(
  role: Role,
  what: string | ((entry: LogEntry) => boolean),
  { count = 1, since = 0 }: TellingOptions = {},
): Promise<LogEntry[]> {
  const says = typeof what === "string"
    ? ({ msg }: LogEntry): boolean => msg === what
    : what;
  let left = count;
  const last = role.entry((entry) => says(entry) && --left === 0, { since });
  await soon(`${role.process.name} says ${what} ${count} times`, last);
  return role.entries(since).filter(says);
}

/** Waits until a role has no more open files than it had `before`. */
export async function filesAtMost(role: Role, before: number): Promise<void> {
  await comes(async () => {
    const now = await openFiles(role.process.pid);
    return now <= before ? undefined : `${now} descriptors, ${before} before`;
  });
}

/** Waits until `/ready` of a role answers `status`, and gives the answer's text. */
export async function whenReady(
  role: Role,
  status: 200 | 503,
  options: { readonly matching?: RegExp; readonly limit?: number } = {},
): Promise<string> {
  const { matching = /^/, limit } = options;
  let text = "";
  await comes(async () => {
    const answer = await role.status("/ready");
    text = answer.text.trim();
    return answer.status === status && matching.test(text)
      ? undefined
      : `/ready of the ${role.process.name} answers ${answer.status} ${text} and not ${status} ${matching.source}`;
  }, limit);
  return text;
}

/** Connects and cuts the connection with a TCP reset; resolves when it is sent. */
export async function connectAndReset(
  { hostname, port }: Endpoint,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect(port, hostname);
  socket.once("error", reject);
  socket.once("connect", () => socket.resetAndDestroy());
  socket.once("close", () => resolve());
  await promise;
}
