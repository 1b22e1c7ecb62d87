/**
 * What a server offers, and to whom: its services, the rules for targets, its
 * keys and the clients that are known by theirs. A reload may change all of it.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Service } from "../base/service.ts";
import type { TargetRules } from "../base/target_judge.ts";
import type { ClientEntry } from "../config/clients.ts";
import type { ConfigByRole, ServerConfig } from "../config/config.ts";
import {
  ClientDirectory,
  rulesForService,
  rulesOf,
} from "../server/clients.ts";
import type { Ask, ServerSeal } from "../server/reception.ts";
import type { Egress } from "../server/server.ts";
import { type KeyTexts, ownKeys } from "./key_files.ts";
import type { RoleHost } from "./role_host.ts";
import type { Prepared, Reloaded, ReloadPart } from "./reload.ts";
import type { Role } from "../wire/subjects.ts";

const log = getLogger(["sproxy", "server"]);

/** All of it, as the configuration says that was read last. */
export class ServerOffer implements ReloadPart {
  /** What takes opens; undefined until it is there. */
  egress: Egress | undefined;
  #general: TargetRules;
  #seal: ServerSeal | undefined;
  #services: readonly Service[];

  /** That of `config`, or of what was read since. */
  constructor(
    config: ServerConfig,
    { keys, reloads: { latest } }: Pick<RoleHost, "keys" | "reloads">,
  ) {
    const now = serverConfigOf(latest?.config) ?? config;
    this.#general = generalRules(now);
    this.#seal = sealOf(latest?.keys ?? keys, now, this.#general);
    this.#services = now.server.services;
  }

  /** What opens are read with, and whose are taken; undefined where nothing is sealed. */
  get seal(): ServerSeal | undefined {
    return this.#seal;
  }

  /** What is offered by a name. */
  get services(): readonly Service[] {
    return this.#services;
  }

  /** Who has a say in what is dialled for an open. */
  rulesFor(
    { known }: Pick<Ask, "known">,
    service: Service | undefined,
  ): readonly TargetRules[] {
    const asked = known?.targets ?? [this.#general];
    return service === undefined ? asked : rulesForService(service, asked);
  }

  /** Says on a line where nothing but services may be reached for want of other rules. */
  logLimits(): void {
    const { allow, servicesOnly } = this.#general;
    if (servicesOnly !== true || allow.length > 0) return;
    log.info(
      "only services may be reached, as there are some and no --allow-target ('*:*' there is for all else)",
    );
  }

  /** Makes it ready to be another; nothing can fail. */
  prepare({ config: read, keys }: Reloaded): Prepared {
    return {
      commit: () => {
        const config = serverConfigOf(read);
        if (config === undefined) return;
        const before = this.#general;
        this.#general = generalRules(config);
        this.#seal = sealOf(keys, config, this.#general);
        this.#services = config.server.services;
        if (this.#seal !== undefined) this.egress?.reload(this.#seal);
        this.egress?.setServices(this.#services);
        if (JSON.stringify(before) !== JSON.stringify(this.#general)) {
          this.logLimits();
        }
      },
    };
  }
}

function serverConfigOf(
  config: ConfigByRole[Role] | undefined,
): ServerConfig | undefined {
  return config?.role === "server" ? config : undefined;
}

/** What all may reach; where services are offered, and no targets allowed, these alone. */
function generalRules({ server }: ServerConfig): TargetRules {
  return {
    allow: server.allowTarget,
    deny: server.denyTarget,
    called: { allow: "--allow-target", deny: "--deny-target" },
    servicesOnly: server.services.length > 0,
  };
}

/** What opens are read with, and whose are taken; `general` is what all may reach. */
function sealOf(
  keys: KeyTexts | undefined,
  { clients }: { readonly clients: readonly ClientEntry[] },
  general: TargetRules,
): ServerSeal | undefined {
  if (keys === undefined) return undefined;
  const known = clients.map(({ allow, deny, ...client }) => ({
    ...client,
    targets: rulesOf({ ...client, allow, deny }, general),
  }));
  return { ...ownKeys(keys), clients: new ClientDirectory(known) };
}
