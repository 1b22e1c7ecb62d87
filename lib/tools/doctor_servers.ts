/**
 * Steps of `doctor` that ask servers how they do: whether one answers where
 * opens go, which others there are, whose versions and clocks differ from ours,
 * and, at a server, who shares its opens.
 *
 * @module
 */
import { type Reason, RunError } from "../base/errors.ts";
import { formatDuration, formatRough } from "../base/units.ts";
import { VERSION } from "../config/cli.ts";
import type { ClientConfig, ServerConfig } from "../config/config.ts";
import { type Asker, askerOn, type Heard } from "../process/prober.ts";
import type { ServerReport } from "../wire/probe.ts";
import type { Role } from "../wire/subjects.ts";
import {
  ANY_TARGET,
  askAll,
  askOne,
  CLOCKS_APART_MS,
  type Listed,
  listedAs,
  type Listing,
  nameOf,
} from "./probing.ts";
import { codeRemedy } from "./code_remedies.ts";
import { inMs, type Surgery } from "./doctor_context.ts";
import type { Patient } from "./doctor_nats.ts";
import type { Finding } from "./report.ts";

/** How long servers may take to be counted, in ms: some round trips around the world. */
const COUNT_MS = 1_000;

/** Most servers that are named on one line. */
const MOST_NAMED = 5;

/** Clocks that differ by less, in ms, let a sealed open through at once. */
const SEALED_CLOCK_MS = 60_000;

/** What was heard of servers. */
export type Roll = Map<string, Listed>;

/** Whether a server of a site answers at all; notes it in `roll`. */
export async function checkServer(
  config: ClientConfig,
  { asker, site, timeout, roll }: {
    readonly asker: Asker;
    readonly site: string | undefined;
    /** How long it may take, in ms. */
    readonly timeout: number;
    readonly roll: Roll;
  },
  { report, call: { signal } }: Surgery,
): Promise<boolean> {
  const destination = { target: ANY_TARGET, site };
  const asked = await askOne(asker, destination, { timeout, signal });
  signal.throwIfAborted();
  if (asked === undefined) return false;
  if (asked.type === "heard" && asked.heard.type === "report") {
    const { report, ms } = asked.heard;
    roll.set(report.id, listedAs(report, ms));
  }
  const verdict = asked.type === "lost"
    ? failure(asked.reason, asked.ms)
    : judgeAnswer(asked.heard, config.tunnel.refuseV1);
  const about = site === undefined ? undefined : `of ${site}`;
  report.add({ step: "server", about, ...verdict });
  return verdict.state !== "fail";
}

type Verdict = Pick<Finding, "state" | "found" | "todo">;

/** What an answer to a probe where opens go means for those. */
export function judgeAnswer(heard: Heard, refuseV1: boolean): Verdict {
  const time = inMs(heard.ms);
  switch (heard.type) {
    case "report":
      return judgeReport(heard.report, time);
    case "refused":
      return heard.reason.code === "denied"
        ? failure(heard.reason, heard.ms)
        : { state: "ok", found: `it answers: ${heard.reason.text} (${time})` };
    case "v1":
      return refuseV1
        ? failure({
          code: "version",
          text: "only one of version 1 answers, and --refuse-v1 is given",
        }, heard.ms)
        : {
          state: "warn",
          found: `one of version 1 answers (${time})`,
          todo:
            "start a version 2 server: with this one nothing survives a break of NATS, and it does not say whether a target can be reached",
        };
    default:
      return {
        state: "ok",
        found:
          `it answers (${time}), and is too old to say which version it has`,
      };
  }
}

