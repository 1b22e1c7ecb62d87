/**
 * Starts the two roles as real processes, with the permissions the project's
 * tasks give them.
 *
 * @module
 */

import { parseAddress } from "./addresses.ts";
import { type Broker, startBroker } from "./nats_server.ts";
import { owned } from "./owned.ts";
import { startEcho, type Target } from "./targets.ts";
import {
  type LineOptions,
  type Process,
  spawn,
  type SpawnOptions,
} from "./processes.ts";

/** The top of the project, with a slash at the end. */
export const PROJECT = new URL("../../", import.meta.url);

/** A line of a role's log with `--log-format json`. */
export interface LogEntry {
  /** The sentence. */
  readonly msg: string;
  /** debug, info, warn or error. */
  readonly level: string;
  /** What else it says. */
  readonly [key: string]: unknown;
}

/** How a role is started beyond what the helper says itself. */
export interface RoleOptions extends Pick<SpawnOptions, "name" | "cwd"> {
  /** The top of another checkout to start it from; default this one's. */
  readonly project?: URL | undefined;
  /** Further flags; they replace those of the helper. */
  readonly args?: readonly string[];
  /** Environment variables; a role inherits nothing but what Deno needs. */
  readonly env?: Readonly<Record<string, string>>;
  /** A command that runs it, with its arguments, such as `prlimit --nofile=64`. */
  readonly through?: readonly string[];
  /** Ends the wait for readiness. */
  readonly signal?: AbortSignal | undefined;
}

/** A role that runs. */
export class Role implements AsyncDisposable {
  /** Its process. */
  readonly process: Process;
  #statusAddress: Promise<string> | undefined;

  /** Takes over the process of a role that logs JSON lines. */
  constructor(process: Process) {
    this.process = process;
  }

  /**
   * `host:port` of `/health`, `/ready` and `/metrics`, from its log. Looked up
   * once: of a log that grows long the first lines are forgotten.
   */
  statusAddress(options: LineOptions = {}): Promise<string> {
    return this.#statusAddress ??= this.entry(
      ({ msg }) => msg === "status listening",
      options,
    ).then(({ address }) => String(address));
  }

  /** The HTTP status and text of a path of its status port, e.g. `/ready`. */
  async status(
    path: string,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const address = await this.statusAddress();
    using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const response = await fetch(`http://${address}${path}`, { client });
    return { status: response.status, text: await response.text() };
  }

  /** Its log entries so far, or those after `mark`. */
  entries(mark: number = 0): LogEntry[] {
    return this.process.linesSince(mark).flatMap((line) =>
      parseEntry(line) ?? []
    );
  }

  /** The first log entry for which `predicate` holds, now or later. */
  async entry(
    predicate: (entry: LogEntry) => boolean,
    options: LineOptions = {},
  ): Promise<LogEntry> {
    const line = await this.process.waitForLine((line) => {
      const entry = parseEntry(line);
      return entry !== undefined && predicate(entry);
    }, options);
    const entry = parseEntry(line);
    if (!entry) throw new Error(`Not a log entry: ${line}`);
    return entry;
  }

  /** Kills it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

/** A client role that listens. */
export class ClientRole extends Role {
  /** `host:port` it listens on. */
  readonly address: string;

  /** Takes over the process; `address` is where it listens. */
  constructor(process: Process, address: string) {
    super(process);
    this.address = address;
  }

  /** Host and port it listens on. */
  get endpoint(): { readonly hostname: string; readonly port: number } {
    return parseAddress(this.address);
  }
}

/** Which role: the name of its script and of its task. */
export type RoleName = "server" | "client";

