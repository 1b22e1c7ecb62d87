/** Descriptors of a process that has few of them. */
import assert from "node:assert/strict";
import type { DescriptorSource } from "../../lib/net/descriptors.ts";

/** Numbers from 0 up to a limit, of which the lowest free one is taken, as the system does. */
export class FewDescriptors implements DescriptorSource {
  readonly taken = new Set<number>();
  /** Lowest number that cannot be had. */
  limit: number;
  /** Thrown instead of giving one. */
  fault: Error | undefined;

  /** The first `used` of them are the runtime's. */
  constructor(limit: number, used = 0) {
    this.limit = limit;
    for (let number = 0; number < used; number++) this.taken.add(number);
  }

  take(): number | undefined {
    if (this.fault !== undefined) throw this.fault;
    for (let number = 0; number < this.limit; number++) {
      if (this.taken.has(number)) continue;
      this.taken.add(number);
      return number;
    }
    return undefined;
  }

  free(descriptor: number): void {
    assert.ok(this.taken.delete(descriptor), `${descriptor} is not taken`);
  }

  /** Guests take all that are left. */
  exhaust(): void {
    while (this.take() !== undefined);
  }
}
