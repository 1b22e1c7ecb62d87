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
  nkeyAuthenticator,
  parseOptions,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/nats-core/internal";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";

/** How to log in to NATS. The secrets are values, not paths. */
export type NatsCredentials =
  | { readonly kind: "none" }
  | {
    readonly kind: "password";
    readonly user: string;
    readonly password: string;
  }
  | { readonly kind: "token"; readonly token: string }
  /** `seed` is an nkey seed, `SU...`. */
  | { readonly kind: "nkey"; readonly seed: string }
  /** `text` is the content of a credentials file: a JWT and its nkey seed. */
  | { readonly kind: "creds"; readonly text: string };

/** How to speak TLS to the broker. All certificates and keys are PEM text. */
export interface NatsTls {
  /** Certificates to trust beside those of the system. */
  readonly ca?: string;
  /** Our own certificate chain, for brokers that ask for one; needs `key`. */
  readonly cert?: string;
  /** The key of `cert`. */
  readonly key?: string;
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
  /**
   * Failures in a row, this one included; a link that broke soon after it
   * came up is one, too.
   */
  readonly failures: number;
}

/** Options of `connectNats`. */
export interface NatsOptions {
  /**
   * Brokers, as `nats://host:port`, `tls://host:port` or `host:port`, tried in
   * this order: peers that name the same first one meet there, which spares
   * their messages a hop between brokers.
   */
  readonly servers: readonly string[];
  /** How to log in; without it, not at all. */
  readonly credentials?: NatsCredentials;
  /**
   * TLS. Without it, TLS is used when a server is written `tls://` or when
   * the broker demands it.
   */
  readonly tls?: NatsTls;
  /**
   * Reads credentials and TLS anew, before each attempt to connect: they may
   * have been rotated. Must give the same kinds as before. When it throws, the
   * attempt has failed, with the error's message for its reason.
   */
  readonly refresh?: () => Pick<NatsOptions, "credentials" | "tls">;
  /** What the broker's monitoring calls this connection. */
  readonly name?: string;
  /**
   * Time between two pings in ms; a broker that leaves two unanswered is
   * taken for dead. Default 2000: dead after 6 s at most.
   */
  readonly pingInterval?: number;
  /** How long the first connection may take in all, in ms; 0 is for ever. Default 0. */
  readonly connectTimeout?: number;
  /** How long one attempt may take, TLS and login included, in ms. Default 5000. */
  readonly dialTimeout?: number;
  /** Ends the attempts to connect; has no effect once connected. */
  readonly signal?: AbortSignal;
  /** Called for each failed attempt to connect, the first time and later. */
  readonly onAttemptFailed?: (attempt: FailedAttempt) => void;
  /**
   * Called when the broker refuses a subscription. It is asked for again, with
   * growing pauses and after each reconnect.
   */
  readonly onSubscriptionError?: (subject: string, reason: string) => void;
  /** A number in [0, 1) for the back-off's jitter. Default `Math.random`. */
  readonly random?: () => number;
}

/** The port of a broker that is written without one. */
const DEFAULT_PORT = 4222;

/** See {@linkcode NatsOptions.pingInterval}. */
const DEFAULT_PING_INTERVAL = 2000;

/** Unanswered pings after which a broker is dead: one may be lost in a stall, two are not. */
const MAX_PINGS_OUT = 2;

/**
 * See {@linkcode NatsOptions.dialTimeout}. A handshake takes a few round
 * trips; five seconds are enough for any link that could carry a tunnel, and
 * a broker that swallows packets does not hold up the next one for longer.
 */
const DEFAULT_DIAL_TIMEOUT = 5000;

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
 * @throws {UsageError} when the credentials or certificates cannot be used.
 */
export function loginOf(options: NatsOptions): Login {
  const { credentials, tls } = options;
  if ((tls?.cert === undefined) !== (tls?.key === undefined)) {
    throw new UsageError(
      "A TLS client certificate for NATS needs its key, and the key its certificate",
    );
  }
  const demanded = options.servers.some((text) => parseServer(text).tls);
  return {
    authenticator: authenticatorOf(credentials),
    tls: tls ?? (demanded ? {} : undefined),
  };
}

/**
 * Translates `options` for nats-core, which asks `delay` how many ms must lie
 * between two attempts at one broker, and `login` how to log in each time.
 *
 * @throws {UsageError} for a server that is none.
 */
export function coreOptions(
  options: NatsOptions,
  { delay, login }: {
    readonly delay: () => number;
    readonly login: () => Login;
  },
): ConnectionOptions {
  const servers = options.servers.map(parseServer);
  if (servers.length === 0) throw new UsageError("No NATS server is given");
  const { authenticator, tls } = login();
  return parseOptions({
    servers: servers.map(({ place }) => place),
    noRandomize: true,
    ...(authenticator && {
      authenticator: (nonce?: string) =>
        (login().authenticator ?? authenticator)(nonce),
    }),
    ...(tls && { tls: {} }),
    ...(options.name !== undefined && { name: options.name }),
    pingInterval: options.pingInterval ?? DEFAULT_PING_INTERVAL,
    maxPingOut: MAX_PINGS_OUT,
    timeout: options.dialTimeout ?? DEFAULT_DIAL_TIMEOUT,
    // Never stop trying: not before the first connection, not after it,
    // and not because a broker refuses us while its users are reloaded.
    waitOnFirstConnect: true,
    reconnect: true,
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: delay,
    noAsyncTraces: true,
  });
}

/** `text` as `host:port`, and whether it demands TLS. */
function parseServer(text: string): { place: string; tls: boolean } {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  const url = URL.parse(hasScheme ? text : `nats://${text}`);
  if (url?.username || url?.password) {
    throw new UsageError(
      `The NATS server at ${url.host} is written with credentials: give them on their own`,
    );
  }
  const tls = url?.protocol === "tls:";
  if (!url || !url.hostname || (!tls && url.protocol !== "nats:")) {
    throw new UsageError(
      `${
        quote(text)
      } is no NATS server: write nats://host:port or tls://host:port`,
    );
  }
  return { place: `${url.hostname}:${url.port || DEFAULT_PORT}`, tls };
}

/** What answers the broker's question who we are. */
function authenticatorOf(
  credentials: NatsCredentials = { kind: "none" },
): Authenticator | undefined {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  switch (credentials.kind) {
    case "none":
      return undefined;
    case "password":
      return usernamePasswordAuthenticator(
        credentials.user,
        credentials.password,
      );
    case "token":
      return tokenAuthenticator(credentials.token);
    case "nkey":
      return tried(
        nkeyAuthenticator(bytes(credentials.seed.trim())),
        "The NATS nkey seed is malformed: it must be the one line that begins with SU",
      );
    case "creds":
      return tried(
        credsAuthenticator(bytes(credentials.text)),
        "The NATS credentials are malformed: they must hold a JWT and an nkey seed, each between its BEGIN and END lines",
      );
  }
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