function judgeReport(report: ServerReport, time: string): Verdict {
  const { facts, sealed } = report;
  const who = `${nameOf(report)} answers (${time})`;
  if (facts === undefined) {
    return sealed
      ? {
        state: "fail",
        found: `${who}, and takes sealed opens only`,
        todo:
          "give this client --secret-key and --server-key, and the server its public key ('key show')",
      }
      : { state: "ok", found: who };
  }
  const version = `${who}, version ${facts.version}`;
  if (facts.state === "ready") return { state: "ok", found: version };
  const why = facts.why === undefined ? "" : `: ${facts.why}`;
  return {
    state: "warn",
    found: `${version}, and is ${facts.state}${why}`,
    todo: "read that server's log, or wait until it is ready",
  };
}

/** What is told of an open, or a question about one, that has failed. */
export function failure(
  reason: Reason,
  ms: number,
  why = reason.text,
): {
  readonly state: "fail";
  readonly found: string;
  readonly todo: string;
} {
  return {
    state: "fail",
    found: `${why} (${reason.code}, ${inMs(ms)})`,
    todo: codeRemedy(reason),
  };
}

/** Which servers there are, of whatever site; notes them in `roll`. */
export async function countServers(
  asker: Asker,
  roll: Roll,
  { report, timeout, call: { signal } }: Surgery,
): Promise<void> {
  const { servers, denied } = await askAll(asker, {
    timeout: Math.min(timeout, COUNT_MS),
    signal,
  });
  signal.throwIfAborted();
  for (const listed of servers) roll.set(listed.report.id, listed);
  const step = "servers";
  if (denied) {
    const subject = asker.subjects.probeOf(asker.token);
    const found =
      `all were not asked: NATS refuses what is published to ${subject}, which 'ls' needs and tunnels do not`;
    report.add({ step, state: "skipped", found });
    return;
  }
  report.add({ step, state: "ok", found: `${roll.size} answer${named(roll)}` });
}

function named(roll: Roll): string {
  const names = [...roll.values()].map(({ report }) => nameOf(report));
  if (names.length === 0) return "";
  const more = names.length - MOST_NAMED;
  return `: ${names.slice(0, MOST_NAMED).join(", ")}${
    more > 0 ? ` and ${more} more` : ""
  }`;
}

/** Whether both ends are of one version, and how far their clocks are apart. */
export function checkLikeness(
  roll: Roll,
  clock: Parameters<typeof judgeClocks>[1],
  { report, call: { role } }: Surgery,
): void {
  const servers = [...roll.values()];
  const versions = judgeVersions(servers, role);
  if (versions !== undefined) {
    report.add({ step: "versions", about: "of both ends", ...versions });
  }
  report.add({ step: "clock", ...judgeClocks(servers, clock) });
}

/** What the versions that servers tell mean for a process of `role`; undefined where none is told. */
export function judgeVersions(
  servers: readonly Listed[],
  role: Role,
): Verdict | undefined {
  const told = servers.flatMap(({ report }) =>
    report.facts === undefined ? [] : [{
      name: nameOf(report),
      version: report.facts.version,
    }]
  );
  if (told.length === 0) return undefined;
  const others = told.filter(({ version }) => version !== VERSION);
  if (others.length === 0) return { state: "ok", found: `all have ${VERSION}` };
  const listed = others.slice(0, MOST_NAMED)
    .map(({ name, version }) => `${name} has ${version}`).join(", ");
  return {
    state: "warn",
    found: `this ${role} has ${VERSION}, ${listed}`,
    todo:
      "tunnels work; bring them to one version when you can, as what is newer than the older end does not",
  };
}

