/**
 * How a configuration comes about: a flag goes before the environment, the
 * environment before the config file, the file before the default.
 *
 * @module
 */

import type {
  CommonConfig,
  ConfigByRole,
  NatsConfig,
  NatsTlsConfig,
  TunnelConfig,
} from "./config.ts";
import type { ConfigFile } from "./file.ts";
import { resolveAuth } from "./nats_login.ts";
import type { Sources } from "./sources.ts";
import { MAX_WORKERS } from "./types.ts";
import { UsageError } from "../base/errors.ts";
import {
  type Option,
  type OptionKey,
  optionsOf,
  type OptionValues,
  type Role,
} from "./options.ts";
import { MAX_TOKEN_LENGTH } from "../wire/subjects.ts";
import { quote } from "../base/text.ts";
import { formatDuration, formatSize } from "../base/units.ts";

/** What a configuration is made from, the strongest first. */
export interface ConfigInputs {
  /** The text of each flag given. */
  readonly flags: ReadonlyMap<OptionKey, string>;
  /** Reads an environment variable. */
  readonly env: Sources["env"];
  /** The config file, if there is one. */
  readonly file?: ConfigFile | undefined;
}

/**
 * The configuration of `role` that `inputs` give, frozen.
 *
 * @throws {UsageError} naming the flag, variable or key and the value (but
 * never a secret) when one is wrong or two do not go together.
 */
export function buildConfig<R extends Role>(
  role: R,
  inputs: ConfigInputs,
): ConfigByRole[R] {
  return deepFreeze(BUILDERS[role](parseValues(role, inputs)));
}

/** The text of a value, and where it was written. */
export interface OriginalText {
  /** The text. */
  readonly text: string;
  /** The flag, variable or key (and file), for messages. */
  readonly origin: string;
}

/**
 * The text that `inputs` give for an option, or undefined when it is left to
 * its default.
 */
export function findGiven(
  key: OptionKey,
  option: Option,
  inputs: ConfigInputs,
): OriginalText | undefined {
  const flag = inputs.flags.get(key);
  if (flag !== undefined) return { text: flag, origin: `--${option.flag}` };
  // An empty variable counts as unset: compose files write NAME= for that.
  const variable = inputs.env(option.env);
  if (variable !== undefined && variable !== "") {
    return { text: variable, origin: `environment variable ${option.env}` };
  }
  return textInFile(key, inputs.file);
}

/** Makes the configuration of each role from the values of its options. */
const BUILDERS: {
  readonly [R in Role]: (values: OptionValues<R>) => ConfigByRole[R];
} = {
  server: (values) => ({
    role: "server",
    ...commonConfig(values),
    nats: {
      ...natsConfig(values),
      queueGroup: values["nats.queue_group"],
    },
    server: {
      listenAddr: values["server.listen_addr"],
      dialTimeout: values["server.dial_timeout"],
      allowTarget: values["server.allow_target"],
      maxTunnelsPerClient: values["server.max_tunnels_per_client"],
    },
  }),
  client: (values) => ({
    role: "client",
    ...commonConfig(values),
    tunnel: { ...tunnelConfig(values), codec: values["tunnel.codec"] },
    client: {
      listenAddr: values["client.listen_addr"],
      remoteAddr: values["client.remote_addr"],
      proxyAddr: values["client.proxy_addr"],
      openTimeout: values["client.open_timeout"],
      statusAddr: values["client.status_addr"],
      id: clientId(values["client.id"], values.workers),
    },
  }),
};

function commonConfig(values: OptionValues): CommonConfig {
  return {
    nats: natsConfig(values),
    log: { level: values["log.level"], format: values["log.format"] },
    tunnel: tunnelConfig(values),
    workers: values["workers"],
  };
}

function natsConfig(values: OptionValues): NatsConfig {
  const urls = values["nats.url"];
  const auth = resolveAuth({
    urls,
    user: values["nats.user"],
    password: values["nats.password"],
    token: values["nats.token"],
    creds: values["nats.creds"],
    nkey: values["nats.nkey"],
  });
  const requestSubject = values["nats.request_subject"];
  const dataPrefix = values["nats.data_prefix"];
  if (`${requestSubject}.`.startsWith(`${dataPrefix}.`)) {
    throw new UsageError(
      `The request subject "${requestSubject}" lies under the data prefix ` +
        `"${dataPrefix}": they must be apart`,
    );
  }
  return {
    servers: urls.servers,
    auth,
    tls: tlsConfig(values),
    connectTimeout: values["nats.connect_timeout"],
    pingInterval: values["nats.ping_interval"],
    requestSubject,
    dataPrefix,
  };
}

