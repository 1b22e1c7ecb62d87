/**
 * How a client seals its opens: with which of the servers' keys, and by whose
 * clock.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { formatTarget, type Target } from "../base/target.ts";
import { formatPublicKey } from "../seal/keys.ts";
import {
  type Asked,
  type OpenContext,
  type SealedAnswer,
  SealedAsk,
  type SealIdentity,
} from "../seal/open.ts";
import type { SealSpec } from "../session/session.ts";
import type { OpenReply } from "../wire/open.ts";
import { PROBE_TEXT } from "../wire/probe.ts";

/** What a client seals its opens with. */
export interface ClientSeal extends SealIdentity {
  /** Public keys that servers may have: one, and two while they are changed. */
  readonly serverKeys: readonly Uint8Array[];
}

/** Options of a sealer. */
export interface SealerOptions {
  /** The keys. */
  readonly seal: ClientSeal;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
}

/** What a server says that has proved to have the key. */
export interface ReadAnswer {
  /** What it says. */
  readonly answer: SealedAnswer;
  /** What the tunnel is sealed with if it opens. */
  readonly seal: SealSpec;
}

/** An open that was sealed, until it is answered. */
export interface SealedOpen {
  /** What goes in the request. */
  readonly sealed: Uint8Array;
  /** The server's key that it is sealed for. */
  readonly serverKey: Uint8Array;
  /** Reads an answer; undefined if it is not from the server that was asked. */
  readonly read: (data: Uint8Array) => ReadAnswer | undefined;
}

/** An answer that may be believed; one that opens a tunnel has what that is sealed with. */
export type BelievedReply = OpenReply & { readonly seal?: SealSpec };

/** What an answer is worth where opens are sealed. */
export type Believed =
  | { readonly type: "reply"; readonly reply: BelievedReply }
  /** The clocks are too far apart; the server's shows `time`, in ms since 1970. */
  | { readonly type: "clock"; readonly time: number }
  /** Anybody may have said it; `what` it was, as a clause. */
  | { readonly type: "unsealed"; readonly what: string };

/**
 * Takes from an answer to `open` what the holder of the key has sealed, and the
 * signs of life of anybody: they make a client wait, or ask, within bounds.
 */
export function believe(
  reply: OpenReply,
  open: SealedOpen | undefined,
): Believed {
  switch (reply.type) {
    case "dialing":
    case "again":
    case "foreign":
      return { type: "reply", reply };
    case "refused":
      return {
        type: "unsealed",
        what: `a server without the right key says: ${reply.reason.text}`,
      };
    case "open":
    case "v1":
    case "sealed": {
      const { server, express } = {
        ...{ server: "", express: undefined },
        ...reply,
      };
      const read = reply.type === "sealed"
        ? open?.read(reply.sealed)
        : undefined;
      return read === undefined
        ? {
          type: "unsealed",
          what:
            "an answer came that was not sealed with the right keys (--server-key, --psk)",
        }
        : believeAnswer(read, { server, express });
    }
  }
}

function believeAnswer(
  { answer, seal }: ReadAnswer,
  { server, express = false }: {
    readonly server: string;
    readonly express: boolean | undefined;
  },
): Believed {
  switch (answer.type) {
    case "clock":
      return answer;
    case "report":
      return {
        type: "unsealed",
        what: "an answer came that no server gives",
      };
    case "refused": {
      const { reason } = answer;
      return { type: "reply", reply: { type: "refused", reason, server } };
    }
    case "open": {
      const { id, window } = answer;
      const codec = "binary";
      return {
        type: "reply",
        reply: { type: "open", id, window, server, codec, express, seal },
      };
    }
  }
}

/** Seals the opens of a client. */
export class Sealer {
  readonly #options: SealerOptions;
  #seal: ClientSeal;
  /** Which of the keys is tried. */
  #key = 0;
  /** How far the servers' clock is ahead, in ms; undefined while none has complained. */
  #ahead: number | undefined;

  /** Begins with the first of the keys, and trusts its own clock. */
  constructor(options: SealerOptions) {
    this.#options = options;
    this.#seal = options.seal;
  }

  get #serverKey(): Uint8Array | undefined {
    const { serverKeys } = this.#seal;
    return serverKeys[this.#key % serverKeys.length];
  }

  /** How far the servers' clock is ahead, in ms; undefined while none has said that it is too far. */
  get ahead(): number | undefined {
    return this.#ahead;
  }

  /** Seals with this from now on. */
  reload(seal: ClientSeal): void {
    this.#seal = seal;
    this.#key = 0;
  }

  /** How many keys the servers may have. */
  get keys(): number {
    return this.#seal.serverKeys.length;
  }

  /** Seals an open for `target`, with what `about` says of its application; undefined for a server key that is none. */
  seal(
    target: Target,
    context: OpenContext,
    about: Pick<Asked, "endpoints" | "traceparent">,
  ): SealedOpen | undefined {
    return this.#sealText(formatTarget(target), context, about);
  }

  /** Seals a probe; undefined for a server key that is none. */
  sealProbe(context: OpenContext): SealedOpen | undefined {
    return this.#sealText(PROBE_TEXT, context, {});
  }

  #sealText(
    target: string,
    context: OpenContext,
    about: Pick<Asked, "endpoints" | "traceparent">,
  ): SealedOpen | undefined {
    const { clock, random } = this.#options;
    const seal = this.#seal;
    const server = this.#serverKey;
    if (server === undefined) return undefined;
    const time = clock.wallTime() + (this.#ahead ?? 0);
    const open = { ...context, ...about, target, time };
    const ask = SealedAsk.make(seal, server, open, random);
    return ask && {
      sealed: ask.data,
      serverKey: server,
      read: (data) => {
        const read = ask.read(data);
        return read && {
          answer: read.answer,
          seal: { keys: read.keys, peerKey: formatPublicKey(server) },
        };
      },
    };
  }

  /** A server seems not to have the key of an open: the next is for the next key, unless another open has found that out. */
  tryNextKey({ serverKey }: SealedOpen): void {
    if (serverKey === this.#serverKey) this.#key++;
  }

  /** A server says that its clock shows `time`, in ms since 1970. */
  setClock(time: number): void {
    this.#ahead = time - this.#options.clock.wallTime();
  }
}
