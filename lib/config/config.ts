/**
 * The configuration of each role, parsed, checked and frozen: a flag goes
 * before the environment, the environment before the config file, the file
 * before the default; a context stands in place of all of them, or before the
 * default. Its structure is that of the config file's keys, in
 * camel case, with the ways to log in made one.
 *
 * @module
 */

import { type ClientEntry, clientsOfKeys, duplicatesIn } from "./clients.ts";
import type { ConfigFile } from "./file.ts";
import { EXEC_PLACE, EXEC_WORD } from "./exec.ts";
import type { Forward } from "./forward.ts";
import { frontsAt, type WayIn } from "./fronts.ts";
import {
  FLAG_ONLY,
  flagsAgainst,
  ONE_SHOT_LEVEL,
  type OneShot,
} from "./one_shot.ts";
import {
  originalForward,
  problemsWith,
  withHome,
  withProxyHeaders,
} from "./forwards.ts";
import type { WrittenService } from "./service.ts";
import {
  locateServices,
  problemsOfServices,
  SERVICES_KEY,
} from "./services.ts";
import { ListError } from "./list.ts";
import { CONTEXT_OPTIONS, type NatsContext } from "./nats_context.ts";
import {
  ALL_OPTIONS,
  type Option,
  type OptionKey,
  type OptionKeyOf,
  type OPTIONS,
  optionsOf,
  type OptionValues,
  type ValueOf,
} from "./options.ts";
import type { Problems } from "./problems.ts";
import { expandHome, type Sources } from "./sources.ts";
import { MAX_WORKERS, path, secretPath, secretPaths } from "./types.ts";
import { type BrokerAddress, formatBroker } from "../base/broker_address.ts";
import { type Credentials, Secret } from "../base/credentials.ts";
import { UsageError } from "../base/errors.ts";
import type { Service } from "../base/service.ts";
import { MAX_LOGIN_BYTES } from "../front/login.ts";
import {
  DEFAULT_INBOX_PREFIX,
  MAX_TOKEN_LENGTH,
  type Role,
} from "../wire/subjects.ts";
import { quote, redactUrl } from "../base/text.ts";
import { formatDuration, formatSize } from "../base/units.ts";

/** `dial_timeout` as `dialTimeout`. */
type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

/** The name that `K` has in section `P`; never for the key of another section. */
type NameIn<K, P extends string> = K extends `${P}.${infer Name}`
  ? Name extends `${string}.${string}` ? never : CamelCase<Name>
  : never;

/** The options of section `P` that role `R` has; without a role, those of both. */
type Section<P extends string, R extends Role = Role> = {
  readonly [K in OptionKeyOf<R> as NameIn<K, P>]: ValueOf<(typeof OPTIONS)[K]>;
};

/** The keys of section `nats` that say where the brokers are and how to log in. */
type LoginKey =
  | "url"
  | "context"
  | "creds"
  | "nkey"
  | "user"
  | "password"
  | "token"
  | "jwt"
  | "seed";

/** How to speak TLS to the broker; paths are of PEM files. */
export interface NatsTlsConfig extends Section<"nats.tls"> {
  /** Whether a connection without TLS is refused: a `tls://` URL, or any option of this section. */
  readonly required: boolean;
}

/** How to reach NATS, and the subjects to use there. */
export interface NatsConfig extends Omit<Section<"nats">, LoginKey> {
  /** The brokers, without credentials; at least one. */
  readonly servers: readonly BrokerAddress[];
  /** How to log in; files by their paths, or what stands in their place. */
  readonly auth: Credentials<string | Secret>;
  /** How to speak TLS. */
  readonly tls: NatsTlsConfig;
}

/** What is logged, and in which form. */
export type LogConfig = Section<"log">;

/** What both roles have. Durations are in ms, sizes in bytes. */
export interface CommonConfig {
  /** NATS. */
  readonly nats: NatsConfig;
  /** The log. */
  readonly log: LogConfig;
  /** Limits and times of tunnels. */
  readonly tunnel: Section<"tunnel">;
  /** Whether tunnels are sealed, and what with. */
  readonly security: Section<"security">;
  /** Whether a change of the config file counts by itself. */
  readonly watchConfig: boolean;
  /** Threads that share the work; `auto` for one each core. */
  readonly workers: number | "auto";
}

