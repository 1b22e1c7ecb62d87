/**
 * The languages of config files: YAML, JSON and TOML.
 *
 * @module
 */

import { CORE_SCHEMA, loadAll, mergeTag, YAMLException } from "js-yaml";
import { parse as parseToml, TomlError } from "smol-toml";
import { UsageError } from "../base/errors.ts";

/** The endings a config file may have, in the order they are looked for. */
export const CONFIG_EXTENSIONS = ["yaml", "yml", "json", "toml"] as const;

/**
 * The tree in `text`, the content of the file at `path`; null when it is
 * empty. The path's extension says which language it is.
 *
 * @throws {UsageError} naming the file and the line of a syntax error, and
 * nothing of the text, which may hold secrets.
 */
export function parseConfigText(path: string, text: string): unknown {
  // A byte order mark, which some editors write, is no part of the text.
  const body = text.replace(/^\uFEFF/, "");
  const extension = /\.([^./\\]*)$/.exec(path)?.[1]?.toLowerCase() ?? "";
  switch (extension) {
    case "yaml":
    case "yml":
      return parseYaml(path, body, "YAML");
    case "json":
      // JSON is YAML; its parser refuses keys given twice, and knows the line.
      return parseYaml(path, body, "JSON");
    case "toml":
      return parseTomlText(path, body);
    default:
      throw new UsageError(
        `Config file ${path} has none of the endings ${
          CONFIG_EXTENSIONS.map((name) => `.${name}`).join(", ")
        }`,
      );
  }
}

/** A syntax error in a config file; `detail` must not repeat its text. */
function syntaxError(
  path: string,
  line: number | undefined,
  detail: string,
): UsageError {
  const place = line === undefined ? "" : `, line ${line}`;
  return new UsageError(`Config file ${path}${place}: ${detail}`);
}

/** YAML 1.2, with the merge key (`<<`) of 1.1, which people know from other programs. */
const YAML_SCHEMA = CORE_SCHEMA.withTags(mergeTag);

/** The one document in `text`, or null for an empty file. */
function parseYaml(path: string, text: string, language: string): unknown {
  try {
    const [document = null, second] = loadAll(text, { schema: YAML_SCHEMA });
    if (second !== undefined) {
      throw syntaxError(path, undefined, "it has more than one document");
    }
    return document;
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const { mark } = error;
    // The rest of the reason may be text of the file, and that a secret.
    const reason = error.reason.split(/\s*[:"<!]/)[0] ?? "";
    // Which a key is not.
    const [, key] = /^["']?([\w.-]+)/.exec(text.slice(mark?.position)) ?? [];
    const detail = /mapping key$/.test(reason) && key !== undefined
      ? `${reason} ${key}`
      : reason;
    const line = mark === undefined ? undefined : mark.line + 1;
    throw syntaxError(path, line, `not ${language}: ${detail}`);
  }
}

/** The tables in `text`. */
function parseTomlText(path: string, text: string): unknown {
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // What follows the first line is text of the file, perhaps a secret.
    const [reason = ""] = error.message.split("\n");
    const detail = reason.replace("Invalid TOML document: ", "");
    throw syntaxError(path, error.line, `not TOML: ${detail}`);
  }
}
