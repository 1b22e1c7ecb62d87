/**
 * Sets the stage for faults: a broker, both roles with their status ports, and
 * if asked for a fault relay between each role and the broker; with the means
 * to look into both roles and to see that nothing was left behind.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type Arrivals,
  type EchoOptions,
  expectEcho,
  roundTrip,
} from "./chaos_flow.ts";
import { type FaultRelay, startFaultRelay } from "./fault_relay.ts";
import { pause } from "./changes.ts";
import {
  type NatsServer,
  type NatsServerOptions,
  startNatsServer,
} from "./nats_server.ts";
import { openFiles } from "./proc_stats.ts";
import {
  type ClientRole,
  type Role,
  type RoleName,
  startClient,
  startServer,
} from "./roles.ts";
import { startEcho, type Target } from "./targets.ts";
import { dial, receiveAll } from "./transfer.ts";
import { eventually } from "./waits.ts";

/** Pings often enough that a test need not wait for them; a busy machine still answers in time. */
export const QUICK: readonly string[] = [
  "--nats-ping-interval",
  "250ms",
  "--peer-ping-interval",
  "250ms",
];

/** What a stage is made of. */
export interface StageOptions {
  /** `host:port` the server dials; by default a target of its own that echoes. */
  readonly target?: string;
  /** Put a fault relay between each role and the broker; default false. */
  readonly relays?: boolean;
  /** Both roles reach the broker by its WebSocket, which `nats` must have; not with relays. */
  readonly overWebSocket?: boolean;
  /** How the broker is configured. */
  readonly nats?: NatsServerOptions;
  /** Further flags of both roles. */
  readonly args?: readonly string[];
  /** Further flags of the server. */
  readonly serverArgs?: readonly string[];
  /** Further flags of the client. */
  readonly clientArgs?: readonly string[];
}

/** What there is before anything happens, for {@linkcode Stage.expectNoLeaks}. */
export interface Baseline {
  /** Subscriptions at the broker. */
  readonly subscriptions: number;
  /** File descriptors of the server. */
  readonly server: number;
  /** File descriptors of the client. */
  readonly client: number;
}

type Settings = StageOptions & { readonly target: string };

/** What a stage consists of. */
interface Parts {
  readonly echo: Target;
  readonly nats: NatsServer;
  readonly relays: Readonly<Record<RoleName, FaultRelay>> | undefined;
  server: Role;
  client: ClientRole;
}

/** Broker, relays and roles. */
export class Stage implements AsyncDisposable {
  readonly #options: Settings;
  readonly #cleanup: AsyncDisposableStack;
  readonly #parts: Parts;

  /** Takes over what was started; see {@linkcode startStage}. */
  constructor(
    options: Settings,
    cleanup: AsyncDisposableStack,
    parts: Parts,
  ) {
    this.#options = options;
    this.#cleanup = cleanup;
    this.#parts = parts;
  }

  /** The target that echoes, unless another was given. */
  get echo(): Target {
    return this.#parts.echo;
  }

  /** The broker. */
  get nats(): NatsServer {
    return this.#parts.nats;
  }

  /** The server role; another one after {@linkcode Stage.restart}. */
  get server(): Role {
    return this.#parts.server;
  }

  /** The client role; another one after {@linkcode Stage.restart}. */
  get client(): ClientRole {
    return this.#parts.client;
  }

  /** Where to connect to reach the target. */
  get endpoint(): ClientRole["endpoint"] {
    return this.client.endpoint;
  }

  /** The role of this name. */
  role(name: RoleName): Role {
    return this.#parts[name];
  }

  /**
   * The relay between a role and the broker.
   *
   * @throws {Error} on a stage without relays.
   */
  relay(name: RoleName): FaultRelay {
    const { relays } = this.#parts;
    if (relays === undefined) throw new Error("A stage without relays");
    return relays[name];
  }

