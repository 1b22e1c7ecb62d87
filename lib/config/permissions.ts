/**
 * What a configuration has to be allowed at NATS: every subject that its
 * processes publish and subscribe to, and why.
 *
 * @module
 */
import type { Destination } from "../base/target.ts";
import { SERVICE_SUBJECTS } from "../wire/micro.ts";
import {
  DEFAULT_INBOX_PREFIX,
  PROBE_TOKEN,
  type Subjects,
} from "../wire/subjects.ts";
import type { ClientConfig, ServerConfig } from "./config.ts";
import { subjectsOf } from "./nats_section.ts";

/** A subject, perhaps with wildcards, and what it is for. */
export interface Permission {
  /** As NATS takes it. */
  readonly subject: string;
  /** What would not work without it. */
  readonly why: string;
  /** Whether tunnels do without it. */
  readonly optional?: true;
}

/** What one login has to be allowed. */
export interface Grant {
  /** What the login is called: the client's ID, or the role. */
  readonly name: string;
  /** Where it publishes. */
  readonly publish: readonly Permission[];
  /** What it subscribes to. */
  readonly subscribe: readonly Permission[];
  /** What a person should know of it, a sentence each. */
  readonly notes: readonly string[];
}

/** Whom an open is for, as its subject says. */
type Scope = Pick<Destination, "site"> & { readonly service?: string };

/** What a server hears. */
interface ServerNeeds {
  readonly subjects: Subjects;
  readonly site?: string | undefined;
  readonly services: readonly string[];
  /** What the inboxes of version 1 clients begin with; undefined where those are refused. */
  readonly inboxPrefix?: string | undefined;
}

/** What a client asks for. */
interface ClientNeeds {
  readonly subjects: Subjects;
  readonly name: string;
  /** Its tokens, one for each worker; undefined where they are made at random. */
  readonly ids?: readonly string[] | undefined;
  readonly scopes: readonly Scope[];
  readonly refuseV1: boolean;
}

const NOT_FENCED =
  "without --client-id the subjects of this client change with each start, so these are those of all clients, whose tunnels it could read and cut: give it an ID";

const NO_V1 =
  "servers of version 1 are not reached with these, since their tunnels cannot be fenced";

/** What the process of `config` needs; `cores` is how many workers `auto` means. */
export function permissionsOf(
  config: ClientConfig | ServerConfig,
  cores = 1,
): Grant {
  const grant = config.role === "client"
    ? clientGrant({
      subjects: subjectsOf(config.nats),
      name: config.client.id ?? "client",
      ids: tokensOf(config, cores),
      scopes: scopesOf(config),
      refuseV1: config.tunnel.refuseV1,
    })
    : serverGrant({
      subjects: subjectsOf(config.nats),
      site: config.server.site,
      services: config.server.services.map(({ name }) => name),
      inboxPrefix: config.tunnel.refuseV1 ? undefined : config.nats.inboxPrefix,
    });
  return withMore(grant, config);
}

/** A grant with what was asked for beside tunnels. Who is a service of NATS unasked can do without. */
function withMore(
  { publish, subscribe, ...grant }: Grant,
  config: ClientConfig | ServerConfig,
): Grant {
  const { auditSubject, inboxPrefix, requestSubject } = config.nats;
  const { control, natsService } = config.role === "client"
    ? config.client
    : config.server;
  const seen = control || config.role === "client" && natsService;
  const inboxes = `${inboxPrefix}.>`;
  return {
    ...grant,
    publish: [
      ...publish,
      ...(seen && publish.every(({ subject }) => subject !== inboxes)
        ? [{ subject: inboxes, why: "to answer who asks this process" }]
        : []),
      ...(auditSubject === undefined ? [] : [{
        subject: `${auditSubject}.*`,
        why: "for the record of tunnels (--audit-subject)",
      }]),
    ],
    subscribe: [
      ...subscribe,
      ...(seen
        ? [{
          subject: SERVICE_SUBJECTS,
          why: "to be seen as a service of NATS",
        }]
        : []),
      ...(control
        ? [{ subject: `${requestSubject}.ctl.>`, why: "to be controlled" }]
        : []),
    ],
  };
}

/**
 * What the processes at the other end need: of a client's configuration a
 * server for each site that it asks, of a server's the clients with these `ids`.
 */
