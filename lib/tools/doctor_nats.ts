/**
 * Steps of `doctor` behind the login: what the broker is, what it lets us do
 * and what not, how far away it is and how fast.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { formatSize } from "../base/units.ts";
import { permissionsOf } from "../config/permissions.ts";
import { subjectsOf } from "../config/nats_section.ts";
import type { BrokerFacts } from "../nats/first_words.ts";
import type { NatsBus } from "../nats/connection.ts";
import { FRAME_PAYLOAD_BYTES } from "../wire/frame.ts";
import { formatId, HOLD_TOKEN } from "../wire/subjects.ts";
import { binaryCodec } from "../wire/binary.ts";
import { inMs, type Surgery } from "./doctor_context.ts";
import {
  mustBeAllowed,
  mustBeRefused,
  type PermissionTrial,
  type TrialTokens,
} from "./permission_trials.ts";
import { measureRate } from "./rate.ts";

/** A message that says nothing to whoever hears it: an ACK that speaks of no bytes. */
const NOTHING = binaryCodec.encode("", {
  type: "ack",
  ack: 0,
  limit: 0,
  gap: false,
});

/** How often the round trip is measured. */
const PINGS = 5;

/** A connection that is examined, and the names to use there. */
export interface Patient extends Omit<TrialTokens, "subjects"> {
  /** The connection. */
  readonly bus: NatsBus;
  /** What the broker says of itself; undefined where that was not heard. */
  readonly facts: BrokerFacts | undefined;
}

/** What the broker is. */
export function checkVersion(
  { bus, facts }: Patient,
  { report }: Surgery,
): void {
  const { maxPayload } = bus;
  const small = maxPayload < FRAME_PAYLOAD_BYTES;
  const what = facts === undefined
    ? "NATS"
    : `nats-server ${facts.version}${
      facts.name === undefined ? "" : ` called ${facts.name}`
    }${facts.cluster === undefined ? "" : ` of the cluster ${facts.cluster}`}`;
  const jetStream = facts?.jetStream === false
    ? ", no JetStream, which is not needed"
    : "";
  report.add({
    ...{ step: "broker", about: bus.server },
    state: small ? "warn" : "ok",
    found: `${what}, takes messages of ${formatSize(maxPayload)}${jetStream}`,
    ...(small && {
      todo: `raise max_payload (NATS's default is 1 MiB): below ${
        formatSize(FRAME_PAYLOAD_BYTES)
      } bulk is slower`,
    }),
  });
}

/** What the broker must let us do; whether it lets us hear all that we have to. */
export async function checkAllowed(
  { bus, ...tokens }: Patient,
  { report, call }: Surgery,
): Promise<boolean> {
  const { config, role } = call;
  const grant = permissionsOf(config, navigator.hardwareConcurrency);
  const trials = mustBeAllowed(role, grant, {
    ...tokens,
    subjects: subjectsOf(config.nats),
  });
  const all: PermissionTrial[] = [];
  for (const trial of trials) {
    if (!await isAllowed(bus, trial)) all.push(trial);
  }
  const refused = all.filter(({ optional }) => optional !== true);
  const missed = all.filter(({ optional }) => optional === true);
  for (const { verb, pattern, why } of refused) {
    report.add({
      ...{ step: "permission", about: `to ${verb} ${pattern}`, state: "fail" },
      found: `NATS refuses it, which ${why}`,
      todo:
        `grant it to this login ('${role} permissions' prints all that it needs)`,
    });
  }
  if (refused.length === 0) {
    report.add({
      ...{ step: "permissions", about: "that are needed", state: "ok" },
      found: `all ${
        trials.filter(({ optional }) => optional !== true).length
      } subjects are allowed`,
    });
  }
  if (missed.length > 0) {
    const each = missed.map(({ verb, pattern, why }) =>
      `to ${verb} ${pattern}, which ${why}`
    );
    report.add({
      ...{ step: "permissions", about: "that are optional", state: "ok" },
      found: `NATS refuses ${each.join("; ")}`,
    });
  }
  return refused.every(({ verb }) => verb === "publish");
}

/** What a fence would refuse. */
export async function checkFence(
  { bus, ...tokens }: Patient,
  { report, call, keys }: Surgery,
): Promise<void> {
  const { config, role } = call;
  const about = "that are not needed";
  const step = "permissions";
  if (config.role === "client" && config.client.id === undefined) {
    report.add({
      ...{ step, about, state: "warn" },
      found:
        "this client has another ID at each start, so that NATS can fence no client from another",
      todo:
        "give it --client-id, and the broker what 'permissions' prints then; or trust all who may use this account",
    });
    return;
  }
  const trials = mustBeRefused(role, {
    ...tokens,
    subjects: subjectsOf(config.nats),
  });
  const open: PermissionTrial[] = [];
  for (const trial of trials) {
    if (await isAllowed(bus, trial)) open.push(trial);
  }
  if (open.length === 0) {
    const found = `all ${trials.length} that were tried are refused`;
    report.add({ step, about, state: "ok", found });
    return;
  }
  const harm = open.map(({ why }) => why).join("; ");
  const sealed = keys === undefined
    ? ""
    : " (sealed tunnels cannot be read or opened so, but disturbed)";
  report.add({
    ...{ step, about, state: "warn" },
    found: `this login may also ${harm}${sealed}`,
    todo:
      `give the login no more than '${role} permissions' prints, unless you trust all who may use this account`,
  });
}

async function isAllowed(
  bus: NatsBus,
  { verb, subject }: PermissionTrial,
): Promise<boolean> {
  if (verb === "publish") return await bus.mayPublish(subject, NOTHING);
  using _tried = bus.subscribe(subject, () => {});
  await bus.flush();
  return !bus.refusedSubjects.includes(subject);
}

/** How far away the broker is. */
export async function checkRoundTrip(
  { bus }: Patient,
  { report }: Surgery,
): Promise<void> {
  const times: number[] = [];
  while (times.length < PINGS) {
    const began = performance.now();
    await bus.flush();
    times.push(performance.now() - began);
  }
  const sorted = times.toSorted((a, b) => a - b);
  report.add({
    ...{ step: "round trip", about: `to ${bus.server}`, state: "ok" },
    found: `${inMs(sorted[0] ?? 0)} at best, ${
      inMs(sorted.at(-1) ?? 0)
    } at worst, of ${PINGS}`,
  });
}

/** How fast the way through the broker is. */
export async function checkRate(
  { bus, token, nobody, number }: Patient,
  { report, call, timeout }: Surgery,
): Promise<void> {
  const { config } = call;
  const subjects = subjectsOf(config.nats);
  const isClient = config.role === "client";
  const step = "rate";
  try {
    // Where a client finds out who has its ID: it may publish and hear that,
    // and another process with the ID passes it over.
    const { bytes, ms } = await measureRate(bus, {
      subject: isClient
        ? subjects.data(
          "client",
          formatId({ client: token, server: HOLD_TOKEN, number }),
        )
        : subjects.data("client", `${nobody}.${nobody}.0`),
      loop: isClient,
      timeout,
      signal: call.signal,
    });
    const rate = (bytes / 2 ** 20 / (ms / 1_000)).toFixed(1);
    const way = isClient ? "to the broker and back" : "to the broker";
    report.add({
      ...{ step, about: way, state: "ok" },
      found: `${rate} MiB/s (${formatSize(bytes)} in ${inMs(ms)})`,
    });
  } catch (error) {
    call.signal.throwIfAborted();
    const found = `it could not be measured: ${messageOf(error)}`;
    report.add({ step, state: "warn", found });
  }
}
