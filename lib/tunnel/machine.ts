/**
 * One tunnel as seen from one end: the state machine that turns a socket's
 * bytes into frames and frames into a socket's bytes, and survives the loss,
 * repetition, reordering and delay of any frame.
 *
 * It is pure. Events go in with the time at which they happened; the driver
 * then drains what follows from them (frames to publish, bytes to write, an
 * end to pass on, how much may be read) before it applies the next event.
 *
 * The two directions are independent:
 *
 * | sending half | means |
 * | --- | --- |
 * | `open` | the application may still send |
 * | `ended` | it has ended its stream; FIN waits for its acknowledgement |
 * | `done` | the peer has every byte and the FIN |
 *
 * | receiving half | means |
 * | --- | --- |
 * | `open` | the peer may still send |
 * | `ended` | FIN and every byte are here; the application has not all of it |
 * | `done` | the application has every byte and the end of stream |
 *
 * Both `done` is a clean end. A cut (RESET, protocol error, failed socket,
 * timeout) ends both at once. Either way `outcome` is set, and from then on
 * every event is ignored.
 *
 * @module
 */
import type { BufferPool } from "../base/buffer_pool.ts";
import { DelayedAck } from "./delayed_ack.ts";
import { type Decider, type Reason, TunnelError } from "../base/errors.ts";
import type { Frame } from "../wire/frame.ts";
import { PROBE_MIN_MS, ProbeTimer } from "./probe_timer.ts";
import { IdleTimer } from "./idle_timer.ts";
import { type PathEstimate, REST_BYTES } from "./rtt.ts";
import { ReceiveBuffer } from "./receive_buffer.ts";
import { SendBuffer } from "./send_buffer.ts";
import { type Stall, StallTimer } from "./stall.ts";
import type {
  HalfState,
  Outcome,
  Pause,
  TunnelOptions,
  TunnelStats,
} from "./types.ts";

/**
 * How long a cut tunnel may take to hand over what was already under way, in
 * ms: enough for a reader that reads, too short to keep one that does not.
 */
export const LINGER_MS = 5_000;

/**
 * Times in a row that bytes from one offset are sent again before their frames
 * are halved, and then each time until they get through. A message larger than
 * some broker on the way takes is lost each time, and its link cut for
 * everybody (as with a path MTU, RFC 4821); what is lost by chance gets
 * through sooner.
 */
const SAME_LOSSES = 3;

/** Least payload of a frame that is halved, in bytes: no broker takes less. */
const MIN_FRAME_BYTES = 1024;

/** The outcome of a tunnel that was cut. */
type Cut = Outcome & { readonly clean: false };

/**
 * Times in a row that frames of that least size are lost before it counts as a
 * way that takes none, and not as chance: where three of five messages are
 * lost, six in a thousand would come to this.
 */
const LEAST_LOSSES = 10;

/** The state machine of one end of a tunnel. */
export class TunnelState {
  readonly #pool: BufferPool;
  readonly #maxWindow: number;
  readonly #path: PathEstimate;
  readonly #send: SendBuffer;
  readonly #receive: ReceiveBuffer;
  readonly #acks = new DelayedAck();
  readonly #prober: ProbeTimer;
  readonly #quiet: IdleTimer;
  /** When the local socket last took something, and when the other end did. */
  readonly #here: StallTimer;
  readonly #there: StallTimer;
  /** Whether the peer dropped what it had no memory for. */
  #peerFull = false;
  #frameBytes: number;
  #sendHalf: HalfState = "open";
  #receiveHalf: HalfState = "open";
  #outcome: Outcome | undefined;
  #linked = true;
  #peerHeard: boolean;
  /** Whether the FIN is on the wire (and not taken back by a rewind). */
  #finSent = false;
  #finEverSent = false;
  #pongDue: number | undefined;

  /** The local socket failed for this reason: reset once all is sent. */
  #failing: Reason | undefined;
  /** The peer has reset, or is gone, for this reason: end so once all is written. */
  #ending: Cut | undefined;
  #resetDue: Reason | undefined;
  #lingerUntil = Infinity;

