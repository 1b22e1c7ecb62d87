/**
 * The one table of options. Flags, environment variables, keys of config
 * files, `--help`, the README's tables and the tests of bad input all come
 * from it; an option that is not here does not exist.
 *
 * @module
 */

import {
  boolean,
  choice,
  clientId,
  dialAddress,
  duration,
  integer,
  listenAddress,
  name,
  natsUrls,
  optionalListenAddress,
  type OptionType,
  path,
  secret,
  size,
  subject,
  targetRules,
  workers,
} from "./types.ts";
import {
  DEFAULT_DATA_PREFIX,
  DEFAULT_REQUEST_SUBJECT,
  type Role,
} from "../wire/subjects.ts";

/** The two programs. */
export type { Role };

/** One option. */
export interface Option {
  /** Who has it. */
  readonly role: Role | "both";
  /** The flag, without its dashes; none for what must not stand in a command line. */
  readonly flag?: string;
  /** The environment variable. */
  readonly env: string;
  /** How its values are written. */
  readonly type: OptionType<unknown>;
  /** The value when none is given, as text; without it the option is unset. */
  readonly default?: string;
  /** One sentence without a period, for the help and the README. */
  readonly help: string;
  /** Whether its value must never be shown. */
  readonly secret?: true;
  /** Whether it is accepted and checked, and does nothing yet. */
  readonly reserved?: true;
  /** Whether the flag may be given several times, each adding to the list. */
  readonly repeatable?: true;
}

/** Shortest time-out or interval, in ms: less only burns CPU. */
const MIN_INTERVAL = 10;

/** Smallest window, in bytes: one frame of the size that measured best through nats-server. */
const MIN_WINDOW = 16 * 1024;

/** Smallest memory budget, in bytes: some tunnels at their first window. */
const MIN_BUDGET = 1024 * 1024;

/**
 * Largest memory budget, in bytes: nats-server cuts a client off that has
 * 64 MiB pending, and framing and other traffic need room beside it.
 */
const MAX_BUDGET = 48 * 1024 * 1024;

/** Slowest rate to a version 1 peer, in bytes per second: one of its messages. */
const MIN_V1_RATE = 32 * 1024;

/** Most tunnels, and most opens, of a process: beyond the ports of a host. */
const MAX_TUNNELS = 1_000_000;