  /** SIGKILL to a role, and another of the same flags in its place; ready when this resolves. */
  async restart(name: RoleName): Promise<void> {
    await this.role(name).process.kill();
    const url = this.#parts.relays?.[name].url ??
      urlOf(this.nats, this.#options);
    if (name === "server") {
      this.#parts.server = this.#cleanup.use(
        await serverOf(this.#options, url),
      );
    } else {
      this.#parts.client = this.#cleanup.use(
        await clientOf(this.#options, url),
      );
    }
  }

  /** The value of a metric of a role, summed over its labels, or of those samples that have `label`. */
  async metric(role: RoleName, name: string, label = ""): Promise<number> {
    const { text } = await this.role(role).status("/metrics");
    return metricValue(text, name, label);
  }

  /** Waits until a metric is as wanted. */
  async whenMetric(
    role: RoleName,
    name: string,
    options: {
      readonly is: (value: number) => boolean;
      readonly label?: string;
    },
  ): Promise<number> {
    let value = NaN;
    await eventually(async () => {
      value = await this.metric(role, name, options.label);
      return options.is(value);
    }, () => `${role}: ${name} is ${value}`);
    return value;
  }

  /** Waits until `role` has no tunnel, and holds no byte of any. */
  async whenRidOfTunnels(role: RoleName): Promise<void> {
    await this.#whenZero(role, "tunnels_open", "held_bytes");
  }

  async #whenZero(role: RoleName, ...names: string[]): Promise<void> {
    for (const name of names) {
      await this.whenMetric(role, `sproxy_${name}`, { is: (n) => n === 0 });
    }
  }

  /** As {@linkcode expectEcho}, on a new connection through an echoing target. */
  async expectEcho(options: EchoOptions): Promise<void> {
    using conn = await dial(this.endpoint);
    await expectEcho(conn, options);
  }

  /** A new connection gets through to an echoing target and back. */
  async expectServing(): Promise<void> {
    using conn = await dial(this.endpoint);
    await roundTrip(conn);
  }

  /** Waits until neither role has a tunnel, nor an open under way. */
  async whenIdle(): Promise<void> {
    for (const role of ["client", "server"] as const) {
      await this.#whenZero(role, "tunnels_open", "tunnels_opening");
    }
  }

  /** Counts what there is now; call it before tunnels are opened, but after one was. */
  async baseline(): Promise<Baseline> {
    await this.whenIdle();
    return {
      subscriptions: await this.nats.subscriptions(),
      server: await openFiles(this.server.process.pid),
      client: await openFiles(this.client.process.pid),
    };
  }

  /**
   * Waits until tunnels, opens, peers, held bytes, subscriptions and file
   * descriptors are back where they began. What leaks never comes back: then
   * the test's limit ends the wait, and the failure says what was left.
   */
  async expectNoLeaks(before: Baseline): Promise<void> {
    await this.whenIdle();
    for (const role of ["client", "server"] as const) {
      await this.#whenZero(role, "held_bytes", "peers");
    }
    let now = before;
    const kinds = ["subscriptions", "server", "client"] as const;
    await eventually(async () => {
      now = await this.baseline();
      return kinds.every((kind) => now[kind] <= before[kind]);
    }, () => `left: ${JSON.stringify({ before, now })}`);
  }

  /** Ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}

/** Starts a stage; tunnels can be opened when this resolves. */
export async function startStage(options: StageOptions = {}): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const echo = cleanup.use(startEcho());
  const nats = cleanup.use(await startNatsServer(options.nats));
  const at = { hostname: "127.0.0.1", port: nats.port };
  const relays = options.relays
    ? {
      server: cleanup.use(startFaultRelay(at)),
      client: cleanup.use(startFaultRelay(at)),
    }
    : undefined;
  const settings = { ...options, target: options.target ?? echo.address };
  const url = urlOf(nats, options);
  const server = cleanup.use(
    await serverOf(settings, relays?.server.url ?? url),
  );
  const client = cleanup.use(
    await clientOf(settings, relays?.client.url ?? url),
  );
  const parts = { echo, nats, relays, server, client };
  return new Stage(settings, cleanup.move(), parts);
}

