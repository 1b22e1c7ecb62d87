/**
 * The table of options as people read it: `--help`, and the tables of the
 * README.
 *
 * @module
 */

import { CONFIG_EXTENSIONS } from "./syntax.ts";
import { configFileName } from "./file.ts";
import { ALL_OPTIONS, type Option, optionsOf } from "./options.ts";
import { type Command, commandsOf, type ToolUsage } from "./commands.ts";
import { flagOf, flagsOf, usageOf } from "./flags.ts";
import type { Role } from "../wire/subjects.ts";

/** Width of the help, in columns: that of a terminal nobody has widened. */
const WIDTH = 80;

/** Column in which the explanations start. */
const INDENT = 30;

/** The sections of the help: their headings by the first part of the keys, of several with bars between. */
const SECTIONS = [
  ["server", "Server"],
  ["client", "Client"],
  ["nats", "NATS"],
  ["tunnel", "Tunnels"],
  ["security", "Sealed tunnels"],
  ["status", "Status page"],
  ["log", "Log"],
  ["watch_config|workers", "Process"],
] as const;

/** The options of `role` by the sections of the help, in their order; none is empty. */
export function optionsBySection(
  role: Role,
): readonly {
  readonly heading: string;
  readonly options: readonly Option[];
}[] {
  return SECTIONS.map(([prefix, heading]) => ({
    heading,
    options: optionsOf(role).filter(({ key }) =>
      prefix.split("|").includes(key.split(".")[0] ?? "")
    ),
  })).filter(({ options }) => options.length > 0);
}

/** What each program is for, and how it is used; PROGRAM stands for how it is called. */
export const ABOUT = {
  server: {
    summary: "Takes tunnels from NATS and dials their targets.",
    examples: [
      "PROGRAM --nats-url nats://127.0.0.1:4222",
      "PROGRAM --allow-target db:5432 --allow-target '*.example.com:*'",
      "PROGRAM --listen-addr off -q",
      "PROGRAM check --deny-target '10.0.0.0/8:*'",
    ],
  },
  client: {
    summary:
      "Listens on TCP ports and Unix sockets and tunnels each connection over NATS.",
    examples: [
      "PROGRAM -L 6380:127.0.0.1:6379",
      "PROGRAM -L 5432:db.internal:5432 -L '*:8443:web.internal:443'",
      "PROGRAM -D 1080 --http-proxy 3128",
      "printf 'PING\\r\\nQUIT\\r\\n' | PROGRAM -W 127.0.0.1:6379",
      "PROGRAM exec 127.0.0.1:6379 -- redis-cli -p {port} PING",
      "PROGRAM check --nats-url tls://nats.example.com",
    ],
  },
} as const;

/** How the commands are written, and what they do. */
const KEY_USAGE: readonly (readonly [usage: string, help: string])[] = [
  [
    "key generate [--out PATH]",
    "Make a secret key; with --out in a new file that only its owner reads, and the public key on standard output, without it the secret there",
  ],
  ["key show PATH...", "Show the public key of each file with a secret key"],
  [
    "key psk [--out PATH]",
    "Make a secret for --psk, on standard output or in a new file",
  ],
];

/**
 * The text of `--help` for `role`, called as `program`, or of `--help-all`; with
 * a line end.
 */
export function renderHelp(
  role: Role,
  program: string,
  { all = false }: { readonly all?: boolean } = {},
): string {
  const { summary, examples } = ABOUT[role];
  const flags = flagsOf(role);
  const options = optionsOf(role);
  const sections = SECTIONS.map(([prefix, heading]): string[] => {
    const rows = [
      ...flags.filter(({ own }) => own !== undefined && own.role === prefix)
        .map((flag) => renderRow(usageOf(flag), flag.help)),
      ...options
        .filter(({ key, daily }) =>
          prefix.split("|").includes(key.split(".")[0] ?? "") &&
          (all || daily === true)
        )
        .map((option) => renderRow(optionUsage(option), helpOf(option, all))),
    ];
    return rows.length === 0 ? [] : [`${heading}:`, ...rows, ""];
  });
  const others = flags.filter(({ own }) =>
    own !== undefined && own.role === undefined
  );
  return [
    `Usage: ${program} [options]`,
    ...commandsOf(role).map(({ word, usage }) =>
      `       ${program} ${word} ${usage}`
    ),
    "",
    summary,
    "",
    ...sections.flat(),
    "Commands:",
    ...commandsOf(role).map(({ word, help }) => renderRow(word, help)),
    "",
    "Other:",
    ...others.map((flag) => renderRow(usageOf(flag), flag.help)),
    "",
    ...(role === "client" ? TARGETS : []),
    ...(all ? VALUES : []),
    "A flag goes before its environment variable, that before the config file,",
    "that before the default. Without --config the file is the first of",
    `${configFileName(role)}.{${
      CONFIG_EXTENSIONS.join(",")
    }} in ./ and then $HOME.`,
    "",
    "Examples:",
    ...examples.map((example) =>
      `  ${example.replaceAll("PROGRAM", runnable(program))}`
    ),
    "",
    `Exit codes: 0 ended in order, 1 failed while running, 2 wrong usage${
      role === "client" ? ";\nof exec that of its command." : "."
    }`,
    "",
  ].join("\n");
}

