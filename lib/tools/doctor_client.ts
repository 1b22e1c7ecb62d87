/**
 * Steps of `doctor` at a client: whether its ID is free, whether servers answer,
 * and whether they reach what its forwards lead to.
 *
 * @module
 */
import { untilAborted } from "../base/abort.ts";
import { blame, RunError } from "../base/errors.ts";
import { type Destination, formatDestination } from "../base/target.ts";
import type { ClientConfig } from "../config/config.ts";
import { askerOn } from "../process/prober.ts";
import { askForId, type Trials, trialsOf } from "../process/trial.ts";
import { inMs, type Surgery } from "./doctor_context.ts";
import type { Patient } from "./doctor_nats.ts";
import {
  checkLikeness,
  checkServer,
  countServers,
  failure,
  type Roll,
} from "./doctor_servers.ts";

/** Most targets that are tried: those of a range of ports are mostly of one kind. */
const MOST_TARGETS = 32;

/** Whether another process has the ID. */
export async function checkId(
  config: ClientConfig,
  { bus, token }: Patient,
  { report, keys, call }: Surgery,
): Promise<void> {
  const { id } = config.client;
  if (id === undefined) return;
  const step = "client ID";
  const about = token;
  try {
    await askForId(config, { bus, token, keys, signal: call.signal });
    report.add({ step, about, state: "ok", found: "no process uses it now" });
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    report.add({
      ...{ step, about, state: "ok" },
      found:
        "a process uses it now: if that is not the client of this configuration, a second one waits for it",
    });
  }
}

/** Whether servers answer, and reach the targets. */
export async function checkTunnels(
  config: ClientConfig,
  { bus, token }: Patient,
  surgery: Surgery,
): Promise<void> {
  const { report, keys, keysFailed, timeout } = surgery;
  if (keysFailed) {
    const found = "the files of keys cannot be used, as said above";
    report.add({ step: "server", state: "skipped", found });
    return;
  }
  const openTimeout = Math.min(config.client.openTimeout, timeout);
  using asker = await askerOn(bus, { config, token, keys });
  using trials = trialsOf(config, asker, openTimeout);
  const roll: Roll = new Map();
  const asked = waysOf(config);
  const targets = destinationsOf(asked);
  // Who asks for services alone may not be allowed to ask for anything else:
  // whether a server answers, each service's own open shows.
  const general = asked.filter(({ target }) =>
    target === undefined || !("service" in target)
  );
  const sites = new Set(general.map(({ site }) => site));
  const silent = new Set<string | undefined>();
  let answered = false;
  for (const site of sites) {
    const ask = { asker, site, roll, timeout: openTimeout };
    if (await checkServer(config, ask, surgery)) answered = true;
    else silent.add(site);
  }
  await Promise.all([
    countServers(asker, roll, surgery),
    ...targets.slice(0, MOST_TARGETS).map(async (target) => {
      if (!silent.has(target.site)) {
        if (await checkTarget(trials, target, surgery)) answered = true;
        return;
      }
      const about = formatDestination(target);
      const found = "no server takes opens, as said above";
      report.add({ step: "target", about, state: "skipped", found });
    }),
  ]);
  if (targets.length > MOST_TARGETS) {
    report.add({
      ...{ step: "target", state: "skipped" },
      found: `${targets.length - MOST_TARGETS} more targets were not tried`,
    });
  }
  const isSealed = keys !== undefined;
  const clock = { ahead: trials.clockAhead, answered, isSealed };
  checkLikeness(roll, clock, surgery);
}

/** What the client asks for; a front-end names no target. */
function waysOf(
  { client: { oneShot, forwards } }: ClientConfig,
): readonly Partial<Destination>[] {
  return oneShot?.kind === "stdio" ? [oneShot] : forwards;
}

/** Where they lead, each once. */
function destinationsOf(
  asked: readonly Partial<Destination>[],
): readonly Destination[] {
  const found = new Map<string, Destination>();
  for (const { target, site } of asked) {
    if (target === undefined) continue;
    found.set(formatDestination({ target, site }), { target, site });
  }
  return [...found.values()];
}

/** Whether the servers reach a target; true where one of them has said anything. */
async function checkTarget(
  trials: Trials,
  target: Destination,
  { report, call: { signal } }: Surgery,
): Promise<boolean> {
  const outcome = await untilAborted(trials.open(target), signal);
  const step = "service" in target.target ? "service" : "target";
  const about = formatDestination(target);
  if (outcome.type === "failed") {
    const { why } = blame(outcome.by, outcome.reason);
    report.add({ step, about, ...failure(outcome.reason, outcome.ms, why) });
    return outcome.by === "peer";
  }
  report.add({
    ...{ step, about, state: outcome.v1 ? "skipped" : "ok" },
    found: outcome.v1
      ? "a server of version 1 answers before it dials, and does not say whether it gets there"
      : `a tunnel was opened and closed (${inMs(outcome.ms)})`,
  });
  return true;
}