/** The configuration of role `R`; frozen all the way down. */
type RoleConfig<R extends Role> =
  & CommonConfig
  & {
    readonly role: R;
    readonly nats: Omit<Section<"nats", R>, LoginKey>;
    readonly tunnel: Section<"tunnel", R>;
    readonly security: Section<"security", R>;
  }
  & { readonly [P in R]: Section<P, R> };

/** The server's configuration: where its services are is known. */
export type ServerConfig = Omit<RoleConfig<"server">, "server"> & {
  readonly server: Omit<Section<"server", "server">, "services"> & {
    readonly services: readonly Service[];
  };
  /** Who may open tunnels, where they are sealed. */
  readonly clients: readonly ClientEntry[];
};

/** The options that say where a client listens, and what for. */
type WayInKey =
  | "listenAddr"
  | "remoteAddr"
  | "socks"
  | "httpProxy"
  | "acceptProxy";

/** The client's configuration: where it listens, and what for, is in its forwards. */
export type ClientConfig = Omit<RoleConfig<"client">, "client"> & {
  readonly client:
    & Omit<Section<"client", "client">, WayInKey | "forwards">
    & {
      readonly forwards: readonly WayIn[];
      /** What is done once; undefined where connections are accepted until a signal comes. */
      readonly oneShot: OneShot | undefined;
    };
};

/** The configuration of each role. */
export interface ConfigByRole {
  /** The server's. */
  readonly server: ServerConfig;
  /** The client's. */
  readonly client: ClientConfig;
}

/** What a configuration is made from, the strongest first. */
export interface ConfigInputs {
  /** The text of each flag given. */
  readonly flags: ReadonlyMap<OptionKey, string>;
  /** Reads an environment variable. */
  readonly env: Sources["env"];
  /** The config file, if there is one. */
  readonly file?: ConfigFile | undefined;
  /** A context, in place of all others for the options that it may set. */
  readonly context?: NatsContext | undefined;
  /** What is done once, if it is. */
  readonly oneShot?: OneShot | undefined;
  /** Reads a file of the system; without it there is none. */
  readonly readTextFile?: Sources["readTextFile"];
}

/**
 * The configuration of `role` that `inputs` give, frozen.
 *
 * @param problems What was found before; it is told with the rest.
 * @throws {UsageError} naming each flag, variable or key that is wrong and its
 * value (but never a secret), or all that do not go together.
 */
export function buildConfig<R extends Role>(
  role: R,
  inputs: ConfigInputs,
  problems: Problems,
): ConfigByRole[R] {
  const values = parseValues(role, inputs, problems);
  // What is wrong may be what another needs.
  problems.throwIfAny();
  const { login, ...nats } = natsSections(values);
  const logins = loginsOf(login, inputs);
  const clients = [
    ...inputs.file?.clients ?? [],
    ...clientsOfKeys(values["security.client_key"] ?? []),
  ];
  const forwards = role === "client" ? forwardsOf(values, inputs) : [];
  const written = role === "server" ? servicesOf(values, inputs) : [];
  const { readTextFile = () => undefined } = inputs;
  const services = locateServices(written, { readTextFile, problems });
  problems.add(
    ...ambiguousVariables(role, inputs),
    ...conflictsIn(values, { logins, inputs }),
    ...sealConflictsIn(role, values, clients.length),
    ...duplicatesIn(clients),
    ...problemsWith(forwards),
    ...problemsOfServices(written),
    ...flagProblemsIn(inputs),
  );
  problems.throwIfAny();
  const [auth = { kind: "none" }] = logins.values();
  const config: unknown = {
    role,
    nats: {
      ...nats,
      servers: login.url.servers,
      auth,
      tls: tlsConfig(values),
    },
    log: section(values, "log"),
    tunnel: {
      ...section(values, "tunnel"),
      // A peer of version 1 can seal nothing.
      ...(values["security.secret_key"] && { refuseV1: true }),
      ...(inputs.oneShot?.kind === "stdio" && { max: 1 }),
    },
    security: section(values, "security"),
    watchConfig: values.watch_config,
    workers: values.workers,
    ...(role === "server"
      ? {
        server: {
          ...section<"server", "server">(values, role),
          services,
        },
        clients: clients.map(({ client }) => client),
      }
      : {
        client: {
          ...clientSection(values, forwards),
          oneShot: inputs.oneShot,
        },
      }),
  };
  return deepFreeze(config) as ConfigByRole[R];
}

