/**
 * Where a role that runs is seen and asked over NATS: as a service, and, where
 * it is switched on, by an operator.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { systemClock } from "../base/clock.ts";
import { VERSION } from "../config/cli.ts";
import type { ConfigByRole } from "../config/config.ts";
import { subjectsOf } from "../config/nats_section.ts";
import type { HeardEndpoint } from "../server/heard_counts.ts";
import type { ServiceEndpoint, ServiceFacts } from "../wire/micro.ts";
import type { Role } from "../wire/subjects.ts";
import { hostname } from "./connect.ts";
import { Control } from "./control.ts";
import { instanceId } from "./instance.ts";
import type { RoleFrame } from "./lifecycle.ts";
import type { Counted } from "./metrics.ts";
import { NatsService } from "./nats_service.ts";
import { type ProcessReport, reportOf } from "./report.ts";
import type { RoleHost } from "./role_host.ts";

/** What a desk is opened for. */
export interface DeskOptions {
  /** The configuration. */
  readonly config: ConfigByRole[Role];
  /** What the role is run in. */
  readonly host: RoleHost;
  /** Its connection to NATS. */
  readonly frame: RoleFrame;
  /** What is counted of it. */
  readonly counted: Counted;
  /** Where a server hears opens. */
  readonly endpoints?: () => readonly HeardEndpoint[];
}

/** Whether there is anything to open one for. */
export function wantsDesk(config: ConfigByRole[Role]): boolean {
  const { natsService, control } = switchesOf(config);
  return natsService || control;
}

/** Opens it, as far as the configuration says, until it is disposed of. */
export function openDesk(options: DeskOptions): Disposable {
  const { config, host, frame, counted, endpoints = () => [] } = options;
  const { nats } = config;
  const queueGroup = config.role === "server" ? config.nats.queueGroup : "";
  const facts = factsOf(config, host);
  const { session } = counted;
  const report = (): ProcessReport =>
    reportOf({
      ...{ session, opening: counted.opening, state: frame.state },
      reconnects: frame.bus.stats().reconnects,
    });
  using parts = new DisposableStack();
  const ways = {
    bus: frame.bus,
    clock: systemClock,
    inboxPrefix: nats.inboxPrefix,
  };
  const control = switchesOf(config).control
    ? parts.use(
      new Control({
        ...ways,
        id: facts.id,
        subjects: subjectsOf(nats),
        sealed: isSealed(config),
        session: () => session,
        status: () => ({
          ...{ version: facts.version, metadata: facts.metadata },
          started: facts.started,
          broker: frame.bus.server,
          ...report(),
          why: frame.notReadyReason,
          services: counted.services,
        }),
        drain: host.askDrain,
      }),
    )
    : undefined;
  parts.use(
    new NatsService({
      ...ways,
      facts,
      endpoints: () => {
        const all = [
          ...endpoints().map((one) => endpointOf(one, queueGroup)),
          ...control?.endpoints ?? [],
        ];
        // What concerns the whole process stands at the first.
        return all.map((one, at) =>
          at === 0 ? { ...one, data: { ...one.data, ...report() } } : one
        );
      },
    }),
  );
  getLogger(["sproxy", "service"]).info("seen as a service of NATS", {
    id: facts.id,
    control: control !== undefined,
  });
  return parts.move();
}

/** What is switched on; who is to be controlled has to be found. */
function switchesOf(
  config: ConfigByRole[Role],
): { readonly natsService: boolean; readonly control: boolean } {
  return config.role === "server" ? config.server : config.client;
}

function isSealed({ security }: ConfigByRole[Role]): boolean {
  return security.secretKey !== undefined;
}

/** What everybody may know: nothing that is a secret, and no targets. */
function factsOf(
  config: ConfigByRole[Role],
  { worker }: RoleHost,
): ServiceFacts {
  const sealed = isSealed(config);
  return {
    id: instanceId(),
    version: VERSION,
    started: new Date(performance.timeOrigin).toISOString(),
    metadata: {
      role: config.role,
      site: config.role === "server" ? config.server.site : undefined,
      // One that is not configured is half of what keeps connection IDs from being guessed.
      client_id: config.role === "client" ? config.client.id : undefined,
      host: hostname(),
      pid: String(Deno.pid),
      worker: worker && String(worker.index),
      protocol: config.tunnel.refuseV1 ? "2" : "2,1",
      codecs: sealed ? "binary" : "binary,json",
      sealed: String(sealed),
      runtime: `Deno ${Deno.version.deno}`,
    },
  };
}

function endpointOf(
  { name, subject, counter, service }: HeardEndpoint,
  queueGroup: string,
): ServiceEndpoint {
  return {
    ...{ name, subject, counter },
    queueGroup,
    data: service && { up: service.up, opened: service.opened },
  };
}
