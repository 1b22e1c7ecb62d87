/**
 * From configuration to a connection to NATS, which logs in as the files say
 * before each attempt, and reports what happens on the way.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { untilAborted } from "../base/abort.ts";
import { formatAddress } from "../base/address.ts";
import type { BrokerAddress } from "../base/broker_address.ts";
import { systemClock } from "../base/clock.ts";
import { Repeats } from "../base/repeats.ts";
import type { NatsConfig } from "../config/nats_section.ts";
import { connectNats, type NatsBus } from "../nats/connection.ts";
import type {
  FailedAttempt,
  LinkReserve,
  NatsOptions,
} from "../nats/options.ts";
import { lookUp } from "../net/dial.ts";
import type { Role } from "../wire/subjects.ts";
import { orAsBefore, type ReadAuth } from "./auth_reader.ts";
import { loginReader, type Pipes } from "./login_files.ts";

/** How long a second connection may take, in ms: its broker has just answered the first. */
const EXPRESS_CONNECT_MS = 5_000;

/**
 * What tells this process's connection from others in the broker's monitoring:
 * `tcp-sproxy client HOST pid 123`, or `… client ping HOST …` of a tool; without the host where this process may not
 * know it.
 */
export function connectionName(role: Role, word?: string): string {
  const name = hostname();
  const host = name === undefined ? "" : ` ${name}`;
  const what = word === undefined ? role : `${role} ${word}`;
  return `tcp-sproxy ${what}${host} pid ${Deno.pid}`;
}

/** The name of this machine; undefined where this process may not know it. */
export function hostname(): string | undefined {
  const needed = { name: "sys", kind: "hostname" } as const;
  const { state } = Deno.permissions.querySync(needed);
  return state === "granted" ? Deno.hostname() : undefined;
}

/**
 * Connects as `config` says.
 *
 * @throws {UsageError} when a file it names cannot be read or used.
 * @throws {RunError} when the first connection does not come about in time.
 */
export async function openNats(
  config: NatsConfig,
  options: {
    /** What the broker's monitoring calls this process. */
    readonly name: string;
    readonly signal: AbortSignal;
    /** What was read of pipes. */
    readonly pipes: Pipes;
    /** Reads anew how to log in. */
    readonly readAuth: ReadAuth;
    readonly onSubscriptionError: (subject: string, reason: string) => void;
    readonly reserve: LinkReserve;
    /** Told of each attempt that failed, with the broker's address. */
    readonly onAttemptFailed?: (text: string) => void;
    /** How many tunnels are open, which wait while NATS is away. */
    readonly tunnels?: () => number;
  },
): Promise<NatsBus> {
  const log = getLogger(["sproxy", "nats"]);
  const { servers, ignoreDiscovered, proxy, connectTimeout } = config;
  const refresh = await loginReader(
    config,
    options.pipes,
    orAsBefore(options.readAuth, config.auth),
  );
  const attempts = new AttemptLog();
  const bus = await connectNats({
    ...options,
    servers,
    ignoreDiscovered,
    ...dialOptions(config, refresh),
    connectTimeout,
    onAttemptFailed: (attempt) => {
      attempts.failed(attempt);
      const { server, reason } = attempt;
      options.onAttemptFailed?.(`NATS at ${server}: ${reason}`);
    },
  }).catch((error) => {
    // No count is lost at the end, either.
    attempts.over();
    throw error;
  });
  log.info("connected to NATS", {
    server: bus.server,
    ...attempts.over(),
    proxy: proxy && formatAddress(proxy.address),
  });
  let lostAt = 0;
  bus.onLink((event) => {
    switch (event.type) {
      case "up":
        log.info("connected to NATS again", {
          server: event.server,
          ms: Math.round(performance.now() - lostAt),
          ...attempts.over(),
          tunnels: options.tunnels?.(),
        });
        break;
      case "down":
        lostAt = performance.now();
        log.warn("connection to NATS lost", {
          server: bus.server,
          why: event.reason,
          tunnels: options.tunnels?.(),
        });
        break;
      case "closed":
        attempts.over();
        log.debug("connection to NATS closed", {
          server: bus.server,
          why: event.reason ?? "",
        });
    }
  });
  return bus;
}

/**
 * Opens a connection beside that of {@linkcode openNats}, to the broker at
 * `address` and no other; what becomes of it is told by who uses it.
 *
 * @throws {UsageError | RunError} when it does not come about in time.
 */
export async function openExpress(
  config: NatsConfig,
  { pipes, readAuth, ...options }: {
    readonly name: string;
    readonly address: BrokerAddress;
    readonly signal: AbortSignal;
    readonly pipes: Pipes;
    readonly readAuth: ReadAuth;
    readonly reserve: LinkReserve;
  },
): Promise<NatsBus> {
  const refresh = await loginReader(
    config,
    pipes,
    orAsBefore(readAuth, config.auth),
  );
  return await connectNats({
    ...options,
    servers: [options.address],
    ignoreDiscovered: true,
    ...dialOptions(config, refresh),
    connectTimeout: EXPRESS_CONNECT_MS,
  });
}

/** What holds for each connection of a process: how it is dialled, logs in and is watched. */
function dialOptions(
  { proxy, pingInterval }: NatsConfig,
  refresh: Awaited<ReturnType<typeof loginReader>>,
): Pick<
  NatsOptions,
  "proxy" | "pingInterval" | "resolve" | "refresh" | "credentials" | "tls"
> {
  return {
    ...{ proxy, pingInterval },
    resolve: (host, signal) => untilAborted(lookUp(host), signal),
    ...refresh(),
    refresh,
  };
}

/**
 * What counts as the same cause as `reason`: some say what time it is, or how
 * long something took, and what a broker said last is told with or without that
 * it then closed the connection, as the one or the other is seen first.
 */
export function causeOf(reason: string): string {
  return reason.replace(/^it closed the connection: "(.*)"$/, "$1")
    .replaceAll(/\d+/g, "0");
}

/** The log of attempts to connect: of each broker and cause the first, then counts. */
class AttemptLog {
  readonly #log = getLogger(["sproxy", "nats"]);
  readonly #repeats = new Repeats(systemClock);
  #failures = 0;

  /** One has failed. */
  failed({ server, reason, failures, hint, login }: FailedAttempt): void {
    this.#failures = failures;
    const cause = `${server} ${causeOf(reason)}`;
    this.#repeats.note(
      cause,
      (count) =>
        this.#log.warn("cannot connect to NATS", {
          server,
          why: reason,
          ...(hint !== undefined && { hint }),
          ...(login !== undefined && { login }),
          ...(count > 1 && { count }),
          failures,
        }),
    );
  }

  /** There are no more: how many it were, if any. */
  over(): { readonly failures?: number } {
    const failures = this.#failures;
    this.#failures = 0;
    this.#repeats.clear();
    return failures > 0 ? { failures } : {};
  }
}
