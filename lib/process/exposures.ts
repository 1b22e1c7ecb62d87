/**
 * What of a configuration stands open to others, so that it is said at the
 * start: the defaults are the original's, and welcome everybody.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { formatAddress, parseIp } from "../base/address.ts";
import { isLocalhost, specialRange } from "../base/special_addresses.ts";
import { quote } from "../base/text.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { NatsConfig } from "../config/nats_section.ts";
import { loginFile } from "./login_files.ts";
import type { Role } from "../wire/subjects.ts";

const log = getLogger(["sproxy", "process"]);

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

/** Something that stands open. */
export interface Exposure {
  /** What it is. */
  readonly what: string;
  /** Who can do what with it. */
  readonly why: string;
  /** What closes it. */
  readonly hint: string;
}

/** An exposure as one sentence. */
export function sentenceOf({ what, why, hint }: Exposure): string {
  return `${what}: ${why} (${hint})`;
}

/** What stands open, and what to do about it. */
export function* exposures(
  config: ConfigByRole[Role],
  { listensAt, secretFiles, modeOf }: Surroundings,
): Generator<Exposure> {
  if (config.role === "client") {
    yield* wayInExposures(config.client, listensAt);
  } else if (dialsAnything(config)) {
    const reaches =
      "reaches what this machine reaches, itself included, save link-local and metadata addresses";
    yield {
      what: "dials any target",
      why: hasKeys(config)
        ? `whoever has the key of a client without 'allow' ${reaches}`
        : `whoever may publish opens ${reaches}`,
      hint: "--allow-target says what may be reached",
    };
  }
  const { control } = config.role === "server" ? config.server : config.client;
  const { auth, tls, auditSubject } = config.nats;
  if (control && auth.kind === "none" && tls.cert === undefined) {
    yield {
      what: "--control stands open",
      why:
        "NATS asks for no login, so whoever reaches the broker may end tunnels and have this process stop",
      hint: "a login with permissions says who may",
    };
  }
  if (auditSubject !== undefined && config.security.secretKey !== undefined) {
    yield {
      what: "--audit-subject tells in the clear what is sealed else",
      why:
        "the broker, and whoever may subscribe there, learn who reached what",
      hint: "the log tells it on this machine alone",
    };
  }
  yield* loginExposures(config.nats);
  for (const path of new Set([...secretFiles, ...loginSecrets(config.nats)])) {
    const mode = modeOf(path) ?? 0;
    if ((mode & OTHERS) === 0) continue;
    const shown = (mode & 0o777).toString(8);
    yield {
      what: "secret file readable by others",
      why: `${quote(path)} has mode ${shown}`,
      hint: "chmod 600 makes it the owner's alone",
    };
  }
}

/** What of a client's ways in others may use. */
function* wayInExposures(
  { forwards, allowFrom, socksPassword }: ConfigByRole["client"]["client"],
  listensAt: readonly (readonly string[])[],
): Generator<Exposure> {
  if (allowFrom.length > 0) return;
  const placesOf = (
    isMeant: (way: (typeof forwards)[number]) => boolean,
  ): readonly string[] =>
    forwards.flatMap((way, at) => isMeant(way) ? listensAt[at] ?? [] : []);
  if (placesOf((way) => !("front" in way)).some(isEverywhere)) {
    yield {
      what: "listens on every interface",
      why: "whoever reaches this machine may use the tunnel",
      hint:
        "--allow-from says who may, 127.0.0.1:PORT in its place keeps it to this machine",
    };
  }
  if (
    socksPassword === undefined &&
    placesOf((way) => "front" in way).some((host) => !isLoopback(host))
  ) {
    yield {
      what: "--socks or --http-proxy stands open beyond this machine",
      why: "whoever reaches it reaches whatever the server may dial",
      hint:
        "--allow-from says who may, --socks-user asks for a password, a place without BIND keeps it to this machine",
    };
  }
  if (
    placesOf(({ acceptProxy }) => acceptProxy === true)
      .some((host) => !isLoopback(host))
  ) {
    yield {
      what: "--accept-proxy stands open beyond this machine",
      why: "whoever reaches it may claim any address",
      hint: "--allow-from says whose headers are taken",
    };
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
): Generator<Exposure> {
  const isSent = auth.kind === "password" || auth.kind === "token" ||
    auth.kind === "jwt" && auth.seed === undefined;
  if (tls.required || !isSent) return;
  const far = servers.find(({ host, websocket }) =>
    !isLoopback(host) && websocket?.tls !== true
  );
  if (far === undefined) return;
  if (far.websocket !== undefined) {
    yield {
      what: `${auth.kind} over ws:// in the clear`,
      why: `${formatAddress(far)} is not this machine`,
      hint: "wss:// has TLS, and --nats-creds and --nats-nkey send no secret",
    };
    return;
  }
  yield {
    what: `${auth.kind} over nats:// in the clear`,
    why: `${formatAddress(far)} may not demand TLS`,
    hint: "tls:// does, and --nats-creds and --nats-nkey send no secret",
  };
}

/** Whether only programs of this machine reach this IP address or name. */
export function isLoopback(host: string): boolean {
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

/** Tells the log what stands open, once for as long as it does. */
export class ExposureLog {
  #told: readonly Exposure[] = [];

  /** This is what stands open now. */
  tell(open: readonly Exposure[]): void {
    for (const { what, why, hint } of open) {
      const known = this.#told.some((it) => it.what === what && it.why === why);
      if (!known) log.warn(what, { why, hint });
    }
    // What was closed meanwhile and opens again is news.
    this.#told = open;
  }
}
