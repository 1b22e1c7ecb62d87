/**
 * An HTTP proxy's part of HTTP/1.1 (RFC 9112): CONNECT, and plain requests
 * for `http://…`, one to a connection.
 *
 * Of a plain request only the head is read. It goes to the target in the form
 * that targets know and with `Connection: close`; its body and the answer are
 * bytes like any others, however long they are and however they are framed.
 *
 * @module
 */
import { Gathered } from "../base/gathered.ts";
import {
  type Address,
  formatAddress,
  tryParseAddress,
} from "../base/address.ts";
import type { Reason } from "../base/errors.ts";
import { quote, redactUrl } from "../base/text.ts";
import { connectStatus, gatewayStatus } from "./answers.ts";
import {
  type AnswerOptions,
  CHALLENGE,
  CONNECTED,
  respond,
} from "./http_answer.ts";
import type { FrontLogin } from "./login.ts";
import {
  concat,
  type FrontParser,
  type FrontRequest,
  type FrontStep,
  MAX_HEAD_BYTES,
  NOTHING,
  wrongPort,
} from "./parser.ts";

/** A character of a method or of a header's name (RFC 9110, 5.6.2). */
const TOKEN = "[!#$%&'*+.^_`|~\\w-]";

const BEGINS_WITH_TOKEN = new RegExp(`^${TOKEN}`);
const REQUEST_LINE = new RegExp(`^(${TOKEN}+) ([!-~]+) HTTP/(\\d)\\.(\\d)$`);
const HEADER = new RegExp(`^(${TOKEN}+):[ \\t]*(.*?)[ \\t]*$`);

/** Headers that are for the next station alone (RFC 9110, 7.6.1), beside those that Connection names. */
const HOP_BY_HOP: readonly string[] = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "upgrade",
];

/** Headers that say where a request ends: they go on, whatever Connection names. */
const FRAMING: readonly string[] = ["content-length", "transfer-encoding"];

/** The port of `http://…` without one. */
const HTTP_PORT = 80;

const CR = 13;
const LF = 10;

/** One application that speaks HTTP to a proxy. */
export class HttpParser implements FrontParser {
  readonly #login: FrontLogin | undefined;
  readonly #gathered = new Gathered();
  /** How many bytes hold neither the end of the head nor a wrong line end. */
  #searched = 0;

  /** Lets in whoever has the `login`; everybody where there is none. */
  constructor(login?: FrontLogin) {
    this.#login = login;
  }

  /** The next bytes. */
  push(bytes: Uint8Array): FrontStep {
    this.#gathered.add(bytes);
    const all = this.#gathered.bytes;
    const [first] = all;
    // Whoever speaks something else may wait for an answer before there is a head.
    if (
      first !== undefined &&
      !BEGINS_WITH_TOKEN.test(String.fromCharCode(first))
    ) return { type: "end", answer: NOTHING, why: wrongPort(first, "HTTP") };
    const end = this.#findEnd(all);
    if (end === "bare") return fail(400, "a line ends without CRLF");
    if ((end ?? all.length) > MAX_HEAD_BYTES) {
      return fail(431, "the head of the request is too long");
    }
    if (end === undefined) return { type: "more", answer: NOTHING };
    const lines = decodeLatin1(this.#gathered.take(end)).split("\r\n");
    const head = readHead(lines.slice(0, -2));
    return "type" in head ? head : this.#serve(head, this.#gathered.rest());
  }

  /** Where the head ends; "bare" where a line before that ends otherwise than the standard has it. */
  #findEnd(all: Uint8Array): number | "bare" | undefined {
    for (; this.#searched < all.length; this.#searched++) {
      const at = this.#searched;
      if (all[at] !== LF) continue;
      if (all[at - 1] !== CR) return "bare";
      if (all[at - 2] === LF) return at + 1;
    }
    return undefined;
  }

  #serve(head: Head, rest: Uint8Array): FrontStep {
    if (this.#login !== undefined) {
      const given = head.headers.find(({ key }) =>
        key === "proxy-authorization"
      );
      if (given === undefined || !admits(this.#login, given.value)) {
        return fail(407, "the proxy asks for a user and a password", {
          method: head.method,
          headers: [CHALLENGE],
          // Without one it is how a login begins.
          why: given === undefined ? undefined : "wrong user or password",
        });
      }
    }
    const request = head.method === "CONNECT"
      ? connect(head, rest)
      : fetchPlain(head, rest);
    return "type" in request
      ? request
      : { type: "request", answer: NOTHING, request };
  }
}

/** A header as it came. */
interface Header {
  /** Its name in lower case. */
  readonly key: string;
  readonly name: string;
  readonly value: string;
}

/** What stands before the body. */
interface Head {
  readonly method: string;
  readonly target: string;
  /** The minor version: HTTP/1.0 or 1.1. */
  readonly minor: string;
  readonly headers: readonly Header[];
}

