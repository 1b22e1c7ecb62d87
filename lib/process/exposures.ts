/**
 * What of a configuration stands open to others, so that it is said at the
 * start: the defaults are the original's, and welcome everybody.
 *
 * @module
 */
import { formatAddress, parseIp } from "../base/address.ts";
import { isLocalhost, specialRange } from "../base/special_addresses.ts";
import { quote } from "../base/text.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { NatsConfig } from "../config/nats_section.ts";
import { loginFile } from "./login_files.ts";
import type { Role } from "../wire/subjects.ts";

/**
 * The bits of a file's mode that let everybody read or write it. Those of its
 * group are not among them: who gives a secret to a group means to.
 */
const OTHERS = 0o006;

/** What else than the configuration there is to know. */
export interface Surroundings {
  /** Where each of a client's ways in listens, as the system has it. */
  readonly listensAt: readonly (readonly string[])[];
  /** The files of the configuration that hold secrets. */
  readonly secretFiles: readonly string[];
  /** The mode of a file; undefined where that is not known. */
  readonly modeOf: (path: string) => number | undefined;
}

/** What stands open, a sentence each that says what to do about it. */
export function* exposures(
  config: ConfigByRole[Role],
  { listensAt, secretFiles, modeOf }: Surroundings,
): Generator<string> {
  if (config.role === "client") {
    yield* wayInExposures(config.client, listensAt);
  } else if (dialsAnything(config)) {
    yield hasKeys(config)
      ? "dials any target: whoever has the key of a client without 'allow' reaches what this machine reaches, itself included, save link-local and metadata addresses (--allow-target says what may be reached)"
      : "dials any target: whoever may publish opens reaches what this machine reaches, itself included, save link-local and metadata addresses (--allow-target says what may be reached)";
  }
  yield* loginExposures(config.nats);
  for (const path of new Set([...secretFiles, ...loginSecrets(config.nats)])) {
    const mode = modeOf(path) ?? 0;
    if ((mode & OTHERS) === 0) continue;
    const shown = (mode & 0o777).toString(8);
    yield `secret file readable by others: ${
      quote(path)
    } has mode ${shown} (chmod 600 makes it the owner's alone)`;
  }
}

/** What of a client's ways in others may use. */
function* wayInExposures(
  { forwards, allowFrom, socksPassword }: ConfigByRole["client"]["client"],
  listensAt: readonly (readonly string[])[],
): Generator<string> {
  if (allowFrom.length > 0) return;
  const placesOf = (
    isMeant: (way: (typeof forwards)[number]) => boolean,
  ): readonly string[] =>
    forwards.flatMap((way, at) => isMeant(way) ? listensAt[at] ?? [] : []);
  if (placesOf((way) => !("front" in way)).some(isEverywhere)) {
    yield "listens on every interface: whoever reaches this machine may use the tunnel (--allow-from says who may, 127.0.0.1:PORT in its place keeps it to this machine)";
  }
  if (
    socksPassword === undefined &&
    placesOf((way) => "front" in way).some((host) => !isLoopback(host))
  ) {
    yield "--socks or --http-proxy stands open beyond this machine: whoever reaches it reaches whatever the server may dial (--allow-from says who may, --socks-user asks for a password, a place without BIND keeps it to this machine)";
  }
  if (
    placesOf(({ acceptProxy }) => acceptProxy === true)
      .some((host) => !isLoopback(host))
  ) {
    yield "--accept-proxy stands open beyond this machine: whoever reaches it may claim any address (--allow-from says whose headers are taken)";
  }
}

/** Whether somebody may have any target dialled. */
function dialsAnything(config: ConfigByRole["server"]): boolean {
  const { allowTarget, services } = config.server;
  if (allowTarget.length > 0 || services.length > 0) return false;
  return !hasKeys(config) ||
    // What such an entry lists is all that it lets be reached.
    config.clients.some(({ allow, services }) => !allow && !services);
}

function hasKeys({ clients }: ConfigByRole["server"]): boolean {
  return clients.length > 0;
}

/** The mode of the file at `path`, what it is a link to; undefined where it is no file or the system has no modes. */
export function modeOf(path: string): number | undefined {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile ? mode ?? undefined : undefined;
  } catch {
    // Whoever reads the file says so if it cannot be read.
    return undefined;
  }
}

function isEverywhere(host: string): boolean {
  const ip = parseIp(host);
  return ip !== undefined && ip.every((byte) => byte === 0);
}

function* loginExposures(
  { auth, tls, servers }: NatsConfig,
): Generator<string> {
  const isSent = auth.kind === "password" || auth.kind === "token" ||
    auth.kind === "jwt" && auth.seed === undefined;
  if (tls.required || !isSent) return;
  const far = servers.find(({ host, websocket }) =>
    !isLoopback(host) && websocket?.tls !== true
  );
  if (far === undefined) return;
  if (far.websocket !== undefined) {
    yield `${auth.kind} over ws:// in the clear, to ${
      formatAddress(far)
    } (wss:// has TLS, and --nats-creds and --nats-nkey send no secret)`;
    return;
  }
  yield `${auth.kind} over nats:// in the clear, unless ${
    formatAddress(far)
  } demands TLS (tls:// does, and --nats-creds and --nats-nkey send no secret)`;
}

function isLoopback(host: string): boolean {
  const ip = parseIp(host);
  return ip === undefined
    ? isLocalhost(host)
    : specialRange(ip)?.kind === "loopback";
}

/** The files with secrets for the login. */
function loginSecrets({ auth, tls }: NatsConfig): readonly string[] {
  return [loginFile(auth), tls.key]
    .filter((path) => path !== undefined);
}
