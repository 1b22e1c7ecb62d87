/**
 * What values of options do not go together, a sentence each that names it.
 *
 * @module
 */
import { formatBroker } from "../base/broker_address.ts";
import { quote } from "../base/text.ts";
import { formatDuration, formatSize } from "../base/units.ts";
import { MAX_LOGIN_BYTES } from "../front/login.ts";
import {
  DEFAULT_INBOX_PREFIX,
  MAX_TOKEN_LENGTH,
  type Role,
} from "../wire/subjects.ts";
import { type ConfigInputs, userIsToken } from "./given.ts";
import { type Logins, tlsConfig } from "./nats_section.ts";
import { CONTEXT_OPTIONS } from "./nats_context.ts";
import { flagsAgainst } from "./one_shot.ts";
import { ALL_OPTIONS } from "./options.ts";
import { MAX_WORKERS } from "./types.ts";
import type { Values } from "./values.ts";

/** Options that are nothing without another, and how to give that one where no flag does. */
const COMPANIONS: readonly (readonly [
  set: keyof Values,
  needed: keyof Values,
  hint?: string,
])[] = [
  ["nats.user", "nats.password", " (NATS_PASSWORD)"],
  ["nats.password", "nats.user"],
  ["nats.seed", "nats.jwt", " (NATS_JWT)"],
  ["client.socks_user", "client.socks_password", " (SOCKS_PASSWORD)"],
  ["client.socks_password", "client.socks_user"],
  ["nats.tls.cert", "nats.tls.key"],
  ["nats.tls.key", "nats.tls.cert"],
];

/** What does not go together, a sentence each that names it. */
export function* conflictsIn(
  values: Values,
  { logins, inputs }: {
    readonly logins: Logins;
    readonly inputs: ConfigInputs;
  },
): Generator<string> {
  for (const [set, needed, hint = ""] of COMPANIONS) {
    if (set === "nats.user" && userIsToken(inputs)) continue;
    if (values[set] !== undefined && values[needed] === undefined) {
      yield inputs.context !== undefined &&
          CONTEXT_OPTIONS.some((key) => key === set)
        ? `${set} is set but ${needed} is not, in ${inputs.context.path}`
        : `${set} is set but ${needed}${hint} is not`;
    }
  }
  if (logins.size > 1) {
    yield `There is more than one way to log in to NATS (${
      [...logins.keys()].join(", ")
    })${
      inputs.context === undefined ? "" : ` in ${inputs.context.path}`
    }: keep one of them`;
  }
  const plain = values["nats.url"].servers.find(({ websocket }) =>
    websocket?.tls === false
  );
  if (plain !== undefined && tlsConfig(values).required) {
    yield `${
      formatBroker(plain)
    } is a WebSocket without TLS, and tls:// or a nats.tls option asks for TLS: write wss://`;
  }
  const request = values["nats.request_subject"];
  const prefix = values["nats.data_prefix"];
  if (`${request}.`.startsWith(`${prefix}.`)) {
    yield `The request subject "${request}" lies under the data prefix ` +
      `"${prefix}": they must be apart`;
  }
  const inboxes = values["nats.inbox_prefix"] ?? DEFAULT_INBOX_PREFIX;
  for (
    const [key, taken] of [["data prefix", prefix], [
      "request subject",
      request,
    ]]
  ) {
    if (
      !`${inboxes}.`.startsWith(`${taken}.`) &&
      !`${taken}.`.startsWith(`${inboxes}.`)
    ) continue;
    yield `The inbox prefix "${inboxes}" and the ${key} "${taken}" lie one under the other: they must be apart`;
  }
  const audit = values["nats.audit_subject"];
  for (
    const [name, taken] of [
      ["data prefix", prefix],
      ["request subject", request],
      ["inbox prefix", inboxes],
    ] as const
  ) {
    if (audit === undefined || !`${audit}.`.startsWith(`${taken}.`)) continue;
    yield `The audit subject "${audit}" lies under the ${name} "${taken}": they must be apart`;
  }
  const window = values["tunnel.window"];
  const budget = values["tunnel.memory_budget"];
  if (window > budget) {
    yield `tunnel.window (${formatSize(window)}) is larger than ` +
      `tunnel.memory_budget (${formatSize(budget)})`;
  }
  const peerTimeout = values["tunnel.peer_timeout"];
  const ping = values["tunnel.peer_ping_interval"];
  const pingText = `tunnel.peer_ping_interval (${formatDuration(ping)})`;
  if (ping >= peerTimeout) {
    yield `${pingText} is not shorter than tunnel.peer_timeout ` +
      `(${formatDuration(peerTimeout)})`;
  }
  const resumeTimeout = values["tunnel.resume_timeout"];
  if (resumeTimeout <= 2 * ping) {
    yield `tunnel.resume_timeout (${formatDuration(resumeTimeout)}) is not ` +
      `longer than two times ${pingText}, so a silence could not be told ` +
      "from an answer";
  }
  yield* frontLoginProblems(values);
  const id = values["client.id"];
  const longest = MAX_TOKEN_LENGTH - `-${MAX_WORKERS}`.length;
  if (id !== undefined && values.workers !== 1 && id.length > longest) {
    yield `client.id (${quote(id)}) is longer than ${longest} characters, ` +
      "which with several workers is the most: each adds its number";
  }
}

