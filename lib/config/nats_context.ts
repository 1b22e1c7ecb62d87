/**
 * Contexts of the `nats` command: files that say where NATS is and how to log
 * in. What one says is read as the text of our options.
 *
 * @module
 */

import { Secret } from "../base/credentials.ts";
import { messageOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { describe, isMapping } from "./file_values.ts";
import { type OptionKey, optionsOf } from "./options.ts";
import type { Problems } from "./problems.ts";
import { expandHome, type Sources } from "./sources.ts";
import { parseConfigText } from "./syntax.ts";
import { contextNameProblem } from "./types.ts";
import type { Role } from "../wire/subjects.ts";

/** The keys of a context's file that mean something here, and the options they stand for. */
const OPTION_OF = {
  url: "nats.url",
  user: "nats.user",
  password: "nats.password",
  token: "nats.token",
  creds: "nats.creds",
  nkey: "nats.nkey",
  user_jwt: "nats.jwt",
  user_seed: "nats.seed",
  ca: "nats.tls.ca",
  cert: "nats.tls.cert",
  key: "nats.tls.key",
  tls_first: "nats.tls.first",
  socks_proxy: "nats.proxy",
  inbox_prefix: "nats.inbox_prefix",
} as const satisfies Readonly<Record<string, OptionKey>>;

type Key = keyof typeof OPTION_OF;

/**
 * Options that a context may set and that others may say beside it, as with the
 * `nats` command: they say neither where NATS is nor who we are, but how this
 * machine gets there.
 */
const BESIDE_CONTEXT: readonly OptionKey[] = [
  "nats.proxy",
  "nats.inbox_prefix",
];

/** The options that a context takes the place of, all or none. */
export const CONTEXT_OPTIONS: readonly OptionKey[] = Object.values(OPTION_OF)
  .filter((key) => !BESIDE_CONTEXT.includes(key));

/** For people only. */
const DESCRIPTION = "description";

/** The old way to name a login, by what the command `nsc` keeps. */
const NSC = "nsc";

/** Keys whose values are secrets, or where one is. */
const SECRETS: readonly string[] = [
  "password",
  "token",
  "user_jwt",
  "user_seed",
];

/** Keys whose values are files with secrets. */
const SECRET_FILES: readonly string[] = ["creds", "nkey"];

/** Most keys that are named in a warning, of which a context has fewer than forty. */
const MAX_NAMED = 40;

/** A context, read and checked; its values are still text. */
export interface NatsContext {
  /** The file it was read from. */
  readonly path: string;
  /** The text of each option it sets, and where it was written. */
  readonly texts: ReadonlyMap<
    OptionKey,
    { readonly text: string; readonly origin: string }
  >;
  /** What stands in place of the files of `nats.creds` and `nats.nkey`. */
  readonly contents: { readonly creds?: Secret; readonly nkey?: Secret };
  /** The files with secrets that it consists of. */
  readonly secretFiles: readonly string[];
  /** Keys it sets that mean nothing here. */
  readonly unused: readonly string[];
}

/** The folder of the contexts and of the selection; undefined where there can be none. */
function folderOf({ env }: Sources): string | undefined {
  const config = env("XDG_CONFIG_HOME") ?? "";
  if (config !== "") return `${config}/nats`;
  const home = env("HOME") ?? "";
  return home === "" ? undefined : `${home}/.config/nats`;
}

/** The name of the context that `nats context select` has chosen; undefined where none is. */
export function selectedContext(sources: Sources): string | undefined {
  const folder = folderOf(sources);
  if (folder === undefined) return undefined;
  const path = `${folder}/context.txt`;
  try {
    const name = sources.readTextFile(path)?.trim() ?? "";
    return name === "" ? undefined : name;
  } catch (error) {
    // A process without the permission was meant not to look there.
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw new UsageError(
      `Cannot read ${path}, which says what context the nats command uses: ${
        messageOf(error)
      }`,
      { cause: error },
    );
  }
}

/**
 * The context `text`: a name, or the path of a file that ends in `.json`.
 *
 * @throws {UsageError} when there is none, or it cannot be read.
 */
export function readContext(
  text: string,
  { role, sources, problems, origin }: {
    /** Who uses it: what the role has no option for is not used. */
    readonly role: Role;
    readonly sources: Sources;
    /** Takes what is wrong in the file. */
    readonly problems: Problems;
    /** What asks for it, for messages. */
    readonly origin: string;
  },
): NatsContext {
  const problem = contextNameProblem(text);
  if (problem !== undefined) {
    throw new UsageError(
      `${origin}: ${quote(text)} is no name of a context: ${problem}`,
    );
  }
  const paths: string[] = [];
  if (text.endsWith(".json")) {
    paths.push(expandHome(text, sources.env("HOME")));
  }
  const folder = folderOf(sources);
  // A path that leads nowhere may be a name with that ending.
  if (folder !== undefined && !/[/\\]|\.\./.test(text)) {
    paths.push(`${folder}/context/${text}.json`);
  }
  for (const path of paths) {
    const content = readFile(
      path,
      `${origin}: context ${quote(text)}`,
      sources,
    );
    if (content === undefined) continue;
    return parseContext(content, {
      ...{ path, role, name: text, sources, problems },
    });
  }
  throw new UsageError(
    `${origin}: there is no context ${quote(text)}` +
      (paths.length > 0
        ? ` (no file ${paths.join(", ")})`
        : ": where contexts are is not known, since neither XDG_CONFIG_HOME nor HOME is set"),
  );
}

/** The text of the file at `path`, without a byte order mark; undefined where there is none. */
function readFile(
  path: string,
  what: string,
  sources: Sources,
): string | undefined {
  try {
    return sources.readTextFile(path);
  } catch (error) {
    throw new UsageError(
      `${what}: cannot read ${path}: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** The context in `text`; what is wrong with a value is a problem. */
function parseContext(
  text: string,
  { path, role, name, sources, problems }: {
    readonly path: string;
    readonly role: Role;
    readonly name: string;
    readonly sources: Sources;
    readonly problems: Problems;
  },
): NatsContext {
  const called = `context ${quote(name)} (${path})`;
  const tree = parseConfigText(path, text) ?? {};
  if (!isMapping(tree)) {
    throw new UsageError(
      `The top level in ${called}: ${
        describe(tree)
      } where there must be a mapping`,
    );
  }
  const texts = new Map<OptionKey, { text: string; origin: string }>();
  const contents: { creds?: Secret; nkey?: Secret } = {};
  const secretFiles = new Set<string>();
  const unused: string[] = [];
  const known = optionsOf(role).map(({ key }) => key);
  for (const [key, value] of Object.entries(tree)) {
    // The nats command writes all keys, also those that are not set.
    if (isUnset(value) || key === DESCRIPTION) continue;
    if (key === NSC) {
      // Without it, we would log in as nobody.
      problems.add(
        `${key} in ${called}: the command nsc would have to say what the login is, and no other program is run here; give creds in its place (nsc generate creds)`,
      );
      continue;
    }
    if (!isKey(key) || !known.includes(OPTION_OF[key])) {
      unused.push(key);
      continue;
    }
    const origin = `${key} in ${called}`;
    const found = problems.attempt(() =>
      valueOf(key, textOf(key, value, origin), { origin, sources })
    );
    if (found === undefined) continue;
    const { text, content, file } = found;
    if (file !== undefined) secretFiles.add(file);
    if (content !== undefined && (key === "creds" || key === "nkey")) {
      contents[key] = new Secret(content);
    } else texts.set(OPTION_OF[key], { text: content ?? text, origin });
    if (holdsSecret(key, text)) secretFiles.add(path);
  }
  return {
    path,
    texts,
    contents,
    secretFiles: [...secretFiles],
    unused: unused.slice(0, MAX_NAMED),
  };
}

function isUnset(value: unknown): boolean {
  return value === null || value === "" || value === false ||
    Array.isArray(value) && value.length === 0;
}

function isKey(key: string): key is Key {
  return Object.hasOwn(OPTION_OF, key);
}

/** Whether the value `text` of `key` is a secret itself. */
function holdsSecret(key: Key, text: string): boolean {
  if (key === "url" || key === "socks_proxy") return text.includes("@");
  return SECRETS.includes(key) && !/^(?:file|env):\/\//.test(text) ||
    SECRET_FILES.includes(key) && text.startsWith("data:");
}

/** The text that `value` stands for. */
function textOf(key: Key, value: unknown, origin: string): string {
  if (typeof value === "string") return value;
  if (key === "tls_first" && typeof value === "boolean") return String(value);
  const shown = SECRETS.includes(key) ? "a value" : describe(value);
  const wanted = key === "tls_first" ? "true or false" : "a string";
  throw new UsageError(`${origin}: ${shown} where there must be ${wanted}`);
}

/** What a value says. */
interface Value {
  /** The text as written, paths in it expanded. */
  readonly text: string;
  /** What it leads to, where that is not a file that is read at each login. */
  readonly content?: string;
  /** The file with a secret that was read for it. */
  readonly file?: string;
}

/** What the value `written` of `key` says, or leads to. */
function valueOf(
  key: Key,
  written: string,
  { origin, sources }: { readonly origin: string; readonly sources: Sources },
): Value {
  const isFile = key === "ca" || key === "cert" || key === "key";
  const isSecretFile = SECRET_FILES.includes(key);
  if (!isFile && !isSecretFile && !SECRETS.includes(key)) {
    return { text: written };
  }
  const refuse = (problem: string, cause?: unknown): UsageError =>
    new UsageError(`${origin}: ${problem}`, { cause });
  const [, scheme = "", rest = written] =
    /^(?:([a-z][a-z0-9+.-]*):\/\/|data:;base64,)(.*)$/is.exec(written) ?? [];
  const isData = written.startsWith("data:;base64,");
  if (scheme === "op" || scheme === "nsc") {
    throw refuse(
      `${scheme}:// is not supported: it takes ${
        scheme === "op" ? "1Password's command" : "the command nsc"
      }, and no other program is run here; give a file, env://NAME or data:;base64,…`,
    );
  }
  if (isFile || isSecretFile) {
    if (scheme === "" && !isData || scheme === "file") {
      return { text: expandPath(rest, { refuse, sources }) };
    }
    if (isFile) throw refuse("it must be the path of a file, or file://PATH");
  }
  if (scheme === "env") return { text: written, content: variable(rest) };
  if (isData) return { text: written, content: decode(rest) };
  if (isSecretFile) {
    throw refuse(
      `${scheme}:// is not known: write a path, file://PATH, env://NAME or data:;base64,…`,
    );
  }
  if (scheme !== "file") return { text: written };
  const path = expandPath(rest, { refuse, sources });
  const content = readFile(path, origin, sources);
  if (content === undefined) throw refuse(`there is no file ${path}`);
  // Editors end the last line, too.
  return { text: written, content: content.trimEnd(), file: path };

  function variable(name: string): string {
    const value = sources.env(name) ?? "";
    if (value !== "") return value;
    throw refuse(
      `the environment variable ${
        quote(name)
      } is not set, or empty, or this process may not read it (Deno lets it with --allow-env=${name})`,
    );
  }

  function decode(base64: string): string {
    try {
      return new TextDecoder("utf-8", { fatal: true })
        .decode(Uint8Array.fromBase64(base64));
    } catch {
      // Not even the cause is passed on: it may quote the secret.
      throw refuse("what follows data:;base64, is no text in base64");
    }
  }
}

/** `path` with its variables and the home at its start, as the nats command expands them. */
function expandPath(
  path: string,
  { refuse, sources }: {
    readonly refuse: (problem: string) => UsageError;
    readonly sources: Sources;
  },
): string {
  const expanded = path.replaceAll(
    /\$(?:\{(\w+)\}|(\w+))/g,
    (_, braced?: string, plain?: string) => {
      const name = braced ?? plain ?? "";
      const value = sources.env(name);
      if (value !== undefined && value !== "") return value;
      throw refuse(
        `the environment variable ${
          quote(name)
        } in its path is not set, or this process may not read it (Deno lets it with --allow-env=${name})`,
      );
    },
  );
  return expandHome(expanded, sources.env("HOME"));
}
