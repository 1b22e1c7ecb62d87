/**
 * The relay loop: one socket, one tunnel machine, and the effects between
 * them.
 *
 * Nothing here waits for anything but its own socket, so that no tunnel holds
 * up another: reads are asked for when the machine allows them, writes one at
 * a time, and frames are handed over in the turn in which they arise.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import { messageOf, type Reason } from "./errors.ts";
import type { Socket } from "./socket.ts";
import type { Outcome, TunnelStats } from "./tunnel_types.ts";

/** What drives a socket: `TunnelState`, or its stand-in for version 1. */
export interface TunnelMachine<Frame> {
  /** How the tunnel ended; undefined while it has not. */
  readonly outcome: Outcome | undefined;
  /** How many bytes may be read from the application now. */
  readonly readAllowance: number;
  /** Whether the application is to be told that the stream has ended. */
  readonly endDue: boolean;
  /** When `tick` is to be called at the latest. */
  readonly nextTimeout: number;
  /** Counters. */
  readonly stats: TunnelStats;
  /** The application sent `chunk`. */
  read(chunk: Uint8Array, now: number): void;
  /** The application ended its stream. */
  readEnd(now: number): void;
  /** `chunk`, from `takeWritable`, was written to the application. */
  wrote(chunk: Uint8Array, now: number): void;
  /** The end of stream was passed to the application. */
  wroteEnd(now: number): void;
  /** The local socket failed. */
  fail(reason: Reason, now: number): void;
  /** Cuts the tunnel at once; the peer is told unless `tell` is false. */
  abort(reason: Reason, options?: { readonly tell?: boolean }): void;
  /** The link to NATS is down. */
  linkDown(now: number): void;
  /** The link to NATS is back. */
  linkUp(now: number): void;
  /** Time has passed. */
  tick(now: number): void;
  /** The next frame to send, or undefined; with `answersOnly` none that carries data. */
  pollFrame(now: number, answersOnly?: boolean): Frame | undefined;
  /** The next bytes to write to the application, or undefined. */
  takeWritable(): Uint8Array | undefined;
}

/** What a relay needs of its surroundings. */
export interface RelayOptions<Frame> {
  /** The local connection. */
  readonly socket: Socket;
  /** What decides. */
  readonly machine: TunnelMachine<Frame>;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Whether the way to NATS is full: then only answers go out. */
  readonly congested: () => boolean;
  /** Puts a frame on the wire. */
  readonly send: (frame: Frame) => void;
  /** Called after each drive, so that the owner can see to timers and congestion. */
  readonly onDriven: () => void;
  /** Called once, when the tunnel has ended and the socket is closed. */
  readonly onEnd: (outcome: Outcome) => void;
}

/** Carries out what a tunnel machine decides. */
export class Relay<Frame> {
  readonly #options: RelayOptions<Frame>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #reading = false;
  #writing = false;
  #ended = false;

  /** A relay that does nothing until it is driven. */
  constructor(options: RelayOptions<Frame>) {
    this.#options = options;
    this.#reader = options.socket.readable.getReader();
    this.#writer = options.socket.writable.getWriter();
  }

  /** Whether the tunnel has ended. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether frames wait for the way to NATS to be free. */
  get wantsDrain(): boolean {
    return !this.#ended && this.#options.congested();
  }

  /** Drains what follows from the last event: frames, writes, reads, the end. */
  drive(now: number = this.#options.clock.now()): void {
    if (this.#ended) return;
    this.#sendFrames(now);
    this.#write();
    this.#read();
    if (this.#options.machine.outcome !== undefined) this.#end();
    this.#options.onDriven();
  }

  #sendFrames(now: number): void {
    const { machine, congested, send } = this.#options;
    let frame: Frame | undefined;
    while ((frame = machine.pollFrame(now, congested())) !== undefined) {
      send(frame);
    }
  }

  #read(): void {
    const { machine, socket, congested } = this.#options;
    if (this.#reading || congested()) return;
    const allowance = machine.readAllowance;
    if (allowance <= 0) return;
    this.#reading = true;
    socket.readLimit = allowance;
    this.#reader.read().then(this.#onRead, this.#onReadError);
  }

  #write(): void {
    const { machine } = this.#options;
    if (this.#writing) return;
    const chunk = machine.takeWritable();
    if (chunk !== undefined) {
      this.#writing = true;
      this.#writer.write(chunk).then(
        () => this.#onWrote(chunk),
        (error) => this.#onWriteError(chunk, error),
      );
    } else if (machine.endDue) {
      this.#writing = true;
      this.#writer.close().then(this.#onWroteEnd, this.#onCloseError);
    }
  }

  #end(): void {
    const { machine, socket, onEnd } = this.#options;
    if (machine.outcome === undefined) return;
    this.#ended = true;
    socket.close();
    onEnd(machine.outcome);
  }

  readonly #onRead = (result: ReadableStreamReadResult<Uint8Array>): void => {
    const { machine, clock } = this.#options;
    const now = clock.now();
    this.#reading = false;
    if (result.done) machine.readEnd(now);
    else machine.read(result.value, now);
    this.drive(now);
  };

  readonly #onReadError = (error: unknown): void => {
    this.#fail(`reading from the application failed: ${messageOf(error)}`);
  };

  #onWrote(chunk: Uint8Array): void {
    const { machine, clock } = this.#options;
    const now = clock.now();
    this.#writing = false;
    machine.wrote(chunk, now);
    this.drive(now);
  }

  readonly #onWroteEnd = (): void => {
    const now = this.#options.clock.now();
    this.#options.machine.wroteEnd(now);
    this.drive(now);
  };

  #onWriteError(chunk: Uint8Array, error: unknown): void {
    const { machine, clock } = this.#options;
    this.#fail(`writing to the application failed: ${messageOf(error)}`);
    machine.wrote(chunk, clock.now());
  }

  readonly #onCloseError = (error: unknown): void => {
    this.#fail(`ending the application's stream failed: ${messageOf(error)}`);
  };

  #fail(text: string): void {
    if (this.#ended) return; // closing our own socket ends its reads
    const { machine, clock } = this.#options;
    const now = clock.now();
    machine.fail({ code: "aborted", text }, now);
    this.drive(now);
  }
}