/** Every option by its key in config files, in the order of the help. */
export const OPTIONS = {
  "server.listen_addr": {
    role: "server",
    flag: "listen-addr",
    env: "LISTEN_ADDR",
    type: optionalListenAddress,
    default: ":8080",
    help: "Where /health, /ready and /metrics are served; off for nowhere",
  },
  "server.dial_timeout": {
    role: "server",
    flag: "dial-timeout",
    env: "DIAL_TIMEOUT",
    type: duration({ min: MIN_INTERVAL }),
    default: "10s",
    help: "How long a dial of a target may take",
  },
  "server.allow_target": {
    role: "server",
    flag: "allow-target",
    env: "ALLOW_TARGET",
    type: targetRules,
    default: "",
    repeatable: true,
    help:
      "Targets that may be dialled, such as db:5432, *.example.com:443, 10.0.0.0/8:*, [::1]:22 or host:1000-2000; none given allows all",
  },
  "server.max_tunnels_per_client": {
    role: "server",
    flag: "max-tunnels-per-client",
    env: "MAX_TUNNELS_PER_CLIENT",
    type: integer({ min: 1, max: MAX_TUNNELS }),
    default: "4096",
    help: "Most tunnels open at once for one client",
  },
  "client.listen_addr": {
    role: "client",
    flag: "listen-addr",
    env: "LISTEN_ADDR",
    type: listenAddress,
    default: "0.0.0.0:8082",
    help: "Where local connections are accepted",
  },
  "client.remote_addr": {
    role: "client",
    flag: "remote-addr",
    env: "REMOTE_ADDR",
    type: dialAddress,
    default: "redis:6379",
    help: "The target, which the server dials",
  },
  "client.proxy_addr": {
    role: "client",
    flag: "proxy-addr",
    env: "PROXY_ADDR",
    type: dialAddress,
    default: "proxy-server:8081",
    reserved: true,
    help: "Reserved: accepted and logged, without effect",
  },
  "client.open_timeout": {
    role: "client",
    flag: "open-timeout",
    env: "OPEN_TIMEOUT",
    type: duration({ min: MIN_INTERVAL }),
    default: "15s",
    help: "How long the server's answer to an open may take",
  },
  "client.status_addr": {
    role: "client",
    flag: "status-addr",
    env: "STATUS_ADDR",
    type: optionalListenAddress,
    default: "off",
    help: "Where /health, /ready and /metrics are served; off for nowhere",
  },
  "client.id": {
    role: "client",
    flag: "client-id",
    env: "CLIENT_ID",
    type: clientId,
    default: "",
    help:
      "This client's token in subjects, so that NATS permissions can fence it; no two clients may share one; random when empty",
  },
  "nats.url": {
    role: "both",
    flag: "nats-url",
    env: "NATS_URL",
    type: natsUrls,
    default: "nats://localhost:4222",
    help:
      "Brokers, nats:// or tls://; credentials in it (user:password@ or token@) belong in the environment or a file, not in a flag",
  },
  "nats.creds": {
    role: "both",
    flag: "nats-creds",
    env: "NATS_CREDS",
    type: path,
    help: "Credentials file (JWT and seed) to log in with",
  },
  "nats.nkey": {
    role: "both",
    flag: "nats-nkey",
    env: "NATS_NKEY",
    type: path,
    help: "File with the nkey seed to log in with",
  },
  "nats.user": {
    role: "both",
    flag: "nats-user",
    env: "NATS_USER",
    type: name,
    help: "User to log in as, with nats.password",
  },
  "nats.password": {
    role: "both",
    env: "NATS_PASSWORD",
    type: secret,
    secret: true,
    help: "Password to log in with",
  },
  "nats.token": {
    role: "both",
    env: "NATS_TOKEN",
    type: secret,
    secret: true,
    help: "Token to log in with",
  },
  "nats.tls.ca": {
    role: "both",
    flag: "nats-tls-ca",
    env: "NATS_TLS_CA",
    type: path,
    help: "PEM file of the authorities that may vouch for the broker",
  },
  "nats.tls.cert": {
    role: "both",
    flag: "nats-tls-cert",
    env: "NATS_TLS_CERT",
    type: path,
    help: "PEM file of this process's certificate, with nats.tls.key",
  },
  "nats.tls.key": {
    role: "both",
    flag: "nats-tls-key",
    env: "NATS_TLS_KEY",
    type: path,
    help: "PEM file of the certificate's key",
  },
  "nats.tls.first": {
    role: "both",
    flag: "nats-tls-first",
    env: "NATS_TLS_FIRST",
    type: boolean,
    default: "false",
    help: "Whether the TLS handshake comes before the broker's greeting",
  },
  "nats.connect_timeout": {
    role: "both",
    flag: "nats-connect-timeout",
    env: "NATS_CONNECT_TIMEOUT",
    type: duration({ min: 0 }),
    default: "30s",
    help:
      "How long the first connection is tried before giving up; 0 for ever (later ones always are)",
  },
  "nats.ping_interval": {
    role: "both",
    flag: "nats-ping-interval",
    env: "NATS_PING_INTERVAL",
    type: duration({ min: MIN_INTERVAL }),
    default: "2s",
    help: "Time between pings to the broker, dead after 2 without an answer",
  },
  "nats.request_subject": {
    role: "both",
    flag: "request-subject",
    env: "REQUEST_SUBJECT",
    type: subject,
    default: DEFAULT_REQUEST_SUBJECT,
    help: "Subject of open requests; the same on both sides",
  },
  "nats.data_prefix": {
    role: "both",
    flag: "data-prefix",
    env: "DATA_PREFIX",
    type: subject,
    default: DEFAULT_DATA_PREFIX,
    help: "Start of the subjects of data; the same on both sides",
  },
  "nats.queue_group": {
    role: "server",
    flag: "queue-group",
    env: "QUEUE_GROUP",
    type: subject,
    default: "tcp-sproxy",
    help: "Queue group in which servers share the open requests",
  },
  "tunnel.codec": {
    role: "client",
    flag: "codec",
    env: "CODEC",
    type: choice(["binary", "json"]),
    default: "binary",
    help: "Form of frames, binary or readable JSON",
  },
  "tunnel.drain_timeout": {
    role: "both",
    flag: "drain-timeout",
    env: "DRAIN_TIMEOUT",
    type: duration({ min: 0 }),
    default: "30s",
    help: "How long open tunnels may go on after SIGINT or SIGTERM",
  },
  "tunnel.resume_timeout": {
    role: "both",
    flag: "resume-timeout",
    env: "RESUME_TIMEOUT",
    type: duration({ min: 0 }),
    default: "30s",
    help: "How long tunnels wait for NATS, or a silent peer, to come back",
  },
  "tunnel.peer_timeout": {
    role: "both",
    flag: "peer-timeout",
    env: "PEER_TIMEOUT",
    type: duration({ min: MIN_INTERVAL }),
    default: "10s",
    help: "How long a peer that NATS says is gone may take to come back",
  },
  "tunnel.peer_ping_interval": {
    role: "both",
    flag: "peer-ping-interval",
    env: "PEER_PING_INTERVAL",
    type: duration({ min: MIN_INTERVAL }),
    default: "2s",
    help: "Time between pings to a peer",
  },
  "tunnel.idle_timeout": {
    role: "both",
    flag: "idle-timeout",
    env: "IDLE_TIMEOUT",
    type: duration({ min: 0 }),
    default: "0",
    help: "How long a tunnel may carry no byte; 0 for ever",
  },
  "tunnel.half_close_timeout": {
    role: "both",
    flag: "half-close-timeout",
    env: "HALF_CLOSE_TIMEOUT",
    type: duration({ min: 0 }),
    default: "30m",
    help: "The same once one direction has ended; 0 for ever",
  },
  "tunnel.max": {
    role: "both",
    flag: "max-tunnels",
    env: "MAX_TUNNELS",
    type: integer({ min: 1, max: MAX_TUNNELS }),
    default: "16384",
    help: "Most tunnels open at once",
  },
  "tunnel.max_opening": {
    role: "both",
    flag: "max-opening",
    env: "MAX_OPENING",
    type: integer({ min: 1, max: MAX_TUNNELS }),
    default: "1024",
    help: "Most tunnels being opened at once",
  },
  "tunnel.window": {
    role: "both",
    flag: "window",
    // Not WINDOW: GNU screen sets that for every shell inside it.
    env: "TUNNEL_WINDOW",
    type: size({ min: MIN_WINDOW, max: MAX_BUDGET }),
    default: "8MiB",
    help: "Most bytes under way for each tunnel and direction",
  },
  "tunnel.memory_budget": {
    role: "both",
    flag: "memory-budget",
    env: "MEMORY_BUDGET",
    type: size({ min: MIN_BUDGET, max: MAX_BUDGET }),
    default: "32MiB",
    help: "Most bytes held for all tunnels together, for each direction",
  },
  "tunnel.refuse_v1": {
    role: "both",
    flag: "refuse-v1",
    env: "REFUSE_V1",
    type: boolean,
    default: "false",
    help: "Whether peers that speak protocol version 1 are refused",
  },
  "tunnel.v1_rate": {
    role: "both",
    flag: "v1-rate",
    env: "V1_RATE",
    type: size({ min: MIN_V1_RATE }),
    default: "16MiB",
    help:
      "Most bytes a second sent to a version 1 peer, which has no flow control",
  },
  "log.level": {
    role: "both",
    flag: "log-level",
    env: "LOG_LEVEL",
    type: choice(["debug", "info", "warn", "error"]),
    default: "info",
    help: "Least level that is logged",
  },
  "log.format": {
    role: "both",
    flag: "log-format",
    env: "LOG_FORMAT",
    type: choice(["text", "json"]),
    default: "text",
    help: "Text for people or JSON lines for programs",
  },
  "workers": {
    role: "both",
    flag: "workers",
    env: "WORKERS",
    type: workers,
    default: "1",
    help:
      "Threads that share the work, each with its own connection to NATS; auto for one each core",
  },
} as const satisfies Record<string, Option>;

