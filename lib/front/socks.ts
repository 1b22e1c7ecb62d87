/**
 * SOCKS5 (RFC 1928, with user and password: RFC 1929), SOCKS4 and SOCKS4a, as
 * far as connections go out by them.
 *
 * @module
 */
import { Gathered } from "../base/gathered.ts";
import { type Address, formatIp, hostProblem } from "../base/address.ts";
import { quote } from "../base/text.ts";
import { SOCKS5, socks5Reply } from "./answers.ts";
import type { FrontLogin } from "./login.ts";
import {
  concat,
  type FrontParser,
  type FrontStep,
  MAX_HEAD_BYTES,
  NOTHING,
  wrongPort,
} from "./parser.ts";

/** The one command that is served: BIND and UDP ASSOCIATE are not. */
const CONNECT = 1;

/** Methods of SOCKS5 to log in. */
const METHOD = { none: 0x00, password: 0x02, noneAcceptable: 0xff } as const;

/** Kinds of addresses of SOCKS5. */
const ADDRESS = { ipv4: 1, name: 3, ipv6: 4 } as const;

/** Replies of SOCKS4. */
const SOCKS4 = { granted: 0x5a, refused: 0x5b } as const;

/** What the other commands are called. */
const COMMANDS: Readonly<Record<number, string>> = {
  2: "BIND",
  3: "UDP ASSOCIATE",
};

/** What comes of the bytes at the start of what is there; undefined while they are too few. */
type Next = FrontStep | undefined;

const decoder = new TextDecoder();

/** One application that speaks SOCKS. */
export class SocksParser implements FrontParser {
  readonly #login: FrontLogin | undefined;
  readonly #gathered = new Gathered();
  #next: () => Next = () => this.#greeting();

  /** Lets in whoever has the `login`; everybody where there is none. */
  constructor(login?: FrontLogin) {
    this.#login = login;
  }

  /** The next bytes. */
  push(bytes: Uint8Array): FrontStep {
    this.#gathered.add(bytes);
    let answer = NOTHING;
    for (;;) {
      const step = this.#next();
      if (step === undefined) {
        return this.#gathered.bytes.length <= MAX_HEAD_BYTES
          ? { type: "more", answer }
          : { type: "end", answer, why: "its request is too long" };
      }
      answer = concat(answer, step.answer);
      if (step.type !== "more") return { ...step, answer };
    }
  }

