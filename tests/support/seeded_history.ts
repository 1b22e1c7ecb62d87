/**
 * A random history in which everything follows from its seed.
 *
 * `SPROXY_HISTORIES` says how many the simulations try. A failure names its
 * seed; `SPROXY_SEED` tries that one again.
 */
import assert from "node:assert/strict";
import type { Role } from "../../lib/wire/subjects.ts";
import { captureLog } from "./capture_log.ts";
import { FakeClock } from "./fake_clock.ts";
import { FakeSocket } from "./fake_socket.ts";
import { MemoryBroker } from "./memory_bus.ts";
import { assertPattern, patternAt, randomFrom } from "./simulation_parts.ts";

/** Most bytes of one write: less than the pattern. */
const MAX_WRITE = 60_000;

/** What an ordinary run tries of the fastest simulation. */
const HISTORIES = Number(Deno.env.get("SPROXY_HISTORIES") ?? 10_000);

/** The one history to try again. */
const REPLAY = Deno.env.get("SPROXY_SEED");

/** One end of a tunnel: its application, and what that has sent. */
export class TunnelEnd {
  readonly socket: FakeSocket;
  sent = 0;
  ended = false;
  readonly #key: number;

  constructor(role: Role, ordinal: number) {
    this.#key = 7_919 * ordinal + (role === "client" ? 0 : 104_729);
    this.socket = new FakeSocket(`${role}:${ordinal}`);
  }

  send(length: number): void {
    if (this.ended) return;
    assert.ok(length <= MAX_WRITE);
    this.socket.send(patternAt(this.#key, this.sent, length));
    this.sent += length;
  }

  end(): void {
    this.ended = true;
    this.socket.end();
  }

  /** Fails unless this end has read a beginning of what `far` has sent, and all if `whole`. */
  check(far: TunnelEnd, whole: boolean): void {
    const { bytes, remote } = this.socket;
    assert.ok(bytes.length <= far.sent, `${remote} read more than was sent`);
    if (whole) assert.equal(bytes.length, far.sent, `${remote} is cut short`);
    for (let at = 0; at < bytes.length; at += MAX_WRITE) {
      assertPattern(far.#key, at, bytes.subarray(at, at + MAX_WRITE));
    }
  }
}

/** Processes on a broker in memory, with a clock that only moves when told. */
export abstract class SeededHistory implements Disposable {
  protected readonly clock = new FakeClock();
  protected readonly broker = new MemoryBroker();
  protected readonly log = captureLog();
  /** The next number from 0 to below 1. */
  protected readonly random: () => number;

  constructor(seed: number) {
    this.random = randomFrom(seed);
  }

  /** Lets it happen, and holds it to what was promised. */
  abstract run(): Promise<void>;

  /** What to say of a failure beside the log. */
  protected abstract get story(): readonly string[];

  /** What to say of a failure. */
  get report(): string {
    const log = this.log.records.map(({ rawMessage, properties }) =>
      `${rawMessage} ${JSON.stringify(properties)}`
    );
    return [...this.story, ...log].join("\n  ");
  }

  [Symbol.dispose](): void {
    this.log[Symbol.dispose]();
  }

  protected chance(probability: number): boolean {
    return this.random() < probability;
  }

  /** A whole number from 0 to `most`. */
  protected upTo(most: number): number {
    return Math.floor(this.random() * (most + 1));
  }

  protected pick<T>(all: readonly T[]): T | undefined {
    return all[this.upTo(all.length - 1)];
  }

  /** Lets everything happen that follows from what was done, and then `ms` pass. */
  protected async wait(ms: number): Promise<void> {
    await this.broker.settled();
    await this.clock.advance(ms, () => this.broker.settled());
  }

  /** The log lines of ended tunnels. */
  protected get closings(): Readonly<Record<string, unknown>>[] {
    return this.log.records
      .filter(({ rawMessage }) => rawMessage === "tunnel closed")
      .map(({ properties }) => properties);
  }
}

/** Tests a share of the histories, or the one to try again. */
export function testHistories(
  name: string,
  share: number,
  make: (seed: number) => SeededHistory,
): void {
  Deno.test(name, async () => {
    const seeds = REPLAY === undefined
      ? Array.from({ length: Math.ceil(share * HISTORIES) }, (_, at) => at + 1)
      : [Number(REPLAY)];
    for (const seed of seeds) {
      using history = make(seed);
      try {
        await history.run();
      } catch (cause) {
        throw new Error(
          `${history.report}\n\nTo try it again: ` +
            `SPROXY_SEED=${seed} deno test -A --filter "${name}" tests`,
          { cause },
        );
      }
    }
  });
}
