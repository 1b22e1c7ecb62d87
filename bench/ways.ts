/**
 * Opens the ways to reach a target, each with the processes it is made of.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";
import { formatAddress } from "../integration_tests/support/addresses.ts";
import {
  type FaultRelay,
  startFaultRelay,
} from "../integration_tests/support/fault_relay.ts";
import { Folder } from "../integration_tests/support/folder.ts";
import {
  type NatsServer,
  startNatsServer,
} from "../integration_tests/support/nats_server.ts";
import { type Process, spawn } from "../integration_tests/support/processes.ts";
import {
  startClient,
  startTunnel,
} from "../integration_tests/support/roles.ts";
import {
  type KeyFile,
  makeKey,
} from "../integration_tests/support/sealed_stage.ts";
import type { WayName } from "./measure.ts";
import {
  type Forwarder,
  type Peers,
  startChiselClient,
  startChiselServer,
  startPeer,
} from "./peers.ts";
import type { Sshd, SshKit } from "./ssh.ts";

/** A running way to a target. */
export interface Way extends AsyncDisposable {
  /** Which one. */
  readonly name: WayName;
  /** Where to connect in order to reach the target. */
  readonly endpoint: Endpoint;
  /** The same through another client process of the same server, where one was asked for. */
  readonly otherClient?: Endpoint;
  /** The processes between us and the target, by name; each with its children. */
  readonly processes: Readonly<Record<string, Process>>;
  /** The broker, where there is one. */
  readonly nats?: NatsServer;
}

/** How a way is built. */
export interface WayOptions {
  /** What it leads to. */
  readonly target: Endpoint;
  /** Delay added each way to the long leg, in ms; default none, and then no relay. */
  readonly delay?: number;
  /** Whether another client process of the same server is started; default false. */
  readonly twoClients?: boolean;
  /** Flags for both roles of a tunnel. */
  readonly roleArgs?: readonly string[];
  /** Further flags of the server role. */
  readonly serverArgs?: readonly string[];
  /** Keys for ssh. */
  readonly ssh?: SshKit | undefined;
  /** Other programs that forward. */
  readonly peers?: Peers;
  /** The top of the checkout whose tunnel is the way `other`. */
  readonly against?: URL | undefined;
  /** Ends the wait for readiness. */
  readonly signal?: AbortSignal;
}

/**
 * Opens a way; it is ready when this resolves.
 *
 * @throws {Error} when a process does not start.
 */
