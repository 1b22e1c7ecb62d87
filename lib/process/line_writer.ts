/**
 * Writes lines to standard error without ever waiting for its reader: a pipe
 * that nobody reads costs lines, not time.
 *
 * A write to a full pipe holds its thread up for as long as the reader takes,
 * which stopped every tunnel of the process after some hundred lines. So one
 * write at a time is under way, off this thread; lines that come meanwhile
 * wait, up to a bound, and what does not fit is dropped and counted.
 *
 * @module
 */

/** Most text that waits, in UTF-16 units: two thousand lines, a burst that a slow reader catches up with. */
const MAX_WAITING = 256 * 1024;

/** Pause before a full pipe that does not block is tried again, in ms: nothing says when it has room. */
const RETRY_MS = 20;

/** The byte that ends a line. */
const LINE_END = 0x0a;

/** What a writer of lines is made of. */
export interface LineWriterOptions {
  /** Writes some of the bytes and resolves to how many; default standard error. */
  readonly write?: (bytes: Uint8Array) => Promise<number>;
  /** The line that says how many were dropped, with its end. */
  readonly droppedLine: (count: number) => string;
}

/** A bounded queue of lines before a slow reader. */
export class LineWriter {
  readonly #write: (bytes: Uint8Array) => Promise<number>;
  readonly #droppedLine: (count: number) => string;
  #waiting = "";
  #dropped = 0;
  /** Whether what was written last ended within a line. */
  #torn = false;
  #writing: Promise<void> | undefined;

  /** A writer that has written nothing. */
  constructor(options: LineWriterOptions) {
    this.#write = options.write ?? ((bytes) => Deno.stderr.write(bytes));
    this.#droppedLine = options.droppedLine;
  }

  /** Queues `line`, with its end, or drops it when too much waits. */
  push(line: string): void {
    if (this.#waiting.length + line.length > MAX_WAITING) {
      this.#dropped++;
      return;
    }
    this.#waiting += line;
    this.#writing ??= this.#run();
  }

  /** Resolves when all lines are written, or after `timeout` ms. */
  async flush(timeout: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeout);
    await Promise.race([this.#writing, promise]);
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    // The lines of one turn go in one write.
    await Promise.resolve();
    while (this.#waiting !== "") {
      const dropped = this.#dropped;
      // What was dropped came after what waits.
      const text = this.#waiting +
        (dropped > 0 ? this.#droppedLine(dropped) : "");
      this.#waiting = "";
      this.#dropped = 0;
      const lost = await this.#writeAll(text);
      // The last to be lost is the line that tells of those dropped before.
      if (lost > 0) this.#dropped += lost + (dropped > 0 ? dropped - 1 : 0);
    }
    this.#writing = undefined;
  }

  /**
   * Writes `text`, as far as that can be done: without a log there is nowhere to
   * tell. Resolves to how many of its lines were not written whole.
   */
  async #writeAll(text: string): Promise<number> {
    // A line that was cut off must not run into the next.
    const gap = this.#torn ? "\n" : "";
    const bytes = new TextEncoder().encode(gap + text);
    let written = 0;
    while (written < bytes.length) {
      try {
        written += await this.#write(bytes.subarray(written));
      } catch (error) {
        if (!(error instanceof Deno.errors.WouldBlock)) break;
        await new Promise((wake) => setTimeout(wake, RETRY_MS));
      }
    }
    if (written > 0) this.#torn = written < bytes.length;
    const rest = bytes.subarray(Math.max(written, gap.length));
    return rest.reduce(
      (lines, byte) => byte === LINE_END ? lines + 1 : lines,
      0,
    );
  }
}
