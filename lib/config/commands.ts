/**
 * The words that a command line may begin with, in place of running a role.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { closest, quote, redactUrl } from "../base/text.ts";
import { EXEC_WORD } from "./exec.ts";
import { KEY_WORD } from "./key_command.ts";
import type { OwnFlag } from "./own_flags.ts";
import type { Role } from "../wire/subjects.ts";

/** The word before what would be a run, which is looked at only. */
export const CHECK_WORD = "check";

/** The word before the name of a shell. */
export const COMPLETION_WORD = "completion";

/** One of these words. */
export interface Command {
  /** The word. */
  readonly word: string;
  /** Who has it; without it, both. */
  readonly role?: Role;
  /** What comes after it. */
  readonly usage: string;
  /** One sentence without a period, for the help. */
  readonly help: string;
  /** The words that may follow. */
  readonly words?: readonly string[];
  /** Where it is one of an operator's tools: what it takes beside the options. */
  readonly tool?: ToolUsage;
}

/** What a tool takes beside the options of its role, which say where NATS is. */
export interface ToolUsage {
  /** Its own flags. */
  readonly flags?: readonly OwnFlag[];
  /** Most words without a flag that may follow it. */
  readonly most: number;
  /** Lines for its help, after its flags. */
  readonly notes?: readonly string[];
}

/** The shells that completions are written for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/** The words of `role`, in the order of the help. */
export function commandsOf(role: Role): readonly Command[] {
  return COMMANDS.filter((command) =>
    command.role === undefined || command.role === role
  );
}

/** The flags of commands that ask processes over NATS. */
const INSTANCE_FLAGS: readonly OwnFlag[] = [
  {
    flag: "id",
    placeholder: "ID",
    help:
      "The process, or worker of one, whose ID begins so ('status' has them)",
  },
  {
    flag: "timeout",
    placeholder: "DURATION",
    help: "How long answers are waited for, instead of 2s",
  },
  { flag: "json", help: "Print JSON, as it was answered" },
];

/** Most tunnels that one command ends. */
const MAX_KILLED = 1_000;

