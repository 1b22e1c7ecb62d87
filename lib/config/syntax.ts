/**
 * The languages of config files: YAML, JSON and TOML.
 *
 * @module
 */

import { CORE_SCHEMA, loadAll, YAMLException } from "js-yaml";
import { parse as parseToml, TomlError } from "smol-toml";
import { messageOf, UsageError } from "../base/errors.ts";

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
      return parseYaml(path, body);
    case "json":
      return parseJson(path, body);
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

/** The one document in `text`, or null for an empty file. */
function parseYaml(path: string, text: string): unknown {
  try {
    const [document = null, second] = loadAll(text, { schema: CORE_SCHEMA });
    if (second !== undefined) {
      throw syntaxError(path, undefined, "it has more than one document");
    }
    return document;
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    // The rest of the reason may be text of the file, and that a secret.
    const reason = error.reason.split(/\s*[:"<!]/)[0] ?? "";
    const line = error.mark === undefined ? undefined : error.mark.line + 1;
    throw syntaxError(path, line, `not YAML: ${reason}`);
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

/** The value in `text`, or null for an empty file. */
function parseJson(path: string, text: string): unknown {
  if (text.trim() === "") return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const before = text.slice(0, jsonErrorOffset(text, error.message));
    // The message itself may repeat the file's text, and that a secret.
    throw syntaxError(path, before.split("\n").length, "not JSON");
  }
}

/**
 * Where in `text` the runtime's JSON parser stopped. Its message has the
 * position for most errors; for an unexpected token it does not, and there
 * the shortest prefix with that error is looked for.
 */
function jsonErrorOffset(text: string, message: string): number {
  const [, position] = /at position (\d+)/.exec(message) ?? [];
  if (position !== undefined) return Number(position);
  let [good, bad] = [0, text.length];
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (hasUnexpectedToken(text.slice(0, middle))) bad = middle;
    else good = middle;
  }
  return bad;
}

/** Whether the JSON parser meets an unexpected token, rather than the end, in `text`. */
function hasUnexpectedToken(text: string): boolean {
  try {
    JSON.parse(text);
    return false;
  } catch (error) {
    return messageOf(error).startsWith("Unexpected token");
  }
}
