/**
 * The files that hold what tunnels are sealed with, and the token of the status
 * page: read, and refused by their names when they are no such thing, or others
 * may read them.
 *
 * @module
 */
import { Secret } from "../base/credentials.ts";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { CommonConfig } from "../config/config.ts";
import { Problems } from "../config/problems.ts";
import { keyProblem } from "../seal/key_problem.ts";
import { KEY_BYTES, type KeyPair, parseSeed } from "../seal/keys.ts";
import { NO_PSK } from "../seal/open.ts";
import { type Pipes, readFile } from "./login_files.ts";

/** Fewest characters of a token: whoever reaches the status port may try as many as they like. */
const MIN_TOKEN = 16;

/** What a header can carry, and no one guesses. */
const TOKEN = new RegExp(`^[!-~]{${MIN_TOKEN},1024}$`);

/**
 * What the files say, checked, as one thread hands it to another: secret, and
 * in no type that would show it less, since none survives the way.
 */
export interface KeyTexts {
  /** The seeds of the process's own keys; at least one. */
  readonly seeds: readonly string[];
  /** What all processes of the deployment share beside, in base 64. */
  readonly psk: string | undefined;
}

/** What the texts stand for. */
export interface OwnKeys {
  /** The process's own key pairs; at least one. */
  readonly keys: readonly KeyPair[];
  /** What all processes of the deployment share beside; `NO_PSK` for nothing. */
  readonly psk: Uint8Array;
}

/**
 * Reads the files that `security` names; undefined where nothing is sealed.
 *
 * @throws {UsageError} naming each file that cannot be read or used.
 */
export function readKeys(
  { secretKey, psk }: CommonConfig["security"],
  pipes: Pipes,
): KeyTexts | undefined {
  if (secretKey === undefined) return undefined;
  const problems = new Problems();
  const seeds = secretKey.flatMap((path) =>
    problems.attempt(() => readSeed(path, { flag: "--secret-key", pipes })) ??
      []
  );
  const shared = psk === undefined
    ? undefined
    : problems.attempt(() => readPsk(psk, { flag: "--psk", pipes }));
  problems.throwIfAny();
  return { seeds, psk: shared };
}

/**
 * Reads the file with the token of the status page; undefined where there is
 * none.
 *
 * @throws {UsageError} naming the file when it cannot be read or used.
 */
export function readStatusToken(
  { token: path }: CommonConfig["status"],
  pipes: Pipes,
): Secret | undefined {
  if (path === undefined) return undefined;
  const file = { flag: "--status-token", pipes };
  const [token = "", more] = readSecretLines(path, file);
  if (more === undefined && TOKEN.test(token)) return new Secret(token);
  throw refusal(
    path,
    file,
    `it must hold one line of ${MIN_TOKEN} or more letters, digits and signs without blanks, such as 'openssl rand -hex 24' makes`,
  );
}

/** The keys that {@linkcode readKeys} has read. */
export function ownKeys({ seeds, psk }: KeyTexts): OwnKeys {
  return {
    keys: seeds.flatMap((seed) => parseSeed(seed) ?? []),
    psk: psk === undefined ? NO_PSK : Uint8Array.fromBase64(psk),
  };
}

/** Where a secret is read, and which flag named the file. */
interface SecretFile {
  readonly flag: string;
  readonly pipes: Pipes;
}

/**
 * The seed in a file, as `key generate`, `nk` and `nsc` write them: on a line
 * of its own, perhaps beside comments.
 *
 * @throws {UsageError} naming the file, and nothing of what is in it.
 */
export function readSeed(path: string, file: SecretFile): string {
  // What `nsc` shows of a key has its public half, too.
  const lines = readSecretLines(path, file);
  const seeds = lines.filter((line) => line.startsWith("S"));
  const [seed = lines[0] ?? "", more] = seeds;
  const problem = more === undefined
    ? keyProblem("seed", seed)
    : "it holds more than one secret key; give each its own file";
  if (problem !== undefined) throw refusal(path, file, problem);
  return seed;
}

function readPsk(path: string, file: SecretFile): string {
  const [text = "", more] = readSecretLines(path, file);
  if (more !== undefined || !isPsk(text)) {
    throw refusal(
      path,
      file,
      "it must hold 32 bytes in base 64 on one line, as 'key psk' or 'wg genpsk' makes them",
    );
  }
  return text;
}

function isPsk(text: string): boolean {
  return /^[A-Za-z0-9+/]{43}=$/.test(text) &&
    Uint8Array.fromBase64(text).length === KEY_BYTES;
}

/** The lines of a file that say something. */
function readSecretLines(
  path: string,
  { flag, pipes }: SecretFile,
): readonly string[] {
  const text = readFile(path, { flag, pipes });
  if (!pipes.has(path)) refuseOthers(path, flag);
  return text.split("\n").map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

/** Refuses a file that others than its owner may read or write. */
function refuseOthers(path: string, flag: string): void {
  const { mode, uid } = Deno.statSync(path);
  // Windows has no such modes.
  if (mode === null) return;
  // A file of root's that its group may read is how an orchestrator hands out
  // secrets to a process that is not root.
  const forbidden = uid === 0 && !mayBeRoot() ? 0o027 : 0o077;
  if ((mode & forbidden) === 0) return;
  const shown = (mode & 0o777).toString(8).padStart(4, "0");
  throw new UsageError(
    `The file of ${flag}, ${
      quote(path)
    }, is open to others (mode ${shown}): run chmod 600 ${quote(path)}`,
  );
}

/** Whether this process may be root's, as far as it may know. */
function mayBeRoot(): boolean {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "uid" });
  return state !== "granted" || Deno.uid() === 0;
}

function refusal(
  path: string,
  { flag }: SecretFile,
  problem: string,
): UsageError {
  return new UsageError(
    `Cannot use the file of ${flag}, ${quote(path)}: ${problem}`,
  );
}