type Failure = FrontStep & { readonly type: "end" };

/** The head in `lines`, or what is said when it is none. */
function readHead([first = "", ...fields]: readonly string[]): Head | Failure {
  const [, method, target, major, minor] = REQUEST_LINE.exec(first) ?? [];
  if (
    method === undefined || target === undefined || major === undefined ||
    minor === undefined
  ) return fail(400, "the request line is malformed");
  if (major !== "1") {
    return fail(505, "only HTTP/1.1 is spoken here");
  }
  const headers: Header[] = [];
  for (const field of fields) {
    const [, name, value] = HEADER.exec(field) ?? [];
    if (name === undefined || value === undefined || /[\0\r\n]/.test(value)) {
      return fail(400, "a header of the request is malformed");
    }
    headers.push({ key: name.toLowerCase(), name, value });
  }
  return { method, target, minor, headers };
}

function connect(head: Head, early: Uint8Array): FrontRequest | Failure {
  const target = tryParseAddress(head.target);
  if (typeof target === "string") {
    return fail(400, `CONNECT to ${quote(redactUrl(head.target))}: ${target}`);
  }
  return {
    target,
    accepted: CONNECTED,
    early,
    refused: (reason) =>
      respond(connectStatus(reason), sentence(target, reason)),
  };
}

/** A request for `http://…`, as the target is sent it. */
function fetchPlain(head: Head, body: Uint8Array): FrontRequest | Failure {
  const { method, minor, headers } = head;
  const [, scheme, authority = "", path = ""] =
    /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^#]*)/i.exec(head.target) ?? [];
  if (scheme === undefined) {
    return fail(
      400,
      "this is an HTTP proxy, which wants whole addresses: http://…",
      { method },
    );
  }
  if (scheme.toLowerCase() !== "http") {
    return fail(
      400,
      `${scheme}:// is not fetched here; http:// is, and CONNECT leads to all else`,
      { method },
    );
  }
  const target = tryParseAddress(
    /:\d*$/.test(authority)
      ? authority.replace(/:$/, `:${HTTP_PORT}`)
      : `${authority}:${HTTP_PORT}`,
  );
  if (typeof target === "string") {
    return fail(
      400,
      `the address ${quote(redactUrl(head.target))}: ${target}`,
      { method },
    );
  }
  const dropped = new Set([
    ...HOP_BY_HOP,
    "host",
    ...headers.filter(({ key }) => key === "connection")
      .flatMap(({ value }) => value.toLowerCase().split(/[ \t]*,[ \t]*/))
      .filter((name) => !FRAMING.includes(name)),
  ]);
  const lines = [
    `${method} ${originForm(method, path)} HTTP/1.${minor}`,
    // Of the address that was asked for, whatever was written (RFC 9112, 3.2.2).
    `Host: ${authority}`,
    ...headers.filter(({ key }) => !dropped.has(key))
      .map(({ name, value }) => `${name}: ${value}`),
    "Connection: close",
    "",
    "",
  ];
  return {
    target,
    accepted: NOTHING,
    early: concat(encodeLatin1(lines.join("\r\n")), body),
    refused: (reason) =>
      respond(gatewayStatus(reason), sentence(target, reason), { method }),
  };
}

/** The path of an address as targets are asked for it; of OPTIONS for none, the whole of it. */
function originForm(method: string, path: string): string {
  if (path.startsWith("/")) return path;
  return path === "" && method === "OPTIONS" ? "*" : `/${path}`;
}

/** Whether `value` of Proxy-Authorization is Basic with the right user and password. */
function admits(login: FrontLogin, value: string): boolean {
  const [, encoded] = /^basic +([\w+/-]+=*)$/i.exec(value) ?? [];
  const bytes = encoded === undefined ? undefined : decodeBase64(encoded);
  const colon = bytes?.indexOf(0x3a) ?? -1;
  return bytes !== undefined && colon >= 0 &&
    login.admits(bytes.subarray(0, colon), bytes.subarray(colon + 1));
}

function decodeBase64(text: string): Uint8Array | undefined {
  try {
    return encodeLatin1(atob(text));
  } catch {
    return undefined; // it is none
  }
}

/** A character for each byte, so that none is lost: the decoder of that name is for another encoding. */
function decodeLatin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

/** The bytes of characters that are one each. */
function encodeLatin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Why a target is not reached, for people. */
function sentence(target: Address, { code, text }: Reason): string {
  return `${formatAddress(target)} is not reached: ${text} (${code})`;
}

/** What is said to a request that is not served. */
function fail(
  status: number,
  text: string,
  options: AnswerOptions & { readonly why?: string | undefined } = {},
): Failure {
  const why = "why" in options ? options.why : text;
  return { type: "end", answer: respond(status, text, options), why };
}
