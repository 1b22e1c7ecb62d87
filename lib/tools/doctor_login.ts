/**
 * The step of `doctor` that logs in, and says with what kind of login.
 *
 * @module
 */
import { untilAborted } from "../base/abort.ts";
import { type BrokerAddress, formatBroker } from "../base/broker_address.ts";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { connectNats, type NatsBus } from "../nats/connection.ts";
import { publicNkey } from "../nats/nkey.ts";
import type { NatsOptions } from "../nats/options.ts";
import { lookUp } from "../net/dial.ts";
import { connectionName } from "../process/connect.ts";
import { inMs, type Surgery } from "./doctor_context.ts";
import { remedyFor } from "./remedies.ts";

/** Logs in; undefined where the broker does not let us. */
export async function checkLogin(
  address: BrokerAddress,
  { report, timeout, call, readLogin }: Surgery,
): Promise<NatsBus | undefined> {
  const { config, role, word, signal } = call;
  const { nats } = config;
  const about = formatBroker(address);
  const step = "login";
  if (readLogin === undefined) {
    const found = "its files cannot be used, as said above";
    report.add({ step, about, state: "skipped", found });
    return undefined;
  }
  const login = readLogin();
  const failed = new AbortController();
  let why: string | undefined;
  const began = performance.now();
  try {
    const bus = await connectNats({
      ...login,
      servers: [address],
      ignoreDiscovered: true,
      proxy: nats.proxy,
      resolve: (host, signal) => untilAborted(lookUp(host), signal),
      name: nats.name ?? connectionName(role, word),
      connectTimeout: timeout,
      dialTimeout: timeout,
      pingInterval: nats.pingInterval,
      signal: AbortSignal.any([signal, failed.signal]),
      onAttemptFailed: ({ reason }) => {
        why ??= reason;
        failed.abort(new RunError(reason));
      },
    });
    report.add({
      ...{ step, about, state: "ok" },
      found: `let in with ${describeLogin(login)} (${
        inMs(performance.now() - began)
      })`,
    });
    return bus;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof RunError || error instanceof UsageError)) {
      throw error;
    }
    const reason = why ?? messageOf(error);
    const found = `${reason} (tried with ${describeLogin(login)})`;
    const todo = loginRemedy(login, reason);
    report.add({ step, about, state: "fail", found, todo });
    return undefined;
  }
}

/** What to do about a login that failed for this reason. */
function loginRemedy(
  { credentials }: Pick<NatsOptions, "credentials">,
  reason: string,
): string | undefined {
  const isNobody = credentials === undefined || credentials.kind === "none";
  return isNobody && /authorization/i.test(reason)
    ? "it wants a login: give --nats-creds, --nats-nkey, or --nats-user with NATS_PASSWORD"
    : remedyFor(reason);
}

/** Which kind of login, and as whom; nothing of it that is secret. */
function describeLogin(
  { credentials, tls }: Pick<NatsOptions, "credentials" | "tls">,
): string {
  const certificate = tls?.identity === undefined
    ? ""
    : ", and a certificate (--nats-tls-cert)";
  return describeCredentials(credentials) + certificate;
}

function describeCredentials(
  credentials: NatsOptions["credentials"] = { kind: "none" },
): string {
  switch (credentials.kind) {
    case "none":
      return "no login";
    case "password":
      return `the user ${quote(credentials.user)} and a password`;
    case "token":
      return "a token";
    case "jwt":
      return credentials.seed === undefined
        ? "a bearer's JWT"
        : "a JWT and its seed";
    case "nkey":
      return `the nkey ${publicNkey(credentials.file.reveal()) ?? ""}`.trim();
    case "creds":
      return credentials.path === undefined
        ? "credentials"
        : `the credentials in ${quote(credentials.path)}`;
  }
}
