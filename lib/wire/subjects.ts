/**
 * NATS subjects and connection IDs: the only place that builds or reads them.
 *
 * A version 2 connection ID is `<client>.<server>.<number>`: the token of the
 * process that listens, the token of the process that dials, and the tunnel's
 * number in base 36. Each process so needs one standing subscription, made
 * before the first open, and NATS permissions can fence one client from
 * another. Number 0 speaks of the pair of processes itself.
 *
 * @module
 */
import { quote } from "../base/text.ts";

/** The original's subject for opens. */
export const DEFAULT_REQUEST_SUBJECT = "proxy.request";

/** The original's prefix of data subjects. */
export const DEFAULT_DATA_PREFIX = "p.data";

/** What the original's library, and all others, begin inboxes with unless told otherwise. */
export const DEFAULT_INBOX_PREFIX = "_INBOX";

/** Longest connection ID taken from a peer, in characters: a data subject stays a short line. */
export const MAX_ID_LENGTH = 128;

/** Longest token of a connection ID, in characters. */
export const MAX_TOKEN_LENGTH = 32;

/** Bytes of randomness in a process token: 128 bits cannot be guessed. */
const TOKEN_RANDOM_BYTES = 16;

/**
 * Stands for the server's token where an open is answered: the client then
 * needs no subscription beside the one for its tunnels.
 */
export const OPEN_TOKEN = "open";

/**
 * The same where processes with one configured client token find out which of
 * them holds it: number 0 is asked, each other is where one process is answered.
 */
export const HOLD_TOKEN = "hold";

/**
 * Numbers from here on are of tools that ask beside a client, perhaps under its
 * token: those of the client itself begin below 2^48 and never come so far.
 */
const FIRST_TOOL_NUMBER = 2 ** 52;

/** Stands for the server's token where a probe is answered, and before the client's where all servers are asked. */
export const PROBE_TOKEN = "probe";

/** Before the name of a site in a request subject. */
const SITE_TOKEN = "at";

/** Before the name of a service in a request subject. */
const SERVICE_TOKEN = "svc";

/** Before the ID of an instance where an operator asks something of it. */
const CONTROL_TOKEN = "ctl";

/**
 * At the end of a data subject, of messages that may overtake the others: no
 * tunnel's number, which has small letters only.
 */
const EXPRESS_TOKEN = "X";

const DOT = 46;

const EXPRESS_CODE = EXPRESS_TOKEN.charCodeAt(0);

/** Bytes of the express token with its dot. */
const EXPRESS_BYTES = 2;

/** The parts of a version 2 connection ID. */
export interface ConnectionId {
  /** Token of the listening process. */
  readonly client: string;
  /** Token of the dialling process. */
  readonly server: string;
  /** Number of the tunnel, chosen by the client; 0 for the pair itself. */
  readonly number: number;
}

/** Which side of a tunnel a process is. */
export type Role = "client" | "server";

/** The role of the process at the other end. */
export function otherRole(role: Role): Role {
  return role === "client" ? "server" : "client";
}

/** What a process of this role has at its socket, for people. */
export function localEnd(role: Role): string {
  return role === "client" ? "the application" : "the target";
}

/** Whom an open is for, as its subject says. */
export interface RequestScope {
  /** The servers of this site; without it, those of none. */
  readonly site?: string | undefined;
  /** Those that offer this service; without it, all that dial. */
  readonly service?: string | undefined;
}

/** A subscription in two parts. */
export interface SplitPattern {
  /** What comes in its turn. */
  readonly ordinary: string;
  /** What may overtake that. */
  readonly express: string;
}

/** The subjects of one deployment. */
export class Subjects {
  /** Where opens are requested by whom nothing is known. */
  readonly request: string;
  /** What data subjects begin with. */
  readonly prefix: string;

  /** Subjects with this request subject and data prefix, both without wildcards. */
  constructor(options: { readonly request: string; readonly prefix: string }) {
    this.request = options.request;
    this.prefix = options.prefix;
  }

  /**
   * Where the client with this token requests opens that go `to` there, and
   * nobody else where permissions say so.
   */
  requestOf(token: string, to: RequestScope = {}): string {
    const { site, service } = to;
    return [
      this.request,
      ...(site === undefined ? [] : [SITE_TOKEN, site]),
      ...(service === undefined ? [] : [SERVICE_TOKEN, service]),
      token,
    ].join(".");
  }