/** What keeps user and password from being said in SOCKS or to an HTTP proxy, a sentence each. */
function* frontLoginProblems(values: Values): Generator<string> {
  const user = values["client.socks_user"] ?? "";
  const password = values["client.socks_password"]?.reveal() ?? "";
  if (user.includes(":")) {
    yield `client.socks_user (${
      quote(user)
    }) has a colon in it, which ends a user in HTTP`;
  }
  for (
    const [key, text] of [
      ["client.socks_user", user],
      ["client.socks_password", password],
    ] as const
  ) {
    const { length } = new TextEncoder().encode(text);
    if (length <= MAX_LOGIN_BYTES) continue;
    yield `${key} has ${length} bytes: SOCKS takes ${MAX_LOGIN_BYTES} at most`;
  }
}

/** What of sealed tunnels does not go together, a sentence each; `clients` is how many a server knows. */
export function* sealConflictsIn(
  role: Role,
  values: Values,
  clients: number,
): Generator<string> {
  const keys = values["security.secret_key"];
  if (keys === undefined) {
    const set = values["security.server_key"] !== undefined
      ? "security.server_key is set"
      : clients > 0
      ? "Clients with keys are listed"
      : values["security.psk"] !== undefined
      ? "security.psk is set"
      : undefined;
    if (set !== undefined) {
      yield `${set}, but security.secret_key is not: make a key of this ${role}'s with 'key generate', and give its file with --secret-key`;
    }
    return;
  }
  if (role === "client") {
    if (values["security.server_key"] === undefined) {
      yield "security.secret_key is set, but security.server_key is not: give the server's public key with --server-key";
    }
    if (keys.length > 1) {
      yield "security.secret_key has more than one file: only a server has two keys while they are changed";
    }
    if (values["tunnel.codec"] === "json") {
      yield "tunnel.codec is json, but sealed tunnels (security.secret_key) are binary: leave it out";
    }
  } else if (clients === 0) {
    yield "security.secret_key is set, but no client is known: give the clients' public keys with --client-key, or list them in the config file (clients)";
  }
}

/** What of the flags does not go with what is done once. */
export function* flagProblemsIn(
  { oneShot, flags }: ConfigInputs,
): Generator<string> {
  if (oneShot === undefined) return;
  const given = [...flags.keys()].flatMap((key) => {
    const { flag } = ALL_OPTIONS.find((option) => option.key === key) ?? {};
    return flag === undefined ? [] : [[key, flag] as const];
  });
  yield* flagsAgainst(oneShot, given);
}
