/**
 * The step of `doctor` that logs in, and says with what kind of login.
 *
 * @module
 */
import { untilAborted } from "../base/abort.ts";
import { type BrokerAddress, formatBroker } from "../base/broker_address.ts";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import { connectNats, type NatsBus } from "../nats/connection.ts";
import { loginText } from "../nats/hints.ts";
import { lookUp } from "../net/dial.ts";
import { connectionName } from "../process/connect.ts";
import { inMs, type Surgery } from "./doctor_context.ts";

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
  let first: { reason: string; hint: string | undefined } | undefined;
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
      onAttemptFailed: ({ reason, hint }) => {
        first ??= { reason, hint };
        failed.abort(new RunError(reason));
      },
    });
    report.add({
      ...{ step, about, state: "ok" },
      found: `let in with ${loginText(login)} (${
        inMs(performance.now() - began)
      })`,
    });
    return bus;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof RunError || error instanceof UsageError)) {
      throw error;
    }
    const { reason, hint: todo } = first ??
      { reason: messageOf(error), hint: undefined };
    const found = `${reason} (tried with ${loginText(login)})`;
    report.add({ step, about, state: "fail", found, todo });
    return undefined;
  }
}
