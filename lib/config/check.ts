/**
 * The configuration as `check` shows it: what is in force, without secrets, and
 * where each value was written.
 *
 * @module
 */
import { formatPlace } from "../base/place.ts";
import { formatDestination } from "../base/target.ts";
import type { Service } from "../base/service.ts";
import { formatTarget } from "../base/target.ts";
import type { TargetRule } from "../base/target_rules.ts";
import { escapeUnsafe, quote, redactUrl } from "../base/text.ts";
import { CLIENTS_KEY } from "./clients.ts";
import type { ConfigByRole } from "./config.ts";
import { type ConfigInputs, findGiven } from "./given.ts";
import type { WayIn } from "./ways_in.ts";
import { FORWARDS_KEY } from "./forwards.ts";
import { SERVICES_KEY } from "./services.ts";
import { formatDuration } from "../base/units.ts";
import { type Option, optionsOf } from "./options.ts";
import type { Role } from "../wire/subjects.ts";

/** Stands for what must not be shown. */
const HIDDEN = "***";

/** The options that the original's place to listen at is made of. */
const ORIGINAL: readonly string[] = [
  "client.listen_addr",
  "client.remote_addr",
];

/** The options that its front-ends are made of. */
const FRONTS: readonly string[] = ["client.socks", "client.http_proxy"];

/** Options that a client's forwards are made of: they are shown as that. */
const IN_FORWARDS: readonly string[] = [
  FORWARDS_KEY,
  ...FRONTS,
  ...ORIGINAL,
];

/** One line: a key, its value, and where that was written. */
type Row = readonly [key: string, value: string, origin: string];

/**
 * The `config` of a role, made of `inputs`, as lines for people: first what was
 * given, then the defaults.
 */
export function describeConfig(
  config: ConfigByRole[Role],
  inputs: ConfigInputs,
): string {
  const given: Row[] = [];
  const defaults: Row[] = [];
  for (const option of optionsOf(config.role)) {
    const { key } = option;
    if (IN_FORWARDS.includes(key)) {
      if (key === FORWARDS_KEY) given.push(...forwardRows(config, inputs));
      continue;
    }
    const found = findGiven(option, inputs);
    if (key === SERVICES_KEY && config.role === "server") {
      const rows = serviceRows(config.server.services, inputs, found?.origin);
      if (rows.length > 0) {
        given.push(...rows);
        continue;
      }
    }
    const rows = found === undefined || found.origin === "default"
      ? defaults
      : given;
    const text = found?.text ?? option.default ?? "";
    rows.push([key, shown(option, text), found?.origin ?? "default"]);
  }
  if (config.role === "server") given.push(...clientRows(config, inputs));
  const file = inputs.file?.path;
  return [
    `# ${config.role}: the configuration is in order (config file: ${
      file === undefined ? "none" : escapeUnsafe(file)
    })`,
    ...aligned([...given, ...defaults]),
    "",
  ].join("\n");
}

/** Each forward with its target, and each front-end; or the one connection that there is. */
function forwardRows(
  config: ConfigByRole[Role],
  inputs: ConfigInputs,
): readonly Row[] {
  if (config.role !== "client") return [];
  const { oneShot, forwards } = config.client;
  if (oneShot?.kind === "stdio") {
    return [["stdio", formatDestination(oneShot), "--stdio"]];
  }
  return forwards.map((forward): Row => {
    const { listen, name, origin } = forward;
    const proxied = forward.acceptProxy ? ", behind PROXY headers" : "";
    const place = formatPlace(listen);
    return [
      name === undefined ? kindOf(forward) : `${kindOf(forward)} ${name}`,
      "front" in forward
        ? `${place}${atSite(forward.site)}${proxied}`
        : `${place} to ${formatDestination(forward)}${proxied}`,
      originOf(origin, inputs),
    ];
  });
}

function atSite(site: string | undefined): string {
  return site === undefined ? "" : `@${site}`;
}

function kindOf(forward: WayIn): string {
  return "front" in forward ? forward.front : "forward";
}

/** The options that ask for what such a flag does, where it is not that of forwards. */
const KEYS_OF_FLAG: Readonly<Record<string, readonly string[]>> = {
  "--listen-addr": ORIGINAL,
  "--socks": ["client.socks"],
  "--http-proxy": ["client.http_proxy"],
};

/** Where what such a `flag` asks for was written. */
function originOf(flag: string, inputs: ConfigInputs): string {
  const keys = KEYS_OF_FLAG[flag] ?? [FORWARDS_KEY];
  const origins = optionsOf("client")
    .filter(({ key }) => keys.includes(key))
    .flatMap((option) => findGiven(option, inputs) ?? [])
    .map(({ origin }) => origin);
  if (origins.length > 0) return origins.join(", ");
  return flag === "--forward" && inputs.file !== undefined
    ? `${FORWARDS_KEY} in ${inputs.file.path}`
    : "default";
}

/** Each service that a server offers. */
function serviceRows(
  services: readonly Service[],
  { file }: ConfigInputs,
  origin: string | undefined,
): readonly Row[] {
  return services.map((service): Row => {
    const { name, target, check, proxyProtocol, description } = service;
    const written = file?.services?.find((other) => other.name === name);
    const parts = [
      formatTarget(target),
      ...(check === undefined ? [] : [
        `check every ${formatDuration(check.period)}, ${
          formatDuration(check.timeout)
        } each, ${check.failures} failures`,
      ]),
      ...(proxyProtocol === undefined
        ? []
        : [`PROXY protocol ${proxyProtocol}`]),
      ...(description === undefined ? [] : [quote(description)]),
    ];
    return [
      `service ${name}`,
      parts.join("; "),
      origin ?? written?.place ?? "default",
    ];
  });
}

/** Each client that a server knows. */
function clientRows(
  { clients }: ConfigByRole["server"],
  { file }: ConfigInputs,
): readonly Row[] {
  return clients.map(({ name, keys, allow, deny, services }): Row => {
    const written = file?.clients.find(({ client }) => client.name === name);
    const rules = [
      `${keys.length} ${keys.length === 1 ? "key" : "keys"}`,
      ...(allow === undefined ? [] : [`allow ${listOf(allow)}`]),
      ...(deny === undefined ? [] : [`deny ${listOf(deny)}`]),
      ...(services === undefined
        ? []
        : [`services ${services.length === 0 ? "none" : services.join(", ")}`]),
    ];
    return [
      `${CLIENTS_KEY} ${name}`,
      rules.join("; "),
      written === undefined || file === undefined
        ? "security.client_key"
        : `${written.place} in ${file.path}`,
    ];
  });
}

function listOf(rules: readonly TargetRule[]): string {
  return rules.map(({ text }) => text).join(", ");
}

/** The text of an option's value for people. */
function shown({ secret }: Option, text: string): string {
  if (secret === true) return text === "" ? "-" : HIDDEN;
  return text.trim() === "" ? "-" : escapeUnsafe(redactUrl(text.trim()));
}

/** Widest column, in characters: a longer value moves what comes after it. */
const MAX_COLUMN = 40;

/** The rows in columns. */
function aligned(rows: readonly Row[]): readonly string[] {
  const widthOf = (at: 0 | 1): number =>
    Math.min(MAX_COLUMN, Math.max(...rows.map((row) => row[at].length)));
  const [first, second] = [widthOf(0), widthOf(1)];
  return rows.map(([key, value, origin]) =>
    `${key.padEnd(first)}  ${value.padEnd(second)}  ${escapeUnsafe(origin)}`
  );
}