/** The values of the options of a role, which has those of both and its own. */
type Values =
  & OptionValues
  & Partial<OptionValues<"server"> & OptionValues<"client">>;

/** The text of a value, and where it was written. */
export interface OriginalText {
  /** The text. */
  readonly text: string;
  /** The flag, variable or key (and file), for messages. */
  readonly origin: string;
}

/** The text that is given for an option. */
export interface Given extends OriginalText {
  /** What kind of place it was written at. */
  readonly from: "flag" | "variable" | "file" | "context";
}

/**
 * The text that `inputs` give for an option, or undefined when it is left to
 * its default.
 */
export function findGiven(
  option: Option,
  inputs: ConfigInputs,
): Given | undefined {
  const inContext = inputs.context?.texts.get(option.key);
  const ofContext = inContext && { ...inContext, from: "context" } as const;
  if (inputs.context !== undefined && CONTEXT_OPTIONS.includes(option.key)) {
    return ofContext;
  }
  const flag = inputs.flags.get(option.key);
  if (flag !== undefined) {
    return { text: flag, origin: `--${option.flag}`, from: "flag" };
  }
  if (inputs.oneShot !== undefined && FLAG_ONLY.includes(option.key)) {
    return option.key === "log.level"
      ? { text: ONE_SHOT_LEVEL, origin: "default", from: "flag" }
      : undefined;
  }
  const [variable] = variablesOf(option, inputs);
  if (variable !== undefined) {
    const { name, text } = variable;
    const origin = `environment variable ${name}`;
    return { text, origin, from: "variable" };
  }
  const inFile = textInFile(option.key, inputs.file);
  return inFile === undefined ? ofContext : { ...inFile, from: "file" };
}

/** The variables that are set for an option; an empty one is not: compose files write NAME= for that. */
function variablesOf(
  { env, aliases }: Option,
  inputs: ConfigInputs,
): { readonly name: string; readonly text: string }[] {
  return [env, ...aliases].flatMap((name) => {
    const text = inputs.env(name) ?? "";
    return text.trim() === "" ? [] : [{ name, text }];
  });
}

/** What is said of variables that mean the same option, and not the same value. */
function* ambiguousVariables(
  role: Role,
  inputs: ConfigInputs,
): Generator<string> {
  for (const option of optionsOf(role)) {
    if (findGiven(option, inputs)?.from !== "variable") continue;
    const [first, ...others] = variablesOf(option, inputs);
    const other = others.find(({ text }) => text.trim() !== first?.text.trim());
    if (other === undefined) continue;
    yield `The environment variables ${first?.name} and ${other.name} differ, and both mean ${option.key}: keep one`;
  }
}

/** Whether what `NATS_USER` says is no user but a token, because there is no password: the `nats` command reads it so. */
export function userIsToken(inputs: ConfigInputs): boolean {
  const given = (key: OptionKey): Given | undefined =>
    ALL_OPTIONS.filter((option) => option.key === key)
      .map((option) => findGiven(option, inputs))[0];
  return given("nats.user")?.from === "variable" &&
    given("nats.password") === undefined;
}

