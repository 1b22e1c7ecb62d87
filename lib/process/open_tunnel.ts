/**
 * One tunnel for a program that is not ours: a connection to NATS of its own,
 * and a pair of streams.
 *
 * @module
 */
import { blame, RunError, TunnelError, UsageError } from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import { Ingress } from "../client/client.ts";
import { parseCommandLine } from "../config/cli.ts";
import type { ClientConfig } from "../config/config.ts";
import { Reserve, systemDescriptors } from "../net/descriptors.ts";
import type { StreamPair } from "../net/socket.ts";
import { claimOf, ingressOptions, sealOf } from "./client_parts.ts";
import { connectionName, openNats } from "./connect.ts";
import { LINK_RESERVE } from "./descriptors.ts";
import { readKeys } from "./key_files.ts";

/** How long the last frames may take to reach NATS at the end, in ms. */
const GOODBYE_MS = 2_000;

/** Where a tunnel goes, and by which way. */
export interface TunnelOptions {
  /** Brokers, as `--nats-url` takes them: `nats://` or `tls://`, `ws://` or `wss://`, several with commas. */
  readonly nats: string;
  /** What the server is to connect to: `HOST:PORT`, `svc:NAME` or `unix:PATH`, at a site with `@SITE` behind it. */
  readonly target: string;
  /** Further flags of the client, such as `["--nats-creds", "me.creds"]`. Neither variables nor config files are read. */
  readonly flags?: readonly string[];
  /** Cuts the tunnel, or the attempt to open it. */
  readonly signal?: AbortSignal;
}

/**
 * An open tunnel. `readable` ends where the target's stream ends; closing
 * `writable` ends the stream to the target, and the other direction goes on.
 */
export interface OpenTunnel extends StreamPair, AsyncDisposable {
  /**
   * Resolves when both directions have ended in order and the connection to
   * NATS is closed; rejects when the tunnel was cut, with the reason.
   */
  readonly closed: Promise<void>;
  /** Cuts it, unless it has ended, and closes the connection to NATS. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Opens a tunnel through NATS to a target that a server of tcp-sproxy dials.
 *
 * ```ts
 * await using tunnel = await openTunnel({
 *   nats: "nats://127.0.0.1:4222",
 *   target: "127.0.0.1:6379",
 * });
 * ```
 *
 * @throws {UsageError} when an option is wrong.
 * @throws {RunError} when NATS cannot be reached, or an ID is another's.
 * @throws {TunnelError} when the tunnel is refused; its `code` says why.
 * @throws the reason of the signal when that aborts.
 */
export async function openTunnel(options: TunnelOptions): Promise<OpenTunnel> {
  const { signal } = options;
  signal?.throwIfAborted();
  const { config, target, site } = readOptions(options);
  const pipes = new Map<string, string>();
  const keys = readKeys(config.security, pipes);
  const cut = new AbortController();
  const stop = signal === undefined
    ? cut.signal
    : AbortSignal.any([cut.signal, signal]);
  await using cleanup = new AsyncDisposableStack();
  const reserve = cleanup.use(new Reserve(LINK_RESERVE, systemDescriptors()));
  const bus = await openNats(config.nats, {
    name: config.nats.name ?? connectionName("client", "library"),
    ...{ signal: stop, pipes, reserve },
    readAuth: () => config.nats.auth,
    onSubscriptionError: (subject, reason) =>
      cut.abort(
        new RunError(`NATS refuses the subscription to ${subject}: ${reason}`),
      ),
  });
  cleanup.defer(() => bus.close(GOODBYE_MS));
  const base = await ingressOptions(config, { bus, host: { keys } });
  const seal = keys && sealOf(keys, config);
  const claim = claimOf(config, base, seal);
  if (claim !== undefined) cleanup.use(claim);
  await claim?.acquire(stop, { wait: false });
  const ended = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  // Of either it may be that nobody waits for it.
  ended.promise.catch(() => {});
  const ingress = cleanup.use(
    new Ingress({
      ...{ ...base, seal, claim },
      endsAreTold: true,
      onTunnelEnd: (outcome) => {
        if (outcome.clean) ended.resolve();
        else {
          const { reason, by } = outcome;
          ended.reject(new TunnelError(reason.code, blame(by, reason).why));
        }
      },
    }),
  );
  const lost = claim?.hold();
  const to = new TransformStream<Uint8Array, Uint8Array>();
  const from = new TransformStream<Uint8Array, Uint8Array>();
  const socket = {
    readable: to.readable,
    writable: from.writable,
    remote: "library",
  };
  const end = AbortSignal.any([stop, ...(lost === undefined ? [] : [lost])]);
  const onEnd = (): void => {
    opened.reject(end.reason);
    const reason = { code: "shutdown", text: "the tunnel was closed" } as const;
    ingress.cancelOpenings(reason);
    ingress.session.abortAll(reason);
  };
  end.addEventListener("abort", onEnd, { once: true });
  if (end.aborted) onEnd();
  else {
    ingress.open({
      ...{ socket, target, site, told: true },
      accept: () => {
        opened.resolve();
        return socket;
      },
      reject: (reason, by) =>
        opened.reject(new TunnelError(reason.code, blame(by, reason).why)),
    });
  }
  await opened.promise;
  const resources = cleanup.move();
  const closed = (async (): Promise<void> => {
    try {
      await ended.promise;
    } finally {
      end.removeEventListener("abort", onEnd);
      claim?.leave();
      await resources.disposeAsync();
    }
  })();
  closed.catch(() => {});
  return {
    readable: from.readable,
    writable: to.writable,
    closed,
    async [Symbol.asyncDispose](): Promise<void> {
      cut.abort(new RunError("The tunnel was closed"));
      await closed.catch(() => {});
    },
  };
}

/** The configuration of a client that is this one connection, and where that goes. */
function readOptions(
  { nats, target, flags = [] }: TunnelOptions,
): { readonly config: ClientConfig } & Destination {
  const command = parseCommandLine(
    "client",
    ["--stdio", target, "--nats-url", nats, ...flags],
    // A library's caller says all there is to say.
    { env: () => undefined, readTextFile: () => undefined },
  );
  if (command.kind === "run") {
    const { config } = command;
    const { oneShot } = config.client;
    if (oneShot?.kind === "stdio") {
      return { config, target: oneShot.target, site: oneShot.site };
    }
  }
  throw new UsageError(
    `flags of a tunnel are options of the client, and not ${flags.join(" ")}`,
  );
}
