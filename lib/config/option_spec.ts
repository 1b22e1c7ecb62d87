/**
 * What the table of options says of each.
 *
 * @module
 */
import type { Role } from "../wire/subjects.ts";
import type { OptionType } from "./types.ts";

/** What the table says of an option. */
export interface OptionSpec {
  /** Who has it, where its key does not say so; without it, both. */
  readonly role?: Role;
  /** The flag, without its dashes; none for what must not stand in a command line. */
  readonly flag?: string;
  /** The letter that says the same with one dash. */
  readonly short?: string;
  /** The environment variable; without it, the flag, or the key, in capitals. */
  readonly env?: string;
  /** Variables that say the same, as the `nats` command calls it. */
  readonly aliases?: readonly string[];
  /** How its values are written. */
  readonly type: OptionType<unknown>;
  /** The value when none is given, as text; without it the option is unset. */
  readonly default?: string;
  /** One sentence without a period, for the help and the README. */
  readonly help: string;
  /** Whether its value must never be shown. */
  readonly secret?: true;
  /** Whether it is accepted and checked, and does nothing yet. */
  readonly reserved?: true;
  /** Whether the flag may be given several times, each adding to the list. */
  readonly repeatable?: true;
  /** Whether most people come to need it: `--help` shows it, and not `--help-all` alone. */
  readonly daily?: true;
}