/** The options of section `prefix`, with the names they have there. */
function section<P extends string, R extends Role = Role>(
  values: OptionValues,
  prefix: P,
): Section<P, R> {
  const entries = Object.entries(values).flatMap(([key, value]) => {
    if (!key.startsWith(`${prefix}.`)) return [];
    const name = key.slice(prefix.length + 1);
    if (name.includes(".")) return [];
    return [[
      name.replaceAll(/_(.)/g, (_, letter) => letter.toUpperCase()),
      value,
    ]];
  });
  return Object.fromEntries(entries) as Section<P, R>;
}

/** A client's section, with all places to listen at as forwards. */
function clientSection(
  values: Values,
  forwards: readonly WayIn[],
): Omit<ClientConfig["client"], "oneShot"> {
  const {
    listenAddr: _listenAddr,
    remoteAddr: _remoteAddr,
    socks: _socks,
    httpProxy: _httpProxy,
    acceptProxy: _acceptProxy,
    ...rest
  } = section<"client", "client">(values, "client");
  return { ...rest, forwards };
}

/**
 * Where a client listens, and what for. The place of the original is one more,
 * but not where others are given and nobody asked for that one: it stands open
 * to every interface.
 */
function forwardsOf(values: Values, inputs: ConfigInputs): readonly WayIn[] {
  const isGiven = (...keys: readonly OptionKey[]): boolean =>
    ALL_OPTIONS.some((option) =>
      keys.includes(option.key) && findGiven(option, inputs) !== undefined
    );
  const { oneShot } = inputs;
  if (oneShot?.kind === "stdio") return [];
  const executed = oneShot?.targets.map((target): Forward => ({
    ...{ ...target, listen: EXEC_PLACE, origin: EXEC_WORD },
  })) ?? [];
  const listed = isGiven("client.forwards") || oneShot !== undefined
    ? undefined
    : inputs.file?.forwards;
  const others = [
    ...listed ?? values["client.forwards"] ?? [],
    ...frontsAt("socks", values["client.socks"] ?? []),
    ...frontsAt("http-proxy", values["client.http_proxy"] ?? []),
  ];
  const { "client.listen_addr": listen, "client.remote_addr": target } = values;
  const original = others.length + executed.length === 0 ||
    isGiven("client.listen_addr", "client.remote_addr");
  const all = [
    // First: their places are what the command is told.
    ...executed,
    ...withProxyHeaders([
      ...original && listen && target ? [originalForward(listen, target)] : [],
      ...others,
    ], values["client.accept_proxy"] ?? false),
  ];
  return withHome(all, inputs.env("HOME"));
}

/** The services of a server: a flag or variable goes before the list of the file. */
function servicesOf(
  values: Values,
  inputs: ConfigInputs,
): readonly WrittenService[] {
  const [found] = ALL_OPTIONS.filter(({ key }) => key === SERVICES_KEY)
    .flatMap((option) => findGiven(option, inputs) ?? []);
  const listed = found === undefined ? inputs.file?.services : undefined;
  return listed ??
    values[SERVICES_KEY]?.map((service) => ({
      ...service,
      place: found?.origin ?? service.place,
    })) ?? [];
}