const COMMANDS: readonly Command[] = [
  {
    word: EXEC_WORD,
    role: "client",
    usage: "[NAME=]TARGET -- COMMAND",
    help:
      "Run a command with a forward of its own; {host}, {port} and {addr} in its arguments say where",
  },
  {
    word: CHECK_WORD,
    usage: "[options]",
    help:
      "Tell all that is wrong with the configuration, or show it, and where each value comes from",
  },
  {
    word: "doctor",
    usage: "[options]",
    help: "Try what it takes to work, step by step",
    tool: {
      most: 0,
      flags: [
        {
          flag: "timeout",
          placeholder: "DURATION",
          help: "How long each step may wait for an answer (default 5s)",
        },
        { flag: "json", help: "Print one JSON document" },
      ],
      notes: [
        "Each line says ok, warn, FAIL or skipped, what was found, and what to do.",
        "Beside what it reads it opens a tunnel to each target of a client's forwards",
        "and closes it, dials each service of a server, and sends 8 MiB through NATS,",
        "to nobody but itself.",
      ],
    },
  },
  {
    word: "permissions",
    usage: "[ID...]",
    help: "Print what NATS has to allow, and why",
    tool: {
      most: 64,
      flags: [
        {
          flag: "for",
          placeholder: "ROLE",
          help:
            "What the other end needs, client or server; a server takes the IDs of clients",
        },
        { flag: "nsc", help: "Print commands of nsc" },
        { flag: "json", help: "Print JSON" },
        {
          flag: "account",
          placeholder: "NAME",
          help: "The account at NATS (default TUNNELS)",
        },
      ],
      notes: [
        "It is nats-server's configuration unless a flag says otherwise.",
      ],
    },
  },
  {
    word: "status",
    usage: "[--id ID] [--json]",
    help: "Tell how each process does that runs with --control",
    tool: { most: 0, flags: INSTANCE_FLAGS },
  },
  {
    word: "tunnels",
    usage: "[--id ID] [--json]",
    help:
      "List the tunnels that are open there: who, to what, since when, how much",
    tool: { most: 0, flags: INSTANCE_FLAGS },
  },
  {
    word: "kill",
    usage: "TUNNEL... [--id ID]",
    help: "End tunnels there, by the IDs that 'tunnels' and logs have",
    tool: { most: MAX_KILLED, flags: INSTANCE_FLAGS },
  },
  {
    word: "drain",
    usage: "[--id ID | --all]",
    help:
      "Have a process there stop as at SIGTERM: no new tunnels, and those open may end",
    tool: {
      most: 0,
      flags: [
        ...INSTANCE_FLAGS,
        { flag: "all", help: "All processes that answer" },
      ],
    },
  },
  {
    word: COMPLETION_WORD,
    usage: SHELLS.join("|"),
    words: SHELLS,
    help: "Print what a shell needs to complete command lines",
  },
  {
    word: "top",
    usage: "[[HOST:]PORT]",
    help: "Show the tunnels of a running process",
    tool: {
      flags: [
        {
          flag: "once",
          help: "Print it once, after a second, and end; so does a pipe",
        },
        { flag: "json", help: "Print it once, as JSON" },
      ],
      most: 1,
      notes: [
        "It asks the status address of the process: that of the configuration, or",
        "the one given. Keys: q ends it, s sorts by the next column.",
      ],
    },
  },
  {
    word: KEY_WORD,
    usage: "generate|show|psk",
    words: ["generate", "show", "psk"],
    help: "Make and show keys of sealed tunnels ('key --help' says more)",
  },
  {
    word: "ls",
    usage: "[options]",
    help: "List the servers that answer, and the services of each",
    tool: {
      most: 0,
      flags: [
        {
          flag: "timeout",
          placeholder: "DURATION",
          help: "How long servers may take to answer (default 2s)",
        },
        { flag: "json", help: "Print JSON" },
      ],
    },
  },
  {
    word: "ping",
    role: "client",
    usage: "[TARGET][@SITE] [options]",
    help:
      "Ask again and again whether a server answers, and how long that takes",
    tool: {
      most: 1,
      flags: [
        {
          flag: "count",
          short: "c",
          placeholder: "N",
          help:
            "Ask so often, and end (default: until a signal, with --trace and --open 1)",
        },
        {
          flag: "interval",
          short: "i",
          placeholder: "DURATION",
          help: "Pause between two questions (default 1s)",
        },
        {
          flag: "timeout",
          placeholder: "DURATION",
          help:
            "How long an answer may take (default 2s); of --open says --open-timeout",
        },
        {
          flag: "open",
          help:
            "Open a tunnel to the target each time, and close it, which connects to the target",
        },
        {
          flag: "trace",
          help:
            "Show the brokers, gateways and leaf nodes on the way, where NATS traces messages (2.11 and later)",
        },
        { flag: "json", help: "Print a line of JSON for each answer" },
      ],
    },
  },
];

/** The tool of `role` that is called by `word`. */
export function toolOf(
  role: Role,
  word: string | undefined,
): Command & { readonly tool: ToolUsage } | undefined {
  const command = commandsOf(role).find((command) => command.word === word);
  const tool = command?.tool;
  return tool && { ...command, tool };
}

/** A shell that completions are written for. */
export type Shell = (typeof SHELLS)[number];

/**
 * The shell that the words after `completion` name.
 *
 * @throws {UsageError} for any other.
 */
export function parseShell(args: readonly string[]): Shell {
  const [word = "", ...rest] = args;
  const shell = SHELLS.find((name) => name === word);
  const [more] = rest;
  if (shell !== undefined && more === undefined) return shell;
  if (word === "") {
    throw new UsageError(`${COMPLETION_WORD} is followed by ${listOfShells()}`);
  }
  if (more !== undefined) {
    throw new UsageError(
      `Unexpected argument ${quote(redactUrl(more))} of ${COMPLETION_WORD}`,
    );
  }
  const near = closest(word, SHELLS);
  throw new UsageError(
    `There is no completion for ${
      quote(redactUrl(word))
    }, only for ${listOfShells()}${
      near === undefined ? "" : ` (did you mean ${near}?)`
    }`,
  );
}

function listOfShells(): string {
  return SHELLS.join(", ");
}
