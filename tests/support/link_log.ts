/**
 * What tests of a bus need again and again.
 *
 * @module
 */

import type { Encodable } from "../../lib/base/encodable.ts";
import type { Bus, LinkEvent } from "../../lib/nats/bus.ts";

const encoder = new TextEncoder();

/** `value` as a message. */
export function payload(value: string | Uint8Array): Encodable {
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  return {
    byteLength: bytes.length,
    encodeInto: (target, at) => target.set(bytes, at),
  };
}

/** Everything that happens to the link of a bus, and a way to wait for it. */
export class LinkLog {
  /** What happened so far. */
  readonly events: LinkEvent[] = [];
  #wake = Promise.withResolvers<void>();

  /** Listens to `bus` from now on. */
  constructor(bus: Bus) {
    bus.onLink((event) => {
      this.events.push(event);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
  }

  /** The kinds of the events. */
  get types(): string[] {
    return this.events.map(({ type }) => type);
  }

  /** Waits until `count` events have happened in all. */
  async until(count: number): Promise<void> {
    while (this.events.length < count) await this.#wake.promise;
  }
}
