/** The machine of a version 1 tunnel on a bench: its events by hand, what follows in words. */
import assert from "node:assert/strict";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import type { Message } from "../../lib/wire/message.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import {
  type V1Frame,
  type V1Options,
  V1State,
} from "../../lib/tunnel/v1_machine.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A machine, its surroundings, and what came out of it. */
export class V1Bench {
  readonly sendBudget: MemoryBudget;
  readonly receiveBudget: MemoryBudget;
  readonly state: V1State;
  now = 1_000;
  /** What the broker says to probes while time passes. */
  broker: "nothing" | "passed" | "no responders" = "nothing";
  /** What was written to the application. */
  written = "";
  ended = false;

  constructor(
    options: Partial<Omit<V1Options, "sendBudget" | "receiveBudget">> & {
      readonly sendBudget?: MemoryBudget;
      readonly receiveBudget?: MemoryBudget;
    } = {},
  ) {
    this.sendBudget = options.sendBudget ?? new MemoryBudget(1 << 20);
    this.receiveBudget = options.receiveBudget ?? new MemoryBudget(1 << 20);
    this.state = new V1State({
      now: this.now,
      role: "client",
      pool: new BufferPool(),
      sendBudget: this.sendBudget,
      receiveBudget: this.receiveBudget,
      rate: 1 << 20,
      dataBytes: 1_000,
      listenTimeout: 10_000,
      idleTimeout: 0,
      halfCloseTimeout: 60_000,
      ...options,
    });
  }

  /** All frames that are due. */
  frames(): V1Frame[] {
    const frames: V1Frame[] = [];
    let frame: V1Frame | undefined;
    while ((frame = this.state.pollFrame(this.now)) !== undefined) {
      frames.push(frame);
    }
    return frames;
  }

  /** The frames that are due, in words. */
  sent(): string {
    return this.frames().map((frame) =>
      frame.type === "data" ? `"${decoder.decode(frame.payload)}"` : frame.type
    ).join(" ");
  }

  /** Writes to the application what is there, and the end if it is due. */
  write(): void {
    let chunk: Uint8Array | undefined;
    while ((chunk = this.state.takeWritable()) !== undefined) {
      this.written += decoder.decode(chunk);
      this.state.wrote(chunk, this.now);
    }
    if (this.state.endDue) {
      this.ended = true;
      this.state.wroteEnd(this.now);
    }
  }

  read(text: string): void {
    this.state.read(encoder.encode(text), this.now);
  }

  receive(message: Partial<Message>): void {
    this.state.receive(
      { id: "id", reply: "", data: null, metadata: null, ...message },
      this.now,
    );
  }

  data(text: string): void {
    this.receive({ data: encoder.encode(text) });
  }

  close(): void {
    this.receive({ metadata: { type: "close" } });
  }

  /** Sends a probe and has the broker say that the peer listens. */
  listen(): void {
    const probe = this.frames().find(({ type }) => type === "probe");
    assert.ok(probe?.type === "probe", "no probe is due");
    this.state.passed(probe.id, this.now);
  }

  /** Time passes, and the timer fires when it is due. */
  wait(ms: number): void {
    const until = this.now + ms;
    while (this.state.nextTimeout <= until) {
      this.now = Math.max(this.now, this.state.nextTimeout);
      this.state.tick(this.now);
      this.#answerProbes();
      assert.ok(this.state.nextTimeout > this.now, "the timer spins");
    }
    this.now = until;
    this.state.tick(this.now);
  }

  #answerProbes(): void {
    for (const frame of this.frames()) {
      if (frame.type !== "probe" || this.broker === "nothing") continue;
      if (this.broker === "passed") this.state.passed(frame.id, this.now);
      else this.state.noResponders(this.now);
    }
  }

  /** How it ended, in a word. */
  get outcome(): string | undefined {
    const { outcome } = this.state;
    if (outcome === undefined) return undefined;
    return outcome.clean ? "clean" : `${outcome.reason.code} by ${outcome.by}`;
  }
}

/** A bench whose peer listens. */
export function listening(role: Role): V1Bench {
  const bench = new V1Bench({ role });
  bench.listen();
  return bench;
}

/** What can happen. */
export const EVENTS = {
  "bytes from the application": (bench: V1Bench) => bench.read("hello"),
  "end from the application": ({ state, now }: V1Bench) => state.readEnd(now),
  "bytes from the peer": (bench: V1Bench) => bench.data("answer"),
  "nothing from the peer": (bench: V1Bench) => bench.data(""),
  "a close from the peer": (bench: V1Bench) => bench.close(),
  "an error from the peer": (bench: V1Bench) =>
    bench.receive({ data: encoder.encode("no"), metadata: { error: "true" } }),
  "no responders": ({ state, now }: V1Bench) => state.noResponders(now),
  "the link is down": ({ state }: V1Bench) => state.linkDown(),
  "the socket fails": ({ state }: V1Bench) =>
    state.fail({ code: "aborted", text: "reset" }),
  "6 s pass": (bench: V1Bench) => bench.wait(6_000),
  "35 s pass": (bench: V1Bench) => bench.wait(35_000),
} as const;

/** The name of something that can happen. */
export type V1Event = keyof typeof EVENTS;
