/**
 * The one table of options, which a file for each section makes up. Flags,
 * environment variables, keys of config files, `--help`, the README's tables
 * and the tests of bad input all come from it; an option that is not here does
 * not exist.
 *
 * @module
 */

import { otherRole, type Role } from "../wire/subjects.ts";
import { CLIENT_OPTIONS } from "./client_options.ts";
import { COMMON_OPTIONS } from "./common_options.ts";
import { NATS_OPTIONS } from "./nats_options.ts";
import type { OptionSpec } from "./option_spec.ts";
import { SERVER_OPTIONS } from "./server_options.ts";
import type { OptionType } from "./types.ts";

/** Both programs; a key that begins with one of them is of that one alone. */
const ROLES: readonly Role[] = ["server", "client"];

/** Every option by its key in config files, in the order of the help. */
const OPTIONS = {
  ...SERVER_OPTIONS,
  ...CLIENT_OPTIONS,
  ...NATS_OPTIONS,
  ...COMMON_OPTIONS,
} as const satisfies Record<string, OptionSpec>;

/** The key of an option: its path in a config file. */
export type OptionKey = keyof typeof OPTIONS;

/** What the text of option `O` gives; undefined too where it may be unset. */
type ValueOf<O> = O extends { readonly type: OptionType<infer T> }
  ? (O extends { readonly default: string } ? T : T | undefined)
  : never;

/** The roles that have option `K`. */
type RolesOf<K extends OptionKey> = K extends
  `${infer R extends Role}.${string}` ? R
  : (typeof OPTIONS)[K] extends { readonly role: infer R } ? R
  : Role;

/** The keys of the options that role `R` has; by default those that both have. */
export type OptionKeyOf<R extends Role = Role> = {
  [K in OptionKey]: [R] extends [RolesOf<K>] ? K : never;
}[OptionKey];

/** The parsed values of the options that role `R` has; by default those that both have. */
export type OptionValues<R extends Role = Role> = {
  readonly [K in OptionKeyOf<R>]: ValueOf<(typeof OPTIONS)[K]>;
};

/** One option, with what follows from its key and flag. */
export interface Option extends Omit<OptionSpec, "role" | "env" | "aliases"> {
  /** Its path in a config file. */
  readonly key: OptionKey;
  /** Who has it. */
  readonly role: Role | "both";
  /** The environment variable. */
  readonly env: string;
  /** Variables that say the same. */
  readonly aliases: readonly string[];
}

/** Every option, in the order of the table. */
export const ALL_OPTIONS: readonly Option[] = Object.entries(OPTIONS).map(
  ([key, spec]: [string, OptionSpec]) => ({
    ...spec,
    key: key as OptionKey,
    role: spec.role ?? ROLES.find((role) => key.startsWith(`${role}.`)) ??
      "both",
    aliases: spec.aliases ?? [],
    env: spec.env ?? (spec.flag ?? key).toUpperCase().replaceAll(/[-.]/g, "_"),
  }),
);

/** The options of `role`, in the order of the table. */
export function optionsOf(role: Role): readonly Option[] {
  return ALL_OPTIONS.filter((option) => option.role !== otherRole(role));
}
