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
  #lines = 0;
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
    this.#lines++;
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
    while (this.#lines > 0) {
      const [lines, dropped] = [this.#lines, this.#dropped];
      // What was dropped came after what waits.
      const text = this.#waiting +
        (dropped > 0 ? this.#droppedLine(dropped) : "");
      this.#waiting = "";
      this.#lines = this.#dropped = 0;
      if (!await this.#writeAll(text)) this.#dropped += dropped + lines;
    }
    this.#writing = undefined;
  }

  /** Writes `text`; false when that fails: without a log there is nowhere to tell. */
  async #writeAll(text: string): Promise<boolean> {
    // A line that was cut off must not run into the next.
    const bytes = new TextEncoder().encode(this.#torn ? `\n${text}` : text);
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
    return written === bytes.length;
  }
}