export function counterpartsOf(
  config: ClientConfig | ServerConfig,
  ids: readonly string[] = [],
): readonly Grant[] {
  const subjects = subjectsOf(config.nats);
  const { refuseV1 } = config.tunnel;
  if (config.role === "client") {
    const sites = Map.groupBy(scopesOf(config), ({ site }) => site);
    return [...sites].map(([site, scopes]) =>
      serverGrant({
        ...{ subjects, site },
        services: scopes.flatMap(({ service }) => service ?? []),
        inboxPrefix: refuseV1 ? undefined : DEFAULT_INBOX_PREFIX,
      })
    );
  }
  const { site, services, allowTarget } = config.server;
  const scopes = [
    ...services.length === 0 || allowTarget.length > 0 ? [{ site }] : [],
    ...services.map(({ name }) => ({ site, service: name })),
  ];
  const client = { subjects, scopes, refuseV1 };
  return ids.length === 0
    ? [clientGrant({ ...client, name: "client" })]
    : ids.map((id) => clientGrant({ ...client, name: id, ids: [id] }));
}

/** The tokens of a client: with several workers each adds its number. */
function tokensOf(
  { client: { id }, workers }: ClientConfig,
  cores: number,
): readonly string[] | undefined {
  const count = workers === "auto" ? cores : workers;
  if (id === undefined || count === 1) return id === undefined ? id : [id];
  return Array.from({ length: count }, (_, at) => `${id}-${at + 1}`);
}

/** Whom a client asks, each once: those of any target first. */
function scopesOf({ client }: ClientConfig): readonly Scope[] {
  const { oneShot, forwards } = client;
  const asked: readonly Partial<Destination>[] = oneShot?.kind === "stdio"
    ? [oneShot]
    : forwards;
  const scopes = new Map<string, Scope>();
  for (const { target, site } of asked) {
    const service = target !== undefined && "service" in target
      ? target.service
      : undefined;
    const scope = {
      ...(site !== undefined && { site }),
      ...(service !== undefined && { service }),
    };
    scopes.set(JSON.stringify([service ?? "", site ?? ""]), scope);
  }
  return [...scopes].toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([, scope]) => scope);
}

function clientGrant(
  { subjects, name, ids, scopes, refuseV1 }: ClientNeeds,
): Grant {
  const each = <T>(make: (id: string) => T): readonly T[] =>
    (ids ?? ["*"]).map(make);
  const own = (id: string): string => ids === undefined ? ">" : `${id}.>`;
  return {
    name,
    publish: [
      ...scopes.flatMap((scope) =>
        each((id) => ({
          subject: subjects.requestOf(id, scope),
          why: `asks for ${asked(scope)}`,
        }))
      ),
      ...ids === undefined && !refuseV1 &&
          scopes.some(({ site, service }) => !site && !service)
        ? [{
          subject: subjects.request,
          why: "asks servers of version 1, which listen nowhere else",
        }]
        : [],
      ...each((id) => ({
        subject: subjects.data("server", own(id)),
        why: "sends servers the bytes of tunnels",
      })),
      ...ids === undefined ? [] : each((id) => ({
        subject: subjects.data("client", `${id}.hold.>`),
        why: "finds out whether another process has its ID",
      })),
      ...each((id): Permission => ({
        subject: subjects.probeOf(id),
        why: "asks all servers how they do, for 'ls'",
        optional: true,
      })),
      ...each((id): Permission => ({
        subject: subjects.data("client", `${id}.${PROBE_TOKEN}.*`),
        why: "lets brokers tell of the way of a probe, for 'ping --trace'",
        optional: true,
      })),
    ],
    subscribe: each((id) => ({
      subject: subjects.data("client", own(id)),
      why: "hears answers, and the bytes of tunnels",
    })),
    notes: ids === undefined ? [NOT_FENCED] : refuseV1 ? [] : [NO_V1],
  };
}

function serverGrant(
  { subjects, site, services, inboxPrefix }: ServerNeeds,
): Grant {
  const general = site === undefined
    ? [subjects.request, subjects.requestPattern()]
    : [subjects.requestPattern({ site })];
  return {
    name: site === undefined ? "server" : `server-${site}`,
    publish: [
      {
        subject: subjects.data("client", ">"),
        why: "answers clients, and sends them the bytes of tunnels",
      },
      ...inboxPrefix === undefined || site !== undefined ? [] : [{
        subject: `${inboxPrefix}.>`,
        why: "answers clients of version 1 (--refuse-v1 would spare it)",
      }],
    ],
    subscribe: [
      ...general.map((subject) => ({
        subject,
        why: `hears who asks for ${asked({ ...(site && { site }) })}`,
      })),
      ...services.map((service) => ({
        subject: subjects.requestPattern({ site, service }),
        why: `hears who asks for ${asked({ site, service })}`,
      })),
      {
        subject: subjects.data("server", ">"),
        why: "hears the bytes of tunnels",
      },
      {
        subject: subjects.probePattern,
        why: "is found by 'ls' of a client",
        optional: true,
      },
    ],
    notes: [],
  };
}

/** Whom a scope means, for people. */
function asked({ site, service }: Scope): string {
  const what = service === undefined ? "any target" : `the service ${service}`;
  return site === undefined ? what : `${what} at ${site}`;
}
