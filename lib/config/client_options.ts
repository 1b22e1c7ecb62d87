/**
 * The options of a client alone: a part of the table in `options.ts`.
 *
 * @module
 */
import type { OptionSpec } from "./option_spec.ts";
import * as places from "./place_types.ts";
import * as types from "./types.ts";

/** By their keys, in the order of the help. */
export const CLIENT_OPTIONS = {
  "client.forwards": {
    flag: "forward",
    daily: true,
    short: "L",
    type: places.forwards,
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
    type: places.frontPlaces,
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
    type: places.frontPlaces,
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
    type: places.listenAddress,
    default: "0.0.0.0:8082",
    help:
      "Where local connections are accepted that go to remote_addr; where there are forwards, only if one of the two is given",
  },
  "client.allow_from": {
    flag: "allow-from",
    daily: true,
    type: places.networks,
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
  "client.nats_service": {
    flag: "nats-service",
    type: types.boolean,
    default: "false",
    help:
      "Whether this process is seen as a service of NATS ('nats service ls', stats and the like): who it is and what it counts, no targets",
  },
  "client.control": {
    flag: "control",
    type: types.boolean,
    default: "false",
    help:
      "Whether whoever may publish to REQUEST_SUBJECT.ctl.> may see and end tunnels, and have the process drain (commands status, tunnels, kill, drain); it is a service of NATS then, too",
  },
  "client.remote_addr": {
    flag: "remote-addr",
    daily: true,
    type: places.dialAddress,
    default: "redis:6379",
    help: "The target of connections to listen_addr, which the server dials",
  },
  "client.proxy_addr": {
    flag: "proxy-addr",
    type: places.dialAddress,
    default: "proxy-server:8081",
    reserved: true,
    help: "Reserved: accepted and logged, without effect",
  },
  "client.open_timeout": {
    flag: "open-timeout",
    type: types.duration({ min: types.MIN_INTERVAL }),
    default: "15s",
    help: "How long the server's answer to an open may take",
  },
  "client.status_addr": {
    flag: "status-addr",
    daily: true,
    type: places.optionalListenAddress,
    default: "off",
    help:
      "Where the status page, /health, /ready and /metrics are served; off for nowhere",
  },
  "client.id": {
    flag: "client-id",
    type: types.clientId,
    default: "",
    help:
      "This client's token in subjects, so that NATS permissions can fence it; one process at a time has it, a second waits until it is free; random when empty",
  },
} as const satisfies Record<`client.${string}`, OptionSpec>;
