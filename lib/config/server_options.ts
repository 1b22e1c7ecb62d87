/**
 * The options of a server alone: a part of the table in `options.ts`.
 *
 * @module
 */
import type { OptionSpec } from "./option_spec.ts";
import * as places from "./place_types.ts";
import * as types from "./types.ts";

/** By their keys, in the order of the help. */
export const SERVER_OPTIONS = {
  "server.listen_addr": {
    flag: "listen-addr",
    daily: true,
    type: places.optionalListenAddress,
    default: ":8080",
    help:
      "Where the status page, /health, /ready and /metrics are served; off for nowhere",
  },
  "server.services": {
    flag: "service",
    daily: true,
    type: places.services,
    default: "",
    repeatable: true,
    help:
      "A service that clients ask for by its name (svc:NAME), such as db=10.0.0.7:5432, web=unix:/run/web.sock or ssh=auto (this machine, at the port of that name); without allow_target nothing else may be reached",
  },
  "server.site": {
    flag: "site",
    daily: true,
    type: places.siteName,
    default: "",
    help:
      "The place that this server answers for: it hears opens for TARGET@SITE, and no others",
  },
  "server.nats_service": {
    flag: "nats-service",
    type: types.boolean,
    default: "true",
    help:
      "Whether this process is seen as a service of NATS ('nats service ls', stats and the like): who it is and what it counts, no targets",
  },
  "server.control": {
    flag: "control",
    type: types.boolean,
    default: "false",
    help:
      "Whether whoever may publish to REQUEST_SUBJECT.ctl.> may see and end tunnels, and have the process drain (commands status, tunnels, kill, drain); it is a service of NATS then, too",
  },
  "server.dial_timeout": {
    flag: "dial-timeout",
    type: types.duration({ min: types.MIN_INTERVAL }),
    default: "10s",
    help: "How long a dial of a target may take",
  },
  "server.allow_target": {
    flag: "allow-target",
    daily: true,
    type: places.targetRules,
    default: "",
    repeatable: true,
    help:
      "Targets that may be dialled, such as db:5432, *.example.com:443, 10.0.0.0/8:*, [::1]:22, host:1000-2000 or unix:/run/db.sock; none given allows all but link-local and metadata addresses and Unix sockets",
  },
  "server.deny_target": {
    flag: "deny-target",
    daily: true,
    type: places.targetRules,
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
} as const satisfies Record<`server.${string}`, OptionSpec>;
