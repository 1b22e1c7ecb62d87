/**
 * The login as flags, environment and config file say it, read anew: a
 * password or token in a config file is rotated like any other.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { messageOf, UsageError } from "../base/errors.ts";
import { type CommandLine, parseCommandLine } from "../config/cli.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { NatsConfig } from "../config/nats_section.ts";
import {
  pipesAmong,
  type ReadFiles,
  readTextFileAgain,
  systemSources,
} from "../config/sources.ts";
import type { Role } from "../wire/subjects.ts";

/**
 * How to log in, files by their paths.
 *
 * @throws {UsageError} when the config file cannot be used now.
 */
export type ReadAuth = () => NatsConfig["auth"];

/** What reads the login again, as `command` said it at the start. */
export function authReader(
  role: Role,
  { args, files, command }: {
    /** The command line. */
    readonly args: readonly string[];
    /** The files read for the configuration: pipes among them cannot be read again. */
    readonly files: ReadFiles;
    /** What the command line came to. */
    readonly command: CommandLine<ConfigByRole[Role]> & {
      readonly kind: "run";
    };
  },
): ReadAuth {
  const { config: { nats: { auth } }, secretFiles } = command;
  // What flags and the environment say stays as it is.
  if (secretFiles.length === 0) return () => auth;
  const from = secretFiles.join("\n");
  const pipes = pipesAmong(files);
  return () => {
    const now = parseCommandLine(
      role,
      args,
      systemSources(new Map(pipes), readTextFileAgain),
    );
    // A file that has gone says of no login; another kind is for the next start,
    // and so is another file, such as that of a context selected since: what it
    // says is for other brokers.
    return now.kind === "run" && now.config.nats.auth.kind === auth.kind &&
        now.secretFiles.join("\n") === from
      ? now.config.nats.auth
      : auth;
  };
}

/**
 * As `read` says, or, while the config file cannot be used, as it said last:
 * what else is wrong there must not keep NATS away. The log is told once.
 */
export function orAsBefore(
  read: ReadAuth,
  first: NatsConfig["auth"],
): ReadAuth {
  let last = first;
  let told: string | undefined;
  return () => {
    try {
      last = read();
      told = undefined;
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      const why = messageOf(error);
      if (why !== told) {
        getLogger(["sproxy", "nats"]).warn(
          "the config file cannot be used; the login stays as it was",
          { why },
        );
      }
      told = why;
    }
    return last;
  };
}