function tlsConfig(values: OptionValues): NatsTlsConfig {
  const ca = values["nats.tls.ca"];
  const cert = values["nats.tls.cert"];
  const key = values["nats.tls.key"];
  const first = values["nats.tls.first"];
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError(
      cert === undefined
        ? "nats.tls.key is set but nats.tls.cert is not"
        : "nats.tls.cert is set but nats.tls.key is not",
    );
  }
  const required = first || ca !== undefined || cert !== undefined ||
    values["nats.url"].servers.some((server) => server.tls);
  return { required, ca, cert, key, first };
}

/**
 * The client's ID, if it leaves room for what workers add to it.
 *
 * @throws {UsageError} when it does not.
 */
function clientId(
  id: string | undefined,
  workers: number | "auto",
): string | undefined {
  const longest = MAX_TOKEN_LENGTH - `-${MAX_WORKERS}`.length;
  if (id === undefined || workers === 1 || id.length <= longest) return id;
  throw new UsageError(
    `client.id (${quote(id)}) is longer than ${longest} characters, which ` +
      "with several workers is the most: each adds its number",
  );
}

function tunnelConfig(values: OptionValues): TunnelConfig {
  const window = values["tunnel.window"];
  const memoryBudget = values["tunnel.memory_budget"];
  if (window > memoryBudget) {
    throw new UsageError(
      `tunnel.window (${formatSize(window)}) is larger than ` +
        `tunnel.memory_budget (${formatSize(memoryBudget)})`,
    );
  }
  const peerTimeout = values["tunnel.peer_timeout"];
  const peerPingInterval = values["tunnel.peer_ping_interval"];
  if (peerPingInterval >= peerTimeout) {
    throw new UsageError(
      `tunnel.peer_ping_interval (${formatDuration(peerPingInterval)}) is ` +
        `not shorter than tunnel.peer_timeout (${formatDuration(peerTimeout)})`,
    );
  }
  const resumeTimeout = values["tunnel.resume_timeout"];
  if (resumeTimeout <= 2 * peerPingInterval) {
    throw new UsageError(
      `tunnel.resume_timeout (${
        formatDuration(resumeTimeout)
      }) is not longer ` +
        `than two times tunnel.peer_ping_interval ` +
        `(${
          formatDuration(peerPingInterval)
        }), so a silence could not be told from an answer`,
    );
  }
  return {
    drainTimeout: values["tunnel.drain_timeout"],
    resumeTimeout,
    peerTimeout,
    peerPingInterval,
    idleTimeout: values["tunnel.idle_timeout"],
    halfCloseTimeout: values["tunnel.half_close_timeout"],
    max: values["tunnel.max"],
    maxOpening: values["tunnel.max_opening"],
    window,
    memoryBudget,
    refuseV1: values["tunnel.refuse_v1"],
    v1Rate: values["tunnel.v1_rate"],
  };
}

/** The value of each option of `role`. */
function parseValues<R extends Role>(
  role: R,
  inputs: ConfigInputs,
): OptionValues<R> {
  const values = optionsOf(role).map(([key, option]) => {
    // A file is checked as a whole, also what a flag or variable overrides.
    const inFile = textInFile(key, inputs.file);
    if (inFile !== undefined) parse(option, inFile);
    const chosen = findText(key, option, inputs);
    return [key, chosen === undefined ? undefined : parse(option, chosen)];
  });
  return Object.fromEntries(values) as OptionValues<R>;
}

/** The text that decides an option, or undefined when it is unset. */
function findText(
  key: OptionKey,
  option: Option,
  inputs: ConfigInputs,
): OriginalText | undefined {
  const given = findGiven(key, option, inputs);
  if (given !== undefined || option.default === undefined) return given;
  return { text: option.default, origin: `default of ${key}` };
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

/** The value in `text`. */
function parse(option: Option, { text, origin }: OriginalText): unknown {
  try {
    return option.type.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) {
      throw error;
    }
    throw new UsageError(`${origin}: ${error.message}`, { cause: error });
  }
}

/** `value`, frozen with everything in it. */
function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
