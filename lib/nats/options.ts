/**
 * What a connection to NATS needs to know, and its translation into the
 * options of nats-core.
 *
 * @module
 */

import {
  type Authenticator,
  type ConnectionOptions,
  credsAuthenticator,
  jwtAuthenticator,
  nkeyAuthenticator,
  parseOptions,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/nats-core/internal";
import type { BrokerAddress } from "../base/broker_address.ts";
import type { BrokerProxy } from "../base/broker_proxy.ts";
import { quote } from "../base/text.ts";
import type { Credentials, Secret } from "../base/credentials.ts";
import { UsageError } from "../base/errors.ts";

/** How to speak TLS to the broker. All certificates and keys are PEM text. */
export interface NatsTls {
  /** Certificates to trust beside those of the system. */
  readonly ca?: string;
  /** Our own certificate chain with its key, for brokers that ask for one. */
  readonly identity?: { readonly cert: string; readonly key: Secret };
  /**
   * Start with the TLS handshake instead of with the broker's plain INFO
   * line (nats-server: `handshake_first`; or a TLS proxy in front of it).
   */
  readonly first?: boolean;
}

/** Why one attempt to connect failed. */
export interface FailedAttempt {
  /** `host:port` of the broker tried. */
  readonly server: string;
  /** One line: what happened. */
  readonly reason: string;
  /** Attempts that failed since the link was up last, this one included. */
  readonly failures: number;
  /** What to do about it, where that is known. */
  readonly hint?: string | undefined;
  /** With what we wanted to log in, where that is what was refused; never a secret. */
  readonly login?: string | undefined;
}

/** Descriptors that are kept for dialling brokers. */
export interface LinkReserve {
  /** Sees to it that there are some for a dial, until disposed. */
  lend(): Disposable;
  /** Whether so many are free. */
  has(count: number): boolean;
}

/** Options of `connectNats`. */
export interface NatsOptions {
  /**
   * Brokers, tried in this order: peers that name the same first one meet
   * there, which spares their messages a hop between brokers. The next is
   * tried beside one that does not greet us soon.
   */
  readonly servers: readonly BrokerAddress[];
  /** Whether only those are dialled, not what their cluster announces. Default false. */
  readonly ignoreDiscovered?: boolean;
  /**
   * Finds the addresses of a broker's name, each of which is then dialled.
   * Without it, or when it fails, the runtime finds them.
   */
  readonly resolve?: (host: string, signal: AbortSignal) => Promise<string[]>;
  /** A proxy that connects us to each of them, and looks up its name. */
  readonly proxy?: BrokerProxy | undefined;
  /** How to log in; without it, not at all. */
  readonly credentials?: Credentials;
  /** TLS. Without it, TLS is used when the broker demands it. */
  readonly tls?: NatsTls;
  /**
   * Reads credentials and TLS anew, before each attempt to connect: they may
   * have been rotated. Must give the same kinds as before. When it throws, the
   * attempt has failed, with the error's message for its reason.
   */
  readonly refresh?: () => Pick<NatsOptions, "credentials" | "tls">;
  /** Descriptors for dialling; without it, there are taken to be enough. */
  readonly reserve?: LinkReserve;
  /** What the broker's monitoring calls this connection. */
  readonly name?: string;
  /**
   * Time between two pings in ms; a broker that leaves two unanswered is
   * taken for dead. Default 2000: dead after 6 s at most.
   */
  readonly pingInterval?: number;
  /** How long the first connection may take in all, in ms; 0 is for ever. Default 0. */
  readonly connectTimeout?: number;
  /** How long one broker may take, TLS and login included, in ms. Default 5000. */
  readonly dialTimeout?: number;
  /** Ends the attempts to connect; has no effect once connected. */
  readonly signal?: AbortSignal;
  /** Called for each failed attempt to connect, the first time and later. */
  readonly onAttemptFailed?: (attempt: FailedAttempt) => void;
  /**
   * Called each time that the broker refuses a subscription. It is asked for
   * again, with growing pauses and after each reconnect.
   */
  readonly onSubscriptionError?: (subject: string, reason: string) => void;
  /** A number in [0, 1) for the back-off's jitter. Default `Math.random`. */
  readonly random?: () => number;
}

/** See {@linkcode NatsOptions.pingInterval}. */
const DEFAULT_PING_INTERVAL = 2000;

/** Unanswered pings after which a broker is dead: one may be lost in a stall, two are not. */
const MAX_PINGS_OUT = 2;

/**
 * See {@linkcode NatsOptions.dialTimeout}. A handshake takes a few round
 * trips; five seconds are enough for any link that could carry a tunnel, and
 * a broker that does not answer the login holds up the next one no longer.
 */
export const DEFAULT_DIAL_TIMEOUT = 5000;

/**
 * What nats-core takes for the one broker there is: which of them is dialled,
 * and when, is decided in `search.ts`.
 */
const ANY_BROKER = "brokers";

/** For nats-core's time-outs, of which we have our own: the longest timer there is, in ms. */
const NEVER = 2 ** 31 - 1;

/** Least time between the beginnings of two searches for a broker, in ms: whatever fails, fails at a bounded rate. */
const SEARCH_PAUSE = 50;

/** What a login needs, ready to be used. */
export interface Login {
  /** Answers the broker's question who we are; undefined when nobody. */
  readonly authenticator: Authenticator | undefined;
  /** How to speak TLS; undefined when only a broker that demands it gets it. */
  readonly tls: NatsTls | undefined;
}

/**
 * The login that `options` give.
 *
 * @throws {UsageError} when the credentials cannot be used.
 */
export function loginOf(
  { credentials, tls }: Pick<NatsOptions, "credentials" | "tls">,
): Login {
  return { authenticator: authenticatorOf(credentials), tls };
}

/**
 * Translates `options` for nats-core, which asks `login` how to log in each
 * time.
 *
 * @throws {UsageError} without a server.
 */
export function coreOptions(
  options: NatsOptions,
  login: () => Login,
): ConnectionOptions {
  if (options.servers.length === 0) {
    throw new UsageError("No NATS server is given");
  }
  const { authenticator, tls } = login();
  return parseOptions({
    servers: ANY_BROKER,
    ignoreClusterUpdates: true,
    ...(authenticator && {
      authenticator: (nonce?: string) =>
        (login().authenticator ?? authenticator)(nonce),
    }),
    ...(tls && { tls: {} }),
    ...(options.name !== undefined && { name: options.name }),
    pingInterval: options.pingInterval ?? DEFAULT_PING_INTERVAL,
    maxPingOut: MAX_PINGS_OUT,
    timeout: NEVER,
    // Never stop trying: not before the first connection, not after it,
    // and not because a broker refuses us while its users are reloaded.
    waitOnFirstConnect: true,
    reconnect: true,
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: () => SEARCH_PAUSE,
    noAsyncTraces: true,
  });
}

/** What answers the broker's question who we are. */
function authenticatorOf(
  credentials: Credentials = { kind: "none" },
): Authenticator | undefined {
  const encoder = new TextEncoder();
  switch (credentials.kind) {
    case "none":
      return undefined;
    case "password":
      return usernamePasswordAuthenticator(
        credentials.user,
        credentials.password.reveal(),
      );
    case "token":
      return tokenAuthenticator(credentials.token.reveal());
    case "nkey":
      return tried(
        nkeyAuthenticator(encoder.encode(credentials.file.reveal().trim())),
        `The NATS nkey seed${
          at(credentials.path)
        } is malformed: it must be the one line that begins with SU`,
      );
    case "jwt": {
      const { jwt, seed } = credentials;
      return tried(
        jwtAuthenticator(
          jwt.reveal().trim(),
          seed && encoder.encode(seed.reveal().trim()),
        ),
        "The seed beside the NATS JWT is malformed: it must be one that begins with SU",
      );
    }
    case "creds":
      return tried(
        // nats-core wants an end of line after the last one, too.
        credsAuthenticator(encoder.encode(`${credentials.file.reveal()}\n`)),
        `The NATS credentials${
          at(credentials.path)
        } are malformed: they must hold a JWT and an nkey seed, each between its BEGIN and END lines`,
      );
  }
}

function at(path: string | undefined): string {
  return path === undefined ? "" : ` in ${quote(path)}`;
}

/**
 * `authenticator`, after it has signed something: nats-core ends the whole
 * connection when it fails later.
 */
function tried(authenticator: Authenticator, complaint: string): Authenticator {
  try {
    authenticator("nonce");
  } catch {
    // Not even the cause is passed on: it may quote the secret.
    throw new UsageError(complaint);
  }
  return authenticator;
}
