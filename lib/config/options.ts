/**
 * The one table of options. Flags, environment variables, keys of config
 * files, `--help`, the README's tables and the tests of bad input all come
 * from it; an option that is not here does not exist.
 *
 * @module
 */

import type { OptionType } from "./types.ts";
import * as types from "./types.ts";
import {
  DEFAULT_DATA_PREFIX,
  DEFAULT_INBOX_PREFIX,
  DEFAULT_REQUEST_SUBJECT,
  otherRole,
  type Role,
} from "../wire/subjects.ts";

/** What the table says of an option. */
interface OptionSpec {
  /** Who has it, where its key does not say so; without it, both. */
  readonly role?: Role;
  /** The flag, without its dashes; none for what must not stand in a command line. */
  readonly flag?: string;
  /** The letter that says the same with one dash. */
  readonly short?: string;
  /** The environment variable; without it, the flag, or the key, in capitals. */
  readonly env?: string;
  /** Variables that say the same, as the `nats` command calls it. */
  readonly aliases?: readonly string[];
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
  /** Whether most people come to need it: `--help` shows it, and not `--help-all` alone. */
  readonly daily?: true;
}

/** Both programs; a key that begins with one of them is of that one alone. */
const ROLES: readonly Role[] = ["server", "client"];

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

/** Every option by its key in config files, in the order of the help. */
export const OPTIONS = {
  "server.listen_addr": {
    flag: "listen-addr",
    daily: true,
    type: types.optionalListenAddress,
    default: ":8080",
    help: "Where /health, /ready and /metrics are served; off for nowhere",
  },
  "server.services": {
    flag: "service",
    daily: true,
    type: types.services,
    default: "",
    repeatable: true,
    help:
      "A service that clients ask for by its name (svc:NAME), such as db=10.0.0.7:5432, web=unix:/run/web.sock or ssh=auto (this machine, at the port of that name); without allow_target nothing else may be reached",
  },
  "server.site": {
    flag: "site",
    daily: true,
    type: types.siteName,
    default: "",
    help:
      "The place that this server answers for: it hears opens for TARGET@SITE, and no others",
  },
  "server.dial_timeout": {
    flag: "dial-timeout",
    type: types.duration({ min: MIN_INTERVAL }),
    default: "10s",
    help: "How long a dial of a target may take",
  },
  "server.allow_target": {
    flag: "allow-target",
    daily: true,
    type: types.targetRules,
    default: "",
    repeatable: true,
    help:
      "Targets that may be dialled, such as db:5432, *.example.com:443, 10.0.0.0/8:*, [::1]:22, host:1000-2000 or unix:/run/db.sock; none given allows all but link-local and metadata addresses and Unix sockets",
  },
  "server.deny_target": {
    flag: "deny-target",
    daily: true,
    type: types.targetRules,
    default: "",
    repeatable: true,
    help:
      "Targets that must not be dialled, by their name or any of its addresses; goes before allow_target, written the same",
  },
  "server.max_tunnels_per_client": {
    flag: "max-tunnels-per-client",
    type: types.integer({ min: 1, max: types.MAX_TUNNELS }),
    default: "4096",
    help:
      "Most tunnels open at once for one client; all that ask on the request subject itself, as version 1 does, are one",
  },
  "server.max_open_rate": {
    flag: "max-open-rate",
    type: types.integer({ min: 1, max: types.MAX_OPEN_RATE }),
    // Above what one client gets through (bench: 2,700 with 50 at once), so that
    // none meets it, and no more than that: each that leads nowhere costs, too.
    default: "4000",
    help:
      "Most opens a second of one client; more are refused, or not answered",
  },
  "client.forwards": {
    flag: "forward",
    daily: true,
    short: "L",
    type: types.forwards,
    default: "",
    repeatable: true,
    help:
      "A place to listen at, and the target that the server dials for its connections, such as 5432:db:5432, *:8080:web:80, 8000-8010:host:8000-8010 or /run/db.sock:db:5432 (a Unix socket); BIND is localhost unless given, port 0 any free one",
  },
  "client.socks": {
    flag: "socks",
    daily: true,
    short: "D",
    env: "SOCKS_LISTEN",
    type: types.frontPlaces,
    default: "",
    repeatable: true,
    help:
      "Where applications say in SOCKS (5, 4 or 4a) what the server is to dial, such as 1080; BIND is localhost unless given",
  },
  "client.http_proxy": {
    flag: "http-proxy",
    daily: true,
    // Not HTTP_PROXY: that names the proxy that a program is to use.
    env: "HTTP_PROXY_LISTEN",
    type: types.frontPlaces,
    default: "",
    repeatable: true,
    help:
      "Where applications say it to an HTTP proxy (CONNECT, and http:// addresses), such as 3128; BIND is localhost unless given",
  },
  "client.socks_user": {
    flag: "socks-user",
    type: types.name,
    help:
      "User that applications have to name to socks and http_proxy, with client.socks_password",
  },
  "client.socks_password": {
    env: "SOCKS_PASSWORD",
    type: types.secret,
    secret: true,
    help: "Password of that user",
  },
  "client.listen_addr": {
    flag: "listen-addr",
    daily: true,
    type: types.listenAddress,
    default: "0.0.0.0:8082",
    help:
      "Where local connections are accepted that go to remote_addr; where there are forwards, only if one of the two is given",
  },
  "client.allow_from": {
    flag: "allow-from",
    daily: true,
    type: types.networks,
    default: "",
    repeatable: true,
    help:
      "Where local TCP connections may come from, such as 10.0.0.0/8, 192.168.1.7 or fd00::/8; none given allows all",
  },
  "client.accept_proxy": {
    flag: "accept-proxy",
    type: types.boolean,
    default: "false",
    help:
      "Whether each local connection has to begin with a PROXY protocol header (version 1 or 2), whose source counts as the application's address; a forward of the config file may say otherwise for itself",
  },
  "client.remote_addr": {
    flag: "remote-addr",
    daily: true,
    type: types.dialAddress,
    default: "redis:6379",
    help: "The target of connections to listen_addr, which the server dials",
  },
  "client.proxy_addr": {
    flag: "proxy-addr",
    type: types.dialAddress,
    default: "proxy-server:8081",
    reserved: true,
    help: "Reserved: accepted and logged, without effect",
  },
  "client.open_timeout": {
    flag: "open-timeout",
    type: types.duration({ min: MIN_INTERVAL }),
    default: "15s",
    help: "How long the server's answer to an open may take",
  },
  "client.status_addr": {
    flag: "status-addr",
    daily: true,
    type: types.optionalListenAddress,
    default: "off",
    help: "Where /health, /ready and /metrics are served; off for nowhere",
  },
  "client.id": {
    flag: "client-id",
    type: types.clientId,
    default: "",
    help:
      "This client's token in subjects, so that NATS permissions can fence it; one process at a time has it, a second waits until it is free; random when empty",
  },
  "nats.context": {
    flag: "context",
    daily: true,
    env: "NATS_CONTEXT",
    type: types.contextName,
    default: "",
    help:
      "Context of the nats command that says where NATS is and how to log in, by its name or the path of its .json file, in place of the options for that; a client that is told nothing takes the selected one",
  },
  "nats.url": {
    flag: "nats-url",
    daily: true,
    type: types.natsUrls,
    default: "nats://localhost:4222",
    help:
      "Brokers, nats:// or tls://, or ws:// or wss:// for their WebSockets; credentials in it (user:password@ or token@) belong in the environment or a file, not in a flag",
  },
  "nats.ignore_discovered": {
    flag: "nats-ignore-discovered",
    type: types.boolean,
    default: "false",
    help:
      "Whether only the brokers of nats.url are dialled, not those that their cluster announces",
  },
  "nats.creds": {
    flag: "nats-creds",
    daily: true,
    type: types.path,
    help: "Credentials file (JWT and seed) to log in with",
  },
  "nats.nkey": {
    flag: "nats-nkey",
    type: types.path,
    help: "File with the nkey seed to log in with",
  },
  "nats.user": {
    flag: "nats-user",
    daily: true,
    type: types.name,
    help: "User to log in as, with nats.password",
  },
  "nats.password": {
    type: types.secret,
    secret: true,
    help: "Password to log in with",
  },
  "nats.token": {
    type: types.secret,
    secret: true,
    help: "Token to log in with",
  },
  "nats.jwt": {
    type: types.secret,
    secret: true,
    help: "JWT to log in with; without nats.seed a bearer's",
  },
  "nats.seed": {
    type: types.secret,
    secret: true,
    help: "Seed of the nkey that nats.jwt is for",
  },
  "nats.tls.ca": {
    flag: "nats-tls-ca",
    aliases: ["NATS_CA"],
    daily: true,
    type: types.path,
    help: "PEM file of the authorities that may vouch for the broker",
  },
  "nats.tls.cert": {
    flag: "nats-tls-cert",
    aliases: ["NATS_CERT"],
    type: types.path,
    help: "PEM file of this process's certificate, with nats.tls.key",
  },
  "nats.tls.key": {
    flag: "nats-tls-key",
    aliases: ["NATS_KEY"],
    type: types.path,
    help: "PEM file of the certificate's key",
  },
  "nats.tls.first": {
    flag: "nats-tls-first",
    type: types.boolean,
    default: "false",
    help: "Whether the TLS handshake comes before the broker's greeting",
  },
  "nats.proxy": {
    flag: "nats-proxy",
    aliases: ["NATS_SOCKS_PROXY"],
    type: types.proxyUrl,
    help:
      "Proxy that connects us to the brokers and looks up their names, socks5://host:port or http://host:port, with user:password@ if it wants that; none for none. HTTPS_PROXY and the like are not read",
  },
  "nats.name": {
    flag: "nats-name",
    type: types.name,
    help:
      "What the broker's monitoring calls the connection; without it the role, the host and the process ID",
  },
  "nats.connect_timeout": {
    flag: "nats-connect-timeout",
    aliases: ["NATS_TIMEOUT"],
    type: types.duration({ min: 0 }),
    default: "30s",
    help:
      "How long the first connection is tried before giving up; 0 for ever (later ones always are)",
  },
  "nats.ping_interval": {
    flag: "nats-ping-interval",
    type: types.duration({ min: MIN_INTERVAL }),
    default: "2s",
    help: "Time between pings to the broker, dead after 2 without an answer",
  },
  "nats.request_subject": {
    flag: "request-subject",
    type: types.subject,
    default: DEFAULT_REQUEST_SUBJECT,
    help: "Subject of open requests; the same on both sides",
  },
  "nats.data_prefix": {
    flag: "data-prefix",
    type: types.subject,
    default: DEFAULT_DATA_PREFIX,
    help: "Start of the subjects of data; the same on both sides",
  },
  "nats.queue_group": {
    role: "server",
    flag: "queue-group",
    type: types.subject,
    default: "tcp-sproxy",
    help: "Queue group in which servers share the open requests",
  },
  "nats.inbox_prefix": {
    role: "server",
    flag: "inbox-prefix",
    type: types.subject,
    default: DEFAULT_INBOX_PREFIX,
    help:
      "Start of the inboxes in which version 1 clients are answered, and nowhere else; version 2 uses none",
  },
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
    type: types.duration({ min: MIN_INTERVAL }),
    default: "10s",
    help: "How long a peer that NATS says is gone may take to come back",
  },
  "tunnel.peer_ping_interval": {
    flag: "peer-ping-interval",
    type: types.duration({ min: MIN_INTERVAL }),
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
} as const satisfies Record<string, OptionSpec>;

