/**
 * Roles that are short of file descriptors, and more connections than they can
 * serve.
 *
 * @module
 */

import { pause } from "./changes.ts";
import { roundTrip } from "./chaos_flow.ts";
import { type NatsServer, startNatsServer } from "./nats_server.ts";
import { owned } from "./owned.ts";
import {
  type ClientRole,
  type Role,
  type RoleName,
  startClient,
  startServer,
} from "./roles.ts";
import { PRLIMIT } from "./surroundings.ts";
import { startEcho } from "./targets.ts";
import { dial } from "./transfer.ts";
import { soon } from "./waits.ts";

/** Open files that a scarce process may have; the runtime itself takes 25. */
export const FEW = 64;

/** How long the broker is away, in ms: an accept that waits is tried again meanwhile. */
export const AWAY = 2_000;

/** How long a connection may take until it is served or ended, in ms. */
const DECIDED = 4_000;

/** Both roles, with as many open files as given. */
export interface Scarce extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly server: Role;
  readonly client: ClientRole;
}

/** How roles are short, and what else there is to them. Needs {@linkcode PRLIMIT}. */
export interface ScarceOptions {
  /** How many open files each may have; default: as many as this process. */
  readonly files?: Readonly<Partial<Record<RoleName, number>>>;
  /** Further flags of both. */
  readonly args?: readonly string[];
  /** The broker; default one of its own. */
  readonly nats?: NatsServer;
  /** Where a role looks for its broker, when not at the URL of that. */
  readonly urls?: Readonly<Partial<Record<RoleName, string>>>;
  /** What runs a role, such as {@linkcode withHosts}. */
  readonly through?: Readonly<Partial<Record<RoleName, readonly string[]>>>;
}

/** Starts both. */
export async function startScarce(options: ScarceOptions): Promise<Scarce> {
  const { files = {}, args = [], urls = {} } = options;
  await using cleanup = new AsyncDisposableStack();
  const nats = options.nats ?? cleanup.use(await startNatsServer());
  const echo = cleanup.use(startEcho());
  const through = (role: RoleName): readonly string[] => {
    const most = files[role];
    const limit = most === undefined
      ? []
      : [PRLIMIT ?? "prlimit", `--nofile=${most}:${most}`];
    return [...options.through?.[role] ?? [], ...limit];
  };
  const server = cleanup.use(
    await startServer(urls.server ?? nats.url, {
      through: through("server"),
      args,
    }),
  );
  const client = cleanup.use(
    await startClient(urls.client ?? nats.url, {
      through: through("client"),
      target: echo.address,
      args: ["--status-addr", "127.0.0.1:0", ...args],
    }),
  );
  await client.statusAddress();
  return owned(cleanup, { nats, server, client });
}

/** The broker of a stage goes, and comes back. */
export async function breakBroker(
  { nats }: Pick<Scarce, "nats">,
): Promise<void> {
  await nats.kill();
  await pause(AWAY);
  await nats.restart();
}

/** Connections that applications made, and those of them that are served. */
export interface Crowd extends Disposable {
  readonly served: readonly Deno.TcpConn[];
  /** Those that were neither served nor ended in time. */
  readonly left: number;
}

/** Makes `count` connections at once. */
export async function crowd(client: ClientRole, count: number): Promise<Crowd> {
  using conns = new DisposableStack();
  const served: Deno.TcpConn[] = [];
  let left = 0;
  const one = async (): Promise<void> => {
    const conn = conns.use(await dial(client.endpoint));
    try {
      await soon("it is served", roundTrip(conn), DECIDED);
      served.push(conn);
    } catch (error) {
      if (error instanceof Error && error.message.includes("not within")) {
        left++;
      }
    }
  };
  await Promise.all(Array.from({ length: count }, one));
  const all = conns.move();
  return { served, left, [Symbol.dispose]: () => all.dispose() };
}
