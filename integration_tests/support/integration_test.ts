/**
 * Frames an integration test: knows which processes the test started, shows
 * their output when it fails, and ends it when it hangs.
 *
 * @module
 */

import { AsyncLocalStorage } from "node:async_hooks";

/** A process as this file needs it. */
export interface WatchedProcess {
  /** What it is called in messages. */
  readonly name: string;
  /** Whether it has ended. */
  readonly ended: boolean;
  /** The last `lines` lines it wrote. */
  tail(lines: number): string;
  /** SIGKILL, at once. */
  killNow(): void;
}

/** What a running test is given. */
export interface TestScope {
  /** Aborts when the test has run for longer than its limit. */
  readonly signal: AbortSignal;
}

/** Settings of one test. */
export interface IntegrationTestOptions {
  /**
   * After how many ms the test counts as hanging. Not a measure of speed:
   * tests take a fraction of it. Default 120 000.
   */
  readonly limit?: number;
  /** Do not run, e.g. where a tool is missing; default false. */
  readonly ignore?: boolean;
}

/** Long enough for the slowest test on a busy two-core machine. */
const DEFAULT_LIMIT = 120_000;

/** How long a test that was told to stop may take to clean up, in ms. */
const CLEANUP_LIMIT = 10_000;

/** How much of each process's output a failure shows. */
const TAIL_LINES = 40;

interface Scope extends TestScope {
  readonly processes: Set<WatchedProcess>;
}

const scopes = new AsyncLocalStorage<Scope>();
const living = new Set<WatchedProcess>();

// A test run that is interrupted leaves no process behind.
globalThis.addEventListener("unload", () => {
  for (const process of living) process.killNow();
});

/** The signal of the running test; undefined outside of one. */
export function currentSignal(): AbortSignal | undefined {
  return scopes.getStore()?.signal;
}

/** Ties a process to the running test, if there is one, and to this one's life. */
export function watch(process: WatchedProcess): void {
  living.add(process);
  scopes.getStore()?.processes.add(process);
}

/** Forgets a process that has ended; its output is still shown on failure. */
export function unwatch(process: WatchedProcess): void {
  living.delete(process);
}

/**
 * Registers a test. If it fails, the output of every process it started is
 * shown; if it hangs, its processes are killed and it fails.
 */
export function integrationTest(
  name: string,
  body: (scope: TestScope) => Promise<void>,
  options: IntegrationTestOptions = {},
): void {
  const { limit = DEFAULT_LIMIT, ignore = false } = options;
  Deno.test({
    name,
    ignore,
    fn: async () => {
      const controller = new AbortController();
      const scope: Scope = { signal: controller.signal, processes: new Set() };
      const hung = Promise.withResolvers<never>();
      let cleanup: ReturnType<typeof setTimeout> | undefined;
      const guard = setTimeout(() => {
        const error = new Error(`Test did not end within ${limit} ms`);
        controller.abort(error);
        cleanup = setTimeout(() => {
          for (const process of scope.processes) process.killNow();
          hung.reject(error);
        }, CLEANUP_LIMIT);
      }, limit);
      try {
        const run = scopes.run(scope, () => body(scope));
        await Promise.race([run, hung.promise]);
      } catch (error) {
        showOutput(scope.processes);
        throw error;
      } finally {
        clearTimeout(guard);
        clearTimeout(cleanup);
      }
    },
  });
}

function showOutput(processes: Iterable<WatchedProcess>): void {
  for (const process of processes) {
    const text = process.tail(TAIL_LINES);
    const state = process.ended ? "ended" : "still running";
    // deno-lint-ignore no-console -- the test runner shows it with the failure
    console.error(`--- ${process.name} (${state}) ---\n${text}`);
  }
}
