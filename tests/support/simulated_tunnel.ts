/**
 * One end of a tunnel on the simulated bus, driven as a session drives it, and
 * the application there.
 */
import assert from "node:assert/strict";
import { binaryCodec } from "../../lib/wire/binary.ts";
import { SLAB_BYTES } from "../../lib/base/buffer_pool.ts";
import type { Reason } from "../../lib/base/errors.ts";
import type { DataFrame, Frame } from "../../lib/wire/frame.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { TunnelState } from "../../lib/tunnel/machine.ts";
import type { Pace, SimulatedBus } from "./simulated_bus.ts";
import type { SimulatedEnd } from "./simulated_end.ts";
import { assertEqual, assertPattern, patternAt } from "./simulation_parts.ts";

/** Longer than any history, in ms. */
const NEVER_MS = 1e9;

/** Reads and writes in one drive before it counts as a livelock. */
const MAX_TURNS = 100_000;

/** One end of a tunnel and the application there. */
export class SimulatedTunnel {
  readonly number: number;
  readonly state: TunnelState;
  readonly #bus: SimulatedBus;
  readonly #end: SimulatedEnd;
  readonly #others: Role;
  /** Bytes the application has still to send. */
  #unsent = 0;
  #chunk = 1;
  #slab = false;
  /** Bytes it has sent, and whether it has ended its stream. */
  sent = 0;
  ended = false;
  #endWanted = false;
  /** Bytes it has received, and whether it was told of the end. */
  received = 0;
  endReceived = false;
  /** Why this end was cut by its application. */
  cut: Reason | undefined;
  #pace: Pace = "fast";
  #writing = false;
  #timerAt = Infinity;
  /** The message of each DATA frame, by offset: sent again, it is the same. */
  #messages = new Map<number, Uint8Array>();

  constructor(bus: SimulatedBus, end: SimulatedEnd, number: number) {
    const { setup } = bus;
    this.#bus = bus;
    this.#end = end;
    this.#others = end.role === "client" ? "server" : "client";
    this.number = number;
    this.state = new TunnelState({
      now: bus.now,
      pool: end.pool,
      sendBudget: end.sendBudget,
      receiveBudget: end.receiveBudget,
      path: end.path,
      peerWindow: setup.window,
      window: setup.window,
      maxWindow: setup.maxWindow,
      frameBytes: setup.frameBytes,
      idleTimeout: 0,
      halfCloseTimeout: 0,
      awaitPeer: end.role === "server",
    });
  }

  /** Whether the application has nothing left to send. */
  get idle(): boolean {
    return this.#unsent === 0 && (this.ended || !this.#endWanted);
  }

