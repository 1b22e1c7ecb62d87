/**
 * Starts real processes, watches them line by line, signals them by pid, and
 * always reaps them.
 *
 * @module
 */

import { type Endpoint, freePort } from "./addresses.ts";
import { abortable, Changes, type WaitOptions } from "./changes.ts";
import { currentSignal, unwatch, watch } from "./integration_test.ts";

/** How a process is started. */
export interface SpawnOptions {
  /** What it is called in messages; default the command's file name. */
  readonly name?: string;
  /** Its arguments. */
  readonly args?: readonly string[];
  /** Environment variables added to what it inherits. */
  readonly env?: Readonly<Record<string, string>>;
  /** Give it only `env`, nothing of ours; default false. */
  readonly clearEnv?: boolean;
  /** Its working directory; default ours. */
  readonly cwd?: string;
}

/** Which lines a wait looks at. */
export interface LineOptions extends WaitOptions {
  /** Only lines after this {@linkcode Process.mark}; default all retained. */
  readonly since?: number;
}

/** Lines kept per process; older ones are dropped. Enough for a debug log of 1,000 tunnels. */
const MAX_LINES = 20_000;

/** Characters kept of one line. */
const MAX_LINE = 8_192;

/** How long {@linkcode Process.stop} waits before it kills, in ms. */
const STOP_GRACE = 15_000;

/** How long output may stay open after the process ended (a grandchild holds it), in ms. */
const OUTPUT_GRACE = 2_000;

/** Ports tried by {@linkcode spawnOnFreePort}: each fails only if it was taken in between. */
const PORT_TRIES = 10;

/** How long it may take to listen on one, in ms. */
const LISTEN_LIMIT = 15_000;

/** A running or ended child process. */
export class Process implements AsyncDisposable {
  /** What it is called in messages. */
  readonly name: string;
  /** Its process ID. */
  readonly pid: number;
  /** The command as a person would type it. */
  readonly commandLine: string;
  /** How it ended; settles after all its output was read; never rejects. */
  readonly status: Promise<Deno.CommandStatus>;

  readonly #child: Deno.ChildProcess;
  readonly #lines: string[] = [];
  readonly #changes = new Changes();
  #dropped = 0;
  #gone = false;
  #ended: Deno.CommandStatus | undefined;

  /** Takes over a child whose stdout and stderr are piped; see {@linkcode spawn}. */
  constructor(child: Deno.ChildProcess, name: string, commandLine: string) {
    this.#child = child;
    this.name = name;
    this.pid = child.pid;
    this.commandLine = commandLine;
    this.status = this.#run();
    watch(this);
  }

  /** Whether it has ended and all its output was read. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** All retained lines of stdout and stderr, in the order they were read. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** How many lines were read so far; give it as `since` to see only later ones. */
  mark(): number {
    return this.#dropped + this.#lines.length;
  }

  /** The lines after `mark`, as far as they are retained. */
  linesSince(mark: number): readonly string[] {
    return this.#lines.slice(Math.max(0, mark - this.#dropped));
  }

  /** The last `count` lines it wrote. */
  tail(count: number): string {
    return this.#lines.slice(-count).join("\n");
  }

  /**
   * The first line for which `predicate` holds, of those already read or as
   * it arrives.
   *
   * @throws {ProcessEnded} when the process ends without such a line; the
   *   signal's reason when it aborts.
   */
  async waitForLine(
    predicate: (line: string) => boolean,
    options: LineOptions = {},
  ): Promise<string> {
    let from = options.since ?? 0;
    return await this.#changes.until(() => {
      const found = this.linesSince(from).find(predicate);
      from = this.mark();
      if (found !== undefined || !this.#ended) return found;
      throw new ProcessEnded(this, this.#ended);
    }, options);
  }

