/**
 * From configuration to a connection to NATS: reads the files that hold
 * credentials and certificates before each attempt, and reports what happens on
 * the way.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Credentials, Secret } from "../base/credentials.ts";
import type { NatsConfig } from "../config/config.ts";
import { readTextFile } from "../config/sources.ts";
import { messageOf, UsageError } from "../base/errors.ts";
import { connectNats, type NatsBus } from "../nats/connection.ts";
import type { NatsOptions, NatsTls } from "../nats/options.ts";
import { quote } from "../base/text.ts";

/**
 * Connects as `config` says.
 *
 * @throws {UsageError} when a file it names cannot be read or used.
 * @throws {RunError} when the first connection does not come about in time.
 */
export async function openNats(
  config: NatsConfig,
  options: {
    /** What the broker's monitoring calls this process. */
    readonly name: string;
    readonly signal: AbortSignal;
    readonly onSubscriptionError: (subject: string, reason: string) => void;
  },
): Promise<NatsBus> {
  const log = getLogger(["sproxy", "nats"]);
  const { servers, connectTimeout, pingInterval } = config;
  const refresh = (): ReturnType<typeof readLogin> => readLogin(config);
  const bus = await connectNats({
    ...options,
    servers,
    ...refresh(),
    refresh,
    connectTimeout,
    pingInterval,
    onAttemptFailed: ({ server, reason, failures }) =>
      log.warn("cannot connect to NATS", { server, why: reason, failures }),
  });
  log.info("connected to NATS", { server: bus.server });
  bus.onLink((event) => {
    switch (event.type) {
      case "up":
        log.info("connected to NATS again", { server: event.server });
        break;
      case "down":
        log.warn("connection to NATS lost", { why: event.reason });
        break;
      case "closed":
        log.debug("connection to NATS closed", { why: event.reason ?? "" });
    }
  });
  return bus;
}

/** How to log in, as the files say now. */
function readLogin(
  { auth, tls }: NatsConfig,
): Pick<NatsOptions, "credentials" | "tls"> {
  const credentials = readCredentials(auth);
  return tls.required ? { credentials, tls: readTls(tls) } : { credentials };
}

function readCredentials(auth: NatsConfig["auth"]): Credentials {
  if (!("file" in auth)) return auth;
  const { kind, file } = auth;
  return {
    kind,
    file: new Secret(readFile(file, `nats-${kind}`)),
    path: file,
  };
}

function readTls({ ca, cert, key, first }: NatsConfig["tls"]): NatsTls {
  return {
    first,
    ...(ca !== undefined && { ca: readFile(ca, "nats-tls-ca") }),
    ...(cert !== undefined && key !== undefined && {
      identity: {
        cert: readFile(cert, "nats-tls-cert"),
        key: new Secret(readFile(key, "nats-tls-key")),
      },
    }),
  };
}

/** What was read of pipes, as a shell makes them of `<(command)`: they can be read once. */
const PIPES = new Map<string, string>();

/** The text of a file, whatever system it was written on. */
function readFile(path: string, flag: string): string {
  try {
    const kept = PIPES.get(path);
    if (kept !== undefined) return kept;
    const text = readTextFile(path).replace(/^\uFEFF/, "")
      .replaceAll(/\r\n?/g, "\n");
    if (!Deno.statSync(path).isFile) PIPES.set(path, text);
    return text;
  } catch (cause) {
    throw new UsageError(
      `Cannot read the file of --${flag}, ${quote(path)}: ${messageOf(cause)}`,
      { cause },
    );
  }
}
