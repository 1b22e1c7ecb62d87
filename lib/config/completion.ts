/**
 * Completion of command lines, as the shells want to have it told, from the
 * tables of flags and commands.
 *
 * @module
 */
import {
  type Command,
  commandsOf,
  COMPLETION_WORD,
  type Shell,
} from "./commands.ts";
import { EXEC_WORD } from "./exec.ts";
import { type Flag, flagsOf } from "./flags.ts";
import type { Role } from "../wire/subjects.ts";

/** What `shell` is to read to complete command lines of `program`, which is that of `role`. */
export function renderCompletion(
  shell: Shell,
  role: Role,
  program: string,
): string {
  const commands = commandsOf(role);
  const toolFlags = new Map(
    commands.flatMap(({ tool }) => tool?.flags ?? [])
      .map((own) => [own.flag, own]),
  );
  const flags = flagsOf(role, [...toolFlags.values()]);
  const lines = { bash, zsh, fish }[shell](program, { flags, commands });
  return lines.map((line) => `${line}\n`).join("");
}

/** What there is to complete. */
interface Tables {
  readonly flags: readonly Flag[];
  readonly commands: readonly Command[];
}

/** The words that a flag's value may be, where that is known. */
function choicesOf({ placeholder = "" }: Flag): readonly string[] {
  return /^[a-z]+(\|[a-z]+)+$/.test(placeholder) ? placeholder.split("|") : [];
}

/** Whether the value of a flag is the path of a file. */
function takesPath({ placeholder = "" }: Flag): boolean {
  return placeholder.startsWith("PATH");
}

/** Whether the value of a flag is a context of the `nats` command. */
function takesContext({ option }: Flag): boolean {
  return option?.key === "nats.context";
}

