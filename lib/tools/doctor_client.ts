/**
 * Steps of `doctor` at a client: whether its ID is free, whether servers answer,
 * and whether they reach what its forwards lead to.
 *
 * @module
 */
import { untilAborted } from "../base/abort.ts";
import { blame, type Decider, type Reason, RunError } from "../base/errors.ts";
import { type Destination, formatDestination } from "../base/target.ts";
import { formatDuration } from "../base/units.ts";
import type { ClientConfig } from "../config/config.ts";
import {
  askForId,
  type TrialOutcome,
  type Trials,
  trialsOf,
} from "../process/trial.ts";
import { inMs, type Surgery } from "./doctor_context.ts";
import type { Patient } from "./doctor_nats.ts";
import { codeRemedy } from "./code_remedies.ts";

/** Most targets that are tried: those of a range of ports are mostly of one kind. */
const MOST_TARGETS = 32;

/** What no rules of a server let it dial, so that it says so without a dial. */
const NOWHERE = { host: "0.0.0.0", port: 1 };

/** Clocks that differ by less are as good as one, in ms: what sealed opens allow. */
const CLOCK_MS = 60_000;

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
  using trials = trialsOf(config, { bus, token, keys, openTimeout });
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
    if (await checkServer(trials, site, surgery)) answered = true;
    else silent.add(site);
  }
  await Promise.all(
    targets.slice(0, MOST_TARGETS).map(async (target) => {
      if (!silent.has(target.site)) {
        if (await checkTarget(trials, target, surgery)) answered = true;
        return;
      }
      const about = formatDestination(target);
      const found = "no server answers, as said above";
      report.add({ step: "target", about, state: "skipped", found });
    }),
  );
  if (targets.length > MOST_TARGETS) {
    report.add({
      ...{ step: "target", state: "skipped" },
      found: `${targets.length - MOST_TARGETS} more targets were not tried`,
    });
  }
  checkClock(trials, surgery, answered);
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

/** Whether a server of a site answers at all. */
async function checkServer(
  trials: Trials,
  site: string | undefined,
  { report, call: { signal } }: Surgery,
): Promise<boolean> {
  const outcome = await untilAborted(
    trials.open({ target: NOWHERE, site }),
    signal,
  );
  const step = "server";
  const about = site === undefined ? undefined : `of ${site}`;
  if (outcome.type === "open" && outcome.v1) {
    report.add({
      ...{ step, about, state: "warn" },
      found: `one of version 1 answers (${inMs(outcome.ms)})`,
      todo:
        "start a version 2 server: with this one nothing survives a break of NATS, and it does not say whether a target can be reached",
    });
    return true;
  }
  if (outcome.type === "open" || outcome.by === "peer") {
    const found = `it answers (${inMs(outcome.ms)})`;
    report.add({ step, about, state: "ok", found });
    return true;
  }
  report.add({ step, about, ...failure(outcome) });
  return false;
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
    report.add({ step, about, ...failure(outcome) });
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

function failure(
  { reason, by, ms }: TrialOutcome & {
    readonly reason: Reason;
    readonly by: Decider;
  },
): { readonly state: "fail"; readonly found: string; readonly todo: string } {
  const { why, reason: code } = blame(by, reason);
  return {
    state: "fail",
    found: `${why} (${code}, ${inMs(ms)})`,
    todo: codeRemedy(reason),
  };
}

/** How far the clocks are apart, as far as anybody says. */
function checkClock(
  { clockAhead }: Trials,
  { report, keys }: Surgery,
  answered: boolean,
): void {
  const step = "clock";
  if (keys === undefined || !answered) {
    const found = keys === undefined
      ? "nothing that is not sealed tells another's time"
      : "no server answered";
    report.add({ step, state: "skipped", found });
    return;
  }
  if (clockAhead === undefined) {
    const found = `it is within ${formatDuration(CLOCK_MS)} of the server's`;
    report.add({ step, state: "ok", found });
    return;
  }
  const apart = formatDuration(
    Math.round(Math.abs(clockAhead) / 1_000) * 1_000,
  );
  report.add({
    ...{ step, state: "warn" },
    found: `the server's is ${apart} ${clockAhead > 0 ? "ahead" : "behind"}`,
    todo:
      "set both clocks by NTP: each first open takes a round trip more, and lines of both logs are hard to put together",
  });
}
