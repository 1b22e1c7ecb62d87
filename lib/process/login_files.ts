/**
 * The files that hold credentials and certificates: read, and tried as far as
 * that goes without a broker, so that one that cannot be used is told by its
 * name.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Credentials, Secret } from "../base/credentials.ts";
import { messageOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { NatsConfig } from "../config/nats_section.ts";
import { Problems } from "../config/problems.ts";
import { readTextFile } from "../config/sources.ts";
import { loginOf, type NatsOptions } from "../nats/options.ts";
import type { ReadAuth } from "./auth_reader.ts";
import { pemProblems } from "./pem.ts";

/** The texts of pipes by their paths, as a shell makes them of `<(command)`: they can be read once. */
export type Pipes = Map<string, string>;

/**
 * How to log in, as the files say now.
 *
 * @throws {UsageError} naming each file that cannot be read or used.
 */
export type ReadLogin = () => Pick<NatsOptions, "credentials" | "tls">;

/**
 * What reads the files that `config` names, and those that `readAuth` does.
 * What is in `pipes` is not read again, and what is read of pipes goes there.
 */
export async function loginReader(
  { auth, tls }: NatsConfig,
  pipes: Pipes,
  readAuth: ReadAuth = () => auth,
): Promise<ReadLogin> {
  // Megabytes that only those need who have certificates.
  const crypto = tls.ca === undefined && tls.cert === undefined
    ? undefined
    : await import("node:crypto");
  return () => {
    const problems = new Problems();
    const read = (name: string, path: string | undefined): string | undefined =>
      path === undefined
        ? undefined
        : problems.attempt(() => readFile(path, { flag: `--${name}`, pipes }));
    const credentials = problems.attempt(() =>
      readCredentials(readAuth(), pipes)
    );
    const ca = read("nats-tls-ca", tls.ca);
    const cert = read("nats-tls-cert", tls.cert);
    const key = read("nats-tls-key", tls.key);
    if (crypto !== undefined) {
      problems.add(...pemProblems({ ca, cert, key }, { paths: tls, crypto }));
    }
    problems.throwIfAny();
    return {
      ...(credentials && { credentials }),
      ...(tls.required && {
        tls: {
          first: tls.first,
          ...(ca !== undefined && { ca }),
          ...(cert !== undefined && key !== undefined && {
            identity: { cert, key: new Secret(key) },
          }),
        },
      }),
    };
  };
}

/**
 * Says on one line of the log whether the files that `config` names, and the
 * files of the configuration that have a secret, can be used, by what `read` finds.
 */
export function checkLogin(
  { auth, tls }: NatsConfig,
  read: ReadLogin,
  { cause = "SIGHUP", secretFiles = [] }: {
    readonly cause?: string;
    readonly secretFiles?: readonly string[];
  } = {},
): void {
  const log = getLogger(["sproxy", "nats"]);
  try {
    read();
  } catch (why) {
    log.error(
      `${cause}: files for the login cannot be used; tunnels go on, but the next connect to NATS will fail`,
      { why },
    );
    return;
  }
  const paths = [loginFile(auth), tls.ca, tls.cert, tls.key, ...secretFiles];
  const files = paths.filter((path) => path !== undefined);
  if (files.length === 0) {
    log.info(`${cause}: there are no files for the login to read`);
  } else {
    log.info(
      `${cause}: the files for the login can be used, and are from the next connect to NATS on`,
      { files: files.join(", ") },
    );
  }
}

/** The path of the file that `auth` logs in with; undefined where there is none. */
export function loginFile(auth: NatsConfig["auth"]): string | undefined {
  return "file" in auth && typeof auth.file === "string"
    ? auth.file
    : undefined;
}

/** The credentials, tried. */
function readCredentials(auth: NatsConfig["auth"], pipes: Pipes): Credentials {
  if (!("file" in auth)) {
    loginOf({ credentials: auth });
    return auth;
  }
  const { kind, file: path } = auth;
  if (path instanceof Secret) {
    const credentials = { kind, file: path };
    loginOf({ credentials });
    return credentials;
  }
  const text = readFile(path, { flag: `--nats-${kind}`, pipes });
  const credentials = { kind, file: new Secret(text), path };
  loginOf({ credentials });
  return credentials;
}

/**
 * The text of the file that `flag` names, whatever system it was written on.
 * What of a pipe is read goes to `pipes`, and what is there is not read again.
 *
 * @throws {UsageError} naming the flag and the file when it cannot be read.
 */
export function readFile(
  path: string,
  { flag, pipes }: { readonly flag: string; readonly pipes: Pipes },
): string {
  try {
    const kept = pipes.get(path);
    if (kept !== undefined) return kept;
    const text = readTextFile(path).replace(/^\uFEFF/, "")
      .replaceAll(/\r\n?/g, "\n");
    if (!Deno.statSync(path).isFile) pipes.set(path, text);
    return text;
  } catch (cause) {
    throw new UsageError(
      `Cannot read the file of ${flag}, ${quote(path)}: ${messageOf(cause)}`,
      { cause },
    );
  }
}
