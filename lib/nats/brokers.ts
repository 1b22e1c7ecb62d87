/**
 * The brokers there are, and which of them to dial next: the one that worked
 * last and those that were configured go first, those that their cluster
 * announces after them. One that failed has to wait, and lets others of its
 * kind go first.
 *
 * @module
 */

import { parseIp, tryParseAddress, withoutZone } from "../base/address.ts";
import { backoffDelay } from "../base/backoff.ts";
import { type BrokerAddress, formatBroker } from "../base/broker_address.ts";

/** One broker. */
export interface Broker {
  /** Where it is. */
  readonly address: BrokerAddress;
  /** The same as `host:port`, or the URL of its WebSocket. */
  readonly name: string;
  /** What its certificate must be for. */
  readonly tlsName: string;
  /** Whether it is of the configuration, not announced. */
  readonly configured: boolean;
}

/** A broker and how it fares. */
interface Entry {
  readonly broker: Broker;
  /** Times it failed in a row. */
  failures: number;
  /** Whether one of those times was for more than a want of descriptors. */
  tried: boolean;
  /** When it may be dialled again. */
  notBefore: number;
}

/** Waits between attempts at one broker, in ms: soon enough to resume promptly, rare enough for a broker that starts. */
const BACKOFF = { base: 50, cap: 2000 };

/** Announced brokers that are remembered: more than clusters have, and no broker fills our memory. */
const MAX_DISCOVERED = 64;

/** The brokers of a connection. */
export class Brokers {
  readonly #configured: readonly Entry[];
  #discovered: readonly Entry[] = [];
  /** The one whose link was a good one last. */
  #last: Entry | undefined;
  readonly #random: () => number;

  /** Knows `servers`, in this order and each once; `random` gives numbers in [0, 1). */
  constructor(servers: readonly BrokerAddress[], random: () => number) {
    this.#random = random;
    const entries = servers.map((address) =>
      entryOf(address, withoutZone(address.host), true)
    );
    this.#configured = [
      ...new Map(entries.map((entry) => [entry.broker.name, entry])).values(),
    ];
  }

  /**
   * The broker to dial next, and when; undefined when each is in `busy`.
   */
  next(
    now: number,
    busy: { has(broker: Broker): boolean },
  ): { readonly broker: Broker; readonly at: number } | undefined {
    let best: Entry | undefined;
    for (const entry of this.#inOrder()) {
      if (busy.has(entry.broker)) continue;
      if (best === undefined || this.#goesBefore(entry, best, now)) {
        best = entry;
      }
    }
    return best && { broker: best.broker, at: Math.max(now, best.notBefore) };
  }

  /** Whether `a` is dialled before `b`, which comes first in order. */
  #goesBefore(a: Entry, b: Entry, now: number): boolean {
    const wait = Math.max(now, a.notBefore) - Math.max(now, b.notBefore);
    if (wait !== 0) return wait < 0;
    return this.#isPreferred(a) === this.#isPreferred(b) &&
      a.failures < b.failures;
  }

  #isPreferred(entry: Entry): boolean {
    return entry.broker.configured || entry === this.#last;
  }

  /**
   * `broker` could not be reached, does not let us in, or cut us off soon:
   * others have their turn. `untried`: there were too few descriptors to know.
   */
  failed(
    broker: Broker,
    now: number,
    { untried = false }: { readonly untried?: boolean } = {},
  ): void {
    for (const entry of this.#inOrder()) {
      if (entry.broker !== broker) continue;
      const wait = backoffDelay(entry.failures++, {
        ...BACKOFF,
        random: this.#random,
      });
      entry.notBefore = now + wait;
      if (!untried) entry.tried = true;
      return;
    }
  }

  /** A good link to `broker` was lost: all may be tried at once, that one first. */
  lost(broker: Broker): void {
    for (const entry of this.#inOrder()) {
      entry.failures = 0;
      entry.tried = false;
      entry.notBefore = -Infinity;
      if (entry.broker === broker) this.#last = entry;
    }
  }

  /** Whether `broker` is the one whose link was a good one last. */
  workedLast(broker: Broker): boolean {
    return broker === this.#last?.broker;
  }

  /** Whether every configured broker but `broker` was tried, and has failed. */
  othersFailed(broker: Broker): boolean {
    return this.#configured.every((entry) =>
      entry.broker === broker || entry.tried
    );
  }

  /** `by` announces the addresses `texts` of its cluster, in place of what was announced before. */
  discovered(texts: readonly string[], by: Broker): void {
    const known = new Map(
      [...this.#inOrder()].map((entry) => [entry.broker.name, entry]),
    );
    const entries = new Map<string, Entry>();
    for (const text of texts) {
      if (entries.size === MAX_DISCOVERED) break;
      const address = tryParseAddress(text);
      if (typeof address === "string") continue;
      // Members may be known by address only, and a greeting comes before
      // TLS: the name that was configured vouches for the whole cluster.
      const tlsName = parseIp(by.tlsName) === undefined
        ? by.tlsName
        : withoutZone(address.host);
      // Who speaks within a WebSocket announces those of the others.
      const { websocket } = by.address;
      const entry = entryOf({ ...address, websocket }, tlsName, false);
      const { name } = entry.broker;
      const old = known.get(name);
      if (!old?.broker.configured) entries.set(name, old ?? entry);
    }
    this.#discovered = [...entries.values()];
  }

  /** Each once: the one that worked last, the configured ones, the announced ones. */
  *#inOrder(): Generator<Entry> {
    const last = this.#last;
    if (last !== undefined) yield last;
    for (const entry of this.#configured) if (entry !== last) yield entry;
    for (const entry of this.#discovered) if (entry !== last) yield entry;
  }
}

function entryOf(
  address: BrokerAddress,
  tlsName: string,
  configured: boolean,
): Entry {
  const name = formatBroker(address);
  return {
    broker: { address, name, tlsName, configured },
    failures: 0,
    tried: false,
    notBefore: -Infinity,
  };
}
