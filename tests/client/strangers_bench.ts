/** A place that is listened at on a bench, whose connections are strangers at first. */
import { Strangers } from "../../lib/client/strangers.ts";
import type { Socket } from "../../lib/net/socket.ts";
import { type CapturedLog, captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeListener, FakeSocket } from "../support/fake_socket.ts";
import { turn } from "../support/memory_bus.ts";

/** Applications that connect there, and what the log says of them. */
export class StrangersBench implements Disposable {
  readonly clock = new FakeClock();
  readonly listener = new FakeListener();
  readonly strangers: Strangers;
  readonly #log: CapturedLog = captureLog();

  constructor(maxStrangers?: number) {
    this.strangers = new Strangers(this.clock, maxStrangers);
  }

  /** Hands connections to `take`, which is waited for before the next one, until nothing is listened at. */
  protected async serve(
    take: (socket: Socket) => Promise<void> | undefined,
  ): Promise<void> {
    for await (const socket of this.listener.accept()) {
      const taken = take(socket);
      if (taken !== undefined) await taken;
    }
  }

  /** An application connects, and says this. */
  async connect(...said: readonly Uint8Array[]): Promise<FakeSocket> {
    const socket = new FakeSocket();
    this.listener.offer(socket);
    for (const bytes of said) {
      await turn();
      socket.send(bytes);
    }
    await turn();
    return socket;
  }

  /** Lines at warn. */
  get lines(): readonly Readonly<Record<string, unknown>>[] {
    return this.#log.records.filter(({ level }) => level === "warning")
      .map(({ properties }) => properties);
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms, turn);
  }

  [Symbol.dispose](): void {
    this.listener[Symbol.dispose]();
    this.strangers[Symbol.dispose]();
    this.#log[Symbol.dispose]();
  }
}
