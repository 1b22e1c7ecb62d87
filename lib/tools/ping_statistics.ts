/**
 * What `ping` counts, and what it says at its end.
 *
 * @module
 */
import { formatMs } from "./table.ts";

/** What one question came to. */
export interface Answer {
  /** Whether it was answered, and well. */
  readonly answered: boolean;
  /** How long that took, in ms. */
  readonly ms: number;
}

/** The count of a run. */
export class PingStatistics {
  #asked = 0;
  #answered = 0;
  #least = Infinity;
  #most = 0;
  #sum = 0;

  /** How often was asked. */
  get asked(): number {
    return this.#asked;
  }

  /** How many were not answered, or not well. */
  get lost(): number {
    return this.#asked - this.#answered;
  }

  /** A question has ended. */
  note({ answered, ms }: Answer): void {
    this.#asked++;
    if (!answered) return;
    this.#answered++;
    this.#sum += ms;
    this.#least = Math.min(this.#least, ms);
    this.#most = Math.max(this.#most, ms);
  }

  /** The last line. */
  get summary(): string {
    const { asked, lost } = this;
    const percent = asked === 0 ? 0 : Math.round(100 * lost / asked);
    const counts =
      `${asked} asked, ${this.#answered} answered, ${percent}% lost`;
    if (this.#answered === 0) return counts;
    const times = [this.#least, this.#mean, this.#most].map(formatMs);
    return `${counts}, min/avg/max ${times.join("/")} ms`;
  }

  /** The same for programs. */
  get json(): Readonly<Record<string, number>> {
    const counts = { asked: this.#asked, answered: this.#answered };
    if (this.#answered === 0) return { ...counts, lost: this.lost };
    const [min_ms = 0, avg_ms = 0, max_ms = 0] = [
      this.#least,
      this.#mean,
      this.#most,
    ].map((ms) => Math.round(ms * 1_000) / 1_000);
    return { ...counts, lost: this.lost, min_ms, avg_ms, max_ms };
  }

  get #mean(): number {
    return this.#sum / this.#answered;
  }
}
