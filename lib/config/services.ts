/**
 * The services of a server: those of the flag, the variable or the list
 * `server.services` of its config file.
 *
 * @module
 */
import {
  type CheckTimes,
  MAX_SERVICES,
  type ProxyVersion,
  type Service,
} from "../base/service.ts";
import { quote } from "../base/text.ts";
import {
  itemsOf,
  mappingOf,
  memberOf,
  parseAt,
  requireMembers,
  type Written,
} from "./entries.ts";
import { describe, isMapping } from "./file_values.ts";
import { portOf, SERVICES_FILE } from "./known_ports.ts";
import type { Problems } from "./problems.ts";
import {
  AUTO,
  parseService,
  parseServiceName,
  parseServiceTarget,
  type WrittenService,
} from "./service.ts";
import type { Sources } from "./sources.ts";
import * as types from "./types.ts";

/** The key of the list in a config file. */
export const SERVICES_KEY = "server.services";

/** Where `auto` leads. */
const THIS_MACHINE = "localhost";

/** Shortest time between checks, in ms: a target is not to notice them. */
const MIN_PERIOD = 100;

/** Shortest time for a check, in ms. */
const MIN_TIMEOUT = 10;

/** Most checks that may fail in a row: with the default period more than two hours. */
const MAX_FAILURES = 1_000;

/** How a target is tried where its entry says no more than that it is. */
const DEFAULT_CHECK: CheckTimes = {
  period: 10_000,
  timeout: 2_000,
  failures: 3,
};

/** How the members of an entry are written, by their keys. */
const MEMBERS = {
  name: { placeholder: "NAME", parse: parseServiceName },
  target: { placeholder: "HOST:PORT", parse: parseServiceTarget },
  description: types.name,
  proxy_protocol: types.proxyProtocol,
} as const;

/** The same of `check`. */
const CHECK_MEMBERS = {
  period: types.duration({ min: MIN_PERIOD }),
  timeout: types.duration({ min: MIN_TIMEOUT }),
  failures: types.integer({ min: 1, max: MAX_FAILURES }),
} as const;

/** The services of the list `value` in the file at `path`: texts as those of the flag, or mappings. What is wrong with one is a problem, which names it. */
export function parseServices(
  value: unknown,
  { path, problems }: { readonly path: string; readonly problems: Problems },
): readonly WrittenService[] {
  return itemsOf(value, SERVICES_KEY, { path, problems }).flatMap((item) => {
    const place = `${item.place} in ${path}`;
    const { value } = item;
    const service = typeof value === "string"
      ? problems.attempt(() => parseAt(place, value, parseService))
      : parseEntry(value, { place, problems });
    return service === undefined ? [] : [{ ...service, place }];
  });
}

/** What keeps `services` from being offered together, a sentence each. */
export function* problemsOfServices(
  services: readonly WrittenService[],
): Generator<string> {
  if (services.length > MAX_SERVICES) {
    yield `There are ${services.length} services: ${MAX_SERVICES} are the most`;
  }
  const owners = new Map<string, string>();
  for (const { name, place } of services) {
    const owner = owners.get(name);
    owners.set(name, owner ?? place);
    if (owner !== undefined) {
      yield owner === place
        ? `${place}: two services have the name ${quote(name)}`
        : `${place}: its name ${quote(name)} is that of ${owner}, too`;
    }
  }
}

/** Where `services` are, with what the system says of those that are `auto`; for which it says nothing is a problem. */
export function locateServices(
  services: readonly WrittenService[],
  { readTextFile, problems }: {
    readonly readTextFile: Sources["readTextFile"];
    readonly problems: Problems;
  },
): readonly Service[] {
  let list: string | undefined;
  return services.flatMap(({ place, target, ...service }): Service[] => {
    if (target !== AUTO) return [{ ...service, target }];
    list ??= readList(readTextFile);
    const port = portOf(service.name, list);
    if (port !== undefined) {
      return [{ ...service, target: { host: THIS_MACHINE, port } }];
    }
    problems.add(
      `${place}: ${
        quote(`${service.name}=${AUTO}`)
      } cannot be found: no port is registered for that name; write ${service.name}=HOST:PORT`,
    );
    return [];
  });
}

/** The system's list of ports; empty where there is none, or it is not for us to read. */
function readList(readTextFile: Sources["readTextFile"]): string {
  try {
    return readTextFile(SERVICES_FILE) ?? "";
  } catch {
    // The names that everybody knows are left.
    return "";
  }
}

/** The service of one mapping. */
function parseEntry(
  value: unknown,
  written: Written,
): Omit<WrittenService, "place"> | undefined {
  const entry = mappingOf(value, [...Object.keys(MEMBERS), "check"], written);
  if (entry === undefined) return undefined;
  const name = memberOf(entry, "name", MEMBERS.name, written);
  const target = memberOf(entry, "target", MEMBERS.target, written);
  const description = memberOf(
    entry,
    "description",
    MEMBERS.description,
    written,
  );
  const proxyProtocol: ProxyVersion | undefined = memberOf(
    entry,
    "proxy_protocol",
    MEMBERS.proxy_protocol,
    written,
  );
  const check = checkOf(entry.check, written);
  requireMembers(entry, ["name", "target"], written);
  if (name === undefined || target === undefined) return undefined;
  return {
    ...{ name, target },
    ...(description !== undefined && { description }),
    ...(check && { check }),
    ...(proxyProtocol && { proxyProtocol }),
  };
}

/** How a target is tried: `true`, or a mapping with what differs from the defaults. */
function checkOf(
  value: unknown,
  { place, problems }: Written,
): CheckTimes | undefined {
  if (value === undefined || value === null || value === false) {
    return undefined;
  }
  if (value === true) return DEFAULT_CHECK;
  if (!isMapping(value)) {
    problems.add(
      `${place}: check: ${
        describe(value)
      } where there must be true, false or a mapping`,
    );
    return undefined;
  }
  const written = { place: `${place}: check`, problems };
  const entry = mappingOf(value, Object.keys(CHECK_MEMBERS), written) ?? {};
  const period = memberOf(entry, "period", CHECK_MEMBERS.period, written);
  const timeout = memberOf(entry, "timeout", CHECK_MEMBERS.timeout, written);
  const failures = memberOf(entry, "failures", CHECK_MEMBERS.failures, written);
  return {
    period: period ?? DEFAULT_CHECK.period,
    timeout: timeout ?? DEFAULT_CHECK.timeout,
    failures: failures ?? DEFAULT_CHECK.failures,
  };
}
