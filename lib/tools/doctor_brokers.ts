/**
 * Steps of `doctor` on the way to each broker: its name, its addresses, what
 * speaks there, TLS and the login.
 *
 * @module
 */
import { formatAddress, parseIp, withoutZone } from "../base/address.ts";
import { untilAborted } from "../base/abort.ts";
import { type BrokerAddress, formatBroker } from "../base/broker_address.ts";
import { messageOf } from "../base/errors.ts";
import { isLocalhost } from "../base/special_addresses.ts";
import { quote } from "../base/text.ts";
import { formatSize } from "../base/units.ts";
import type { NatsBus } from "../nats/connection.ts";
import {
  type BrokerFacts,
  type FirstWords,
  listenTo,
} from "../nats/first_words.ts";
import { greet } from "../nats/greeting.ts";
import { hintFor } from "../nats/hints.ts";
import { lookUp } from "../net/dial.ts";
import { inMs, type Surgery } from "./doctor_context.ts";
import { checkLogin } from "./doctor_login.ts";
import { checkTls } from "./doctor_tls.ts";
import { type Finding, Report } from "./report.ts";

/** How long a broker may take to greet before it is asked what else it may be, in ms. */
const GREETING_MS = 1_500;

/** A broker that lets us in. */
export interface ReachedBroker {
  /** The connection. */
  readonly bus: NatsBus;
  /** What it says of itself; undefined where something in between keeps us from hearing it. */
  readonly facts: BrokerFacts | undefined;
}

/** Goes all the way to one broker; undefined where that does not lead to a connection. */
export async function checkBroker(
  address: BrokerAddress,
  surgery: Surgery,
): Promise<ReachedBroker | undefined> {
  const { nats } = surgery.call.config;
  const { websocket } = address;
  const isPlain = nats.proxy === undefined && websocket === undefined;
  const hosts = nats.proxy === undefined
    ? await checkName(address, surgery)
    : [address.host];
  let facts: BrokerFacts | undefined;
  let speaking = 0;
  const gathered = new Report(() => {}, true);
  for (const host of hosts) {
    const at = { ...surgery, report: gathered };
    const spoken = isPlain
      ? await checkAddress(host, address, at)
      : await checkGreeting(host, address, at);
    if (spoken === undefined) continue;
    speaking++;
    facts ??= spoken.kind === "nats" ? spoken.facts : undefined;
  }
  for (const finding of gathered.findings) {
    surgery.report.add(speaking === 0 ? finding : besides(finding, address));
  }
  if (speaking === 0) {
    skip(surgery, "login", address, "no NATS was found there");
    return undefined;
  }
  const bus = await checkLogin(address, surgery);
  return bus && { bus, facts };
}

/** A finding about one address of a name, another of which leads to NATS. */
function besides(finding: Finding, { host }: BrokerAddress): Finding {
  if (finding.state !== "fail") return finding;
  return {
    ...finding,
    // Of localhost the broker mostly listens at one family's alone.
    state: isLocalhost(host) ? "ok" : "warn",
    found: `${finding.found}; another address of ${host} is used`,
    todo: isLocalhost(host) ? undefined : finding.todo,
  };
}

function skip(
  { report }: Surgery,
  step: string,
  address: BrokerAddress,
  found: string,
): void {
  report.add({ step, about: formatBroker(address), state: "skipped", found });
}

/** The addresses of a broker's name. */
async function checkName(
  { host }: BrokerAddress,
  { report, timeout, call }: Surgery,
): Promise<readonly string[]> {
  if (parseIp(host) !== undefined) return [host];
  const about = host;
  const began = performance.now();
  try {
    const late = AbortSignal.any([call.signal, AbortSignal.timeout(timeout)]);
    const found = [...new Set(await untilAborted(lookUp(host), late))];
    const ms = inMs(performance.now() - began);
    report.add({
      ...{ step: "name", about, state: "ok" },
      found: `${found.join(", ")} (${ms})`,
    });
    return found;
  } catch (error) {
    call.signal.throwIfAborted();
    const found = error instanceof DOMException
      ? `the name server gave no answer within ${timeout} ms`
      : messageOf(error).replace(/^Resolve \S+: /, "");
    report.add({
      ...{ step: "name", about, state: "fail", found },
      todo:
        "check the name in --nats-url, and the resolver of this machine (getent hosts NAME)",
    });
    return [];
  }
}