/** What of the flags does not go with what is done once. */
function* flagProblemsIn({ oneShot, flags }: ConfigInputs): Generator<string> {
  if (oneShot === undefined) return;
  const given = [...flags.keys()].flatMap((key) => {
    const { flag } = ALL_OPTIONS.find((option) => option.key === key) ?? {};
    return flag === undefined ? [] : [[key, flag] as const];
  });
  yield* flagsAgainst(oneShot, given);
}

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
function* conflictsIn(
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
function* sealConflictsIn(
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

/** Ways to log in, by what gives them. */
type Logins = ReadonlyMap<string, Credentials<string | Secret>>;

/** Section `nats`, and apart what it says of the brokers and the login. */
function natsSections(
  values: Values,
): Omit<Section<"nats">, LoginKey> & {
  readonly login: Pick<Section<"nats">, LoginKey>;
} {
  const {
    url,
    context,
    creds,
    nkey,
    user,
    password,
    token,
    jwt,
    seed,
    ...nats
  } = section(values, "nats");
  const login = { url, context, creds, nkey, user, password, token, jwt, seed };
  return { ...nats, login };
}

/** The ways to log in that the options give. */
function loginsOf(
  { url, user, password, token, jwt, seed, ...files }: Pick<
    Section<"nats">,
    LoginKey
  >,
  inputs: ConfigInputs,
): Logins {
  const { creds = files.creds, nkey = files.nkey } = inputs.context?.contents ??
    {};
  const ways = new Map<string, Credentials<string | Secret>>();
  if (url.auth.kind !== "none") {
    ways.set("the credentials in nats.url", url.auth);
  }
  if (user !== undefined && password !== undefined) {
    ways.set("nats.user", { kind: "password", user, password });
  } else if (user !== undefined && userIsToken(inputs)) {
    ways.set("nats.user", { kind: "token", token: new Secret(user) });
  }
  if (token !== undefined) ways.set("nats.token", { kind: "token", token });
  if (creds !== undefined) {
    ways.set("nats.creds", { kind: "creds", file: creds });
  }
  if (nkey !== undefined) ways.set("nats.nkey", { kind: "nkey", file: nkey });
  if (jwt !== undefined) {
    ways.set("nats.jwt", { kind: "jwt", jwt, ...(seed && { seed }) });
  }
  return ways;
}

function tlsConfig(values: OptionValues): NatsTlsConfig {
  const tls = section(values, "nats.tls");
  const required = tls.first || tls.ca !== undefined ||
    tls.cert !== undefined || values["nats.url"].tls;
  return { ...tls, required };
}

/** The value of each option of `role`; undefined for one that is wrong. */
function parseValues(
  role: Role,
  inputs: ConfigInputs,
  problems: Problems,
): Values {
  const home = inputs.env("HOME");
  const values = optionsOf(role).map((option) => {
    const { key } = option;
    const valueOf = (given: OriginalText | undefined): unknown =>
      given && problems.attempt(() => parse(option, given, home));
    // A file is checked as a whole, also what a flag or variable overrides.
    const inFile = textInFile(key, inputs.file);
    const value = valueOf(inFile);
    const chosen = findGiven(option, inputs) ?? defaultOf(option);
    return [key, chosen?.origin === inFile?.origin ? value : valueOf(chosen)];
  });
  return Object.fromEntries(values) as Values;
}

/** The text of an option's default, or undefined when it has none. */
function defaultOf({ key, default: text }: Option): OriginalText | undefined {
  return text === undefined ? undefined : { text, origin: `default of ${key}` };
}

/** What the config file says about an option. */
function textInFile(
  key: OptionKey,
  file: ConfigFile | undefined,
): OriginalText | undefined {
  const text = file?.texts.get(key);
  return text === undefined
    ? undefined
    : { text, origin: `${key} in ${file?.path}` };
}

/** Whether `text` stands in quotation marks, as files of variables hand them on that no shell reads. */
export function isQuoted(text: string): boolean {
  return /^(["']).*\1$/s.test(text);
}

/** The value in `text`. A secret is taken as it is: white space may be part of it. */
function parse(
  option: Option,
  { text, origin }: OriginalText,
  home: string | undefined,
): unknown {
  const { secret, type } = option;
  const trimmed = secret === true ? text : text.trim();
  if (secret !== true && isQuoted(trimmed)) {
    throw new UsageError(
      `${origin}: ${
        quote(redactUrl(trimmed))
      } has quotation marks around it: leave them out`,
    );
  }
  try {
    return type.parse(expandPaths(trimmed, type, home));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) {
      throw error;
    }
    const problems = error instanceof ListError
      ? error.problems
      : [error.message];
    throw new UsageError(
      problems.map((problem) => `${origin}: ${problem}`),
      { cause: error },
    );
  }
}

/** `text` with the home in the paths that it is, if its type says that it is one. */
function expandPaths(
  text: string,
  type: Option["type"],
  home: string | undefined,
): string {
  if (type === path || type === secretPath) return expandHome(text, home);
  if (type !== secretPaths) return text;
  return text.split(",").map((part) => expandHome(part.trim(), home)).join(",");
}

/** `value`, frozen with everything in it. */
function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
