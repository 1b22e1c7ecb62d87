/**
 * `doctor`: tries step by step what it takes to work, says of each step what
 * was found and what to do, and goes on past a failure as far as that makes
 * sense.
 *
 * @module
 */
import { messageOf, UsageError } from "../base/errors.ts";
import { formatDuration, parseDuration } from "../base/units.ts";
import { VERSION } from "../config/cli.ts";
import { tokenOf } from "../process/client_parts.ts";
import { readKeys } from "../process/key_files.ts";
import {
  loginReader,
  type Pipes,
  type ReadLogin,
} from "../process/login_files.ts";
import { setLogLevel } from "../process/log.ts";
import { random } from "../process/lifecycle.ts";
import type { ToolCall } from "../process/tool.ts";
import { PROTOCOL_VERSION } from "../wire/open.ts";
import { firstToolNumber, makeToken } from "../wire/subjects.ts";
import { checkBroker, type ReachedBroker } from "./doctor_brokers.ts";
import { checkId, checkTunnels } from "./doctor_client.ts";
import type { Surgery } from "./doctor_context.ts";
import { checkConfiguration, checkDescriptors } from "./doctor_local.ts";
import {
  checkAllowed,
  checkFence,
  checkRate,
  checkRoundTrip,
  checkVersion,
  type Patient,
} from "./doctor_nats.ts";
import {
  checkListening,
  checkRules,
  checkServices,
  checkStatus,
} from "./doctor_places.ts";
import { checkOthers } from "./doctor_servers.ts";
import { Report } from "./report.ts";

/** How long a step may wait for an answer unless told otherwise, in ms. */
const DEFAULT_TIMEOUT = 5_000;

/** Examines a configuration and its surroundings: 0 where nothing has failed. */
export async function runDoctor(call: ToolCall): Promise<number> {
  const { role, config, flags, print } = call;
  const timeout = timeoutOf(flags.get("timeout"));
  // What goes wrong is told below, in order; who wants more asks for it.
  if (config.log.level === "warn") setLogLevel("fatal");
  const report = new Report(print, flags.has("json"));
  report.add({
    ...{ step: "versions", state: "ok" },
    found:
      `tcp-sproxy ${role} ${VERSION}, protocol ${PROTOCOL_VERSION} and 1, Deno ${Deno.version.deno}`,
  });
  await checkConfiguration(call, report);
  checkDescriptors(call, report);
  const surgery = {
    ...{ call, report, timeout },
    readLogin: await usableLogin(call),
    ...usableKeys(call),
  };
  await checkPlaces(surgery);
  const brokers: ReachedBroker[] = [];
  await using reached = new AsyncDisposableStack();
  for (const address of config.nats.servers) {
    const broker = await checkBroker(address, surgery);
    if (broker === undefined) continue;
    reached.use(broker.bus);
    brokers.push(broker);
  }
  const [first] = brokers;
  if (first === undefined) {
    report.add({
      ...{ step: "NATS", state: "skipped" },
      found:
        "permissions, round trip, rate and tunnels: no broker lets us in, as said above",
    });
  } else await checkBehindLogin(first, surgery);
  return report.end({ role, version: VERSION }) ? 0 : 1;
}

/** The steps for which the process itself need not get to NATS. */
async function checkPlaces(surgery: Surgery): Promise<void> {
  const { config } = surgery.call;
  if (config.role === "server") {
    await checkStatus(config.server.listenAddr, surgery);
    await checkServices(config, surgery);
    await checkRules(config, surgery);
  } else {
    const runs = await checkStatus(config.client.statusAddr, surgery);
    await checkListening(config, surgery, runs);
  }
}

/** The steps on a connection to NATS, which may be lost meanwhile. */
async function checkBehindLogin(
  broker: ReachedBroker,
  surgery: Surgery,
): Promise<void> {
  const { call: { config, signal }, report } = surgery;
  const patient: Patient = {
    ...broker,
    token: config.role === "client" ? tokenOf(config) : makeToken(random),
    nobody: makeToken(random),
    number: firstToolNumber(random),
  };
  try {
    checkVersion(patient, surgery);
    const hears = await checkAllowed(patient, surgery);
    await checkFence(patient, surgery);
    await checkRoundTrip(patient, surgery);
    if (config.role === "server") {
      await checkRate(patient, surgery);
      await checkOthers(config, patient, surgery);
      return;
    }
    if (!hears) {
      report.add({
        ...{ step: "server", state: "skipped" },
        found: "no answer would be heard, as said above",
      });
      return;
    }
    await checkRate(patient, surgery);
    await checkId(config, patient, surgery);
    await checkTunnels(config, patient, surgery);
  } catch (error) {
    signal.throwIfAborted();
    if (patient.bus.connected) throw error;
    report.add({
      ...{ step: "NATS", about: patient.bus.server, state: "fail" },
      found: `the connection was lost meanwhile: ${messageOf(error)}`,
      todo: "look at the broker's log of this moment",
    });
  }
}

/** How to log in; undefined where its files cannot be used, of which the configuration was told. */
async function usableLogin(
  { config: { nats } }: ToolCall,
): Promise<ReadLogin | undefined> {
  const read = await loginReader(nats, new Map());
  return attempt(() => {
    const login = read();
    return () => login;
  });
}

function usableKeys(
  { config: { security } }: ToolCall,
): Pick<Surgery, "keys" | "keysFailed"> {
  const pipes: Pipes = new Map();
  const read = attempt(() => ({ keys: readKeys(security, pipes) }));
  return { keys: read?.keys, keysFailed: read === undefined };
}

/** What `read` gives; undefined where it finds something wrong, which is told elsewhere. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

function timeoutOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_TIMEOUT;
  try {
    const timeout = parseDuration(text);
    if (timeout > 0) return timeout;
  } catch (error) {
    throw new UsageError(`--timeout: ${messageOf(error)}`, { cause: error });
  }
  throw new UsageError(
    `--timeout is 0, want more, such as ${formatDuration(DEFAULT_TIMEOUT)}`,
  );
}
