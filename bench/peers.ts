/**
 * Other programs that forward, where the environment says that there are any:
 * chisel, and one of which a command is given.
 *
 * @module
 */

import {
  type Endpoint,
  formatAddress,
  freePort,
} from "../integration_tests/support/addresses.ts";
import { pause } from "../integration_tests/support/changes.ts";
import {
  type Process,
  ProcessEnded,
  spawn,
  spawnOnFreePort,
} from "../integration_tests/support/processes.ts";

/** What the environment names. */
export interface Peers {
  /** Path of chisel. */
  readonly chisel?: string;
  /** A program that forwards. */
  readonly peer?: {
    /** What it is called. */
    readonly name: string;
    /** How it is started: words with spaces between, and `{listen}` and `{target}` for `host:port`. */
    readonly command: string;
  };
}

/** Between two looks whether a peer listens, in ms. */
const LOOK_EVERY = 50;

/** How long a peer may take to forward, in ms. */
const START_LIMIT = 15_000;

/** What a peer's command is to name. */
const PLACES = ["{listen}", "{target}"] as const;

/**
 * Reads `BENCH_CHISEL`, `BENCH_PEER_COMMAND` and `BENCH_PEER_NAME`.
 *
 * @throws {RangeError} when the command lacks a place to put an address.
 */
export function readPeers(
  env: Readonly<Record<string, string | undefined>>,
): Peers {
  const { BENCH_CHISEL: chisel, BENCH_PEER_COMMAND: command } = env;
  const missing = PLACES.find((place) => command?.includes(place) === false);
  if (missing !== undefined) {
    throw new RangeError(
      `BENCH_PEER_COMMAND "${command}" has no ${missing} for host:port`,
    );
  }
  const name = env.BENCH_PEER_NAME ?? command?.split(/\s+/)[0] ?? "";
  return {
    ...(chisel ? { chisel } : {}),
    ...(command ? { peer: { name, command } } : {}),
  };
}

/** The words of a peer's command for a place to listen at and a target. */
export function peerWords(
  command: string,
  { listen, target }: { readonly listen: string; readonly target: string },
): string[] {
  return command.trim().split(/\s+/).map((word) =>
    word.replaceAll("{listen}", listen).replaceAll("{target}", target)
  );
}

/** A program that forwards. */
export interface Forwarder {
  /** Its process. */
  readonly process: Process;
  /** Where it listens. */
  readonly endpoint: Endpoint;
}

/** Starts chisel's server. */
export async function startChiselServer(
  chisel: string,
  signal?: AbortSignal,
): Promise<Forwarder> {
  return await spawnOnFreePort(chisel, {
    name: "chisel server",
    args: (port) => ["server", "--host", "127.0.0.1", "--port", `${port}`],
    ready: /Listening on/,
    signal,
  });
}

/** Starts chisel's client; it forwards when this resolves. */
export async function startChiselClient(
  chisel: string,
  options: {
    readonly server: Endpoint;
    readonly target: Endpoint;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Forwarder> {
  const { server, target, signal } = options;
  return await spawnOnFreePort(chisel, {
    name: "chisel client",
    args: (port) => [
      "client",
      `http://${formatAddress(server)}`,
      `127.0.0.1:${port}:${formatAddress(target)}`,
    ],
    ready: /Connected/,
    signal,
  });
}

/** Starts a peer by its command; it is ready when a connection to it is accepted. */
export async function startPeer(
  { name, command }: NonNullable<Peers["peer"]>,
  { target, signal }: {
    readonly target: Endpoint;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Forwarder> {
  const endpoint = { hostname: "127.0.0.1", port: freePort() };
  const [program = "", ...args] = peerWords(command, {
    listen: formatAddress(endpoint),
    target: formatAddress(target),
  });
  const process = spawn(program, { name, args });
  const until = performance.now() + START_LIMIT;
  try {
    while (!await accepts(endpoint)) {
      signal?.throwIfAborted();
      if (process.ended) throw new ProcessEnded(process, await process.status);
      if (performance.now() > until) {
        throw new Error(
          `${name} does not listen on ${formatAddress(endpoint)} after ${
            START_LIMIT / 1000
          } s: ${process.tail(1)}`,
        );
      }
      await pause(LOOK_EVERY, signal);
    }
  } catch (error) {
    await process.kill();
    throw error;
  }
  return { process, endpoint };
}

async function accepts(endpoint: Endpoint): Promise<boolean> {
  try {
    (await Deno.connect(endpoint)).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}
