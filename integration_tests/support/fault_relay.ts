/**
 * Relays TCP and misbehaves on demand, between a role and the broker: it cuts,
 * refuses, goes silent or delays.
 *
 * It forwards bytes and half-closes and knows nothing of NATS. Note that a
 * clustered nats-server tells its clients the addresses of its nodes, which
 * lead around the relay.
 *
 * @module
 */

import { type Endpoint, formatAddress, HeldPort } from "./addresses.ts";
import { Changes, pause, type WaitOptions } from "./changes.ts";
import { close, writeAll } from "./transfer.ts";

/** `up` is from who connects (a role) to the upstream (the broker), `down` the other way. */
export type Direction = "up" | "down";

/** Bytes read at once. */
const READ_SIZE = 64 * 1024;

/** Most bytes held per direction of a connection without delay. */
const MAX_HELD = 256 * 1024;

/** With delay: at 50 ms this still lets 320 MB/s through. */
const MAX_HELD_DELAYED = 16 * 1024 * 1024;

/** Tries to listen on the old port again; it is only taken by chance and not for long. */
const LISTEN_TRIES = 50;

/** Pause between those tries, in ms. */
const LISTEN_PAUSE = 100;

/** Relays connections to `upstream`, and faults as told. */
export class FaultRelay implements AsyncDisposable {
  /** Where it listens; the same for life. */
  readonly endpoint: Endpoint;
  readonly #upstream: Endpoint;
  readonly #links = new Set<Link>();
  readonly #running = new Set<Promise<void>>();
  readonly #conditions = new Conditions();
  /** Ours also while connections are refused. */
  readonly #held = HeldPort.take();
  #listener: Deno.TcpListener | undefined;
  #accepting: Promise<void> = Promise.resolve();
  #accepted = 0;

  /** Listens on a free port of 127.0.0.1. */
  constructor(upstream: Endpoint) {
    this.#upstream = upstream;
    this.endpoint = { hostname: "127.0.0.1", port: this.#held.port };
    const listener = Deno.listen({ ...this.endpoint });
    this.#conditions.onCut = () => this.cut();
    this.#listen(listener);
  }

  /** `host:port` of the relay. */
  get address(): string {
    return formatAddress(this.endpoint);
  }

  /** The relay as a broker: `nats://host:port`. */
  get url(): string {
    return `nats://${this.address}`;
  }

  /** Connections accepted so far. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Connections open now. */
  get open(): number {
    return this.#links.size;
  }

  /** How often an armed cut has struck. */
  get cuts(): number {
    return this.#conditions.cuts;
  }

  /** Bytes forwarded so far in a direction, over all connections. */
  forwarded(direction: Direction): number {
    return this.#conditions.forwarded[direction];
  }

  /** Waits until `count` connections in all were accepted. */
  async whenAccepted(count: number, options: WaitOptions = {}): Promise<void> {
    await this.#conditions.changes.until(
      () => this.#accepted >= count,
      options,
    );
  }

  /** Waits until armed cuts have struck `count` times in all. */
  async whenCut(count: number, options: WaitOptions = {}): Promise<void> {
    await this.#conditions.changes.until(() => this.cuts >= count, options);
  }