/** Starts a role with exactly these flags; does not wait for it. */
export async function spawnRole(
  role: RoleName,
  options: RoleOptions = {},
): Promise<Process> {
  const { name = role, args = [], project = PROJECT, cwd } = options;
  const env = { ...await baseEnvironment(), ...options.env };
  const command = [
    ...options.through ?? [],
    Deno.execPath(),
    ...await runArguments(role, env, project),
    ...args,
  ];
  return spawn(command[0] ?? "", {
    name,
    args: command.slice(1),
    env,
    clearEnv: true,
    cwd: cwd ?? project.pathname,
  });
}

/**
 * Starts a role that logs JSON, and waits only until its status port listens:
 * for roles that are not ready, or never will be.
 */
export async function launchRole(
  role: RoleName,
  natsUrl: string,
  options: RoleOptions = {},
): Promise<Role> {
  const ours = {
    "--nats-url": natsUrl,
    ...(role === "client" && { "--status-addr": "127.0.0.1:0" }),
  };
  return await startRole(role, { ours, ...options }, async (role) => {
    await role.statusAddress(options);
    return role;
  });
}

/**
 * Starts `server.ts` with its status port on one the OS chooses; ready when this
 * resolves. Without `natsUrl` it is told in another way where NATS is.
 */
export async function startServer(
  natsUrl: string | undefined,
  options: RoleOptions = {},
): Promise<Role> {
  const ours = natsUrl === undefined ? {} : { "--nats-url": natsUrl };
  return await startRole("server", { ours, ...options }, async (role) => {
    await role.statusAddress(options);
    await role.entry(({ msg }) => msg === "ready", options);
    return role;
  });
}

/** Starts `client.ts` on a port the OS chooses; it listens when this resolves. `natsUrl` as there. */
export async function startClient(
  natsUrl: string | undefined,
  options: RoleOptions & { readonly target: string },
): Promise<ClientRole> {
  const ours = {
    ...(natsUrl !== undefined && { "--nats-url": natsUrl }),
    "--remote-addr": options.target,
  };
  return await startRole("client", { ours, ...options }, async (role) => {
    const { address } = await role.entry(
      ({ msg }) => msg === "listening",
      options,
    );
    return new ClientRole(role.process, String(address));
  });
}

/** Starts a role that logs JSON and listens where the OS says, and waits for readiness. */
async function startRole<T extends Role>(
  name: RoleName,
  options: RoleOptions & { readonly ours: Readonly<Record<string, string>> },
  ready: (role: Role) => Promise<T>,
): Promise<T> {
  const { ours, args = [] } = options;
  const flags = {
    ...ours,
    "--listen-addr": "127.0.0.1:0",
    "--log-format": "json",
  };
  const kept = Object.entries(flags).filter(([flag]) =>
    !args.some((word) => word === flag || word.startsWith(`${flag}=`))
  );
  const process = await spawnRole(name, {
    ...options,
    args: [...kept.flat(), ...args],
  });
  try {
    return await ready(new Role(process));
  } catch (error) {
    await process.kill();
    throw error;
  }
}

/** A server and a client on one broker. */
export interface Tunnel extends AsyncDisposable {
  /** The broker's URL. */
  readonly natsUrl: string;
  /** The target that echoes, unless another was given. */
  readonly echo: Target;
  /** Flags that put another role on the same subjects. */
  readonly subjects: readonly string[];
  /** The process that dials the target. */
  readonly server: Role;
  /** The process that listens. */
  readonly client: ClientRole;
  /** `host:port` to connect to. */
  readonly address: string;
  /** The same, in parts. */
  readonly endpoint: { readonly hostname: string; readonly port: number };
}

/** What a tunnel is made of. */
export interface TunnelOptions {
  /** The broker; by default one of its own, or that of the environment. */
  readonly nats?: Pick<Broker, "url" | "shared">;
  /** `host:port` the server dials; by default a target of its own that echoes. */
  readonly target?: string;
  /** Broker URL of the server role, when not that of `nats` (a fault relay's). */
  readonly serverNats?: string;
  /** Broker URL of the client role, when not that of `nats`. */
  readonly clientNats?: string;
  /** Further flags of the server. */
  readonly serverArgs?: readonly string[];
  /** Further flags of the client. */
  readonly clientArgs?: readonly string[];
  /** Environment variables of both. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** The top of another checkout to start both from; default this one's. */
  readonly project?: URL | undefined;
  /** Ends the wait for readiness. */
  readonly signal?: AbortSignal | undefined;
}

