/**
 * Forwards with `ssh -L` through an sshd of our own: keys and configuration
 * made for the run in a temporary directory, on ports that are free, as the
 * current user.
 *
 * @module
 */

import {
  type Endpoint,
  formatAddress,
} from "../integration_tests/support/addresses.ts";
import {
  type Process,
  run,
  spawnOnFreePort,
} from "../integration_tests/support/processes.ts";

/** How long a login that only looks at the cipher may take, in ms. */
const LOGIN_LIMIT = 15_000;

/** Where sshd, started as root, insists on an empty directory. */
const PRIVSEP_DIRECTORY = "/run/sshd";

/** The name under which our host key is known, whatever the port. */
const HOST_ALIAS = "bench-sshd";

/** What `ssh` prints once its forwardings listen. */
const READY = "forwarding-ready";

/** Keys and programs for any number of forwardings. */
export class SshKit implements AsyncDisposable {
  readonly #directory: string;
  readonly #ssh: string;
  readonly #sshd: string;
  readonly #cleanup: AsyncDisposableStack;

  private constructor(
    directory: string,
    programs: { readonly ssh: string; readonly sshd: string },
    cleanup: AsyncDisposableStack,
  ) {
    this.#directory = directory;
    this.#ssh = programs.ssh;
    this.#sshd = programs.sshd;
    this.#cleanup = cleanup;
  }

  /**
   * Makes the keys.
   *
   * @returns undefined when ssh, sshd or ssh-keygen is missing.
   */
  static async make(
    tools: ReadonlyMap<string, string>,
  ): Promise<SshKit | undefined> {
    const ssh = tools.get("ssh");
    const sshd = tools.get("sshd");
    const keygen = tools.get("ssh-keygen");
    if (ssh === undefined || sshd === undefined || keygen === undefined) {
      return undefined;
    }
    await using cleanup = new AsyncDisposableStack();
    const directory = await Deno.makeTempDir({ prefix: "bench-ssh-" });
    cleanup.defer(() => Deno.remove(directory, { recursive: true }));
    if (await makePrivsepDirectory()) {
      cleanup.defer(() => Deno.remove(PRIVSEP_DIRECTORY));
    }
    for (const name of ["host_key", "user_key"]) {
      const file = `${directory}/${name}`;
      const { status, output } = await run(keygen, {
        args: ["-q", "-t", "ed25519", "-N", "", "-f", file],
      });
      if (!status.success) throw new Error(`ssh-keygen failed: ${output}`);
    }
    const read = (name: string) => Deno.readTextFile(`${directory}/${name}`);
    await Deno.writeTextFile(
      `${directory}/known_hosts`,
      `${HOST_ALIAS} ${await read("host_key.pub")}`,
    );
    await Deno.writeTextFile(
      `${directory}/authorized_keys`,
      await read("user_key.pub"),
    );
    return new SshKit(directory, { ssh, sshd }, cleanup.move());
  }

  /** Starts an sshd; it listens when this resolves. */
  async startSshd(options: SshPlace = {}): Promise<Sshd> {
    const { hostname = "127.0.0.1", through = [], signal } = options;
    const file = (name: string) => `${this.#directory}/${name}`;
    await Deno.writeTextFile(
      file("sshd.conf"),
      `ListenAddress ${hostname}
HostKey ${file("host_key")}
AuthorizedKeysFile ${file("authorized_keys")}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding local
Subsystem sftp internal-sftp
UseDNS no
LogLevel INFO
`,
    );
    const [first = "", ...words] = [...through, this.#sshd];
    const { process, endpoint: { port } } = await spawnOnFreePort(first, {
      name: "sshd",
      // deno-fmt-ignore
      args: (port) => [
        ...words, "-D", "-e", "-f", file("sshd.conf"), "-p", `${port}`,
      ],
      ready: /Server listening on/,
      signal,
    });
    return { process, endpoint: { hostname, port } };
  }

  /**
   * Starts `ssh -N -L`; the forwarding listens when this resolves.
   *
   * @param server where sshd, or a relay to it, listens.
   */
  async forward(
    server: Endpoint,
    options: Omit<SshPlace, "hostname"> & { readonly target: Endpoint },
  ): Promise<Sshd> {
    const target = formatAddress(options.target);
    const [first = "", ...words] = [...options.through ?? [], this.#ssh];
    return await spawnOnFreePort(first, {
      name: "ssh",
      // LocalCommand runs after the forwardings are set up; -v would say so
      // too, and would then cost a line of log for each connection.
      // deno-fmt-ignore
      args: (port) => [
        ...words, ...this.clientArguments(server),
        "-o", "PermitLocalCommand=yes", "-o", `LocalCommand=echo ${READY}`,
        "-o", "ExitOnForwardFailure=yes",
        "-N", "-L", `127.0.0.1:${port}:${target}`, server.hostname,
      ],
      ready: new RegExp(READY),
      signal: options.signal,
    });
  }

  /** The cipher that ssh and sshd agree on, as `ssh -v` names it. */
  async cipher(): Promise<string> {
    const sshd = await this.startSshd();
    await using _sshd = sshd.process;
    const { output } = await run(this.#ssh, {
      args: [...this.clientArguments(sshd.endpoint), "-v", "127.0.0.1", ":"],
      signal: AbortSignal.timeout(LOGIN_LIMIT),
    });
    return /server->client cipher: (\S+)/.exec(output)?.[1] ?? "unknown cipher";
  }

  /** Removes the keys. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }

  /** What `ssh` is told to log in at `server`. */
  clientArguments(server: Endpoint): string[] {
    // deno-fmt-ignore
    return [
      "-F", "none", "-i", `${this.#directory}/user_key`, "-p", String(server.port),
      "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
      "-o", "StrictHostKeyChecking=yes", "-o", `HostKeyAlias=${HOST_ALIAS}`,
      "-o", `UserKnownHostsFile=${this.#directory}/known_hosts`,
    ];
  }
}

/** Where an ssh or an sshd runs. */
export interface SshPlace {
  /** What runs it there: a command and its arguments; default nothing. */
  readonly through?: readonly string[];
  /** The address on which an sshd listens; default `127.0.0.1`. */
  readonly hostname?: string;
  /** Ends the wait for readiness. */
  readonly signal?: AbortSignal | undefined;
}

/** A running ssh or sshd. */
export interface Sshd {
  /** Its process. */
  readonly process: Process;
  /** Where it listens. */
  readonly endpoint: Endpoint;
}

/** Makes the directory sshd insists on; false when it is there or nobody needs it. */
async function makePrivsepDirectory(): Promise<boolean> {
  if (Deno.uid() !== 0) return false;
  try {
    await Deno.mkdir(PRIVSEP_DIRECTORY, { mode: 0o755 });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw error;
  }
}
