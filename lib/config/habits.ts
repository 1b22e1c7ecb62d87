/**
 * Flags of `ssh` and of the `nats` command that people type here by habit, and
 * what does here what they do there.
 *
 * @module
 */
import type { Role } from "../wire/subjects.ts";

/** What is said of some flags of another program. */
interface Habit {
  /** Their letters or names, without dashes. */
  readonly flags: readonly string[];
  /** Who may mean them; without it, both. */
  readonly role?: Role;
  /** What to do here, without a period. */
  readonly instead: string;
}

/** Where the `nats` command has a flag of the name with `nats-` before it, the hint finds it by itself. */
const HABITS: readonly Habit[] = [
  {
    flags: ["N", "n", "T"],
    instead: "leave it out: nothing but the tunnels is run",
  },
  {
    flags: ["f"],
    instead: "leave it out, and end the line with & or run it as a service",
  },
  {
    flags: ["R"],
    instead: "reverse forwards are not supported: run the client over there",
  },
  {
    flags: ["p"],
    role: "client",
    instead: "the port to listen at is the first of -L PORT:HOST:HOSTPORT",
  },
  {
    flags: ["g"],
    role: "client",
    instead: "-L '*:PORT:HOST:HOSTPORT' listens at every interface",
  },
  {
    flags: ["J"],
    role: "client",
    instead: "a broker behind a proxy is reached with --nats-proxy",
  },
  { flags: ["s", "server"], instead: "use --nats-url" },
  {
    flags: ["password", "token"],
    instead: "a secret is given by a variable, such as NATS_PASSWORD",
  },
  {
    flags: ["socks-proxy", "proxy"],
    instead: "use --nats-proxy",
  },
  {
    flags: ["timeout"],
    instead: "use --nats-connect-timeout",
  },
  { flags: ["trace"], instead: "use -v" },
  { flags: ["connection-name"], instead: "use --nats-name" },
  { flags: ["no-context"], instead: "use --context=" },
];

/** What to do in place of `arg`, an unknown flag; undefined where no habit is known. */
export function habitFor(role: Role, arg: string): string | undefined {
  const [, dashes = "", name = ""] = /^(--?)([A-Za-z][\w-]*)/.exec(arg) ?? [];
  // ssh takes several letters behind one dash, as in -fN.
  const letters = dashes === "-" && name.length <= MOST_LETTERS
    ? [...name]
    : [];
  const told = new Set<string>();
  for (const letter of letters) {
    const habit = find(role, letter);
    // A letter that is none of them is no such flag as a whole.
    if (habit === undefined) return undefined;
    told.add(habit.instead);
  }
  if (told.size > 0) return [...told].join("; ");
  return dashes === "--" && name.length > 1
    ? find(role, name)?.instead
    : undefined;
}

/** More letters behind one dash are a word. */
const MOST_LETTERS = 4;

function find(role: Role, name: string): Habit | undefined {
  return HABITS.find(({ flags, role: whose = role }) =>
    whose === role && flags.includes(name)
  );
}
