/**
 * The tunnels of which one side takes nothing: how many there are, and what the
 * log says of them.
 *
 * @module
 */
import { Throttle } from "../base/throttle.ts";
import type { Stall } from "../tunnel/stall.ts";
import type { Role } from "../wire/subjects.ts";
import type { Tunnel } from "./tunnel.ts";
import { logGoesOn, logStall } from "./tunnel_log.ts";

/**
 * Shortest time between two lines about the stalls of one tunnel, in ms: one
 * that goes on by fits and starts is no flood.
 */
const STALL_LINE_MS = 60_000;

/** What is known of a tunnel that has stalled. */
interface Known {
  readonly lines: Throttle;
  /** Its stall that is not over yet, and whether the log was told. */
  stall: Stall | undefined;
  told: boolean;
}

/** The stalls of a process's tunnels. */
export class Stalls {
  readonly #role: Role;
  /** Tunnels that have stalled, until they end. */
  readonly #known = new Map<Tunnel, Known>();

  /** No tunnel of a process of this role has stalled. */
  constructor(role: Role) {
    this.#role = role;
  }

  /** Tunnels that are stalled now, as far as can be known. */
  get size(): number {
    let count = 0;
    for (const { stall } of this.#known.keys()) if (stall?.certain) count++;
    return count;
  }

  /** Something happened to `tunnel`: tells of a stall that began or is over. */
  note(tunnel: Tunnel, now: number): void {
    const { stall } = tunnel;
    if (stall === undefined && this.#known.size === 0) return;
    const known = this.#known.get(tunnel);
    if (known !== undefined) this.#over(tunnel, known, now);
    if (stall === undefined || known?.stall !== undefined) return;
    this.#begun(tunnel, stall, now);
  }

  /** Forgets `tunnel`, which has ended. */
  forget(tunnel: Tunnel): void {
    this.#known.delete(tunnel);
  }

  #begun(tunnel: Tunnel, stall: Stall, now: number): void {
    const lines = this.#known.get(tunnel)?.lines ?? new Throttle(STALL_LINE_MS);
    const times = lines.note(now);
    this.#known.set(tunnel, { lines, stall, told: times !== undefined });
    if (times === undefined) return;
    logStall(tunnel, stall, { role: this.#role, now, times });
  }

  /** Sees whether the stall that is known is over. */
  #over(tunnel: Tunnel, known: Known, now: number): void {
    const [before, { stall }] = [known.stall, tunnel];
    if (before === undefined) return;
    if (stall?.side === before.side && stall.since === before.since) return;
    known.stall = undefined;
    if (known.told) logGoesOn(tunnel, before, { role: this.#role, now });
  }
}
