/**
 * What a client may do once in place of serving: be one connection, or run a
 * command beside its tunnels. Of what variables and config files say to a
 * service it heeds only what is for such a use, too.
 *
 * @module
 */
import type { Destination } from "../base/target.ts";
import type { Exec } from "./exec.ts";
import { parseOneTarget } from "./forward.ts";
import type { OptionKey } from "./options.ts";

/** Standard input and output are one connection. */
export interface Stdio extends Destination {
  /** Which of the uses. */
  readonly kind: "stdio";
}

/** What is done once. */
export type OneShot = Stdio | Exec;

/** Options that say where to listen, and what for. */
const WAYS_IN: readonly OptionKey[] = [
  "client.forwards",
  "client.socks",
  "client.http_proxy",
  "client.accept_proxy",
  "client.listen_addr",
  "client.remote_addr",
];

/**
 * Options that count only as flags there: the same variables and files are a
 * service's, whose places are taken, and whose log another reads.
 */
export const FLAG_ONLY: readonly OptionKey[] = [
  ...WAYS_IN,
  "client.status_addr",
  "log.level",
  "watch_config",
  "workers",
];

/** What is logged there unless a flag says otherwise: what a person should know who waits for something else. */
export const ONE_SHOT_LEVEL = "warn";

/** Flags that say nothing to one connection. */
const NOT_STDIO: readonly OptionKey[] = [...WAYS_IN, "workers"];

/**
 * What `--stdio` with the value `text` asks for.
 *
 * @throws {UsageError} for what is no target.
 */
export function parseStdio(text: string): Stdio {
  return { kind: "stdio", ...parseOneTarget("--stdio", text) };
}

/** What of `flags` does not go with `oneShot`, a sentence each. */
export function* flagsAgainst(
  oneShot: OneShot,
  flags: Iterable<readonly [key: OptionKey, flag: string]>,
): Generator<string> {
  for (const [key, flag] of flags) {
    if (key === "watch_config") {
      yield `--${oneShot.kind} reads its configuration once: leave out --${flag}`;
    }
    if (oneShot.kind !== "stdio" || !NOT_STDIO.includes(key)) continue;
    yield `--stdio is one connection and listens nowhere: leave out --${flag}`;
  }
}
