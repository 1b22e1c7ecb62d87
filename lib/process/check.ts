/**
 * What `check` looks at beside the configuration itself: the files that it
 * names, and what stands open.
 *
 * @module
 */
import type { ConfigByRole } from "../config/config.ts";
import { type Notice, Problems } from "../config/problems.ts";
import type { Role } from "../wire/subjects.ts";
import { exposures, modeOf, sentenceOf } from "./exposures.ts";
import type { Spoken } from "./log.ts";
import { readKeys, readStatusToken } from "./key_files.ts";
import { loginReader, type Pipes } from "./login_files.ts";

/**
 * What a person should know of a configuration that is in order.
 *
 * @throws {UsageError} naming each file that cannot be read or used.
 */
export async function checkFiles(
  config: ConfigByRole[Role],
  { secretFiles, notices }: {
    readonly secretFiles: readonly string[];
    readonly notices: readonly Notice[];
  },
): Promise<readonly Spoken[]> {
  const pipes: Pipes = new Map();
  const problems = new Problems();
  const readLogin = await loginReader(config.nats, pipes);
  problems.attempt(readLogin);
  problems.attempt(() => readKeys(config.security, pipes));
  problems.attempt(() => readStatusToken(config.status, pipes));
  problems.throwIfAny();
  const listensAt = config.role === "client"
    ? config.client.forwards.map(({ listen }) =>
      "path" in listen ? [] : [listen.host === "" ? "::" : listen.host]
    )
    : [];
  const open = exposures(config, {
    listensAt,
    secretFiles,
    modeOf,
  });
  return [
    ...notices.map(({ level, text }): Spoken => ({
      level: level === "warn" ? "warning" : "info",
      text,
      shown: `${level === "warn" ? "warning" : "note"}: ${text}`,
    })),
    ...[...open].map((exposure): Spoken => {
      const { what: text, ...fields } = exposure;
      const shown = `warning: ${sentenceOf(exposure)}`;
      return { level: "warning", text, fields, shown };
    }),
  ];
}
