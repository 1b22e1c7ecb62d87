/**
 * The flags that are no options of the configuration: they stand in a command
 * line alone, and have neither a variable nor a key.
 *
 * @module
 */
import type { Role } from "../wire/subjects.ts";
import type { OptionKey } from "./options.ts";

/** What the table says of such a flag. */
export interface OwnFlag {
  /** The flag, without its dashes. */
  readonly flag: string;
  /** The letter that says the same with one dash. */
  readonly short?: string;
  /** Who has it; without it, both. */
  readonly role?: Role;
  /** What its value is called in the help; without it, it takes none. */
  readonly placeholder?: string;
  /** The option that it sets, and to what. */
  readonly sets?: readonly [key: OptionKey, text: string];
  /** One sentence without a period, for the help. */
  readonly help: string;
}

/** Every such flag, in the order of the help. */
const OWN_FLAGS: readonly OwnFlag[] = [
  {
    flag: "stdio",
    short: "W",
    role: "client",
    placeholder: "TARGET",
    help:
      "Listen nowhere: standard input and output are the one connection, to this target",
  },
  {
    flag: "config",
    placeholder: "PATH",
    help: "Config file, in place of the search",
  },
  {
    flag: "verbose",
    short: "v",
    sets: ["log.level", "debug"],
    help: "Log all there is, as --log-level debug",
  },
  {
    flag: "quiet",
    short: "q",
    sets: ["log.level", "warn"],
    help: "Log warnings and errors only, as --log-level warn",
  },
  { flag: "help", short: "h", help: "Print the options of every day" },
  { flag: "help-all", help: "Print all options" },
  {
    flag: "version",
    short: "V",
    help: "Print the versions of the program, the protocol and Deno",
  },
];

/** Those of `role`, by their names. */
export function ownFlagsOf(role: Role): readonly OwnFlag[] {
  return OWN_FLAGS.filter((own) => own.role === undefined || own.role === role);
}