  /** The offset that was sent again last, how often in a row, and since when. */
  #lostAt = -1;
  #lostTimes = 0;
  /** How often of these in frames of the least size. */
  #lostLeast = 0;
  #lostSince = 0;
  readonly #lossTimeout: number;
  /** Until when something must be heard of the peer, if it is in doubt, and since when it was last. */
  #doubtedUntil = Infinity;
  #doubtedAt = -Infinity;
  #replays = 0;
  #gaps = 0;

  /** A tunnel both ends of which have agreed to open it. */
  constructor(options: TunnelOptions) {
    this.#pool = options.pool;
    this.#maxWindow = options.maxWindow;
    this.#path = options.path;
    this.#frameBytes = options.frameBytes;
    this.#lossTimeout = options.lossTimeout ?? Infinity;
    this.#quiet = new IdleTimer(options);
    this.#here = new StallTimer(options.now);
    this.#there = new StallTimer(options.now);
    this.#prober = new ProbeTimer(options.path, options.now, options.restProbe);
    this.#send = new SendBuffer({
      pool: options.pool,
      budget: options.sendBudget,
      limit: options.peerWindow,
    });
    this.#receive = new ReceiveBuffer({
      ...options,
      budget: options.receiveBudget,
    });
    this.#peerHeard = !options.awaitPeer;
    if (options.awaitPeer) this.#prober.armSlowly(options.now);
  }

  /** State of the sending half. */
  get sendHalf(): HalfState {
    return this.#sendHalf;
  }

  /** State of the receiving half. */
  get receiveHalf(): HalfState {
    return this.#receiveHalf;
  }

  /** How the tunnel ended; undefined while it has not. */
  get outcome(): Outcome | undefined {
    return this.#outcome;
  }

  /** Whether one direction has ended. */
  get halfClosed(): boolean {
    return this.#sendHalf !== "open" || this.#receiveHalf !== "open";
  }

  /** Whether nothing is heard of the peer, or NATS is away. */
  get silent(): boolean {
    return !this.#linked || !this.#prober.reached;
  }

  /** Whether nothing more is wanted of the peer: the application only has to take what is here. */
  get settled(): boolean {
    return this.#outcome === undefined && this.#sendHalf === "done" &&
      this.#receive.finished;
  }

  /** The last acknowledgement given, for questions that come after the end. */
  get ack(): number {
    return this.#receive.ack;
  }

  /** Payload bytes of a DATA frame: as was set, or less once that was lost again and again. */
  get frameBytes(): number {
    return this.#frameBytes;
  }

  /** Counters. */
  get stats(): TunnelStats {
    return {
      bytesSent: this.#send.end,
      bytesReceived: this.#receive.received,
      replays: this.#replays,
      gaps: this.#gaps,
    };
  }

  /** Bytes held for resending and bytes held for writing. */
  get held(): { readonly send: number; readonly receive: number } {
    return { send: this.#send.held, receive: this.#receive.held };
  }

  /** The side that takes nothing, if one has not for too long; of two the one that began. */
  get stall(): Stall | undefined {
    const here = this.#here;
    const there = this.#there;
    if (!here.stalled && !there.stalled) return undefined;
    return here.stalled && !(there.stalled && there.since < here.since)
      ? {
        side: "here",
        since: here.since,
        waiting: this.#receive.held,
        certain: true,
      }
      : {
        side: "there",
        since: there.since,
        waiting: this.#send.end - this.#send.acked,
        certain: this.#linked && this.#prober.reached,
      };
  }

  /** Times that what was lost was sent again. */
  get replays(): number {
    return this.#replays;
  }

  /** Whether the peer was asked twice, and has not answered, over a link that stayed. */
  get unanswered(): boolean {
    return this.#prober.unanswered;
  }

  /** Bytes on the wire, and not known to have arrived. */
  get inFlight(): number {
    return this.#send.sent - this.#send.acked;
  }

  /** How many bytes may be read from the application now. */
  get readAllowance(): number {
    if (this.#sendHalf !== "open" || this.#stopping) return 0;
    return this.#send.allowance(this.#frameBytes, this.#maxWindow);
  }

  /** Why the application may not be read now; undefined where it may, or has nothing more to say. */
  get pause(): Pause | undefined {
    const isRead = this.#sendHalf !== "open" || this.#stopping ||
      this.readAllowance > 0;
    if (isRead) return undefined;
    return this.#send.credit === 0 ? "credit" : "window";
  }

  /** How much the peer may have under way, in bytes. */
  get window(): number {
    return this.#receive.window;
  }

  /** Whether the application is to be told that the stream has ended. */
  get endDue(): boolean {
    return this.#receiveHalf === "ended" && this.#receive.held === 0 &&
      !this.#stopping;
  }

  /** When {@linkcode TunnelState.tick} is to be called at the latest. */
  get nextTimeout(): number {
    if (this.#outcome !== undefined) return Infinity;
    const speaking = this.#linked && this.#ending === undefined &&
      !(this.settled && !this.#receive.ackPending);
    return Math.min(
      speaking ? Math.min(this.#acks.dueAt, this.#prober.at) : Infinity,
      this.#lingerUntil,
      this.#doubtedUntil,
      this.#quiet.endsAt(this.halfClosed),
      this.#receive.held > 0 ? this.#here.dueAt : Infinity,
      this.#blocked ? this.#there.dueAt : Infinity,
    );
  }

  // Events

  /** The application sent `chunk`, at most `readAllowance` bytes; it is kept, not copied. */
  read(chunk: Uint8Array, now: number): void {
    if (this.#sendHalf !== "open" || this.#stopping) {
      this.#pool.release(chunk);
      return;
    }
    this.#quiet.moved(now);
    this.#send.append(chunk, this.#frameBytes);
    this.#prober.arm(now);
  }

  /** The application ended its stream. */
  readEnd(now: number): void {
    if (this.#sendHalf !== "open" || this.#stopping) return;
    this.#quiet.moved(now);
    this.#sendHalf = "ended";
    this.#prober.arm(now);
  }

  /** `chunk`, from `takeWritable`, was written to the application. */
  wrote(chunk: Uint8Array, now: number): void {
    this.#receive.wrote(chunk);
    if (this.#outcome !== undefined) return;
    this.#quiet.moved(now);
    if (this.#failing === undefined) this.#here.moved(now);
    if (this.#ending !== undefined) {
      if (this.#receive.held === 0) this.#end(this.#ending);
      else this.#lingerUntil = now + LINGER_MS; // it reads: go on
      return;
    }
    if (this.#receive.grant(now)) this.#acks.at(now);
    if (this.#receive.held === 0) {
      this.#acks.relieved(this.#receive.received, now);
    }
  }

  /** The end of stream was passed to the application. */
  wroteEnd(now: number): void {
    if (!this.endDue) return;
    this.#quiet.moved(now);
    this.#receiveHalf = "done";
    this.#endIfDone();
  }

  /**
   * The local socket failed: what the application sent before is still
   * delivered, then the peer is told `reason`.
   */
  fail(reason: Reason, now: number): void {
    if (this.#ending) this.#end(this.#ending); // nobody takes the rest
    if (this.#stopping) return;
    this.#failing = reason;
    this.#lingerUntil = now + LINGER_MS;
    this.#receive.discard();
  }

  /** Cuts the tunnel at once; the peer is told. */
  abort(reason: Reason): void {
    if (this.#outcome !== undefined) return;
    this.#resetDue = reason;
    this.#end({ clean: false, by: "local", reason });
  }

  /** The link to NATS is down: nothing can be sent. */
  linkDown(): void {
    this.#linked = false;
    this.#doubtedUntil = Infinity; // it is asked anew when the link is back
  }

  /** The link to NATS is back: what was under way may be lost, either way. */
  linkUp(now: number): void {
    this.#linked = true;
    if (this.#outcome === undefined) this.#prober.resume(now);
  }

  /** The peer is gone, as `by` says: what has come from it is still handed over. */
  peerLost({ code, text }: Reason, by: Decider, now: number): void {
    if (this.#outcome !== undefined) return;
    // A reason that is an error would keep its stack.
    this.#close({ clean: false, by, reason: { code, text } }, now);
  }

  /** The peer's link was away: frames from here, a RESET too, may be lost. */
  peerResumed(now: number): void {
    if (this.#outcome === undefined) this.#prober.ask(now);
  }

  /**
   * Somebody, perhaps the peer, says that the peer knows of no such tunnel:
   * it is asked, and has until `until` to say something.
   */
  doubt(until: number, now: number): void {
    // Whoever says so again and again does not make us ask as often.
    if (this.#outcome !== undefined || now < this.#doubtedAt + PROBE_MIN_MS) {
      return;
    }
    this.#doubtedAt = now;
    if (this.#doubtedUntil === Infinity) this.#doubtedUntil = until;
    this.#prober.ask(now);
  }

  /** The broker takes frames of at most so many payload bytes now. */
  setFrameBytes(frameBytes: number): void {
    if (frameBytes < this.#frameBytes) this.#send.recut(frameBytes);
    this.#frameBytes = frameBytes;
  }

  /** Time has passed; due when `nextTimeout` has come. */
  tick(now: number): void {
    if (this.#outcome !== undefined) return;
    if (now >= this.#lingerUntil) {
      if (this.#failing) this.abort(this.#failing);
      if (this.#ending) this.#end(this.#ending);
      return;
    }
    if (now >= this.#quiet.endsAt(this.halfClosed)) {
      this.abort(this.#quiet.reason(this.halfClosed));
      return;
    }
    if (now >= this.#doubtedUntil) {
      this.#doubtedUntil = Infinity;
      this.peerLost(
        {
          code: "peer-gone",
          text: "the process at the other end seems to know no such tunnel",
        },
        "local",
        now,
      );
      return;
    }
    if (this.#receive.held > 0) {
      // One that is not read may take nothing until it is: an echo, say.
      if (this.#unread) this.#here.restart(now);
      else this.#here.tick(now);
    }
    // What the peer has taken since it was asked last is not known: its answer is.
    if (this.#blocked && now >= this.#there.dueAt) this.#prober.ask(now);
    if (this.#linked) this.#prober.tick(now);
  }

  /** A frame came from the peer; a DATA payload is copied before this returns. */
  receive(frame: Frame, now: number): void {
    if (this.#outcome !== undefined) return;
    this.#doubtedUntil = Infinity;
    if (!this.#peerHeard) {
      this.#peerHeard = true;
      this.#armProbe(now);
    }
    try {
      this.#apply(frame, now);
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      this.abort(error);
    }
  }

  // What follows

  /**
   * The next frame to publish, or undefined. With `answersOnly`, for when the
   * way out is congested, only what acknowledges or answers: credit must not
   * wait behind data.
   */
  pollFrame(now: number, answersOnly = false): Frame | undefined {
    if (!this.#linked) return undefined;
    if (this.#failing && !this.#send.hasUnsent) this.abort(this.#failing);
    if (this.#resetDue) {
      const { code, text } = this.#resetDue;
      this.#resetDue = undefined;
      return { type: "reset", code, text };
    }
    const cut = this.#outcome?.clean === false || this.#ending !== undefined;
    if (cut) return undefined;
    return this.#pollAnswer(now) ??
      (answersOnly ? undefined : this.#pollStream(now));
  }

  /** The next bytes to write to the application; `wrote` must follow before the next call. */
  takeWritable(): Uint8Array | undefined {
    return this.#outcome === undefined ? this.#receive.take() : undefined;
  }

  // Inside

  get #stopping(): boolean {
    return this.#outcome !== undefined || this.#failing !== undefined ||
      this.#ending !== undefined;
  }

  /** Offset up to which everything is on the wire, the FIN included. */
  get #sent(): number {
    return this.#finSent ? this.#send.end + 1 : this.#send.sent;
  }

  /** Whether the FIN is what goes next. */
  get #finReady(): boolean {
    return this.#sendHalf === "ended" && !this.#finSent &&
      !this.#send.hasUnsent;
  }

  #pollAnswer(now: number): Frame | undefined {
    const { ack, limit } = this.#receive;
    if (this.#pongDue !== undefined) {
      const id = this.#pongDue;
      this.#pongDue = undefined;
      this.#acknowledged();
      const hold = this.#acks.droppedForMemory;
      return { type: "pong", id, sent: this.#sent, ack, limit, hold };
    }
    // That of a FIN may wait for our own, which mostly follows and carries it.
    const urgent = this.#receive.ackPending &&
      (this.#receive.ackUrgent ||
        (this.#receive.finished && this.#sendHalf !== "open" &&
          !this.#finReady));
    if (urgent || now >= this.#acks.dueAt) {
      this.#receive.acknowledged();
      return { type: "ack", ack, limit, gap: this.#acks.take() };
    }
    return undefined;
  }

  #pollStream(now: number): Frame | undefined {
    if (this.#outcome !== undefined) return undefined;
    const { ack, limit } = this.#receive;
    if (this.#prober.due) {
      const sent = this.#sent;
      this.#acknowledged();
      return {
        type: "ping",
        ...this.#prober.next(sent, now),
        sent,
        ack,
        limit,
      };
    }
    if (this.#prober.resuming) return undefined;
    // While it rests, what is acknowledged of it brings us here again.
    const data = this.#path.rests(now) && this.inFlight >= REST_BYTES
      ? undefined
      : this.#send.next(ack, limit);
    if (data !== undefined) {
      // Sent again, it carries the ack of then: no substitute for one now.
      if (data.ack === ack && data.limit === limit) this.#acknowledged();
      return data;
    }
    if (!this.#finReady) return undefined;
    this.#finSent = this.#finEverSent = true;
    this.#acknowledged();
    return { type: "fin", offset: this.#send.end, ack, limit };
  }

  #acknowledged(): void {
    this.#receive.acknowledged();
    this.#acks.sent();
  }

  #apply(frame: Frame, now: number): void {
    switch (frame.type) {
      case "reset":
        this.peerLost(frame, "peer", now);
        return;
      case "data":
        this.#onData(frame.offset, frame.payload, now);
        break;
      case "fin":
        this.#onFin(frame.offset, now);
        break;
      case "ping":
        if (frame.resumed) this.#prober.peerResumed();
        this.#receive.topUp();
        this.#pongDue = frame.id;
        break;
      case "pong":
        if (frame.sent > this.#receive.ack) this.#onGap(now);
        break;
      case "ack":
    }
    this.#onAck(frame.ack, frame.limit, now);
    if (this.#outcome !== undefined) return;
    switch (frame.type) {
      case "ack":
        if (frame.gap) this.#onAsked(frame.ack, now);
        break;
      case "ping":
        if (frame.resumed) this.#rewind(frame.ack, now);
        break;
      case "pong": {
        const wasReached = this.#prober.reached;
        const sent = this.#prober.answered(frame.id, now);
        if (!wasReached || (frame.hold && !this.#peerFull)) {
          this.#there.restart(now);
        }
        this.#peerFull = frame.hold;
        if (this.#blocked) this.#there.judge(now);
        if (frame.ack < sent && !frame.hold) this.#onLoss(frame.ack, now);
        this.#armProbe(now);
      }
    }
  }

  #onData(offset: number, payload: Uint8Array, now: number): void {
    this.#quiet.moved(now);
    if (this.#receive.held === 0) this.#here.moved(now);
    switch (this.#receive.accept(offset, payload)) {
      case "new":
        this.#acks.later(now);
        if (this.#receive.finished) this.#receiveHalf = "ended";
        // discarded bytes are written the moment they arrive
        if (this.#failing && this.#receive.grant(now)) this.#acks.at(now);
        break;
      case "repeat":
        this.#acks.at(now);
        break;
      case "gap":
        this.#onGap(now);
        break;
      case "no-memory":
        this.#acks.dropped();
    }
  }

  #onFin(final: number, now: number): void {
    this.#quiet.moved(now);
    if (!this.#receive.finish(final)) this.#onGap(now);
    else if (this.#receiveHalf === "open") {
      this.#receiveHalf = "ended";
      this.#acks.later(now);
    } else this.#acks.at(now); // a repeat: the acknowledgement was lost
  }

  #onGap(now: number): void {
    // While resuming, what the peer sends anyway is known to have a hole.
    if (this.#prober.resuming) return;
    if (this.#acks.missing(this.#receive.received, now)) this.#gaps++;
  }

  #onAck(ack: number, limit: number, now: number): void {
    const finAcked = this.#finEverSent && ack === this.#send.end + 1;
    const progress = this.#send.acknowledge(finAcked ? ack - 1 : ack);
    const credit = this.#send.raiseLimit(limit);
    if (progress || credit) this.#there.moved(now);
    if (finAcked && this.#sendHalf === "ended") {
      this.#sendHalf = "done";
      this.#armProbe(now);
      this.#endIfDone();
    } else if (progress) {
      this.#prober.progress();
      this.#armProbe(now);
    }
  }

  /** Nothing more comes from the peer, or goes to it. */
  #close(cut: Cut, now: number): void {
    if (this.#ending !== undefined || this.settled) return;
    this.#send.clear();
    this.#ending = cut;
    this.#lingerUntil = now + LINGER_MS;
    if (this.#receive.held === 0) this.#end(cut);
  }

  /**
   * The peer asks for what follows `ack`. If it cannot know yet what was sent
   * again last, that is under way: to send it once more would start a second
   * wave beside the first. But it asks once for each offset, so whether the
   * first arrives is asked at once.
   */
  #onAsked(ack: number, now: number): void {
    if (!this.#prober.crossed(now)) this.#onLoss(ack, now);
    else if (this.#unacknowledged(ack)) this.#prober.ask(now);
  }

  /** What was sent from `ack` on was lost, over a link that is up. */
  #onLoss(ack: number, now: number): void {
    if (!this.#rewind(ack, now)) return;
    if (ack !== this.#lostAt) {
      this.#lostAt = ack;
      this.#lostTimes = this.#lostLeast = 0;
      this.#lostSince = now;
    }
    this.#lostTimes++;
    if (this.#lostTimes < SAME_LOSSES) return;
    if (this.#frameBytes <= MIN_FRAME_BYTES) {
      const late = now - this.#lostSince >= this.#lossTimeout;
      if (++this.#lostLeast < LEAST_LOSSES || !late) return;
      this.abort({
        code: "nats-down",
        text: `NATS loses what is sent from byte ${ack} on, again and again`,
      });
      return;
    }
    const half = Math.floor(this.#frameBytes / 2);
    this.setFrameBytes(Math.max(MIN_FRAME_BYTES, half));
    this.#prober.progress(); // whether they get through is to be known soon
  }

  /** Puts everything from `ack` on back in line; false when that is old news. */
  #rewind(ack: number, now: number): boolean {
    if (!this.#unacknowledged(ack)) return false;
    this.#replays++;
    this.#send.rewind(ack);
    this.#prober.rewound(ack, now);
    if (this.#sendHalf === "ended") this.#finSent = false;
    return true;
  }

  /** Whether what follows `ack` is on the wire, and not known to have arrived. */
  #unacknowledged(ack: number): boolean {
    return ack >= this.#send.acked && ack < this.#sent;
  }

  /** Sets the probe timer after news, by whether there is more to wait for. */
  #armProbe(now: number): void {
    const waiting = this.#sendHalf === "ended" || this.#prober.resuming ||
      this.#send.acked < this.#send.end ||
      (this.#sendHalf === "open" && this.#send.credit === 0);
    if (waiting) this.#prober.rearm(now);
    else this.#prober.rest(now);
  }

  /** Whether the peer, as it has just said, takes nothing of what the application sends. */
  get #blocked(): boolean {
    const full = this.#send.acked === this.#send.end
      ? this.#send.credit === 0
      : this.#peerFull;
    return full && this.#sendHalf === "open" && !this.#stopping &&
      this.#linked && this.#prober.reached && !this.#prober.asking;
  }

  /** Whether the application is not read because nothing is heard of the peer. */
  get #unread(): boolean {
    return this.#sendHalf === "open" && this.readAllowance === 0 &&
      this.silent;
  }

  #endIfDone(): void {
    if (this.#sendHalf === "done" && this.#receiveHalf === "done") {
      this.#end({ clean: true });
    }
  }

  #end(outcome: Outcome): void {
    this.#outcome ??= outcome.clean ? outcome : {
      ...outcome,
      // The words alone: an error would keep its stack as long as it is remembered.
      reason: { code: outcome.reason.code, text: outcome.reason.text },
    };
    this.#send.clear();
    this.#receive.discard();
    this.#lingerUntil = Infinity;
  }
}
