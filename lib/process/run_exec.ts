/**
 * A command that runs while a client does: started once its tunnels can be had,
 * told where, and ended by itself alone.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Address } from "../base/address.ts";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import type { Place } from "../base/place.ts";
import { quote } from "../base/text.ts";
import { commandAt, type Exec } from "../config/exec.ts";
import type { RoleHost } from "./role_host.ts";

/** What a shell says of a command that is not there, or not to be run. */
const EXIT = { missing: 127, notRun: 126 } as const;

const log = getLogger(["sproxy", "exec"]);

/** What came of a command. */
export interface Executed {
  /** Its exit code; 128 and the number of the signal that ended it. */
  readonly code: number;
  /** Why it could not be started. */
  readonly problem?: RunError;
}

/** One command, which runs at most once. */
export class Execution {
  readonly #exec: Exec;
  readonly #ended = new AbortController();
  #child: Deno.ChildProcess | undefined;
  #executed: Promise<Executed> | undefined;

  /**
   * Starts nothing yet.
   *
   * @throws {UsageError} when this process may not start it.
   */
  constructor(exec: Exec) {
    this.#exec = exec;
    const { program: command } = exec;
    const { state } = Deno.permissions.querySync({ name: "run", command });
    if (state === "granted") return;
    throw new UsageError(
      `exec: no permission to run ${
        quote(command)
      } (Deno gives it with --allow-run, which 'deno task exec' has)`,
    );
  }

  /**
   * Starts it once `run` works, which is told to stop when it has ended.
   *
   * @returns what came of it; that a client then fails does not end it.
   * @throws what `run` throws while the command has not been started.
   */
  async during(
    host: RoleHost,
    run: (host: RoleHost) => Promise<void>,
  ): Promise<Executed> {
    const { stop } = host;
    try {
      await run({
        ...host,
        stop: {
          ...stop,
          drain: AbortSignal.any([stop.drain, this.#ended.signal]),
        },
        onStarted: (places) => {
          host.onStarted(places);
          this.#executed ??= this.#start(places ?? []);
        },
      });
    } catch (error) {
      if (this.#executed === undefined) throw error;
      // Its end is what the client was told to stop for.
      if (error !== this.#ended.signal.reason) {
        log.error("the tunnels have ended; the command goes on without", {
          error,
        });
      }
    }
    if (this.#executed === undefined) throw stop.drain.reason;
    return await this.#executed;
  }

  /** Passes a signal on; returns whether there is a command to have it. */
  pass(signal: Deno.Signal): boolean {
    if (this.#child === undefined) return false;
    // The terminal has told all that run in it, this process and the command.
    if (signal === "SIGINT" && Deno.stdin.isTerminal()) return true;
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It has ended, of which we hear next.
      log.debug("the command has ended before a signal", {
        why: messageOf(error),
      });
    }
    return true;
  }

  async #start(places: readonly Place[]): Promise<Executed> {
    const { program, targets } = this.#exec;
    const reached = places.slice(0, targets.length) as readonly Address[];
    try {
      const { args, env } = commandAt(this.#exec, reached);
      const child = new Deno.Command(program, {
        args: [...args],
        env: { ...env },
        stdin: "inherit",
        stdout: "inherit",
        stderr: "inherit",
      }).spawn();
      this.#child = child;
      // This was the only one.
      Deno.permissions.revokeSync({ name: "run" });
      log.info("command started", { pid: child.pid });
      const { code } = await child.status;
      return { code };
    } catch (cause) {
      const missing = cause instanceof Deno.errors.NotFound;
      const why = missing ? "there is no such command" : messageOf(cause);
      return {
        code: missing ? EXIT.missing : EXIT.notRun,
        problem: new RunError(`exec: cannot run ${quote(program)}: ${why}`, {
          cause,
        }),
      };
    } finally {
      this.#ended.abort(new Error("the command has ended"));
    }
  }
}