export async function openWay(
  name: WayName,
  options: WayOptions,
): Promise<Way> {
  await using cleanup = new AsyncDisposableStack();
  const parts = name === "direct"
    ? openDirect(options, cleanup)
    : name === "ssh"
    ? await openSsh(options, cleanup)
    : name === "bare"
    ? await openBare(options, cleanup)
    : name === "chisel"
    ? await openChisel(options, cleanup)
    : name === "peer"
    ? await openPeer(options, cleanup)
    : await openTunnel(name, options, cleanup);
  const owned = cleanup.move();
  return {
    name,
    ...parts,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Opened = Omit<Way, "name" | typeof Symbol.asyncDispose>;

function openDirect(
  options: WayOptions,
  cleanup: AsyncDisposableStack,
): Opened {
  return { endpoint: delayed(options.target, options, cleanup), processes: {} };
}

async function openSsh(
  options: WayOptions,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  const { ssh: kit, target, twoClients = false, signal } = options;
  if (!kit) throw new Error("ssh, sshd or ssh-keygen is missing");
  const sshd = await kit.startSshd({ signal });
  cleanup.use(sshd.process);
  const server = delayed(sshd.endpoint, options, cleanup);
  const forward = async (): Promise<Sshd> => {
    const ssh = await kit.forward(server, {
      target,
      signal,
    });
    cleanup.use(ssh.process);
    return ssh;
  };
  const ssh = await forward();
  const other = twoClients ? await forward() : undefined;
  return {
    endpoint: ssh.endpoint,
    ...(other && { otherClient: other.endpoint }),
    processes: {
      ssh: ssh.process,
      ...(other && { "other ssh": other.process }),
      sshd: sshd.process,
    },
  };
}

async function openTunnel(
  name: "tunnel" | "sealed" | "json" | "other",
  options: WayOptions,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  const { target, roleArgs = [], serverArgs = [], signal } = options;
  const { twoClients = false } = options;
  if (name === "other" && !options.against) {
    throw new Error("no other checkout was named");
  }
  const nats = cleanup.use(await startNatsServer({ signal }));
  const keys = name === "sealed" ? await makeKeys(cleanup) : undefined;
  const near = delayed(
    { hostname: "127.0.0.1", port: nats.port },
    options,
    cleanup,
  );
  const common = {
    target: formatAddress(target),
    env: keys?.env ?? {},
    project: name === "other" ? options.against : undefined,
    signal,
  };
  const clientNats = `nats://${formatAddress(near)}`;
  const clientArgs = [
    ...roleArgs,
    ...(name === "json" ? ["--codec", "json"] : []),
    ...keys?.clientArgs ?? [],
  ];
  const tunnel = cleanup.use(
    await startTunnel({
      ...common,
      nats,
      clientNats,
      clientArgs,
      serverArgs: [...roleArgs, ...serverArgs, ...keys?.serverArgs ?? []],
    }),
  );
  const other = twoClients
    ? cleanup.use(
      await startClient(clientNats, { ...common, args: clientArgs }),
    )
    : undefined;
  return {
    endpoint: tunnel.endpoint,
    ...(other && { otherClient: other.endpoint }),
    nats,
    processes: {
      client: tunnel.client.process,
      ...(other && { "other client": other.process }),
      "nats-server": nats.process,
      server: tunnel.server.process,
    },
  };
}

/** What both ends of a sealed tunnel are started with; their keys last as long as they do. */
async function makeKeys(cleanup: AsyncDisposableStack): Promise<{
  readonly env: Readonly<Record<string, string>>;
  readonly clientArgs: readonly string[];
  readonly serverArgs: readonly string[];
}> {
  const folder = cleanup.use(await Folder.make());
  const client = await makeKey(folder, "client.key");
  const server = await makeKey(folder, "server.key");
  const flags = (own: KeyFile, other: string, of: KeyFile) => [
    ...["--secret-key", own.path],
    ...[other, of.publicKey],
  ];
  return {
    env: { HOME: folder.path },
    clientArgs: flags(client, "--server-key", server),
    serverArgs: flags(server, "--client-key", client),
  };
}

/** Two relays over NATS with nothing in them: what the same way costs at least. */
async function openBare(
  { target, signal }: WayOptions,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  const nats = cleanup.use(await startNatsServer({ signal }));
  const start = async (
    role: string,
    ...more: readonly number[]
  ): Promise<{ readonly process: Process; readonly port?: number }> => {
    const script = new URL("bare.ts", import.meta.url).pathname;
    const process = cleanup.use(spawn(Deno.execPath(), {
      name: `bare ${role}`,
      args: [
        ...["run", "--quiet", "--no-prompt", "--allow-net", script],
        ...[role, ...[nats.port, ...more].map(String)],
      ],
    }));
    const line = await process.waitForLine(
      (line) => line.startsWith("{"),
      signal ? { signal } : {},
    );
    return { process, ...JSON.parse(line) };
  };
  const server = await start("server", target.port);
  const client = await start("client");
  return {
    endpoint: { hostname: "127.0.0.1", port: client.port ?? 0 },
    nats,
    processes: {
      client: client.process,
      "nats-server": nats.process,
      server: server.process,
    },
  };
}

async function openChisel(
  options: WayOptions,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  const { target, peers = {}, twoClients = false, signal } = options;
  const { chisel } = peers;
  if (chisel === undefined) throw new Error("BENCH_CHISEL names no chisel");
  const server = await startChiselServer(chisel, signal);
  cleanup.use(server.process);
  const near = delayed(server.endpoint, options, cleanup);
  const startClient = async (): Promise<Forwarder> => {
    const client = await startChiselClient(chisel, {
      server: near,
      target,
      signal,
    });
    cleanup.use(client.process);
    return client;
  };
  const client = await startClient();
  const other = twoClients ? await startClient() : undefined;
  return {
    endpoint: client.endpoint,
    ...(other && { otherClient: other.endpoint }),
    processes: {
      "chisel client": client.process,
      ...(other && { "other client": other.process }),
      "chisel server": server.process,
    },
  };
}

async function openPeer(
  options: WayOptions,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  const { target, peers = {}, signal } = options;
  const { peer } = peers;
  if (!peer) throw new Error("BENCH_PEER_COMMAND names no command");
  const { process, endpoint } = await startPeer(peer, { target, signal });
  // It may have started others, which it ends when it is asked to.
  cleanup.defer(async () => void await process.stop());
  return { endpoint, processes: { [peer.name]: process } };
}

/** `endpoint`, or a relay to it that delays. */
function delayed(
  endpoint: Endpoint,
  { delay = 0 }: WayOptions,
  cleanup: AsyncDisposableStack,
): Endpoint {
  if (delay === 0) return endpoint;
  const relay: FaultRelay = cleanup.use(startFaultRelay(endpoint));
  relay.delay(delay);
  return relay.endpoint;
}