  #greeting(): Next {
    const { bytes } = this.#gathered;
    const [version, count] = bytes;
    if (version === undefined) return undefined;
    if (version === 4) return this.#request4();
    if (version !== 5) return end(NOTHING, wrongPort(version, "SOCKS"));
    if (count === undefined || bytes.length < 2 + count) return undefined;
    const offered = this.#gathered.take(2 + count).subarray(2);
    const method = this.#login === undefined ? METHOD.none : METHOD.password;
    if (!offered.includes(method)) {
      const why = this.#login === undefined
        ? "it insists on a login, and there is none (--socks-user)"
        : "it offers no user and password";
      return end([5, METHOD.noneAcceptable], why);
    }
    this.#next = this.#login === undefined
      ? () => this.#request5()
      : () => this.#password();
    return { type: "more", answer: Uint8Array.of(5, method) };
  }

  #password(): Next {
    const { bytes } = this.#gathered;
    const [version, userLength] = bytes;
    if (version !== undefined && version !== 1) {
      return end([1, 1], "its login is malformed");
    }
    if (userLength === undefined) return undefined;
    const passwordLength = bytes[2 + userLength];
    if (passwordLength === undefined) return undefined;
    const length = 3 + userLength + passwordLength;
    if (bytes.length < length) return undefined;
    const user = bytes.slice(2, 2 + userLength);
    const password = bytes.slice(3 + userLength, length);
    if (this.#login?.admits(user, password) !== true) {
      return end([1, 1], "wrong user or password");
    }
    this.#gathered.take(length);
    this.#next = () => this.#request5();
    return { type: "more", answer: Uint8Array.of(1, 0) };
  }

  #request5(): Next {
    const { bytes } = this.#gathered;
    const [version, command, , kind, nameLength] = bytes;
    if (version !== undefined && version !== 5) {
      return end(reply5(SOCKS5.failure), "its request is malformed");
    }
    if (command === undefined || kind === undefined) return undefined;
    if (command !== CONNECT) {
      return end(reply5(SOCKS5.commandNotSupported), notServed(command));
    }
    let start = 4;
    let length: number;
    if (kind === ADDRESS.ipv4) length = 4;
    else if (kind === ADDRESS.ipv6) length = 16;
    else if (kind === ADDRESS.name) {
      if (nameLength === undefined) return undefined;
      start = 5;
      length = nameLength;
    } else {
      const why = `its target is of a kind that is not known (${kind})`;
      return end(reply5(SOCKS5.addressTypeNotSupported), why);
    }
    if (bytes.length < start + length + 2) return undefined;
    const address = bytes.slice(start, start + length);
    const host = kind === ADDRESS.name ? nameIn(address) : formatIp(address);
    const port = portAt(bytes, start + length);
    return this.#request({ host, port }, start + length + 2, {
      accepted: reply5(SOCKS5.succeeded),
      malformed: reply5(SOCKS5.failure),
      refused: (reason) => reply5(socks5Reply(reason)),
    });
  }

  /** SOCKS4; an address 0.0.0.x stands for a name behind the user (SOCKS4a). */
  #request4(): Next {
    if (this.#login !== undefined) {
      return end(reply4(SOCKS4.refused), "SOCKS4 has no password");
    }
    const { bytes } = this.#gathered;
    const [, command] = bytes;
    if (command === undefined) return undefined;
    if (command !== CONNECT) {
      return end(reply4(SOCKS4.refused), notServed(command));
    }
    const userEnd = bytes.indexOf(0, 8);
    if (userEnd < 0) return undefined;
    const address = bytes.slice(4, 8);
    const named = address.subarray(0, 3).every((byte) => byte === 0) &&
      address[3] !== 0;
    const nameEnd = named ? bytes.indexOf(0, userEnd + 1) : userEnd;
    if (nameEnd < 0) return undefined;
    const host = named
      ? nameIn(bytes.slice(userEnd + 1, nameEnd))
      : formatIp(address);
    return this.#request({ host, port: portAt(bytes, 2) }, nameEnd + 1, {
      accepted: reply4(SOCKS4.granted),
      malformed: reply4(SOCKS4.refused),
      refused: () => reply4(SOCKS4.refused),
    });
  }

  /** A request of `length` bytes for `target`. */
  #request(
    target: Address,
    length: number,
    { accepted, malformed, refused }: Replies,
  ): FrontStep {
    const problem = hostProblem(target.host) ??
      (target.port === 0 ? "its port is 0" : undefined);
    if (problem !== undefined) {
      return end(
        malformed,
        `its target ${quote(`${target.host}:${target.port}`)}: ${problem}`,
      );
    }
    this.#gathered.take(length);
    const early = this.#gathered.rest();
    const request = { target, accepted, early, refused };
    return { type: "request", answer: NOTHING, request };
  }
}

/** What is said to a request. */
interface Replies {
  readonly accepted: Uint8Array;
  readonly malformed: Uint8Array;
  readonly refused: (reason: Parameters<typeof socks5Reply>[0]) => Uint8Array;
}

function end(answer: Uint8Array | readonly number[], why: string): FrontStep {
  return { type: "end", answer: Uint8Array.from(answer), why };
}

/** A reply of SOCKS5; where the server dialled from is not told: 0.0.0.0:0. */
function reply5(code: number): Uint8Array {
  return Uint8Array.of(5, code, 0, ADDRESS.ipv4, 0, 0, 0, 0, 0, 0);
}

function reply4(code: number): Uint8Array {
  return Uint8Array.of(0, code, 0, 0, 0, 0, 0, 0);
}

function notServed(command: number): string {
  return `it asks for ${
    COMMANDS[command] ?? `command ${command}`
  }: CONNECT is all that there is`;
}

/** A name as it came; an address in brackets without them. */
function nameIn(bytes: Uint8Array): string {
  return decoder.decode(bytes).replace(/^\[(.*:.*)\]$/s, "$1");
}

/** The number of two bytes at `at`. */
function portAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
}
