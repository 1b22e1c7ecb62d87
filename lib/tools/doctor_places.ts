/**
 * Steps of `doctor` at the sockets of this machine: what a server dials, where
 * a client listens, and whether the process runs already.
 *
 * @module
 */
import { type Address, formatAddress } from "../base/address.ts";
import { untilAborted } from "../base/abort.ts";
import { messageOf, RunError, TunnelError } from "../base/errors.ts";
import { formatPlace } from "../base/place.ts";
import { formatTarget } from "../base/target.ts";
import type { ClientConfig, ServerConfig } from "../config/config.ts";
import { holdAddress } from "../net/listen.ts";
import { lookUp } from "../net/dial.ts";
import { checkListenable } from "../process/ways_in.ts";
import { tryService } from "../process/trial.ts";
import { runtimeHint } from "../nats/hints.ts";
import { codeRemedy } from "./code_remedies.ts";
import { inMs, type Surgery } from "./doctor_context.ts";

/** With more places than that one line tells of all that are free: a range of ports has hundreds. */
const MOST_PLACES = 8;

/** Most names of rules that are looked up at once. */
const MOST_NAMES = 64;

/** The targets of a server's services, each dialled. */
export async function checkServices(
  config: ServerConfig,
  { report, timeout, call: { signal } }: Surgery,
): Promise<void> {
  const { services, dialTimeout } = config.server;
  const how = { timeout: Math.min(timeout, dialTimeout), signal };
  await Promise.all(services.map(async (service) => {
    const about = `${service.name} (${formatTarget(service.target)})`;
    const step = "service";
    const began = performance.now();
    try {
      const remote = await tryService(config, service, how);
      const ms = inMs(performance.now() - began);
      report.add({
        ...{ step, about, state: "ok" },
        found: `${remote} takes connections (${ms})`,
      });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TunnelError)) throw error;
      report.add({
        ...{ step, about, state: "fail" },
        found: `${error.text} (${error.code})`,
        todo: dialRemedy(error),
      });
    }
  }));
}

/** What to do about a target that this server itself does not reach. */
function dialRemedy(error: TunnelError): string {
  return error.code === "denied"
    ? "let it be dialled: --deny-target goes before all else"
    : codeRemedy(error);
}

/** The names in a server's rules, each looked up. */
export async function checkRules(
  config: ServerConfig,
  { report, timeout, call: { signal } }: Surgery,
): Promise<void> {
  const rules = [
    ...config.server.allowTarget,
    ...config.clients.flatMap(({ allow }) => allow ?? []),
  ];
  const names = new Set(
    rules.flatMap(({ host }) => host.kind === "name" ? host.name : []),
  );
  await Promise.all(
    [...names].slice(0, MOST_NAMES).map(async (name) => {
      const step = "allowed target";
      const late = AbortSignal.any([signal, AbortSignal.timeout(timeout)]);
      try {
        const found = await untilAborted(lookUp(name), late);
        report.add({
          ...{ step, about: name, state: "ok" },
          found: [...new Set(found)].join(", "),
        });
      } catch (error) {
        signal.throwIfAborted();
        const found = error instanceof TunnelError
          ? error.text.replace(/^Resolve \S+: /, "")
          : `the name server gave no answer within ${timeout} ms`;
        report.add({
          ...{ step, about: name, state: "warn", found },
          todo:
            "mend the name in the rule, or look it up on this machine (getent hosts NAME)",
        });
      }
    }),
  );
}

/** Where a client listens: free, or taken. */
export async function checkListening(
  config: ClientConfig,
  { report }: Surgery,
  runs: boolean,
): Promise<void> {
  const { forwards } = config.client;
  const step = "listening";
  const todo =
    "if that is a client that runs already, all is well (with --status-addr it says so itself)";
  let free = 0;
  for (const way of forwards) {
    const about = formatPlace(way.listen);
    try {
      await checkListenable([way]);
      free++;
      if (forwards.length > MOST_PLACES) continue;
      report.add({ step, about, state: "ok", found: "the place is free" });
    } catch (error) {
      if (!(error instanceof RunError)) throw error;
      const found = messageOf(error);
      report.add(
        runs
          ? { step, about, state: "ok", found: "taken, as a client runs here" }
          : {
            ...{ step, about, state: "warn", found },
            todo: runtimeHint(found) ?? todo,
          },
      );
    }
  }
  if (free > 0 && forwards.length > MOST_PLACES) {
    report.add({ step, state: "ok", found: `${free} places are free` });
  }
}

/** Whether a process of this configuration runs already, and what it says of itself; true where one does. */
export async function checkStatus(
  address: Address | undefined,
  { report, timeout, call: { role, signal } }: Surgery,
): Promise<boolean> {
  const step = "status port";
  if (address === undefined) {
    report.add({ step, state: "skipped", found: "none is configured" });
    return false;
  }
  const about = formatAddress(address);
  const option = role === "server" ? "--listen-addr" : "--status-addr";
  if (address.port === 0) {
    report.add({ step, about, state: "ok", found: "any port that is free" });
    return false;
  }
  try {
    using _held = holdAddress(address, { origin: option });
    report.add({
      ...{ step, about, state: "ok" },
      found: `the port is free, so no ${role} runs here`,
    });
    return false;
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    const answer = await askStatus(address, timeout, signal);
    if (answer === undefined) {
      const found = messageOf(error);
      const todo = `stop what has it, or choose another with ${option}`;
      report.add({
        ...{ step, about, state: "fail", found },
        todo: runtimeHint(found) ?? todo,
      });
      return false;
    }
    report.add(
      answer.ready
        ? {
          step,
          about,
          state: "ok",
          found: `a ${role} runs here, and is ready`,
        }
        : {
          ...{ step, about, state: "fail" },
          found: `a ${role} runs here, and is not ready: ${answer.reason}`,
          todo: "the other steps say why, or its log",
        },
    );
    return true;
  }
}

/** What a process of ours says at its status port; undefined where none answers. */
async function askStatus(
  { host, port }: Address,
  timeout: number,
  signal: AbortSignal,
): Promise<{ readonly ready: boolean; readonly reason: string } | undefined> {
  const at = /^(?:|0\.0\.0\.0|::)$/.test(host) ? "127.0.0.1" : host;
  const late = AbortSignal.any([signal, AbortSignal.timeout(timeout)]);
  try {
    const url = `http://${formatAddress({ host: at, port })}/ready`;
    const response = await fetch(url, { signal: late });
    const { status, reason = "" } = await response.json();
    return typeof status === "string"
      ? { ready: response.ok, reason: String(reason) }
      : undefined;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}