/** What the clocks of servers mean. */
export function judgeClocks(
  servers: readonly Listed[],
  { ahead, isSealed, answered }: {
    /** How far, in ms, a server's is ahead as sealed opens were told, which is not said below a minute. */
    readonly ahead: number | undefined;
    /** Whether tunnels are sealed. */
    readonly isSealed: boolean;
    /** Whether a server has answered an open. */
    readonly answered: boolean;
  },
): Verdict {
  const known = servers.flatMap(({ report, ahead }) =>
    ahead === undefined ? [] : [{ name: nameOf(report), ahead }]
  );
  if (ahead !== undefined) known.push({ name: "the server", ahead });
  const [worst] = known.toSorted((a, b) =>
    Math.abs(b.ahead) - Math.abs(a.ahead)
  );
  if (worst === undefined) {
    const most = formatDuration(SEALED_CLOCK_MS);
    return isSealed && answered
      ? { state: "ok", found: `it is within ${most} of the server's` }
      : { state: "skipped", found: "no server has told its time" };
  }
  const apart = Math.abs(worst.ahead);
  if (apart <= CLOCKS_APART_MS) {
    const found = `it is within ${formatDuration(CLOCKS_APART_MS)} of ${
      known.length === 1 ? "the server's" : `those of ${known.length} servers`
    }`;
    return { state: "ok", found };
  }
  return {
    state: "warn",
    found: `that of ${worst.name} is ${formatRough(apart)} ${
      worst.ahead > 0 ? "ahead of" : "behind"
    } this one`,
    todo:
      "set both clocks by NTP: lines of both logs are hard to put together, and from a minute on each first sealed open takes a round trip more",
  };
}

/** At a server: who else takes the opens that it would hear. */
export async function checkOthers(
  config: ServerConfig,
  { bus, token }: Patient,
  surgery: Surgery,
): Promise<void> {
  const { report, timeout, keys, keysFailed, call: { signal } } = surgery;
  const step = "other servers";
  if (keysFailed) {
    const found = "the files of keys cannot be used, as said above";
    report.add({ step, state: "skipped", found });
    return;
  }
  let listing: Listing;
  try {
    using asker = await askerOn(bus, { config, token, keys: undefined });
    listing = await askAll(asker, {
      timeout: Math.min(timeout, COUNT_MS),
      signal,
    });
  } catch (error) {
    if (!(error instanceof RunError) || !bus.connected) throw error;
    const found =
      "not asked: this login hears no answers, as it should be where clients are fenced; 'ls' of a client lists them";
    report.add({ step, state: "skipped", found });
    return;
  }
  signal.throwIfAborted();
  if (listing.denied && listing.servers.length === 0) {
    const found =
      "not asked: NATS lets this login ask for nothing, as it should be where clients are fenced; 'ls' of a client lists them";
    report.add({ step, state: "skipped", found });
    return;
  }
  report.add({ step, ...judgeOthers(config, listing, keys !== undefined) });
}

/** What it means for a server of `config` that these answer. */
export function judgeOthers(
  { server: { site } }: ServerConfig,
  { servers, older }: Pick<Listing, "servers" | "older">,
  isSealed: boolean,
): Verdict {
  // Who tells nothing of itself may be anywhere.
  const beside = servers.filter(({ report: { facts } }) =>
    facts === undefined || facts.site === site
  );
  if (older === "v1" && site === undefined) {
    return {
      state: "warn",
      found: "one of version 1 takes opens of the same subject",
      todo:
        "stop it when its clients are gone: NATS gives it a share of all opens, unless clients refuse it (--refuse-v1)",
    };
  }
  if (beside.length === 0) {
    return {
      state: "ok",
      found: older === undefined
        ? "none answers for the same opens"
        : "an older one answers for the same opens, which tells no more",
    };
  }
  const roll = (some: readonly Listed[]): Roll =>
    new Map(some.map((one) => [one.report.id, one]));
  const unlike = beside.filter(({ report }) => report.sealed !== isSealed);
  if (unlike.length > 0) {
    return {
      state: "warn",
      found: `${unlike.length} that take ${
        isSealed ? "unsealed" : "sealed"
      } opens answer for the same ones, and this takes ${
        isSealed ? "sealed" : "unsealed"
      } ones${named(roll(unlike))}`,
      todo:
        "give all servers of a place the same keys, or this one a --site or --request-subject of its own: NATS picks one for each open",
    };
  }
  return {
    state: "ok",
    found: `${beside.length} answer for the same opens${
      named(roll(beside))
    }: NATS picks one for each, so all are to have the same rules`,
  };
}