  /** Cuts all connections now. */
  cut(): void {
    for (const link of [...this.#links]) link.cut();
  }

  /** Cuts the connection that was accepted last, and leaves the others. */
  cutNewest(): void {
    [...this.#links].at(-1)?.cut();
  }

  /**
   * Arms a cut: exactly `bytes` bytes from now in a direction (by default of
   * both together, over all connections) all connections are cut, wherever in
   * a message that is. Replaces one armed before; see
   * {@linkcode FaultRelay.whenCut}.
   */
  cutAfter(
    bytes: number,
    options: { readonly direction?: Direction | "both" } = {},
  ): void {
    this.#conditions.arm(bytes, options.direction ?? "both");
  }

  /** Refuses new connections once this resolves; open ones go on. */
  async refuse(): Promise<void> {
    this.#listener?.close();
    this.#listener = undefined;
    // The socket listens until the pending accept has returned.
    await this.#accepting;
  }

  /** Takes new connections again, on the same port. */
  async accept(): Promise<void> {
    for (let attempt = 1; !this.#listener; attempt++) {
      try {
        this.#listen(Deno.listen({ ...this.endpoint }));
      } catch (error) {
        // Somebody's outgoing connection may be using our port just now.
        if (!(error instanceof Deno.errors.AddrInUse)) throw error;
        if (attempt === LISTEN_TRIES) throw error;
        await pause(LISTEN_PAUSE);
      }
    }
  }

  /** Forwards nothing from now on; sockets stay open, bytes wait. */
  blackhole(): void {
    this.#conditions.set({ silent: true });
  }

  /** Delays every byte by `milliseconds` each way, in order; 0 ends it. */
  delay(milliseconds: number): void {
    this.#conditions.set({ delay: milliseconds });
  }

  /** Back to plain forwarding: no silence, no delay, no armed cut, nothing refused. */
  async resume(): Promise<void> {
    this.#conditions.disarm();
    this.#conditions.set({ silent: false, delay: 0 });
    await this.accept();
  }

  /** Stops listening and cuts all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse();
    this.cut();
    await Promise.all(this.#running);
    this.#held[Symbol.dispose]();
  }

  #listen(listener: Deno.TcpListener): void {
    this.#listener = listener;
    this.#accepting = this.#acceptAll(listener);
  }

  async #acceptAll(listener: Deno.TcpListener): Promise<void> {
    for await (const near of listener) {
      const link = new Link(near, this.#conditions);
      this.#accepted++;
      this.#links.add(link);
      const running = link.run(this.#upstream);
      this.#running.add(running);
      void running.then(() => {
        this.#links.delete(link);
        this.#running.delete(running);
        this.#conditions.changes.notify();
      });
      this.#conditions.changes.notify();
    }
  }
}

/** Starts a relay to `upstream`, e.g. a nats-server's client port. */
export function startFaultRelay(upstream: Endpoint): FaultRelay {
  return new FaultRelay(upstream);
}

/** What holds for all connections of a relay. */
class Conditions {
  readonly changes = new Changes();
  readonly forwarded = { up: 0, down: 0 };
  onCut: () => void = () => {};
  cuts = 0;
  silent = false;
  /** One way, in ms. */
  delay = 0;
  #armed: { left: number; direction: Direction | "both" } | undefined;

  set(change: { readonly silent?: boolean; readonly delay?: number }): void {
    this.silent = change.silent ?? this.silent;
    this.delay = change.delay ?? this.delay;
    this.changes.notify();
  }

  arm(left: number, direction: Direction | "both"): void {
    this.#armed = { left, direction };
    this.#strikeIfDue();
  }

  disarm(): void {
    this.#armed = undefined;
  }

  /** Takes `length` bytes out of what may pass; returns how many of them may. */
  take(direction: Direction, length: number): number {
    const armed = this.#armed;
    if (!armed) return length;
    if (armed.direction !== "both" && armed.direction !== direction) {
      return length;
    }
    const allowed = Math.min(length, armed.left);
    armed.left -= allowed;
    return allowed;
  }

  /** Reports bytes that were written; strikes when they were the last allowed. */
  passed(direction: Direction, length: number): void {
    this.forwarded[direction] += length;
    this.#strikeIfDue();
    this.changes.notify();
  }

  #strikeIfDue(): void {
    if (!this.#armed || this.#armed.left > 0) return;
    this.#armed = undefined;
    this.cuts++;
    this.onCut();
    this.changes.notify();
  }
}

/** A connection through the relay. */
class Link {
  readonly #near: Deno.TcpConn;
  readonly #conditions: Conditions;
  readonly #closing = new AbortController();
  #far: Deno.TcpConn | undefined;

  constructor(near: Deno.TcpConn, conditions: Conditions) {
    this.#near = near;
    this.#conditions = conditions;
  }

  cut(): void {
    this.#closing.abort();
    close(this.#near);
    if (this.#far) close(this.#far);
  }

  /** Relays until both directions have ended or the link is cut; never rejects. */
  async run({ hostname, port }: Endpoint): Promise<void> {
    try {
      this.#far = await Deno.connect({ hostname, port });
      this.#closing.signal.throwIfAborted();
      this.#near.setNoDelay(true);
      this.#far.setNoDelay(true);
      await Promise.all([
        this.#flow("up", this.#near, this.#far),
        this.#flow("down", this.#far, this.#near),
      ]);
    } catch {
      // Whatever went wrong on one side, to the other it is a cut.
    } finally {
      this.cut();
    }
  }

  async #flow(
    direction: Direction,
    from: Deno.TcpConn,
    to: Deno.TcpConn,
  ): Promise<void> {
    const held = new Held(this.#conditions, this.#closing.signal);
    const both = [this.#read(from, held), this.#write(to, held, direction)];
    try {
      await Promise.all(both);
    } catch {
      this.cut();
      await Promise.allSettled(both);
    }
  }

  async #read(from: Deno.TcpConn, held: Held): Promise<void> {
    const buffer = new Uint8Array(READ_SIZE);
    for (;;) {
      await held.whenRoom();
      const count = await from.read(buffer);
      if (count === null) return held.finish();
      held.push(buffer.slice(0, count));
    }
  }

  async #write(
    to: Deno.TcpConn,
    held: Held,
    direction: Direction,
  ): Promise<void> {
    for (;;) {
      const bytes = await held.shift();
      if (!bytes) return await to.closeWrite();
      const allowed = this.#conditions.take(direction, bytes.length);
      await writeAll(to, bytes.subarray(0, allowed));
      this.#conditions.passed(direction, allowed);
    }
  }
}

/** What one direction of a connection has read and not yet written. */
class Held {
  readonly #conditions: Conditions;
  readonly #signal: AbortSignal;
  readonly #changes = new Changes();
  readonly #pieces: { readonly bytes: Uint8Array; readonly due: number }[] = [];
  #bytes = 0;
  #finished = false;

  constructor(conditions: Conditions, signal: AbortSignal) {
    this.#conditions = conditions;
    this.#signal = signal;
  }

  push(bytes: Uint8Array): void {
    const due = performance.now() + this.#conditions.delay;
    this.#pieces.push({ bytes, due });
    this.#bytes += bytes.length;
    this.#changes.notify();
  }

  finish(): void {
    this.#finished = true;
    this.#changes.notify();
  }

  async whenRoom(): Promise<void> {
    await this.#until(this.#changes, () => {
      const limit = this.#conditions.delay > 0 ? MAX_HELD_DELAYED : MAX_HELD;
      return this.#bytes < limit;
    });
  }

  /** The next piece, when it is due and the relay is not silent; undefined at EOF. */
  async shift(): Promise<Uint8Array | undefined> {
    await this.#until(
      this.#changes,
      () => this.#pieces.length > 0 || this.#finished,
    );
    const piece = this.#pieces.shift();
    const early = (piece?.due ?? 0) - performance.now();
    if (early > 0) await pause(early, this.#signal);
    await this.#until(
      this.#conditions.changes,
      () => !this.#conditions.silent,
    );
    if (piece) {
      this.#bytes -= piece.bytes.length;
      this.#changes.notify();
    }
    return piece?.bytes;
  }

  async #until(changes: Changes, probe: () => boolean): Promise<void> {
    if (probe() && !this.#signal.aborted) return;
    await changes.until(probe, { signal: this.#signal });
  }
}