  /** What a server subscribes to for those of all clients. */
  requestPattern(to: RequestScope = {}): string {
    return this.requestOf("*", to);
  }

  /** Where the client with this token asks all servers whether they are there. */
  probeOf(token: string): string {
    return `${this.request}.${PROBE_TOKEN}.${token}`;
  }

  /** What a server subscribes to for such questions of all clients. */
  get probePattern(): string {
    return this.probeOf("*");
  }

  /** The client that may ask all servers on this subject; undefined where it is no such one. */
  proberOn(subject: string): string | undefined {
    const prefix = this.probeOf("");
    const client = subject.slice(prefix.length);
    return subject.startsWith(prefix) && isToken(client) ? client : undefined;
  }

  /** What a request subject says of the request; undefined where it is none of ours. */
  requestOn(
    subject: string,
  ): RequestScope & { readonly client?: string } | undefined {
    if (subject === this.request) return {};
    const prefix = `${this.request}.`;
    if (!subject.startsWith(prefix)) return undefined;
    const tokens = subject.slice(prefix.length).split(".");
    const client = tokens.pop();
    const site = takeAfter(tokens, SITE_TOKEN);
    const service = takeAfter(tokens, SERVICE_TOKEN);
    if (tokens.length > 0 || client === undefined) return undefined;
    return {
      client,
      ...(site !== undefined && { site }),
      ...(service !== undefined && { service }),
    };
  }

  /** Where the instance of this ID is asked for what an operator may want. */
  control(id: string, verb: string): string {
    return [this.request, CONTROL_TOKEN, id, verb].join(".");
  }

  /** Where the client with this token has its open of this number answered. */
  answerTo(client: string, number: number): string {
    return this.data(
      "client",
      formatId({ client, server: OPEN_TOKEN, number }),
    );
  }

  /** The same of a probe. */
  probeAnswerTo(client: string, number: number): string {
    return this.data(
      "client",
      formatId({ client, server: PROBE_TOKEN, number }),
    );
  }

  /** Where the process of role `to` receives frames of connection `id`. */
  data(to: Role, id: string): string {
    return `${this.prefix}.to_${to}.${id}`;
  }

  /** What a process of role `role` with this token subscribes to. */
  pattern(role: Role, token: string): string {
    return `${this.#pairs(role, token)}.>`;
  }

  /** The two parts of that pattern: what comes in its turn, and what may overtake it. */
  patterns(role: Role, token: string): SplitPattern {
    const ordinary = role === "client"
      ? `${this.#pairs(role, token)}.*.*`
      : `${this.#pairs(role, token)}.*`;
    return { ordinary, express: expressOf(ordinary) };
  }

  #pairs(role: Role, token: string): string {
    return role === "client"
      ? `${this.prefix}.to_client.${token}`
      : `${this.prefix}.to_server.*.${token}`;
  }

  /** The connection ID of a data subject to `role`, express or not; undefined if it is none. */
  idOf(role: Role, subject: string): string | undefined {
    const prefix = `${this.prefix}.to_${role}.`;
    if (!subject.startsWith(prefix)) return undefined;
    const end = isExpress(subject) ? -EXPRESS_BYTES : subject.length;
    return subject.slice(prefix.length, end);
  }

  /**
   * What keeps this deployment's frames from the client with this token that has
   * an open answered at `reply`: another data prefix. Undefined when it has the
   * same, or `reply` does not show it.
   */
  prefixProblem(client: string, reply: string): string | undefined {
    const end = Math.max(
      ...[OPEN_TOKEN, PROBE_TOKEN].map((token) =>
        reply.lastIndexOf(`.to_client.${client}.${token}.`)
      ),
    );
    const prefix = end < 0 ? this.prefix : reply.slice(0, end);
    return prefix === this.prefix
      ? undefined
      : `the client has the data prefix ${quote(prefix)}, the server ${
        quote(this.prefix)
      }: give both the same --data-prefix`;
  }
}

/** Where messages for `subject` go that may overtake the others. */
export function expressOf(subject: string): string {
  return `${subject}.${EXPRESS_TOKEN}`;
}

/** Whether messages for `subject` may overtake others. */
export function isExpress(subject: string): boolean {
  return subject.endsWith(`.${EXPRESS_TOKEN}`);
}