  write(
    { bytes, chunk, slab }: { bytes: number; chunk: number; slab: boolean },
  ): void {
    if (this.#endWanted || this.cut) return;
    this.#unsent += bytes;
    this.#chunk = Math.min(chunk, SLAB_BYTES);
    this.#slab = slab;
    this.drive();
  }

  end(): void {
    if (this.cut) return;
    this.#endWanted = true;
    this.drive();
  }

  setPace(pace: Pace): void {
    this.#pace = pace;
    this.drive();
  }

  fail(): void {
    if (this.state.outcome !== undefined) return;
    this.cut ??= { code: "aborted", text: `failed at the ${this.#end.role}` };
    this.state.fail(this.cut, this.#bus.now);
    this.drive();
  }

  abort(tell: boolean): void {
    if (this.state.outcome !== undefined) return;
    this.cut ??= { code: "shutdown", text: `cut at the ${this.#end.role}` };
    this.state.abort(this.cut);
    if (!tell) this.state.pollFrame(this.#bus.now); // its RESET is lost
    this.drive();
  }

  setFrameBytes(bytes: number): void {
    this.state.setFrameBytes(bytes);
    this.#messages.clear(); // what is cut anew is other messages
    this.drive();
  }

  /** What nobody sealed came for it: perhaps its peer says that it knows no such tunnel. */
  doubt(): void {
    // No history lasts so long: what the peer says clears it up.
    this.state.doubt(this.#bus.now + NEVER_MS, this.#bus.now);
    this.drive();
  }

  deliver(frame: Frame): void {
    if (this.state.outcome !== undefined) this.#answerStray(frame);
    else {
      const { frameBytes } = this.state;
      this.state.receive(frame, this.#bus.now);
      if (this.state.frameBytes < frameBytes) {
        this.#messages.clear(); // what is cut anew is other messages
        this.#end.halved(this.state.frameBytes);
      }
      this.drive();
    }
  }

  /** Carries out everything that follows from the last event. */
  drive(): void {
    let turns = 0;
    do {
      assert.ok(++turns < MAX_TURNS, "livelock: a drive has no end");
      this.#sendFrames();
    } while (this.#read() || this.#write() || this.#tick());
    this.#setTimer();
    this.#end.check();
  }

  #sendFrames(): void {
    const { state } = this;
    let frame: Frame | undefined;
    while (
      (frame = state.pollFrame(this.#bus.now, this.#end.congested)) !==
        undefined
    ) {
      if (frame.type === "data") this.#checkData(frame.offset, frame);
      this.#bus.publish(this.#end, this.number, frame);
    }
  }

  /** Reads from the application; returns whether it did. */
  #read(): boolean {
    const { state } = this;
    const allowance = state.readAllowance;
    assert.ok(allowance >= 0, `allowance is ${allowance}`);
    if (this.#end.congested || this.cut || this.ended) return false;
    if (this.#unsent === 0) {
      if (!this.#endWanted || state.outcome !== undefined) return false;
      this.ended = true;
      state.readEnd(this.#bus.now);
      return true;
    }
    const length = Math.min(allowance, this.#unsent, this.#chunk);
    if (length === 0) return false;
    const chunk = this.#slab || length === SLAB_BYTES
      ? this.#end.pool.acquire().subarray(0, length)
      : new Uint8Array(length);
    chunk.set(patternAt(this.#key(this.#end.role), this.sent, length));
    this.sent += length;
    this.#unsent -= length;
    state.read(chunk, this.#bus.now);
    return true;
  }

  /** Starts a write to the application; returns whether it is done already. */
  #write(): boolean {
    if (this.#writing || this.#pace === "stalled") return false;
    const chunk = this.state.takeWritable();
    const { writeTime } = this.#bus.setup;
    const time = this.#pace === "slow" ? 50 + 10 * writeTime : writeTime;
    if (chunk !== undefined) {
      this.#writing = true;
      if (time === 0) this.#wrote(chunk);
      else {
        this.#bus.after(time, () => {
          this.#wrote(chunk);
          this.drive();
        });
      }
      return time === 0;
    }
    if (!this.state.endDue) return false;
    assert.ok(!this.endReceived, "told of the end twice");
    const other = this.#bus.application({
      tunnel: this.number - 1,
      role: this.#others,
    });
    assert.ok(other.ended, "told of an end that nobody sent");
    assert.equal(this.received, other.sent, "short but clean");
    this.endReceived = true;
    this.state.wroteEnd(this.#bus.now);
    return true;
  }

  #wrote(chunk: Uint8Array): void {
    // Once cut, the slab may hold anything; nobody sees it any more.
    if (this.state.outcome === undefined && !this.cut) {
      assertPattern(this.#key(this.#others), this.received, chunk);
      this.received += chunk.length;
    }
    this.#writing = false;
    this.state.wrote(chunk, this.#bus.now);
  }

  /** Lets a timeout that is due happen; returns whether one was. */
  #tick(): boolean {
    const { now } = this.#bus;
    if (this.state.nextTimeout > now) return false;
    this.state.tick(now);
    this.#sendFrames();
    const at = this.state.nextTimeout;
    assert.ok(at > now, `timeout ${at} is due at ${now}, nothing comes of it`);
    return true;
  }

  #setTimer(): void {
    const { now } = this.#bus;
    const at = this.state.nextTimeout;
    if (at >= this.#timerAt || at === Infinity) return;
    this.#timerAt = at;
    this.#bus.after(at - now, () => {
      if (this.#timerAt !== this.#bus.now) return; // an earlier one came first
      this.#timerAt = Infinity;
      this.drive();
    });
  }

  /** What a session answers for a tunnel that has ended. */
  #answerStray(frame: Frame): void {
    const { outcome, ack } = this.state;
    if (outcome === undefined || frame.type === "reset") return;
    if (!outcome.clean) {
      this.#bus.publish(this.#end, this.number, {
        type: "reset",
        code: outcome.reason.code,
        text: outcome.reason.text,
      });
    } else if (frame.type !== "ack" && frame.type !== "pong") {
      this.#bus.publish(this.#end, this.number, {
        type: "ack",
        ack,
        limit: ack,
        gap: false,
      });
    }
  }

  #checkData(offset: number, frame: DataFrame): void {
    assertPattern(this.#key(this.#end.role), offset, frame.payload);
    const message = binaryCodec.encode("", frame);
    const bytes = new Uint8Array(message.byteLength);
    message.encodeInto(bytes, 0);
    const before = this.#messages.get(offset);
    if (before === undefined) {
      this.#messages.set(offset, bytes);
      this.#bus.counts.fresh++;
    } else {
      assertEqual(bytes, before, "sent again, a frame is different");
      this.#bus.counts.repeated++;
    }
  }

  #key(sender: Role): number {
    return this.number * 7_919 + (sender === "client" ? 0 : 104_729);
  }
}
