/**
 * Starts real nats-servers on free ports, which are theirs for life: alone or three in a cluster,
 * to be killed, stopped and restarted on the same port.
 *
 * @module
 */

import { requireTool } from "../../tools/find_or_install.ts";
import { HeldPort } from "./addresses.ts";
import { pause, type WaitOptions } from "./changes.ts";
import { currentSignal } from "./integration_test.ts";
import { external } from "./external.ts";
import { owned } from "./owned.ts";
import { type Process, spawn } from "./processes.ts";

/** A broker to test against. */
export interface Broker extends AsyncDisposable {
  /** What `--nats-url` takes; one URL, or several with commas for a cluster. */
  readonly url: string;
  /** Whether others may use it too, so that subjects must not collide. */
  readonly shared: boolean;
}

/** How a nats-server is configured. */
export interface NatsServerOptions extends WaitOptions {
  /** Largest payload it takes, in bytes; its own default is 1 MiB. */
  readonly maxPayload?: number;
  /** Its place in a cluster. */
  readonly cluster?: {
    readonly name: string;
    /** Cluster ports of the nodes to join. */
    readonly routes: readonly number[];
  };
  /** What its `websocket` block has besides `listen`, such as `no_tls: true`; without it, it speaks no WebSocket. */
  readonly websocket?: string;
  /** Further lines of its configuration file. */
  readonly config?: string;
  /** What it is called in messages; default `nats-server`. */
  readonly name?: string;
}

/** The ports of a nats-server. */
interface Ports {
  readonly client: number;
  readonly monitor: number;
  readonly cluster: number;
  readonly websocket: number;
}

/** Ports that are tried at the start: each fails only if something that is no test of ours took it in between. */
const START_TRIES = 10;

/** Tries to get the old port back; it is only taken by chance and not for long. */
const RESTART_TRIES = 50;

/** Pause between those tries, in ms. */
const RESTART_PAUSE = 100;

/** Pause between looks at the monitoring port, in ms. */
const MONITOR_PAUSE = 20;

/** The name of its configuration file. */
const CONFIG_NAME = "nats.conf";

/** A nats-server that was started on ports that are held for it. */
interface Started {
  readonly process: Process;
  readonly ports: Ports;
  readonly written: Ports;
  readonly held: DisposableStack;
}

/** A running, or for the moment killed, nats-server. */
export class NatsServer implements Broker {
  readonly #command: string;
  readonly #directory: string;
  #options: NatsServerOptions;
  #process: Process;
  #ports: Ports;
  /** The ports as its configuration file has them: a reload may not change them. */
  #written: Ports;
  /** Holds its ports, also while it is killed. */
  readonly #held: DisposableStack;

  private constructor(
    command: string,
    directory: string,
    options: NatsServerOptions,
    started: Started,
  ) {
    this.#command = command;
    this.#directory = directory;
    this.#options = options;
    this.#process = started.process;
    this.#ports = started.ports;
    this.#written = started.written;
    this.#held = started.held;
  }

  /** Starts one; see {@linkcode startNatsServer}. */
  static async start(options: NatsServerOptions): Promise<NatsServer> {
    const command = await requireTool("nats-server");
    const directory = await Deno.makeTempDir({ prefix: "nats-" });
    try {
      const started = await launchOnFreePorts(command, directory, options);
      return new NatsServer(command, directory, options, started);
    } catch (error) {
      await Deno.remove(directory, { recursive: true });
      throw error;
    }
  }

  /** Nobody else uses it. */
  get shared(): boolean {
    return false;
  }

  /** Its process; another one after each restart. */
  get process(): Process {
    return this.#process;
  }

  /** The port clients connect to; the same for life. */
  get port(): number {
    return this.#ports.client;
  }

  /** The port other nodes connect to; -1 without a cluster. */
  get clusterPort(): number {
    return this.#ports.cluster;
  }

  /** `nats://127.0.0.1:port`, without credentials. */
  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** The port of its WebSocket; -1 without one. */
  get websocketPort(): number {
    return this.#ports.websocket;
  }

  /** `ws://127.0.0.1:port`, or `wss://…` where that has TLS, without credentials. */
  get websocketUrl(): string {
    const tls = this.#options.websocket?.includes("no_tls") === false;
    return `${tls ? "wss" : "ws"}://127.0.0.1:${this.websocketPort}`;
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    await this.#process.kill();
  }

