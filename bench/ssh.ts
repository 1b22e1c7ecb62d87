/**
 * `ssh -L` to an sshd of our own: keys and configuration made for the run in
 * a temporary directory, on ports that are free, as the current user.
 *
 * @module
 */

import {
  type Endpoint,
  formatAddress,
  freePort,
} from "../integration_tests/support/addresses.ts";
import {
  type Process,
  run,
  spawn,
} from "../integration_tests/support/processes.ts";
import type { Tools } from "./tools.ts";

/** Tries before giving up: each fails only if a port was taken in between. */
const TRIES = 5;

/** How long sshd or ssh may take to be ready, in ms. */
const READY_LIMIT = 15_000;

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
  static async make(tools: Tools): Promise<SshKit | undefined> {
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
  async startSshd(signal?: AbortSignal): Promise<Sshd> {
    const file = (name: string) => `${this.#directory}/${name}`;
    for (let attempt = 1;; attempt++) {
      const port = freePort();
      const config = file(`sshd_${port}.conf`);
      await Deno.writeTextFile(
        config,
        `Port ${port}
ListenAddress 127.0.0.1
HostKey ${file("host_key")}
AuthorizedKeysFile ${file("authorized_keys")}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding local
UseDNS no
LogLevel INFO
`,
      );
      const process = spawn(this.#sshd, {
        name: "sshd",
        args: ["-D", "-e", "-f", config],
      });
      if (await listens(process, /Server listening on/, signal)) {
        return { process, endpoint: { hostname: "127.0.0.1", port } };
      }
      await process.kill();
      if (attempt === TRIES) throw new Error(`sshd: ${process.tail(3)}`);
    }
  }

  /**
   * Starts `ssh -N -L`; the forwarding listens when this resolves.
   *
   * @param server where sshd, or a relay to it, listens.
   */
  async forward(
    server: Endpoint,
    options: { readonly target: Endpoint; readonly signal?: AbortSignal },
  ): Promise<Sshd> {
    for (let attempt = 1;; attempt++) {
      const port = freePort();
      const process = spawn(this.#ssh, {
        name: "ssh",
        args: [
          ...this.#clientArguments(server),
          "-o",
          "PermitLocalCommand=yes",
          // Runs after the forwardings are set up; -v would say so too, and
          // would then cost a line of log for each connection.
          "-o",
          `LocalCommand=echo ${READY}`,
          "-o",
          "ExitOnForwardFailure=yes",
          "-N",
          "-L",
          `127.0.0.1:${port}:${formatAddress(options.target)}`,
          server.hostname,
        ],
      });
      if (await listens(process, new RegExp(READY), options.signal)) {
        return { process, endpoint: { hostname: "127.0.0.1", port } };
      }
      await process.kill();
      if (attempt === TRIES) throw new Error(`ssh: ${process.tail(3)}`);
    }
  }

  /** The cipher that ssh and sshd agree on, as `ssh -v` names it. */
  async cipher(): Promise<string> {
    const sshd = await this.startSshd();
    await using _sshd = sshd.process;
    const { output } = await run(this.#ssh, {
      args: [...this.#clientArguments(sshd.endpoint), "-v", "127.0.0.1", ":"],
      signal: AbortSignal.timeout(READY_LIMIT),
    });
    return /server->client cipher: (\S+)/.exec(output)?.[1] ?? "unknown cipher";
  }

  /** Removes the keys. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }

  #clientArguments(server: Endpoint): string[] {
    // deno-fmt-ignore
    return [
      "-F", "none", "-i", `${this.#directory}/user_key`, "-p", String(server.port),
      "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
      "-o", "StrictHostKeyChecking=yes", "-o", `HostKeyAlias=${HOST_ALIAS}`,
      "-o", `UserKnownHostsFile=${this.#directory}/known_hosts`,
    ];
  }
}

/** A running ssh or sshd. */
export interface Sshd {
  /** Its process. */
  readonly process: Process;
  /** Where it listens. */
  readonly endpoint: Endpoint;
}

/** Whether the process says that it listens; false when it ends instead. */
async function listens(
  process: Process,
  line: RegExp,
  signal?: AbortSignal,
): Promise<boolean> {
  const limit = AbortSignal.timeout(READY_LIMIT);
  try {
    await process.waitForLine((text) => line.test(text), {
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    return true;
  } catch {
    // Ended or silent: the caller shows its last lines, or tries another port.
    signal?.throwIfAborted();
    return false;
  }
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
