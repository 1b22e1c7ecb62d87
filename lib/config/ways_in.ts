/**
 * All ways in of a client: forwards and front-ends, from whichever flags,
 * variables and keys, and the place of the original.
 *
 * @module
 */
import type { Address } from "../base/address.ts";
import { formatPlace, isAnyPort, MAX_UNIX_PATH } from "../base/place.ts";
import { quote } from "../base/text.ts";
import { EXEC_PLACE, EXEC_WORD } from "./exec.ts";
import { type Forward, MAX_FORWARDS } from "./forward.ts";
import { type Front, frontsAt } from "./fronts.ts";
import { type ConfigInputs, givenFor } from "./given.ts";
import type { OptionKey } from "./options.ts";
import { expandHome } from "./sources.ts";
import type { Values } from "./values.ts";

/** Where connections of applications come in: to one target, or to any. */
export type WayIn = Forward | Front;

/**
 * Where a client listens, and what for. The place of the original is one more,
 * but not where others are given and nobody asked for that one: it stands open
 * to every interface.
 */
export function waysInOf(
  values: Values,
  inputs: ConfigInputs,
): readonly WayIn[] {
  const isGiven = (...keys: readonly OptionKey[]): boolean =>
    keys.some((key) => givenFor(key, inputs) !== undefined);
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

/** The forward that the original has: the only one where nobody asked for others. */
function originalForward(listen: Address, target: Address): Forward {
  return { listen, target, origin: "--listen-addr" };
}

/** `waysIn`, with the `home` for a `~` at the start of a path. */
function withHome(
  waysIn: readonly WayIn[],
  home: string | undefined,
): readonly WayIn[] {
  return waysIn.map((wayIn) => {
    const { listen } = wayIn;
    if (!("path" in listen)) return wayIn;
    return { ...wayIn, listen: { path: expandHome(listen.path, home) } };
  });
}

/** `waysIn`, of which those that do not say it themselves have `acceptProxy`. */
function withProxyHeaders(
  waysIn: readonly WayIn[],
  acceptProxy: boolean,
): readonly WayIn[] {
  return waysIn.map((wayIn) =>
    acceptProxy && wayIn.acceptProxy === undefined
      ? { ...wayIn, acceptProxy }
      : wayIn
  );
}

/** What keeps `waysIn` from being used together, a sentence each. */
export function* problemsWith(
  waysIn: readonly WayIn[],
): Generator<string> {
  if (waysIn.length > MAX_FORWARDS) {
    yield `There are ${waysIn.length} forwards: ${MAX_FORWARDS} are the most, ranges counted port by port`;
  }
  const seen = new Map<string, WayIn>();
  for (const wayIn of waysIn) {
    const { listen, origin } = wayIn;
    const shown = formatPlace(listen);
    const other = seen.get(shown);
    if (other !== undefined) {
      yield "front" in other || "front" in wayIn
        ? `${other.origin} and ${origin} both listen at ${shown}`
        : `Two forwards listen at ${shown}`;
    }
    if (!isAnyPort(listen)) seen.set(shown, wayIn);
    if (!("path" in listen)) continue;
    const length = new TextEncoder().encode(listen.path).length;
    if (length > MAX_UNIX_PATH) {
      yield `The path of a Unix socket, ${
        quote(listen.path)
      }, has ${length} bytes: the system takes ${MAX_UNIX_PATH} at most`;
    }
  }
}
