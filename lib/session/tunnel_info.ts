/**
 * What is known of a tunnel from its beginning, and which of it names it in the
 * log.
 *
 * @module
 */
import type { Span } from "../base/tracing.ts";
import type { CountedWay } from "./counters.ts";
import type { Tally } from "./tallies.ts";

/** What is known of a tunnel before it is one. */
export interface TunnelOrigin {
  /** Target as it was asked for, `host:port`. */
  readonly target: string;
  /** Name of the way in, where it has one. */
  readonly forward?: string | undefined;
  /** The way in itself, at a client: to find its tunnels by, and to count them by. */
  readonly way?: CountedWay | undefined;
  /** The service that it leads to, at a server. */
  readonly service?: string | undefined;
  /** Address of the application, as a client told a server. */
  readonly source?: string | undefined;
  /** Name of the client, where its key says who it is. */
  readonly client?: string | undefined;
  /** The key that says so. */
  readonly key?: string | undefined;
  /** Who asked for it, as a client that no key vouches for calls itself; at a server. */
  readonly asker?: string | undefined;
  /** What traces it; undefined where nothing is traced. */
  readonly span?: Span | undefined;
  /** Who pays for it, where what all tunnels share is shared out. */
  readonly payer?: string | undefined;
}

/** The description of a tunnel in logs. */
export interface TunnelInfo extends TunnelOrigin {
  /** Connection ID. */
  readonly id: string;
  /** Address of the local application or target socket. */
  readonly remote: string;
  /** Time of opening. */
  readonly openedAt: number;
  /** Where it is counted beside. */
  readonly tallies?: readonly Tally[] | undefined;
}

/** Which tunnel it is, and whose. */
export function named(
  { id, remote, forward, service, client, asker, source }: TunnelInfo,
): Readonly<Record<string, string>> {
  const who = client ?? asker;
  return {
    ...(forward !== undefined && { forward }),
    ...(service !== undefined && { service }),
    ...(who !== undefined && { client: who }),
    ...(source !== undefined && { source }),
    peer: remote,
    id,
  };
}