/** The same, straight from its bytes. */
export function isExpressBytes(subject: Uint8Array): boolean {
  const { length } = subject;
  return subject[length - 1] === EXPRESS_CODE &&
    subject[length - EXPRESS_BYTES] === DOT;
}

/** `subject` without what makes it express, if anything does. */
export function withoutExpress(subject: Uint8Array): Uint8Array {
  return isExpressBytes(subject)
    ? subject.subarray(0, subject.length - EXPRESS_BYTES)
    : subject;
}

/** Whether a message may be published to `subject`: visible ASCII, no wildcard, not empty. */
export function isSubject(subject: string): boolean {
  return /^[!-)+-=?-~]+$/.test(subject);
}

/**
 * Whether a reply subject is an inbox, of those that begin with `prefix`, so
 * that nobody is answered where he might not publish himself. Brokers put
 * something before it (`_GR_.CLUSTER.SERVER.`) or in its place (`_R_.`) where
 * the asker is in another cluster, or account.
 */
export function isInbox(reply: string, prefix: string): boolean {
  if (!isSubject(reply)) return false;
  const own = reply.replace(/^_GR_\.[^.]+\.[^.]+\./, "");
  return own.startsWith(`${prefix}.`) || reply.startsWith("_R_.");
}

/** Whether `token` may stand in a connection ID: it has the safe part of what NATS allows. */
export function isToken(token: string): boolean {
  return token.length <= MAX_TOKEN_LENGTH && /^[A-Za-z0-9_-]+$/.test(token);
}

/** A token nobody can guess, of 22 characters, from `TOKEN_RANDOM_BYTES` random bytes. */
export function makeToken(random: (bytes: Uint8Array) => Uint8Array): string {
  return random(new Uint8Array(TOKEN_RANDOM_BYTES)).toBase64({
    alphabet: "base64url",
    omitPadding: true,
  });
}

/**
 * The first tunnel number of a process: random, from 1 to 2^48, so that a process
 * with a fixed token that starts anew does not use its old IDs again.
 */
export function firstNumber(random: (bytes: Uint8Array) => Uint8Array): number {
  return random(new Uint8Array(6)).reduce((sum, byte) => sum * 256 + byte, 0) +
    1;
}

/** The first number of a tool: random, too, for the same reason. */
export function firstToolNumber(
  random: (bytes: Uint8Array) => Uint8Array,
): number {
  return FIRST_TOOL_NUMBER + firstNumber(random);
}

/** Whether a tunnel of this number is a tool's, for which a client with the same token does not answer. */
export function isToolNumber(number: number): boolean {
  return number >= FIRST_TOOL_NUMBER;
}

/** The ID of these parts. */
export function formatId({ client, server, number }: ConnectionId): string {
  return `${client}.${server}.${number.toString(36)}`;
}

/** The parts of a version 2 ID, or undefined when `id` is none. */
export function parseId(id: string): ConnectionId | undefined {
  const [client = "", server = "", text = "", ...rest] = id.split(".");
  const number = parseNumber(text);
  return rest.length === 0 && isToken(client) && isToken(server) &&
      number !== undefined
    ? { client, server, number }
    : undefined;
}

/** A tunnel number as written in IDs and headers, or undefined. */
export function parseNumber(text: string): number | undefined {
  if (!/^(0|[1-9a-z][0-9a-z]{0,10})$/.test(text)) return undefined;
  const number = parseInt(text, 36);
  return Number.isSafeInteger(number) ? number : undefined;
}

/**
 * The tunnel number at the end of a subject, straight from its bytes, for the
 * hot path; -1 when the last token is no number.
 */
export function numberAtEnd(subject: Uint8Array): number {
  let value = 0;
  let weight = 1;
  let at = subject.length - 1;
  for (; at >= 0; at--) {
    const byte = subject[at] ?? 0;
    if (byte === DOT) break;
    const digit = byte >= 48 && byte <= 57
      ? byte - 48
      : byte >= 97 && byte <= 122
      ? byte - 87
      : -1;
    if (digit < 0 || weight > Number.MAX_SAFE_INTEGER) return -1;
    value += digit * weight;
    weight *= 36;
  }
  return at === subject.length - 1 || !Number.isSafeInteger(value) ? -1 : value;
}

/** Takes the first of `tokens` and the name after it away, if it is `word`. */
function takeAfter(tokens: string[], word: string): string | undefined {
  if (tokens.length < 2 || tokens[0] !== word) return undefined;
  return tokens.splice(0, 2)[1];
}
