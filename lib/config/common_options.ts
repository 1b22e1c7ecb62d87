/**
 * The options of tunnels, keys, the log and the process, most of which both
 * programs have: a part of the table in `options.ts`.
 *
 * @module
 */
import type { OptionSpec } from "./option_spec.ts";
import * as types from "./types.ts";

/** Smallest window, in bytes: one frame of the size that measured best through nats-server. */
const MIN_WINDOW = 16 * 1024;

/** Smallest memory budget, in bytes: some tunnels at their first window. */
const MIN_BUDGET = 1024 * 1024;

/**
 * Largest memory budget, in bytes: nats-server cuts a client off that has
 * 64 MiB pending, and framing and other traffic need room beside it.
 */
const MAX_BUDGET = 48 * 1024 * 1024;

/** By their keys, in the order of the help. */
export const COMMON_OPTIONS = {
  "tunnel.codec": {
    role: "client",
    flag: "codec",
    type: types.choice(["binary", "json"]),
    default: "binary",
    help: "Form of frames, binary or readable JSON",
  },
  "tunnel.drain_timeout": {
    flag: "drain-timeout",
    type: types.duration({ min: 0 }),
    default: "30s",
    help: "How long open tunnels may go on after SIGINT or SIGTERM",
  },
  "tunnel.resume_timeout": {
    flag: "resume-timeout",
    type: types.duration({ min: 0 }),
    default: "30s",
    help: "How long tunnels wait for NATS, or a silent peer, to come back",
  },
  "tunnel.peer_timeout": {
    flag: "peer-timeout",
    type: types.duration({ min: types.MIN_INTERVAL }),
    default: "10s",
    help: "How long a peer that NATS says is gone may take to come back",
  },
  "tunnel.peer_ping_interval": {
    flag: "peer-ping-interval",
    type: types.duration({ min: types.MIN_INTERVAL }),
    default: "2s",
    help: "Time between pings to a peer",
  },
  "tunnel.idle_timeout": {
    flag: "idle-timeout",
    type: types.duration({ min: 0 }),
    default: "0",
    help: "How long a tunnel may carry no byte; 0 for ever",
  },
  "tunnel.half_close_timeout": {
    flag: "half-close-timeout",
    type: types.duration({ min: 0 }),
    default: "30m",
    help: "The same once one direction has ended; 0 for ever",
  },
  "tunnel.max": {
    flag: "max-tunnels",
    type: types.integer({ min: 1, max: types.MAX_TUNNELS }),
    default: "16384",
    help: "Most tunnels open at once",
  },
  "tunnel.max_opening": {
    flag: "max-opening",
    type: types.integer({ min: 1, max: types.MAX_TUNNELS }),
    default: "1024",
    help: "Most tunnels being opened at once",
  },
  "tunnel.window": {
    flag: "window",
    // Not WINDOW: GNU screen sets that for every shell inside it.
    env: "TUNNEL_WINDOW",
    type: types.size({ min: MIN_WINDOW, max: MAX_BUDGET }),
    default: "8MiB",
    help: "Most bytes under way for each tunnel and direction",
  },
  "tunnel.memory_budget": {
    flag: "memory-budget",
    type: types.size({ min: MIN_BUDGET, max: MAX_BUDGET }),
    default: "32MiB",
    help: "Most bytes held for all tunnels together, for each direction",
  },
  "tunnel.refuse_v1": {
    flag: "refuse-v1",
    type: types.boolean,
    default: "false",
    help: "Whether peers that speak protocol version 1 are refused",
  },
  "tunnel.v1_rate": {
    flag: "v1-rate",
    type: types.size({ min: types.MIN_RATE }),
    default: "16MiB",
    help:
      "Most bytes a second sent to a version 1 peer, which has no flow control",
  },
  "security.secret_key": {
    flag: "secret-key",
    daily: true,
    env: "SECRET_KEY_FILE",
    type: types.secretPaths,
    help:
      "File with this process's secret key (SX...), made by 'key generate': tunnels are sealed, and nothing else is taken; at a server two while keys are changed",
  },
  "security.server_key": {
    role: "client",
    flag: "server-key",
    daily: true,
    type: types.serverKeys,
    repeatable: true,
    help:
      "Public key of the servers, with security.secret_key; two while keys are changed",
  },
  "security.client_key": {
    role: "server",
    flag: "client-key",
    daily: true,
    type: types.publicKeys(),
    repeatable: true,
    help:
      "Public keys of clients that may open tunnels, with security.secret_key; the config file's list clients says more of each",
  },
  "security.psk": {
    flag: "psk",
    env: "PSK_FILE",
    type: types.secretPath,
    help:
      "File with a secret that all servers and clients share beside their keys, made by 'key psk'",
  },
  "status.token": {
    flag: "status-token",
    env: "STATUS_TOKEN_FILE",
    type: types.secretPath,
    help:
      "File with a token: who has it may see the status page from anywhere, and nobody without it; else this machine alone may",
  },
  "log.level": {
    flag: "log-level",
    type: types.choice(["debug", "info", "warn", "error"], {
      warning: "warn",
    }),
    default: "info",
    help: "Least level that is logged",
  },
  "log.format": {
    flag: "log-format",
    type: types.choice(["text", "json"]),
    default: "text",
    help: "Text for people or JSON lines for programs",
  },
  "watch_config": {
    flag: "watch-config",
    type: types.boolean,
    default: "false",
    help:
      "Whether the config file and the files of keys and logins that it names are watched, and a change counts as SIGHUP does",
  },
  "workers": {
    flag: "workers",
    type: types.workers,
    default: "1",
    help:
      "Threads that share the work, each with its own connection to NATS; auto for one each core",
  },
} as const satisfies Record<
  | `${"tunnel" | "security" | "status" | "log"}.${string}`
  | "watch_config"
  | "workers",
  OptionSpec
>;
