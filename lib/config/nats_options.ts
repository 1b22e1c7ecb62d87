/**
 * The options that say where NATS is, how to log in there and which subjects to
 * use: a part of the table in `options.ts`.
 *
 * @module
 */
import {
  DEFAULT_DATA_PREFIX,
  DEFAULT_INBOX_PREFIX,
  DEFAULT_REQUEST_SUBJECT,
} from "../wire/subjects.ts";
import type { OptionSpec } from "./option_spec.ts";
import * as places from "./place_types.ts";
import * as types from "./types.ts";

/** By their keys, in the order of the help. */
export const NATS_OPTIONS = {
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
    type: places.natsUrls,
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
    type: places.proxyUrl,
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
    type: types.duration({ min: types.MIN_INTERVAL }),
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
  "nats.audit_subject": {
    flag: "audit-subject",
    type: types.subject,
    help:
      "Start of the subjects where each tunnel that opens, ends or is refused is told for the record (SUBJECT.open, .end, .refused); without it nowhere",
  },
  "nats.inbox_prefix": {
    flag: "inbox-prefix",
    type: types.subject,
    default: DEFAULT_INBOX_PREFIX,
    help:
      "Start of the inboxes in which version 1 clients, and those who ask a service of NATS, are answered, and nowhere else, and in which the commands are; version 2 uses none",
  },
} as const satisfies Record<`nats.${string}`, OptionSpec>;