  /** Sends a signal; nothing happens if the process has ended. */
  signal(signal: Deno.Signal): void {
    if (this.#gone) return;
    this.#child.kill(signal);
  }

  /** SIGSTOP: it holds its sockets and does nothing, like a hung machine. */
  pause(): void {
    this.signal("SIGSTOP");
  }

  /** SIGCONT: it goes on. */
  resume(): void {
    this.signal("SIGCONT");
  }

  /** SIGKILL, without waiting. */
  killNow(): void {
    this.signal("SIGKILL");
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<Deno.CommandStatus> {
    this.killNow();
    return await this.status;
  }

  /** SIGTERM; SIGKILL if it is not gone after `grace` ms (default 15 000). */
  async stop(grace: number = STOP_GRACE): Promise<Deno.CommandStatus> {
    this.signal("SIGTERM");
    this.signal("SIGCONT");
    const timer = setTimeout(() => this.killNow(), grace);
    try {
      return await this.status;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Kills it if it still runs, and waits until it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #run(): Promise<Deno.CommandStatus> {
    const stop = new AbortController();
    const output = Promise.all([
      this.#read(this.#child.stdout, stop.signal),
      this.#read(this.#child.stderr, stop.signal),
    ]);
    const status = await this.#child.status;
    this.#gone = true;
    unwatch(this);
    const timer = setTimeout(() => stop.abort(), OUTPUT_GRACE);
    await output;
    clearTimeout(timer);
    this.#ended = status;
    this.#changes.notify();
    return status;
  }

  async #read(
    stream: ReadableStream<Uint8Array<ArrayBuffer>>,
    signal: AbortSignal,
  ): Promise<void> {
    const reader = stream.getReader();
    // Cancelling resolves the pending read as done.
    const cancel = () => void reader.cancel().catch(() => {});
    signal.addEventListener("abort", cancel, { once: true });
    const decoder = new TextDecoder();
    let partial = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (partial + decoder.decode(value, { stream: true }))
        .split("\n");
      partial = (parts.pop() ?? "").slice(0, MAX_LINE);
      for (const line of parts) this.#push(line);
    }
    signal.removeEventListener("abort", cancel);
    if (partial !== "") this.#push(partial);
  }

  #push(text: string): void {
    const line = text.slice(0, MAX_LINE);
    this.#lines.push(line);
    if (this.#lines.length > MAX_LINES) {
      // Half at a time: dropping the first of an array costs its length.
      this.#lines.splice(0, MAX_LINES / 2);
      this.#dropped += MAX_LINES / 2;
    }
    this.#changes.notify();
  }
}

/** A process ended while something else was expected of it. */
export class ProcessEnded extends Error {
  override readonly name = "ProcessEnded";
  /** The process; its `tail` says more. */
  readonly process: Process;

  /** Says that `process` ended, and how. */
  constructor(process: Process, status: Deno.CommandStatus | undefined) {
    super(
      `${process.name} ended unexpectedly (${describeStatus(status)}): ${
        process.tail(1).trim()
      }`,
    );
    this.process = process;
  }
}

/** "exit code 2" or "signal SIGKILL", for messages. */
export function describeStatus(status: Deno.CommandStatus | undefined): string {
  if (!status) return "still running";
  return status.signal ? `signal ${status.signal}` : `exit code ${status.code}`;
}

/**
 * Starts a process with stdin closed and its output captured.
 *
 * @throws {Deno.errors.NotFound} when there is no such command.
 */
export function spawn(command: string, options: SpawnOptions = {}): Process {
  const { args = [], env = {}, clearEnv = false, cwd } = options;
  const child = new Deno.Command(command, {
    args: [...args],
    env: { ...env },
    clearEnv,
    ...(cwd === undefined ? {} : { cwd }),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const name = options.name ?? command.replace(/^.*\//, "");
  return new Process(child, name, [command, ...args].join(" "));
}

/**
 * Starts a server that takes no port 0 on a free port of 127.0.0.1, and waits
 * until it says that it is ready.
 *
 * @throws {ProcessEnded} when it ends instead, whatever the port.
 */
export async function spawnOnFreePort(
  command: string,
  options: WaitOptions & {
    readonly name: string;
    readonly args: (port: number) => readonly string[];
    /** What it then says. */
    readonly ready: RegExp;
  },
): Promise<{ readonly process: Process; readonly endpoint: Endpoint }> {
  const { name, args, ready } = options;
  for (let attempt = 1;; attempt++) {
    const port = freePort();
    const process = spawn(command, { name, args: args(port) });
    const signals = [
      options.signal ?? currentSignal(),
      AbortSignal.timeout(LISTEN_LIMIT),
    ];
    try {
      await process.waitForLine((line) => ready.test(line), {
        signal: AbortSignal.any(signals.filter((s) => s !== undefined)),
      });
      return { process, endpoint: { hostname: "127.0.0.1", port } };
    } catch (error) {
      await process.kill();
      const taken = error instanceof ProcessEnded;
      if (!taken || attempt === PORT_TRIES) throw error;
    }
  }
}

/**
 * Runs a command to its end.
 *
 * @returns how it ended, and all it wrote.
 */
export async function run(
  command: string,
  options: SpawnOptions & WaitOptions = {},
): Promise<{ readonly status: Deno.CommandStatus; readonly output: string }> {
  await using process = spawn(command, options);
  const status = await abortable<Deno.CommandStatus>((resolve, reject) => {
    process.status.then(resolve, reject);
  }, options);
  return { status, output: process.lines.join("\n") };
}