/** The key of an option: its path in a config file. */
export type OptionKey = keyof typeof OPTIONS;

/** What the text of option `O` gives; undefined too where it may be unset. */
export type ValueOf<O> = O extends { readonly type: OptionType<infer T> }
  ? (O extends { readonly default: string } ? T : T | undefined)
  : never;

/** The roles that have option `K`. */
type RolesOf<K extends OptionKey> = K extends
  `${infer R extends Role}.${string}` ? R
  : (typeof OPTIONS)[K] extends { readonly role: infer R } ? R
  : Role;

/** The keys of the options that role `R` has; by default those that both have. */
export type OptionKeyOf<R extends Role = Role> = {
  [K in OptionKey]: [R] extends [RolesOf<K>] ? K : never;
}[OptionKey];

/** The parsed values of the options that role `R` has; by default those that both have. */
export type OptionValues<R extends Role = Role> = {
  readonly [K in OptionKeyOf<R>]: ValueOf<(typeof OPTIONS)[K]>;
};

/** One option, with what follows from its key and flag. */
export interface Option extends Omit<OptionSpec, "role" | "env" | "aliases"> {
  /** Its path in a config file. */
  readonly key: OptionKey;
  /** Who has it. */
  readonly role: Role | "both";
  /** The environment variable. */
  readonly env: string;
  /** Variables that say the same. */
  readonly aliases: readonly string[];
}

/** Every option, in the order of the table. */
export const ALL_OPTIONS: readonly Option[] = Object.entries(OPTIONS).map(
  ([key, spec]: [string, OptionSpec]) => ({
    ...spec,
    key: key as OptionKey,
    role: spec.role ?? ROLES.find((role) => key.startsWith(`${role}.`)) ??
      "both",
    aliases: spec.aliases ?? [],
    env: spec.env ?? (spec.flag ?? key).toUpperCase().replaceAll(/[-.]/g, "_"),
  }),
);

/** The options of `role`, in the order of the table. */
export function optionsOf(role: Role): readonly Option[] {
  return ALL_OPTIONS.filter((option) => option.role !== otherRole(role));
}
