/**
 * The configuration of each role, parsed, checked and frozen. Its structure is
 * that of the config file's keys, in camel case, with the ways to log in made
 * one, and the ways in.
 *
 * @module
 */

import type { Service } from "../base/service.ts";
import type { Role } from "../wire/subjects.ts";
import { type ClientEntry, clientsOfKeys, duplicatesIn } from "./clients.ts";
import { conflictsIn, flagProblemsIn, sealConflictsIn } from "./conflicts.ts";
import { ambiguousVariables, type ConfigInputs, givenFor } from "./given.ts";
import {
  type LoginKey,
  loginsOf,
  type NatsConfig,
  natsSections,
  tlsConfig,
} from "./nats_section.ts";
import type { OneShot } from "./one_shot.ts";
import type { Problems } from "./problems.ts";
import { type Section, section } from "./sections.ts";
import type { WrittenService } from "./service.ts";
import {
  locateServices,
  problemsOfServices,
  SERVICES_KEY,
} from "./services.ts";
import { parseValues, type Values } from "./values.ts";
import { problemsWith, type WayIn, waysInOf } from "./ways_in.ts";

/** What is logged, and in which form. */
export type LogConfig = Section<"log">;

/** What both roles have. Durations are in ms, sizes in bytes. */
export interface CommonConfig {
  /** NATS. */
  readonly nats: NatsConfig;
  /** The log. */
  readonly log: LogConfig;
  /** Limits and times of tunnels. */
  readonly tunnel: Section<"tunnel">;
  /** Whether tunnels are sealed, and what with. */
  readonly security: Section<"security">;
  /** Who may see the status page. */
  readonly status: Section<"status">;
  /** Whether a change of the config file counts by itself. */
  readonly watchConfig: boolean;
  /** Threads that share the work; `auto` for one each core. */
  readonly workers: number | "auto";
}

/** The configuration of role `R`; frozen all the way down. */
type RoleConfig<R extends Role> =
  & CommonConfig
  & {
    readonly role: R;
    readonly nats: Omit<Section<"nats", R>, LoginKey>;
    readonly tunnel: Section<"tunnel", R>;
    readonly security: Section<"security", R>;
  }
  & { readonly [P in R]: Section<P, R> };

/** The server's configuration: where its services are is known. */
export type ServerConfig = Omit<RoleConfig<"server">, "server"> & {
  readonly server: Omit<Section<"server", "server">, "services"> & {
    readonly services: readonly Service[];
  };
  /** Who may open tunnels, where they are sealed. */
  readonly clients: readonly ClientEntry[];
};

/** The options that say where a client listens, and what for. */
type WayInKey =
  | "listenAddr"
  | "remoteAddr"
  | "socks"
  | "httpProxy"
  | "acceptProxy";

/** The client's configuration: where it listens, and what for, is in its ways in. */
export type ClientConfig = Omit<RoleConfig<"client">, "client"> & {
  readonly client:
    & Omit<Section<"client", "client">, WayInKey | "forwards">
    & {
      /** Its ways in: forwards and front-ends. */
      readonly forwards: readonly WayIn[];
      /** What is done once; undefined where connections are accepted until a signal comes. */
      readonly oneShot: OneShot | undefined;
    };
};

/** The configuration of each role. */
export interface ConfigByRole {
  /** The server's. */
  readonly server: ServerConfig;
  /** The client's. */
  readonly client: ClientConfig;
}

/**
 * The configuration of `role` that `inputs` give, frozen.
 *
 * @param problems What was found before; it is told with the rest.
 * @throws {UsageError} naming each flag, variable or key that is wrong and its
 * value (but never a secret), or all that do not go together.
 */
export function buildConfig<R extends Role>(
  role: R,
  inputs: ConfigInputs,
  problems: Problems,
): ConfigByRole[R] {
  const values = parseValues(role, inputs, problems);
  // What is wrong may be what another needs.
  problems.throwIfAny();
  const { login, ...nats } = natsSections(values);
  const logins = loginsOf(login, inputs);
  const clients = [
    ...inputs.file?.clients ?? [],
    ...clientsOfKeys(values["security.client_key"] ?? []),
  ];
  const waysIn = role === "client" ? waysInOf(values, inputs) : [];
  const written = role === "server" ? servicesOf(values, inputs) : [];
  const { readTextFile = () => undefined } = inputs;
  const services = locateServices(written, { readTextFile, problems });
  problems.add(
    ...ambiguousVariables(role, inputs),
    ...conflictsIn(values, { logins, inputs }),
    ...sealConflictsIn(role, values, clients.length),
    ...duplicatesIn(clients),
    ...problemsWith(waysIn),
    ...problemsOfServices(written),
    ...flagProblemsIn(inputs),
  );
  problems.throwIfAny();
  const [auth = { kind: "none" }] = logins.values();
  const config: unknown = {
    role,
    nats: {
      ...nats,
      servers: login.url.servers,
      auth,
      tls: tlsConfig(values),
    },
    log: section(values, "log"),
    tunnel: {
      ...section(values, "tunnel"),
      // A peer of version 1 can seal nothing.
      ...(values["security.secret_key"] && { refuseV1: true }),
      ...(inputs.oneShot?.kind === "stdio" && { max: 1 }),
    },
    security: section(values, "security"),
    status: section(values, "status"),
    watchConfig: values.watch_config,
    workers: values.workers,
    ...(role === "server"
      ? {
        server: {
          ...section<"server", "server">(values, role),
          services,
        },
        clients: clients.map(({ client }) => client),
      }
      : {
        client: {
          ...clientSection(values, waysIn),
          oneShot: inputs.oneShot,
        },
      }),
  };
  return deepFreeze(config) as ConfigByRole[R];
}

/** A client's section, with all its ways in. */
function clientSection(
  values: Values,
  waysIn: readonly WayIn[],
): Omit<ClientConfig["client"], "oneShot"> {
  const {
    listenAddr: _listenAddr,
    remoteAddr: _remoteAddr,
    socks: _socks,
    httpProxy: _httpProxy,
    acceptProxy: _acceptProxy,
    ...rest
  } = section<"client", "client">(values, "client");
  return { ...rest, forwards: waysIn };
}

/** The services of a server: a flag or variable goes before the list of the file. */
function servicesOf(
  values: Values,
  inputs: ConfigInputs,
): readonly WrittenService[] {
  const found = givenFor(SERVICES_KEY, inputs);
  const listed = found === undefined ? inputs.file?.services : undefined;
  return listed ??
    values[SERVICES_KEY]?.map((service) => ({
      ...service,
      place: found?.origin ?? service.place,
    })) ?? [];
}

/** `value`, frozen with everything in it. */
function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
