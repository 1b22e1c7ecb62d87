/**
 * Which tunnels are shown where there are more than anybody reads: pure.
 *
 * @module
 */

/** What of a tunnel decides whether it is worth a row. */
export interface Worth {
  /** Whether a side of it takes nothing. */
  readonly stalled: boolean;
  /** Bytes that it has carried. */
  readonly bytes: number;
}

/**
 * At most so many of `all`, in their order: of more, up to half are those that
 * are stalled, half of what is left over are those that have carried most, since
 * whoever looks searches these, and all others the first, which are the oldest.
 */
export function worthShowing<T>(
  all: readonly T[],
  most: number,
  worthOf: (item: T) => Worth,
): readonly T[] {
  if (all.length <= most) return all;
  const known = all.map((item, at) => ({ at, item, ...worthOf(item) }));
  const shown = new Set(
    known.filter(({ stalled }) => stalled).slice(0, Math.floor(most / 2)),
  );
  const busy = known.filter(({ bytes }) => bytes > 0)
    .toSorted((one, other) => other.bytes - one.bytes);
  const upTo = shown.size + Math.floor((most - shown.size) / 2);
  for (const list of [busy, known]) {
    const end = list === busy ? upTo : most;
    for (const one of list) {
      if (shown.size >= end) break;
      shown.add(one);
    }
  }
  return [...shown].toSorted((one, other) => one.at - other.at)
    .map(({ item }) => item);
}