  /** SIGTERM: it closes its connections in order. */
  async stop(): Promise<void> {
    await this.#process.stop();
  }

  /** SIGSTOP: connections stay open, nothing is answered. */
  pause(): void {
    this.#process.pause();
  }

  /** SIGCONT. */
  resume(): void {
    this.#process.resume();
  }

  /**
   * Kills it if it runs, and starts it anew on the same ports, if wanted with
   * another `config`; ready when this resolves.
   */
  async restart(
    options: WaitOptions & Pick<NatsServerOptions, "config"> = {},
  ): Promise<void> {
    await this.kill();
    const settings = { ...this.#options, ...options };
    this.#options = settings;
    for (let attempt = 1;; attempt++) {
      try {
        const { process } = await launch(
          this.#command,
          this.#directory,
          settings,
          this.#ports,
        );
        this.#process = process;
        this.#written = this.#ports;
        return;
      } catch (error) {
        // Somebody's outgoing connection may be using our old port just now.
        if (!(error instanceof Deno.errors.AddrInUse)) throw error;
        if (attempt === RESTART_TRIES) throw error;
        await pause(RESTART_PAUSE);
      }
    }
  }

  /**
   * Takes `config` in place of the further lines of its configuration, without
   * a restart. Users whose rules change stay connected where it lets them.
   *
   * @throws {Error} when it refuses to.
   */
  async reload(config: string): Promise<void> {
    this.#options = { ...this.#options, config };
    await Deno.writeTextFile(
      `${this.#directory}/${CONFIG_NAME}`,
      configText(this.#directory, this.#options, this.#written),
    );
    const since = this.#process.mark();
    this.#process.signal("SIGHUP");
    const line = await this.#process.waitForLine(
      (line) => /Reloaded server configuration|Failed to reload/.test(line),
      { since },
    );
    if (line.includes("Failed")) throw new Error(line);
  }

  /** How many subscriptions its clients hold, the server's own not counted. */
  async subscriptions(): Promise<number> {
    const { connections } = await this.monitor("connz?subs=1");
    if (!Array.isArray(connections)) return 0;
    return connections.reduce((sum, one) => sum + one.subscriptions, 0);
  }

  /** How many clients are connected. */
  async connections(): Promise<number> {
    return Number((await this.monitor("varz")).connections);
  }

  /** How many clients it has cut off because they read too slowly. */
  async slowConsumers(): Promise<number> {
    return Number((await this.monitor("varz")).slow_consumers);
  }

  /** How many other nodes it has a route to. */
  async peers(): Promise<number> {
    const { routes } = await this.monitor("routez");
    if (!Array.isArray(routes)) return 0;
    // Two that dial each other at once have two routes for a moment.
    return new Set(routes.map(({ remote_id }) => remote_id)).size;
  }

  /** Waits until it has routes to `count` other nodes. */
  async whenJoined(count: number, options: WaitOptions = {}): Promise<void> {
    const signal = options.signal ?? currentSignal();
    // It logs routes that it then drops as duplicates, so we have to ask.
    while (await this.peers() < count) {
      signal?.throwIfAborted();
      await pause(MONITOR_PAUSE);
    }
  }

  /** The answer of its monitoring port to `path`, e.g. `varz`, `subsz`, `connz?subs=1`. */
  async monitor(path: string): Promise<Record<string, unknown>> {
    // No pooled connections: they would not survive a restart.
    using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const url = `http://127.0.0.1:${this.#ports.monitor}/${path}`;
    const response = await fetch(url, { client });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`${url} answered ${response.status}`);
    }
    return await response.json();
  }

  /** Kills it and removes its files. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#held.dispose();
    await Deno.remove(this.#directory, { recursive: true });
  }
}

/**
 * Starts a nats-server of our own.
 *
 * @throws {RunError} when it is not installed; {Error} when it does not start.
 */
export async function startNatsServer(
  options: NatsServerOptions = {},
): Promise<NatsServer> {
  return await NatsServer.start(options);
}

