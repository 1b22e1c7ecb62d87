/**
 * What the load generator is told and what it answers, and what it says to
 * its target: the first byte of a connection chooses what the target does.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";

/** Bytes per read of bulk, at both ends. */
export const READ_SIZE = 256 * 1024;

/** First byte of a connection: what the target does with the rest. */
export const MODE = {
  /** Sends everything back, this byte included. */
  echo: 0x45,
  /**
   * Sends bytes until it is cut off: a window, whose size is in the next 4
   * bytes (little-endian), and half a window more for each byte it gets.
   */
  source: 0x52,
  /** Takes bytes until EOF, and answers with their SHA-256. */
  upload: 0x55,
  /** Sends as many {@linkcode Blocks} as the next 4 bytes (little-endian) say, then EOF. */
  download: 0x44,
} as const;

/**
 * Before round trips and connections count, in ms: windows grow, and the compiler of a
 * runtime sees what is hot. A tunnel runs for weeks, so that is not what
 * counts.
 */
export const WARM_UP = 2_000;

/** A task for a load generator process. Times in seconds. */
export type LoadTask =
  /** Be the target: answers with the port at once, and runs until it is killed. */
  | { readonly do: "serve" }
  /** One connection, a message to and fro at a time. */
  | {
    readonly do: "ping-pong";
    readonly to: Endpoint;
    readonly bytes: number;
    readonly seconds: number;
  }
  /** Open, send a byte, get it back, close; `concurrency` of them at once. */
  | {
    readonly do: "connections";
    readonly to: Endpoint;
    readonly concurrency: number;
    readonly seconds: number;
  }
  /** As many streams as said, from the target to us; the first `skip` seconds do not count. */
  | {
    readonly do: "streams";
    readonly to: Endpoint;
    readonly streams: number;
    readonly seconds: number;
    readonly skip: number;
  }
  /** One transfer whose SHA-256 is compared. */
  | {
    readonly do: "transfer";
    readonly to: Endpoint;
    readonly direction: "up" | "down";
    readonly blocks: number;
  }
  /** Opens connections and holds them: answers when all are open, and runs until it is killed. */
  | {
    readonly do: "hold";
    readonly to: Endpoint;
    readonly count: number;
  };

/** Answer to "serve". */
export interface ServeResult {
  /** Where the target listens, on 127.0.0.1. */
  readonly port: number;
}

/** Answer to "ping-pong": round trips in µs. */
export interface PingPongResult {
  /** Half of them took no longer. */
  readonly p50: number;
  /** 99 of 100 took no longer. */
  readonly p99: number;
  /** How many there were. */
  readonly count: number;
}

/** Answer to "connections". */
export interface ConnectionsResult {
  /** Connections opened, used and closed in a second. */
  readonly perSecond: number;
  /** Connections that were cut off or refused. */
  readonly failures: number;
}

/** Answer to "streams". */
export interface StreamsResult {
  /** Of all streams together. */
  readonly bytesPerSecond: number;
}

/** Answer to "transfer". */
export interface TransferResult {
  /** From the first byte to the end of stream or the digest. */
  readonly bytesPerSecond: number;
  /** Whether both ends have the same SHA-256. */
  readonly equal: boolean;
}

/** Answer to "hold". */
export interface HoldResult {
  /** How long it took to open them. */
  readonly seconds: number;
}

/** What each task answers, by its name. */
export interface LoadResults {
  /** The target's port. */
  readonly serve: ServeResult;
  /** Round trips. */
  readonly "ping-pong": PingPongResult;
  /** Connections opened. */
  readonly connections: ConnectionsResult;
  /** Throughput. */
  readonly streams: StreamsResult;
  /** Throughput and digests. */
  readonly transfer: TransferResult;
  /** Time to open. */
  readonly hold: HoldResult;
}
