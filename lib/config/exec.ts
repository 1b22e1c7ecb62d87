/**
 * The command line of `exec`: targets, `--`, and a command that runs while there
 * is a way to them; how the command is told where.
 *
 * @module
 */
import { type Address, formatAddress } from "../base/address.ts";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Destination } from "../base/target.ts";
import { parseOneTarget } from "./forward.ts";

/** The word that such a command line begins with. */
export const EXEC_WORD = "exec";

/** A target of a command, which is reached at a port of this machine. */
export interface ExecTarget extends Destination {
  /** What the command's arguments call it; only one of several must have none. */
  readonly name: string | undefined;
}

/** A command runs while there is a way to its targets. */
export interface Exec {
  /** Which of the uses. */
  readonly kind: "exec";
  /** Where it may connect to; at least one, whose place has no name needed. */
  readonly targets: readonly ExecTarget[];
  /** The program. */
  readonly program: string;
  /** Its arguments, as they were written. */
  readonly args: readonly string[];
}

/** Where a forward for a command listens: nobody else's machine, and a port that is free. */
export const EXEC_PLACE: Address = { host: "127.0.0.1", port: 0 };

const FORM =
  "exec TARGET -- COMMAND, such as exec db:5432 -- psql -h {host} -p {port}";

/**
 * What the `words` of a command line and the `command` after its `--` ask for.
 *
 * @throws {UsageError} for what is missing, and for words that are no targets.
 */
export function parseExec(
  words: readonly string[],
  command: readonly string[] | undefined,
): Exec {
  const [program = "", ...args] = command ?? [];
  if (words.length === 0) throw new UsageError(`exec has no target: ${FORM}`);
  if (program === "") {
    throw new UsageError(
      `exec has no command after --: ${FORM}`,
    );
  }
  const targets = words.map(parseExecTarget);
  const names = new Set<string | undefined>();
  for (const { name } of targets) {
    if (names.has(name)) {
      throw new UsageError(
        name === undefined
          ? "exec: each of several targets needs a name, such as db=TARGET, for {db.port}"
          : `exec: two targets have the name ${quote(name)}`,
      );
    }
    names.add(name);
  }
  return { kind: "exec", targets, program, args };
}

/** A target, perhaps with the name before it. */
function parseExecTarget(word: string): ExecTarget {
  const [, name, text = word] = /^([a-z]\w*)=(.*)$/is.exec(word) ?? [];
  return { name, ...parseOneTarget(EXEC_WORD, text) };
}

/** What a command is told of a place, by what it asks for. */
const TOLD = {
  host: ({ host }: Address): string => host,
  port: ({ port }: Address): string => String(port),
  addr: formatAddress,
} as const;

/** How its arguments ask. */
const ASKED = /\{(?:([a-z]\w*)\.)?(host|port|addr)\}/gi;

/**
 * The arguments of the command and its variables, with the `places`, in the
 * order of its targets. What is in braces and asks for none of them stays.
 */
export function commandAt(
  { targets, args }: Exec,
  places: readonly Address[],
): {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
} {
  const [first] = places;
  const env: Record<string, string> = {};
  const byName = new Map<string, Address>();
  targets.forEach(({ name }, at) => {
    const place = places[at];
    if (place === undefined) return;
    if (name !== undefined) byName.set(name, place);
    for (const [what, tell] of Object.entries(TOLD)) {
      const known = name === undefined ? what : `${name}_${what}`;
      env[`SPROXY_${known}`.toUpperCase()] = tell(place);
      // The plain names are those of the first, whatever it is called.
      if (at === 0) env[`SPROXY_${what}`.toUpperCase()] = tell(place);
    }
  });
  const fill = (text: string): string =>
    text.replaceAll(ASKED, (asked, name: string | undefined, what: string) => {
      const place = name === undefined ? first : byName.get(name);
      const tell = TOLD[what as keyof typeof TOLD];
      return place === undefined || tell === undefined ? asked : tell(place);
    });
  return { args: args.map(fill), env };
}
