/**
 * From configuration to a connection to NATS: reads the files that hold
 * credentials and certificates before each attempt, and reports what happens on the way.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { formatAddress } from "../base/address.ts";
import type { NatsConfig } from "../config/config.ts";
import { systemSources } from "../config/sources.ts";
import { messageOf, UsageError } from "../base/errors.ts";
import { connectNats, type NatsBus } from "../nats/connection.ts";
import type { NatsCredentials, NatsOptions } from "../nats/options.ts";
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
    servers: servers.map((server) =>
      `${server.tls ? "tls" : "nats"}://${formatAddress(server)}`
    ),
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
  if (!tls.required) return { credentials };
  const pem = (["ca", "cert", "key"] as const).flatMap((name) => {
    const path = tls[name];
    return path === undefined
      ? []
      : [[name, readFile(path, `nats-tls-${name}`)]];
  });
  return {
    credentials,
    tls: { ...Object.fromEntries(pem), first: tls.first },
  };
}

function readCredentials(auth: NatsConfig["auth"]): NatsCredentials {
  switch (auth.kind) {
    case "none":
      return auth;
    case "password":
      return { ...auth, password: auth.password.reveal() };
    case "token":
      return { kind: "token", token: auth.token.reveal() };
    case "nkey":
      return { kind: "nkey", seed: readFile(auth.path, "nats-nkey") };
    case "creds":
      return { kind: "creds", text: readFile(auth.path, "nats-creds") };
  }
}

/** The text of a file, whatever system it was written on. */
function readFile(path: string, flag: string): string {
  const refuse = (why: string, cause?: unknown): UsageError =>
    new UsageError(
      `Cannot read the file of --${flag}, ${quote(path)}: ${why}`,
      { cause },
    );
  let text: string | undefined;
  try {
    text = systemSources().readTextFile(path);
  } catch (cause) {
    throw refuse(messageOf(cause), cause);
  }
  if (text === undefined) throw refuse("there is no such file");
  return text.replace(/^\uFEFF/, "").replaceAll(/\r\n?/g, "\n");
}
