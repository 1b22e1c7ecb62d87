/**
 * Opens the ways to a target at the far end of a {@linkcode Lab}: each with its
 * near end where the client is, and its far end where the target is.
 *
 * @module
 */

import { formatAddress } from "../../integration_tests/support/addresses.ts";
import {
  type Process,
  spawn,
} from "../../integration_tests/support/processes.ts";
import {
  startClient,
  startServer,
} from "../../integration_tests/support/roles.ts";
import { requireTool } from "../../tools/find_or_install.ts";
import type { Way, WayOptions } from "../ways.ts";
import type { Lab } from "./lab.ts";

/** Ways that can be opened in a lab. */
export const LAB_WAYS = ["ssh", "tunnel", "other"] as const;

/** The port of the broker: nobody else is there. */
const BROKER_PORT = 4222;

/** How a way is built in a lab; the target is an address where the server is. */
export type LabWayOptions =
  & Pick<
    WayOptions,
    "target" | "roleArgs" | "serverArgs" | "ssh" | "against" | "signal"
  >
  & {
    /** Where it is built. */
    readonly lab: Lab;
  };

/**
 * Opens a way; it is ready when this resolves.
 *
 * @throws {Error} when a process does not start.
 */
export async function openLabWay(
  name: (typeof LAB_WAYS)[number],
  options: LabWayOptions,
): Promise<Way> {
  await using cleanup = new AsyncDisposableStack();
  const parts = name === "ssh"
    ? await openSsh(options, cleanup)
    : await openTunnel(name, options, cleanup);
  const owned = cleanup.move();
  return { name, ...parts, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** What is to be known of an open way. */
type Opened = Pick<Way, "endpoint" | "processes">;

async function openSsh(
  { lab, ssh: kit, target, signal }: LabWayOptions,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  if (!kit) throw new Error("ssh, sshd or ssh-keygen is missing");
  const sshd = await kit.startSshd({
    hostname: lab.addressOf("server"),
    through: lab.through("server"),
    signal,
  });
  cleanup.use(sshd.process);
  const ssh = await kit.forward(sshd.endpoint, {
    target,
    through: lab.through("client"),
    signal,
  });
  cleanup.use(ssh.process);
  return {
    endpoint: ssh.endpoint,
    processes: { ssh: ssh.process, sshd: sshd.process },
  };
}

async function openTunnel(
  name: "tunnel" | "other",
  options: LabWayOptions,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  const { lab, target, roleArgs = [], serverArgs = [], signal } = options;
  const project = name === "other" ? options.against : undefined;
  const nats = cleanup.use(await startBroker(lab, signal));
  const url = `nats://${lab.addressOf("broker")}:${BROKER_PORT}`;
  const server = cleanup.use(
    await startServer(url, {
      project,
      args: [...roleArgs, ...serverArgs],
      through: lab.through("server"),
      signal,
    }),
  );
  const client = cleanup.use(
    await startClient(url, {
      project,
      args: roleArgs,
      target: formatAddress(target),
      through: lab.through("client"),
      signal,
    }),
  );
  return {
    endpoint: client.endpoint,
    processes: {
      client: client.process,
      "nats-server": nats,
      server: server.process,
    },
  };
}

/** Starts a nats-server where the broker is; it takes connections when this resolves. */
export async function startBroker(
  lab: Lab,
  signal?: AbortSignal,
): Promise<Process> {
  const [first = "", ...words] = lab.through("broker");
  const process = spawn(first, {
    name: "nats-server",
    args: [
      ...[...words, await requireTool("nats-server")],
      ...["-a", lab.addressOf("broker"), "-p", String(BROKER_PORT)],
    ],
  });
  try {
    await process.waitForLine(
      (line) => line.includes("Server is ready"),
      signal ? { signal } : {},
    );
    return process;
  } catch (error) {
    await process.kill();
    throw error;
  }
}