/** Starts both roles; connections to `address` reach `target` when this resolves. */
export async function startTunnel(
  options: TunnelOptions = {},
): Promise<Tunnel> {
  const { serverArgs = [], clientArgs = [], env = {} } = options;
  const { project, signal } = options;
  await using cleanup = new AsyncDisposableStack();
  const echo = cleanup.use(startEcho());
  const nats = options.nats ?? cleanup.use(await startBroker({ signal }));
  const subjects = nats.shared ? ownSubjects() : [];
  const server = cleanup.use(
    await startServer(options.serverNats ?? nats.url, {
      project,
      env,
      signal,
      args: [...subjects, ...serverArgs],
    }),
  );
  const client = cleanup.use(
    await startClient(options.clientNats ?? nats.url, {
      project,
      env,
      signal,
      target: options.target ?? echo.address,
      args: [...subjects, ...clientArgs],
    }),
  );
  const { address, endpoint } = client;
  return owned(cleanup, {
    echo,
    natsUrl: nats.url,
    subjects,
    server,
    client,
    address,
    endpoint,
  });
}

/** Flags that keep a pair of roles apart from others on the same broker. */
export function ownSubjects(): readonly string[] {
  const id = crypto.randomUUID().slice(0, 8);
  // deno-fmt-ignore
  return [
    "--request-subject", `test.${id}.request`, "--data-prefix", `test.${id}.data`,
  ];
}

function parseEntry(line: string): LogEntry | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line);
  } catch (error) {
    // Not ours: a panic of the runtime, say. Failing tests show all lines.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** How a task says which directories a role may read, in the words of its shell. */
const HOME_IN_TASK = /"\.,\$\(cd "\$HOME"[^)]*\)"/g;

/**
 * The arguments of `deno` that start a role: those of its task in deno.json,
 * so that tests run with the permissions users are told to give; the home in
 * them is that of `env`, or where there is none the working directory, as the
 * task's shell finds it.
 *
 * @throws {Error} when the task is not a plain `deno run ... <role>.ts`.
 */
export async function runArguments(
  role: RoleName,
  env: Readonly<Record<string, string>>,
  project: URL = PROJECT,
): Promise<readonly string[]> {
  const config = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", project)),
  );
  const task: unknown = config.tasks?.[role];
  const words = typeof task === "string"
    ? task.replaceAll(HOME_IN_TASK, ".,$$HOME").split(/\s+/)
    : [];
  const script = words.indexOf(`${role}.ts`);
  if (
    words[0] !== "deno" || words[1] !== "run" || script !== words.length - 1
  ) {
    throw new Error(
      `Task "${role}" of deno.json is not "deno run ... ${role}.ts" but "${task}"`,
    );
  }
  return [
    "run",
    ...words.slice(2, script).map((word) =>
      word.replace("$HOME", () => env.HOME || ".")
    ),
    new URL(`${role}.ts`, project).pathname,
  ];
}

let denoDir: Promise<string> | undefined;

/** What Deno itself needs of the environment; the rest of ours could change what a role does. */
export async function baseEnvironment(): Promise<Record<string, string>> {
  denoDir ??= findDenoDir();
  return {
    PATH: Deno.env.get("PATH") ?? "",
    HOME: Deno.env.get("HOME") ?? "",
    DENO_DIR: await denoDir,
    DENO_NO_UPDATE_CHECK: "1",
    NO_COLOR: "1",
  };
}

/** Where Deno keeps its cache: a role with another HOME still finds its modules. */
async function findDenoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json"],
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}