/** The broker of the environment (`NATS_URL`), or one of our own. */
export async function startBroker(options: WaitOptions = {}): Promise<Broker> {
  if (external.natsUrl === undefined) return await startNatsServer(options);
  return {
    url: external.natsUrl,
    shared: true,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Three nats-servers that know each other. */
export interface NatsCluster extends Broker {
  /** The nodes. */
  readonly nodes: readonly [NatsServer, NatsServer, NatsServer];
}

/** Starts a cluster of three; resolves when each node has routes to both others. */
export async function startNatsCluster(
  options: NatsServerOptions = {},
): Promise<NatsCluster> {
  await using cleanup = new AsyncDisposableStack();
  const node = async (
    label: string,
    peers: readonly NatsServer[],
  ): Promise<NatsServer> =>
    cleanup.use(
      await startNatsServer({
        ...options,
        name: `nats-server ${label}`,
        cluster: {
          name: "test",
          routes: peers.map((peer) => peer.clusterPort),
        },
      }),
    );
  const a = await node("a", []);
  const b = await node("b", [a]);
  const c = await node("c", [a, b]);
  const nodes = [a, b, c] as const;
  for (const node of nodes) await node.whenJoined(2, options);
  const url = nodes.map(({ url }) => url).join(",");
  return owned(cleanup, { nodes, url, shared: false });
}

function configText(
  directory: string,
  options: NatsServerOptions,
  ports: Ports,
): string {
  const { maxPayload, cluster, websocket, config } = options;
  const lines = [
    `listen: "127.0.0.1:${ports.client}"`,
    `http: "127.0.0.1:${ports.monitor}"`,
    `store_dir: ${JSON.stringify(directory)}`,
  ];
  if (maxPayload !== undefined) {
    lines.push(`max_payload: ${maxPayload}`);
    // max_pending may not be smaller than max_payload.
    if (maxPayload > 64 * 1024 * 1024) lines.push(`max_pending: ${maxPayload}`);
  }
  if (cluster) {
    const routes = cluster.routes.map((port) => `"nats://127.0.0.1:${port}"`);
    lines.push(
      `cluster { name: ${cluster.name}, listen: "127.0.0.1:${ports.cluster}", routes: [${
        routes.join(", ")
      }] }`,
    );
  }
  if (websocket !== undefined) {
    lines.push(
      `websocket {\n listen: "127.0.0.1:${ports.websocket}"\n ${websocket}\n}`,
    );
  }
  if (config !== undefined) lines.push(config);
  return lines.join("\n") + "\n";
}

/** Starts the process on ports that it has for life. */
async function launchOnFreePorts(
  command: string,
  directory: string,
  options: NatsServerOptions,
): Promise<Started> {
  for (let attempt = 1;; attempt++) {
    using held = new DisposableStack();
    const hold = (wanted: unknown): number =>
      wanted === undefined ? -1 : held.use(HeldPort.take()).port;
    const written: Ports = {
      client: hold(true),
      monitor: hold(true),
      cluster: hold(options.cluster),
      websocket: hold(options.websocket),
    };
    try {
      const started = await launch(command, directory, options, written);
      return { ...started, written, held: held.move() };
    } catch (error) {
      const taken = error instanceof Deno.errors.AddrInUse;
      if (!taken || attempt === START_TRIES) throw error;
    }
  }
}

/**
 * Starts the process and learns its ports from its log.
 *
 * @throws {Deno.errors.AddrInUse} when a given port is taken.
 */
async function launch(
  command: string,
  directory: string,
  options: NatsServerOptions,
  ports: Ports,
): Promise<{ readonly process: Process; readonly ports: Ports }> {
  const file = `${directory}/${CONFIG_NAME}`;
  await Deno.writeTextFile(file, configText(directory, options, ports));
  const process = spawn(command, {
    name: options.name ?? "nats-server",
    args: ["-c", file],
  });
  const portFrom = async (text: string): Promise<number> => {
    const line = await process.waitForLine(
      (line) => line.includes(text) || line.includes("address already in use"),
      options,
    );
    const port = new RegExp(`${text}.*:(\\d+)$`).exec(line)?.[1];
    if (port === undefined) throw new Deno.errors.AddrInUse(line);
    return Number(port);
  };
  try {
    const monitor = await portFrom("Starting http monitor on");
    const websocket = options.websocket === undefined
      ? -1
      : await portFrom("Listening for websocket clients on");
    const client = await portFrom("Listening for client connections on");
    const cluster = options.cluster
      ? await portFrom("Listening for route connections on")
      : -1;
    await process.waitForLine(
      (line) => line.includes("Server is ready"),
      options,
    );
    return { process, ports: { client, monitor, cluster, websocket } };
  } catch (error) {
    await process.kill();
    throw error;
  }
}
