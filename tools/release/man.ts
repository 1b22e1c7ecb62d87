/**
 * The manual pages of both programs, from the tables that their help comes
 * from. Pure.
 *
 * @module
 */
import { commandsOf } from "../../lib/config/commands.ts";
import { configFileName } from "../../lib/config/file.ts";
import { type Flag, flagOf, flagsOf } from "../../lib/config/flags.ts";
import { ABOUT, optionsBySection } from "../../lib/config/help.ts";
import type { Option } from "../../lib/config/options.ts";
import { CONFIG_EXTENSIONS } from "../../lib/config/syntax.ts";
import { otherRole, type Role } from "../../lib/wire/subjects.ts";

/** How months are called in the language of mdoc. */
const MONTHS = [
  ...["January", "February", "March", "April", "May", "June", "July"],
  ...["August", "September", "October", "November", "December"],
];

/** Columns of a line of source. */
const WIDTH = 78;

/** What the page is told beside the tables. */
export interface ManFacts {
  /** The version of the program. */
  readonly version: string;
  /** The day it was released, such as `2026-12-01`. */
  readonly date: string;
}

/** The manual page `nats-proxy-<role>.1`, in mdoc. */
export function manPage(role: Role, { version, date }: ManFacts): string {
  const program = `nats-proxy-${role}`;
  const { summary, examples } = ABOUT[role];
  const [year = "", month = "", day = ""] = date.split("-");
  const flags = flagsOf(role);
  const lines = [
    `.\\" Made from the tables of options of tcp-sproxy ${version}.`,
    `.Dd ${MONTHS[Number(month) - 1] ?? ""} ${Number(day)}, ${year}`,
    `.Dt ${program.toUpperCase()} 1`,
    ".Os",
    ".Sh NAME",
    `.Nm ${program}`,
    `.Nd ${lowered(summary.replace(/\.$/, ""))}`,
    ".Sh SYNOPSIS",
    ".Nm",
    ".Op Ar option ...",
    ...commandsOf(role).flatMap(({ word, usage }) => [
      ".Nm",
      `.Cm ${word}`,
      `.Li ${quoted(usage)}`,
    ]),
    ".Sh DESCRIPTION",
    ...sentences(summary),
    ".Pp",
    "A flag goes before its environment variable, that before the config file,",
    "that before the default.",
    "Durations are written like 500ms, 30s or 1m30s, sizes like 256KiB or 8MiB.",
    ...(role === "client"
      ? [
        ".Pp",
        ...sentences(
          "A target is HOST:PORT, svc:NAME (a service that servers offer) or unix:PATH, for servers of a site with @SITE behind it; IPv6 stands in brackets",
        ),
      ]
      : []),
    ".Pp",
    "The options:",
    ...optionsBySection(role).flatMap(({ heading, options }) => [
      `.Ss ${escaped(heading)}`,
      ...list([
        ...flags.filter(({ own }) =>
          own?.role === role && heading.toLowerCase() === role
        )
          .map(flagItem),
        ...options.map((option) => optionItem(option, flags)),
      ]),
    ]),
    ".Ss Other",
    ...list(
      flags.filter(({ own }) => own !== undefined && own.role === undefined)
        .map(flagItem),
    ),
    ".Sh COMMANDS",
    "A word in place of the options makes the program do another thing:",
    ...list(
      commandsOf(role).map(({ word, usage, help, tool }) => ({
        head: [`.It Cm ${word} Li ${quoted(usage)}`],
        body: [
          ...sentences(help),
          ...(tool?.flags === undefined
            ? []
            : list(tool.flags.map((own) => flagItem(flagOf(own))))),
          ...(tool?.notes === undefined
            ? []
            : [".Pp", ...sentences(tool.notes.join(" "))]),
        ],
      })),
    ),
    ".Sh FILES",
    ...list([{
      head: [`.It Pa ${configFileName(role)}.${CONFIG_EXTENSIONS.at(0)}`],
      body: [
        "The configuration, in the working directory or else in",
        ".Ev HOME ;",
        `also with the extensions ${CONFIG_EXTENSIONS.slice(1).join(", ")}.`,
      ],
    }]),
    ".Sh EXIT STATUS",
    "0 ended in order, 1 failed while running, 2 wrong usage or configuration.",
    ...(role === "client"
      ? ["That of", ".Cm exec", "is that of its command."]
      : []),
    ".Sh EXAMPLES",
    ".Bd -literal -offset indent",
    ...examples.map((example) =>
      escaped(example.replaceAll("PROGRAM", program))
    ),
    ".Ed",
    ".Sh SEE ALSO",
    `.Xr nats-proxy-${otherRole(role)} 1`,
  ];
  return lines.map((line) => `${line}\n`).join("");
}

/** An item of a list: its macro, and what is said of it. */
interface Item {
  readonly head: readonly string[];
  readonly body: readonly string[];
}

function list(items: readonly Item[]): string[] {
  if (items.length === 0) return [];
  return [
    ".Bl -tag -width Ds",
    ...items.flatMap(({ head, body }) => [...head, ...body]),
    ".El",
  ];
}

/** A flag with its own words. */
function flagItem(flag: Flag): Item {
  return { head: [headOf(flag)], body: sentences(flag.help) };
}

/** An option: its flag, or its variable, and where else it may be given. */
function optionItem(option: Option, flags: readonly Flag[]): Item {
  const flag = flags.find((flag) => flag.option === option);
  const { env, aliases, key, repeatable, help } = option;
  const also = [
    `Variable ${[env, ...aliases].join(", ")}; key ${key}`,
    ...(repeatable ? ["may be given several times"] : []),
    ...(option.default ? [`default ${option.default}`] : []),
  ];
  return {
    head: [flag === undefined ? `.It Ev ${env}` : headOf(flag)],
    body: [...sentences(help), ...sentences(also.join("; "))],
  };
}

function headOf({ name, short, placeholder }: Flag): string {
  const value = placeholder === undefined ? "" : ` Ar ${quoted(placeholder)}`;
  return `.It ${short === undefined ? "" : `Fl ${short} , `}Fl \\-${
    name.replaceAll("-", "\\-")
  }${value}`;
}

/** `text` as sentences, each on lines of its own, with a period at the end. */
function sentences(text: string): string[] {
  return `${text.replace(/\.$/, "")}.`.split(/(?<=[.:]) (?=[A-Z])/)
    .flatMap(wrapped);
}

/** `text` as lines that are not too long. */
function wrapped(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ").map(escaped)) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= WIDTH) {
      lines[lines.length - 1] = longer;
    } else lines.push(word);
  }
  return lines;
}

/** `text` as a line that roff takes as it is. */
function escaped(text: string): string {
  const plain = text.replaceAll("\\", "\\e").replaceAll("-", "\\-");
  return /^[.']/.test(plain) ? `\\&${plain}` : plain;
}

/** `text` as one argument of a macro. */
function quoted(text: string): string {
  return `"${escaped(text).replaceAll('"', '""')}"`;
}

/** With a small letter, unless it begins with a name. */
function lowered(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
