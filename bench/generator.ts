/**
 * Runs load generators (`load.ts`) as processes.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";
import { type Process, spawn } from "../integration_tests/support/processes.ts";
import type { LoadResults, LoadTask } from "./load.ts";

/** How long a task may take beyond its own time, in ms. */
const GRACE = 60_000;

/** How long one of many connections may take to open, in ms: ssh needs 30 when it has 8,000. */
const OPEN_GRACE = 40;

/** Where a generator runs, and what ends the wait for it. */
export interface LoadOptions {
  /** What runs it elsewhere: a command and its arguments; default nothing. */
  readonly through?: readonly string[];
  /** Ends the generator, and the wait. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a task to its end.
 *
 * @throws {ProcessEnded} when the generator fails; the signal's reason when it
 *   aborts, or a `TimeoutError` when the task takes far too long.
 */
export async function runLoad<T extends LoadTask>(
  task: T,
  options: LoadOptions = {},
): Promise<LoadResults[T["do"]]> {
  const { process, result } = await startLoad(task, options);
  await using _process = process;
  return result;
}

/** Starts a task that goes on after its answer ("serve", "flows", "hold"); dispose the process to end it. */
export async function startLoad<T extends LoadTask>(
  task: T,
  options: LoadOptions = {},
): Promise<
  { readonly process: Process; readonly result: LoadResults[T["do"]] }
> {
  const seconds = ("seconds" in task ? task.seconds : 0) +
    ("skip" in task ? task.skip : 0);
  const opening = "count" in task ? task.count * OPEN_GRACE : 0;
  const limit = AbortSignal.timeout(seconds * 1000 + opening + GRACE);
  const [first = "", ...words] = [...options.through ?? [], Deno.execPath()];
  const process = spawn(first, {
    name: `load ${task.do}`,
    args: [
      ...words,
      "run",
      "--quiet",
      "--no-prompt",
      "--allow-net",
      new URL("load.ts", import.meta.url).pathname,
      JSON.stringify(task),
    ],
  });
  try {
    const line = await process.waitForLine((line) => line.startsWith("{"), {
      signal: options.signal ? AbortSignal.any([options.signal, limit]) : limit,
    });
    return { process, result: JSON.parse(line) };
  } catch (error) {
    await process.kill();
    throw error;
  }
}

/** A target process that is ended by disposal. */
export interface LoadTarget extends AsyncDisposable {
  /** Where it listens. */
  readonly endpoint: Endpoint;
}

/** Starts a target for load generators. */
export async function startTarget(
  options: LoadOptions = {},
): Promise<LoadTarget> {
  const { process, result } = await startLoad({ do: "serve" }, options);
  return {
    endpoint: { hostname: "127.0.0.1", port: result.port },
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}