/** The key of an option: its path in a config file. */
export type OptionKey = keyof typeof OPTIONS;

/** What the text of option `O` gives; undefined too where it may be unset. */
export type ValueOf<O> = O extends { readonly type: OptionType<infer T> }
  ? (O extends { readonly default: string } ? T : T | undefined)
  : never;

/** The keys of the options of role `R` and of those that both roles have. */
export type OptionKeyOf<R extends Role> = {
  [K in OptionKey]: (typeof OPTIONS)[K]["role"] extends R | "both" ? K : never;
}[OptionKey];

/** The parsed values of the options of role `R`; by default those that both have. */
export type OptionValues<R extends Role = never> = {
  readonly [K in OptionKeyOf<R>]: ValueOf<(typeof OPTIONS)[K]>;
};

/** Every option with its key, in the order of the table. */
export const OPTION_ENTRIES = Object.entries(
  OPTIONS,
) as readonly (readonly [OptionKey, Option])[];

/** The options of `role`, with their keys, in the order of the table. */
export function optionsOf(
  role: Role,
): readonly (readonly [OptionKey, Option])[] {
  return OPTION_ENTRIES.filter(([, option]) =>
    option.role === role || option.role === "both"
  );
}

/** The program that does not have `role`. */
export function otherRole(role: Role): Role {
  return role === "server" ? "client" : "server";
}