/** Opens a tunnel of an echoing target, uses and ends it, and counts what is there without it. */
export async function warm(stage: Stage): Promise<Baseline> {
  const roles = [stage.server, stage.client];
  const marks = roles.map(({ process }) => process.mark());
  using conn = await dial(stage.endpoint);
  await conn.closeWrite();
  await receiveAll(conn);
  // What comes later is not to be taken for the end of this one.
  await Promise.all(
    roles.map((role, i) =>
      role.entry(({ msg }) => msg === "tunnel closed", { since: marks[i] ?? 0 })
    ),
  );
  return await stage.baseline();
}

/**
 * SIGKILL to the broker in the middle of a transfer of `size` bytes, once for
 * each of `down`, evenly spread; it is away for so many ms each time.
 */
export async function killBroker(
  { nats }: Stage,
  arrivals: Arrivals,
  options: { readonly size: number; readonly down: readonly number[] },
): Promise<void> {
  const { size, down } = options;
  for (const [i, ms] of down.entries()) {
    await arrivals.reached(Math.floor(size * (i + 0.9) / (down.length + 1)));
    await nats.kill();
    await pause(ms);
    await nats.restart();
  }
}

/** How long the broker is away each time it is killed, in ms. */
export const DOWN = [0, 200, 700] as const;

/** The broker is killed three times during an echo of `size` bytes, which come back the same. */
export async function echoThroughKills(
  stage: Stage,
  size: number,
): Promise<void> {
  const before = await warm(stage);
  await stage.expectEcho({
    seed: 1,
    size,
    meanwhile: (arrivals) => killBroker(stage, arrivals, { size, down: DOWN }),
  });
  await stage.expectNoLeaks(before);
}

/**
 * SIGSTOP to the broker in the middle of a transfer, until both roles have
 * given its connection up.
 */
export async function stopBroker(
  stage: Stage,
  arrivals: Arrivals,
): Promise<void> {
  await arrivals.reached(1024 * 1024);
  stage.nats.pause();
  for (const side of ["server", "client"] as const) {
    await stage.role(side).entry(({ msg }) =>
      msg === "connection to NATS lost"
    );
  }
  stage.nats.resume();
}

/** The sum of a metric's samples on a page, of those only that have `label`. */
export function metricValue(text: string, name: string, label = ""): number {
  const samples = text.split("\n").filter((line) =>
    new RegExp(`^${name}[ {]`).test(line) && line.includes(label)
  );
  const family = name.replace(/_(bucket|sum|count)$/, "");
  if (![name, family].some((it) => text.includes(`# TYPE ${it} `))) {
    throw new Error(`No metric ${name}`);
  }
  return samples.reduce(
    (sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)),
    0,
  );
}

/** The end of a tunnel in a role's log, as {@linkcode tunnelEnd} expects it. */
export interface TunnelEnd {
  /** The code of the reason. */
  readonly reason: string;
  /** Only log entries after this mark. */
  readonly since?: number;
}

/** Waits until a role's log says that a tunnel ended, and expects the reason. */
export async function tunnelEnd(
  role: Role,
  expected: TunnelEnd,
): Promise<void> {
  const { reason, since = 0 } = expected;
  const entry = await role.entry(({ msg }) => msg === "tunnel closed", {
    since,
  });
  assert.equal(entry.reason, reason, JSON.stringify(entry));
}

/** Where both roles reach the broker. */
function urlOf(nats: NatsServer, { overWebSocket }: StageOptions): string {
  return overWebSocket === true ? nats.websocketUrl : nats.url;
}

async function serverOf(
  options: Settings,
  url: string,
): Promise<Role> {
  const { args = [], serverArgs = [] } = options;
  return await startServer(url, { args: [...args, ...serverArgs] });
}

async function clientOf(
  options: Settings,
  url: string,
): Promise<ClientRole> {
  const { args = [], clientArgs = [], target } = options;
  const client = await startClient(url, {
    target,
    args: ["--status-addr", "127.0.0.1:0", ...args, ...clientArgs],
  });
  await client.statusAddress();
  return client;
}
