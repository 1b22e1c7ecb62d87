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
import type { Clock } from "../base/clock.ts";
import { messageOf, type Reason } from "../base/errors.ts";
import type { Socket } from "../net/socket.ts";
import type { Outcome, TunnelStats } from "../tunnel/types.ts";

/** Stands for the end of stream where there is a chunk otherwise. */
const END = new Uint8Array(0);

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
  /** Bytes held for sending and for writing. */
  readonly held: { readonly send: number; readonly receive: number };
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
  /** Cuts the tunnel at once; the peer is told. */
  abort(reason: Reason): void;
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

/** Where a relay's frames go, and whom it tells. */
export interface RelayHost<Frame> {
  /** Whether the way to NATS is full: then only answers go out. */
  readonly congested: boolean;
  /** Puts a frame on the wire. */
  send(frame: Frame): void;
  /** Called after each drive, so that the owner can see to timers and congestion. */
  driven(now: number): void;
  /** Something failed that never should: the tunnel is about to end of it. */
  faulted(error: unknown): void;
  /** Called once, when the tunnel has ended and the socket is closed. */
  ended(outcome: Outcome): void;
}

/** What a relay is made of. */
export interface RelayOptions<Frame> {
  /** The local connection. */
  readonly socket: Socket;
  /** What decides. */
  readonly machine: TunnelMachine<Frame>;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** The tunnel it works for. */
  readonly host: RelayHost<Frame>;
}

/** Carries out what a tunnel machine decides. */
export class Relay<Frame> {
  readonly #socket: Socket;
  readonly #machine: TunnelMachine<Frame>;
  readonly #clock: Clock;
  readonly #host: RelayHost<Frame>;
  #reading = false;
  /** What is being written; an empty array stands for the end of stream. */
  #writing: Uint8Array | undefined = undefined;
  #ended = false;

  /** A relay that does nothing until it is driven. */
  constructor(options: RelayOptions<Frame>) {
    this.#socket = options.socket;
    this.#machine = options.machine;
    this.#clock = options.clock;
    this.#host = options.host;
  }

  /** Drains what follows from the last event: frames, writes, reads, the end. Never throws. */
  drive(now: number = this.#clock.now()): void {
    if (this.#ended) return;
    try {
      this.#sendFrames(now);
      this.#write();
      this.#read();
    } catch (error) {
      this.fault(error, now);
      return;
    }
    if (this.#machine.outcome !== undefined) this.#end(this.#machine.outcome);
    this.#host.driven(now);
  }

  /**
   * Something failed that never should: the tunnel ends of it, and no other
   * does. The peer is told, if that still works.
   */
  fault(error: unknown, now: number): void {
    if (this.#ended) return;
    this.#host.faulted(error);
    const reason: Reason = { code: "internal", text: messageOf(error) };
    try {
      this.#machine.abort(reason);
      this.#sendFrames(now);
    } catch (again) {
      this.#host.faulted(again);
    }
    this.#end(this.#machine.outcome ?? { clean: false, by: "local", reason });
  }

  #sendFrames(now: number): void {
    const host = this.#host;
    let frame: Frame | undefined;
    while (
      (frame = this.#machine.pollFrame(now, host.congested)) !== undefined
    ) host.send(frame);
  }

  #read(): void {
    if (this.#reading || this.#host.congested) return;
    const allowance = this.#machine.readAllowance;
    if (allowance <= 0) return;
    this.#reading = true;
    this.#socket.readLimit = allowance;
    this.#socket.reader.read().then(this.#onRead, this.#onReadError);
  }

  #write(): void {
    if (this.#writing !== undefined) return;
    const { writer } = this.#socket;
    const chunk = this.#machine.takeWritable();
    if (chunk !== undefined) {
      this.#writing = chunk;
      writer.write(chunk).then(this.#onWrote, this.#onWriteError);
    } else if (this.#machine.endDue) {
      this.#writing = END;
      writer.close().then(this.#onWrote, this.#onWriteError);
    }
  }

  #end(outcome: Outcome): void {
    this.#ended = true;
    this.#socket.close();
    this.#host.ended(outcome);
  }

  // Made once for each tunnel, not for each message.

  readonly #onRead = (result: ReadableStreamReadResult<Uint8Array>): void => {
    const now = this.#clock.now();
    this.#reading = false;
    try {
      if (result.done) this.#machine.readEnd(now);
      else this.#machine.read(result.value, now);
    } catch (error) {
      this.fault(error, now);
    }
    this.drive(now);
  };

  readonly #onReadError = (error: unknown): void => {
    const now = this.#clock.now();
    this.#fail("reading from the application", error, now);
    this.drive(now);
  };

  readonly #onWrote = (): void => {
    const now = this.#clock.now();
    this.#wrote(now);
    this.drive(now);
  };

  readonly #onWriteError = (error: unknown): void => {
    const now = this.#clock.now();
    if (this.#writing === END) {
      this.#fail("ending the application's stream", error, now);
    } else {
      this.#fail("writing to the application", error, now);
      this.#wrote(now); // gives its memory back
      this.#writing = END; // and never writes again
    }
    this.drive(now);
  };

  #wrote(now: number): void {
    const chunk = this.#writing ?? END;
    try {
      if (chunk === END) this.#machine.wroteEnd(now); // and never writes again
      else {
        this.#writing = undefined;
        this.#machine.wrote(chunk, now);
      }
    } catch (error) {
      this.fault(error, now);
    }
  }

  #fail(what: string, error: unknown, now: number): void {
    if (this.#ended) return; // closing our own socket ends what it was doing
    const text = `${what} failed: ${messageOf(error)}`;
    try {
      this.#machine.fail({ code: "aborted", text }, now);
    } catch (fault) {
      this.fault(fault, now);
    }
  }
}