/** A flag in all its spellings. */
function spellings({ name, short }: Flag): string[] {
  return [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
}

function bash(program: string, { flags, commands }: Tables): string[] {
  const name = functionName(program);
  const reply = (list: string): string =>
    `COMPREPLY=($(compgen ${list} -- "$cur"))`;
  const valued = flags.filter(({ placeholder }) => placeholder !== undefined);
  const chosen = valued.filter((flag) => choicesOf(flag).length > 0);
  const contexts = valued.filter(takesContext);
  const others = valued.filter((flag) =>
    !chosen.includes(flag) && !contexts.includes(flag)
  );
  const branch = (words: readonly string[], then: string): string =>
    `    ${words.join("|")}) ${then}return ;;`;
  return [
    `# bash completion of ${program}: source <(${program} ${COMPLETION_WORD} bash)`,
    `${name}() {`,
    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i",
    "  # With nothing in it, bash completes the names of files.",
    "  COMPREPLY=()",
    "  # bash makes words of their own of = and what is around it.",
    '  if [[ $cur == "=" ]]; then cur=""',
    '  elif [[ $prev == "=" ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi',
    `  if [[ \${COMP_WORDS[1]} == ${EXEC_WORD} ]]; then`,
    "    for ((i = 2; i < COMP_CWORD; i++)); do",
    '      [[ ${COMP_WORDS[i]} == "--" ]] || continue',
    `      if ((i == COMP_CWORD - 1)); then ${reply("-c")}; fi`,
    "      return",
    "    done",
    "  fi",
    "  case $prev in",
    ...chosen.map((flag) =>
      branch(
        spellings(flag),
        `${reply(`-W "${choicesOf(flag).join(" ")}"`)}; `,
      )
    ),
    ...contexts.flatMap((flag) => [
      `    ${spellings(flag).join("|")})`,
      '      for i in "${XDG_CONFIG_HOME:-$HOME/.config}"/nats/context/*.json; do',
      "        i=${i##*/} i=${i%.json}",
      `        [[ $i == "*" || $i != "$cur"* ]] || COMPREPLY+=("$(printf %q "$i")")`,
      "      done",
      "      return ;;",
    ]),
    branch(others.flatMap(spellings), ""),
    "  esac",
    "  if ((COMP_CWORD == 2)); then",
    "    case ${COMP_WORDS[1]} in",
    ...commands.flatMap(({ word, words = [] }) =>
      words.length === 0
        ? []
        : [`  ${branch([word], `${reply(`-W "${words.join(" ")}"`)}; `)}`]
    ),
    "    esac",
    "  fi",
    "  if [[ $cur == -* ]]; then",
    `    ${reply(`-W "${flags.flatMap(spellings).join(" ")}"`)}`,
    "  elif ((COMP_CWORD == 1)); then",
    `    ${reply(`-W "${commands.map(({ word }) => word).join(" ")}"`)}`,
    "  fi",
    "}",
    `complete -o bashdefault -o default -F ${name} ${program}`,
  ];
}

/** What the function is called that completes for `program`. */
function functionName(program: string): string {
  return `_${program.replaceAll(/\W/g, "_")}`;
}

function zsh(program: string, { flags, commands }: Tables): string[] {
  const name = functionName(program);
  const text = (sentence: string): string =>
    sentence.replaceAll(/[[\]:\\]/g, "\\$&").replaceAll("'", `'\\''`);
  const specs = flags.map((flag) => {
    const { option, placeholder } = flag;
    const star = option?.repeatable === true ? "*" : "";
    const all = spellings(flag);
    const choices = choicesOf(flag);
    const action = choices.length > 0
      ? `(${choices.join(" ")})`
      : takesPath(flag)
      ? "_files"
      : takesContext(flag)
      ? `${name}_contexts`
      : " ";
    const value = placeholder === undefined
      ? ""
      : `:${text(placeholder)}:${action}`;
    const head = all.length > 1 ? `${star}'{${all.join(",")}}'` : star + all[0];
    return `    '${head}[${text(flag.help)}]${value}'`;
  });
  return [
    `#compdef ${program}`,
    `# zsh completion of ${program}: save as _${program} in a folder of $fpath`,
    `${name}_contexts() {`,
    "  if [[ $PREFIX == */* ]]; then _files -g '*.json'",
    "  else compadd -- ${XDG_CONFIG_HOME:-$HOME/.config}/nats/context/*.json(N:t:r); fi",
    "}",
    `${name}() {`,
    "  local -a words_of",
    "  local end=${words[(i)--]}",
    `  if [[ $words[2] == ${EXEC_WORD} ]] && (( end < CURRENT )); then`,
    "    shift $end words; (( CURRENT -= end )); _normal; return",
    "  fi",
    "  if (( CURRENT == 2 )) && [[ $PREFIX != -* ]]; then",
    "    words_of=(",
    ...commands.map(({ word, help }) => `      '${word}:${text(help)}'`),
    "    )",
    "    _describe command words_of; return",
    "  fi",
    "  if (( CURRENT == 3 )); then",
    "    case $words[2] in",
    ...commands.flatMap(({ word, words = [] }) =>
      words.length === 0
        ? []
        : [`      ${word}) compadd ${words.join(" ")}; return ;;`]
    ),
    "    esac",
    "  fi",
    "  _arguments \\",
    // Commands and targets stand between them.
    [...specs, "    '*: : '"].join(" \\\n"),
    "}",
    `if [[ $funcstack[1] == ${name} || $funcstack[1] == _${program} ]]; then ${name} "$@"; else compdef ${name} ${program}; fi`,
  ];
}

/** The names of all contexts, to fish; in a loop it does not mind if there are none. */
const FISH_CONTEXTS =
  "(for f in (set -q XDG_CONFIG_HOME; and echo $XDG_CONFIG_HOME; or echo ~/.config)/nats/context/*.json; string replace -r '.*/(.*)\\.json$' '$1' $f; end)";

function fish(program: string, { flags, commands }: Tables): string[] {
  const text = (sentence: string): string =>
    `'${sentence.replaceAll(/[\\']/g, "\\$&")}'`;
  const first = `test (count (commandline -opc)) -eq 1`;
  return [
    `# fish completion of ${program}: ${program} ${COMPLETION_WORD} fish | source`,
    `complete -c ${program} -f`,
    ...commands.flatMap(({ word, help, words = [] }) => [
      `complete -c ${program} -n '${first}' -a ${word} -d ${text(help)}`,
      ...words.map((next) =>
        `complete -c ${program} -n 'test (count (commandline -opc)) -eq 2; and __fish_seen_subcommand_from ${word}' -a ${next}`
      ),
    ]),
    ...flags.map((flag) => {
      const { name, short, placeholder, help } = flag;
      const choices = choicesOf(flag);
      return [
        `complete -c ${program} -l ${name}`,
        ...(short === undefined ? [] : [`-s ${short}`]),
        ...(placeholder === undefined ? [] : [
          takesPath(flag)
            ? "-r -F"
            : takesContext(flag)
            ? `-x -a ${text(FISH_CONTEXTS)}`
            : "-x",
        ]),
        ...(choices.length === 0 ? [] : [`-a ${text(choices.join(" "))}`]),
        `-d ${text(help)}`,
      ].join(" ");
    }),
    // After the -- of exec there is a command, and then what it takes.
    `complete -c ${program} -n 'test (commandline -opc)[-1] = --' -a '(__fish_complete_command)'`,
    `complete -c ${program} -n 'contains -- -- (commandline -opc)' -F`,
  ];
}