/** Connects to one address of a broker, and hears what speaks there. */
async function checkAddress(
  hostname: string,
  address: BrokerAddress,
  surgery: Surgery,
): Promise<FirstWords | undefined> {
  const { report, timeout, call } = surgery;
  const { port } = address;
  const { tls } = call.config.nats;
  const about = formatAddress({ host: hostname, port });
  const began = performance.now();
  let spoken: FirstWords;
  try {
    const patience = Math.min(timeout, GREETING_MS);
    spoken = await listenTo({ hostname, port, patience, signal: call.signal });
  } catch (error) {
    call.signal.throwIfAborted();
    const late = error instanceof DOMException;
    const found = late
      ? `no answer within ${inMs(performance.now() - began)}`
      : messageOf(error);
    const todo = hintFor(late ? "timed out" : found, { websocket: false });
    report.add({
      ...{ step: "connection", about, state: "fail", found, todo },
    });
    return undefined;
  }
  const step = "connection";
  const fail = (what: Pick<Finding, "found" | "todo">): undefined =>
    void report.add({ step, about, state: "fail", ...what });
  switch (spoken.kind) {
    case "http":
      return fail({
        found: "an HTTP server answers there, and not NATS",
        todo:
          "check the port: the broker's monitoring and its WebSockets (ws://, wss://) have others than NATS itself (4222)",
      });
    case "silence":
      return fail({
        found: `it takes connections and says nothing within ${
          inMs(Math.min(timeout, GREETING_MS))
        }, neither NATS nor TLS nor HTTP`,
        todo:
          "check host and port; if they are right, a firewall or a broker that hangs: look at its log",
      });
    case "closed":
      return fail({
        found: "it takes connections and closes them without a word",
        todo:
          "check host and port; if they are right, look at the broker's log",
      });
    case "other":
      return fail({
        found: `something that is not NATS speaks there, and begins with ${
          quote(spoken.words)
        }`,
        todo: "check host and port",
      });
    case "tls":
      if (!tls.first) {
        return fail({
          found: "it speaks TLS and nothing before it",
          todo:
            "give --nats-tls-first if it is the broker's own port, or wss:// if it is that of its WebSockets",
        });
      }
      report.add({
        step,
        about,
        state: "ok",
        found: "connected; it waits for TLS",
      });
      break;
    case "nats": {
      if (tls.first) {
        return fail({
          found: "it greets before TLS, and --nats-tls-first is given",
          todo: "leave that out: TLS comes behind the greeting",
        });
      }
      const { facts } = spoken;
      if (!facts.headers) {
        return fail({
          found: `nats-server ${facts.version} is older than NATS 2.2`,
          todo: "use a later one: it knows no headers",
        });
      }
      report.add({
        ...{ step, about, state: "ok" },
        found: `nats-server ${facts.version} greets (${
          inMs(performance.now() - began)
        })`,
      });
    }
  }
  const facts = spoken.kind === "nats" ? spoken.facts : undefined;
  return await checkTls({ hostname, address, facts }, surgery)
    ? spoken
    : undefined;
}

/** Goes to a broker's greeting as a process would: through a proxy, or within a WebSocket. */
async function checkGreeting(
  hostname: string,
  address: BrokerAddress,
  { report, timeout, call, readLogin }: Surgery,
): Promise<FirstWords | undefined> {
  const { proxy } = call.config.nats;
  const { port, websocket } = address;
  const about = formatBroker(address);
  const late = AbortSignal.timeout(timeout);
  const began = performance.now();
  try {
    const { socket, info, encrypted } = await greet({
      ...{ hostname, port, proxy },
      tlsName: withoutZone(address.host),
      websocket: websocket &&
        { ...websocket, authority: formatAddress(address) },
      tls: readLogin?.().tls,
      signal: AbortSignal.any([call.signal, late]),
    });
    socket[Symbol.dispose]();
    const way = proxy === undefined
      ? "within a WebSocket"
      : `through the proxy ${formatAddress(proxy.address)}`;
    report.add({
      ...{ step: "connection", about, state: "ok" },
      found: `greets ${way}${encrypted ? ", within TLS" : ""}, takes ${
        formatSize(info.maxPayload)
      } (${inMs(performance.now() - began)})`,
    });
    return { kind: "silence" };
  } catch (error) {
    call.signal.throwIfAborted();
    const found = late.aborted
      ? `no answer within ${timeout} ms`
      : messageOf(error);
    const todo = hintFor(found, {
      ...readLogin?.(),
      websocket: websocket !== undefined,
    });
    report.add({ step: "connection", about, state: "fail", found, todo });
    return undefined;
  }
}
