/**
 * Begins the record of tunnels, where the configuration has a subject for it.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { NatsBus } from "../nats/connection.ts";
import type { TunnelObserver } from "../session/observer.ts";
import type { Role } from "../wire/subjects.ts";
import { hostname } from "./connect.ts";
import { instanceId } from "./instance.ts";
import { random } from "./lifecycle.ts";

/** Who keeps the record; undefined where nobody does. */
export async function openAudit(
  config: ConfigByRole[Role],
  bus: NatsBus,
): Promise<TunnelObserver | undefined> {
  const { role, nats: { auditSubject: subject } } = config;
  if (subject === undefined) return undefined;
  // Rare: who has none starts without it.
  const { Audit } = await import("./audit.ts");
  return new Audit({
    ...{ bus, role, subject, random, clock: systemClock },
    instance: instanceId(),
    host: hostname(),
    site: config.role === "server" ? config.server.site : undefined,
  });
}