/** What is said of targets. */
const TARGETS = [
  "A TARGET is HOST:PORT, svc:NAME (a service that servers offer) or unix:PATH,",
  "for servers of a site with @SITE behind it; IPv6 stands in brackets.",
  "",
];

/** What is said of values, where all options are. */
const VALUES = [
  "Durations are written like 500ms, 30s or 1m30s, sizes like 256KiB or 8MiB.",
  "",
];

/** How `program` is called in a command line that works as it stands. */
function runnable(program: string): string {
  return program.endsWith(".ts") ? `deno run -A ${program}` : program;
}

/** The text of `key --help` of the program called `program`; with a line end. */
export function renderKeyHelp(program: string): string {
  return [
    "Usage:",
    ...KEY_USAGE.map(([usage, help]) => renderRow(`${program} ${usage}`, help)),
    "",
    "Keys are X25519, written as NATS writes curve keys: the secret one SX...,",
    "the public one, which others need to know, X...",
    "",
    "Exit codes: 0 done, 1 it could not be written, 2 wrong usage or file.",
    "",
  ].join("\n");
}

/** The text of `--help` of a tool of the program called `program`; with a line end. */
export function renderToolHelp(
  program: string,
  { word, usage, help, tool }: Command & { readonly tool: ToolUsage },
): string {
  const { flags = [], notes = [] } = tool;
  return [
    `Usage: ${program} ${word} ${usage}`,
    "",
    `${help}.`,
    "",
    ...flags.map((own) => renderRow(usageOf(flagOf(own)), own.help)),
    ...(flags.length === 0 ? [] : [""]),
    ...notes,
    ...(notes.length === 0 ? [] : [""]),
    `The options of the program say where NATS is ('${program} --help').`,
    "",
    "Exit codes: 0 all is well, 1 something is not, 2 wrong usage.",
    "",
  ].join("\n");
}

/**
 * The options as a table in Markdown: those that both roles have, or those
 * that only `scope` has.
 */
export function optionsMarkdown(scope: Role | "both"): string {
  const rows = ALL_OPTIONS
    .filter(({ role }) => role === scope)
    .map((option) => [
      option.flag === undefined ? "" : code(optionUsage(option)),
      [option.env, ...option.aliases].map(code).join(", "),
      code(option.key),
      option.default === undefined || option.default === ""
        ? ""
        : code(option.default),
      option.help.replaceAll(/[|*]/g, "\\$&"),
    ]);
  return [
    ["Flag", "Environment", "Config key", "Default", "Meaning"],
    ["---", "---", "---", "---", "---"],
    ...rows,
  ].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

/** `text` as code in a table's cell. */
function code(text: string): string {
  return "`" + text.replaceAll("|", "\\|") + "`";
}

/** How an option is written in a command line, or its variable when it has no flag. */
function optionUsage(option: Option): string {
  const flag = flagsOf(option.role === "server" ? "server" : "client")
    .find((flag) => flag.option === option);
  return flag === undefined ? option.env : usageOf(flag);
}

/** What is said of an option: with `all` also its variables and key. */
function helpOf(option: Option, all: boolean): string {
  const parts: string[] = [];
  if (all) {
    parts.push(option.flag === undefined ? "variable only" : option.env);
    parts.push(...option.aliases);
    parts.push(option.key);
  }
  if (option.repeatable === true) parts.push("repeatable");
  if (option.default !== undefined && option.default !== "") {
    parts.push(`default ${option.default}`);
  }
  return parts.length === 0
    ? option.help
    : `${option.help} (${parts.join(", ")})`;
}

/** One entry of the help: `left`, and `right` wrapped in its column. */
function renderRow(left: string, right: string): string {
  const lines = wrap(right, WIDTH - INDENT);
  const head = `  ${left}`;
  // Two blanks at least between the columns.
  if (head.length <= INDENT - 2) {
    lines[0] = head.padEnd(INDENT) + (lines[0] ?? "");
  } else {
    lines.unshift(head);
  }
  return lines
    .map((line, index) => index === 0 ? line : " ".repeat(INDENT) + line)
    .join("\n");
}

/** The words of `text` in lines of at most `width` columns. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else {
      lines.push(word);
    }
  }
  return lines;
}
