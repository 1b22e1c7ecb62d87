/**
 * An open as a server goes about it: who asks, for what, and how they are
 * answered; sealed or not makes no difference to the rest.
 *
 * @module
 */
import { type Address, tryParseAddress } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { type Reason, TunnelError } from "../base/errors.ts";
import { formatPublicKey } from "../seal/keys.ts";
import {
  type GateKeys,
  type OpenContext,
  type OpenedAsk,
  type Random,
  type SealedAnswer,
  SealedGate,
  type SealedRequest,
} from "../seal/open.ts";
import type { SealSpec } from "../session/session.ts";
import {
  encodeAccept,
  encodeRefusal,
  encodeSealed,
  type NativeRequest,
  type OpenMessage,
  type OpenRequest,
} from "../wire/open.ts";
import type { Subjects } from "../wire/subjects.ts";
import {
  type ClientDirectory,
  type KnownClient,
  unknownKey,
} from "./clients.ts";

/** Why an unsealed open is refused where a key is configured. */
const SEALED_ONLY: Reason = {
  code: "denied",
  text:
    "the server takes sealed opens only; give the client --secret-key and --server-key",
};

/** Why a sealed open is refused where no key is. */
const NO_KEY: Reason = {
  code: "denied",
  text: "the server has no key, and cannot read a sealed open (--secret-key)",
};

/** Why an open is refused, in the clear, that was sealed for somebody else. */
const OTHER_KEY: Reason = {
  code: "denied",
  text:
    "the server has another key than the one the open is sealed for (--server-key)",
};

/** Why an open is refused of which nobody could say later that it has come before. */
const FULL: Reason = {
  code: "limit",
  text: "the server cannot remember more opens",
};

/** Why an open is refused that seems to be old. */
const CLOCKS: Reason = {
  code: "denied",
  text: "the clocks of client and server are more than a minute apart",
};

/** What a server reads sealed opens with, and whose it takes. */
export interface ServerSeal extends GateKeys {
  /** Who may open tunnels. */
  readonly clients: ClientDirectory;
}

/** What making an ask of a request takes. */
export interface AskOptions {
  /** Token of the server. */
  readonly token: string;
  /** The subjects of this deployment. */
  readonly subjects: Subjects;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Undefined where nothing is sealed. */
  readonly seal?: ServerSeal | undefined;
  /** Fills with bytes that nobody can guess. */
  readonly random: Random;
}

/** What becomes of a request. */
export type Understood =
  | { readonly type: "ask"; readonly ask: Ask }
  /** It is to be answered with this, and that was it. */
  | {
    readonly type: "answer";
    readonly answer: OpenMessage;
    readonly reason: Reason;
    /** Who was told, if that is known. */
    readonly client: string | undefined;
  }
  /** Nobody is to be answered. */
  | { readonly type: "nothing"; readonly why: string };

/** An open that is understood. */
export class Ask {
  /** What to dial. */
  readonly target: Address;
  /** What version 2 adds; undefined from a version 1 client. */
  readonly native: NativeRequest | undefined;
  /** The client whose key the open was sealed with. */
  readonly known: KnownClient | undefined;
  /** Who pays for it: the client, as far as it cannot be another. */
  readonly payer: string;
  /** The key that it was sealed with, as it is written. */
  readonly key: string | undefined;
  readonly #token: string;
  readonly #opened: OpenedAsk | undefined;

  /** An open of `request` for `target`, at the server of this token. */
  constructor(
    request: OpenRequest,
    options: {
      readonly target: Address;
      readonly token: string;
      /** Who pays for what nobody's key has sealed. */
      readonly sender: string;
      readonly opened?: OpenedAsk;
      readonly known?: KnownClient;
    },
  ) {
    this.target = options.target;
    this.native = request.native;
    this.known = options.known;
    this.payer = options.known?.name ?? options.sender;
    this.key = options.opened && formatPublicKey(options.opened.client);
    this.#token = options.token;
    this.#opened = options.opened;
  }

  /** Who asks, as logs say it. */
  get client(): string {
    return this.known?.name ?? this.native?.client ?? "version 1";
  }

  /** The message that says that the target is connected, and what the tunnel is sealed with. */
  accept(
    id: string,
    window: number,
  ): { readonly message: OpenMessage; readonly seal?: SealSpec } {
    const { native } = this;
    if (this.#opened !== undefined) {
      const { data, keys } = sealAnswer(this.#opened, {
        type: "open",
        id,
        window,
      });
      return {
        message: encodeSealed(data, this.#token),
        seal: { keys, peerKey: this.key ?? "" },
      };
    }
    const message = encodeAccept({
      id,
      native: native && { server: this.#token, window, codec: native.codec },
    });
    return { message };
  }

  /** The message that says why not. */
  refuse(reason: Reason): OpenMessage {
    return this.#opened === undefined
      ? encodeRefusal(reason, this.#token)
      : refuseSealed(this.#opened, reason, this.#token);
  }
}

/** Finds out who asks for what. */
export class Reception {
  readonly #options: AskOptions;
  readonly #gate: SealedGate | undefined;
  #clients: ClientDirectory | undefined;

  /** Takes opens as `options` say. */
  constructor(options: AskOptions) {
    const { seal, random } = options;
    this.#options = options;
    this.#gate = seal && new SealedGate({ ...seal, random });
    this.#clients = seal?.clients;
  }

  /** The clients that may open tunnels; undefined where nothing is sealed. */
  get clients(): ClientDirectory | undefined {
    return this.#clients;
  }

  /** From now on opens are read and judged with this; where nothing was sealed nothing will be. */
  reload(seal: ServerSeal): void {
    if (this.#gate === undefined) return;
    this.#gate.setKeys(seal);
    this.#clients = seal.clients;
  }

  /** Reads a request of `sender` that came on `subject`; sealed opens are remembered, so that none is taken twice. */
  understand(
    request: OpenRequest,
    { subject, sender }: { readonly subject: string; readonly sender: string },
  ): Understood {
    const { token } = this.#options;
    const { target, native } = request;
    if (!("sealed" in target)) {
      if (this.#clients !== undefined) return this.#refuse(SEALED_ONLY);
      return { type: "ask", ask: new Ask(request, { target, token, sender }) };
    }
    if (this.#clients === undefined) return this.#refuse(NO_KEY);
    const found = native &&
      this.#unseal(target.sealed, { ...native, requestSubject: subject });
    if (found === undefined || found.type === "not-for-us") {
      return this.#refuse(OTHER_KEY);
    }
    if (found.type === "repeated") {
      return { type: "nothing", why: "a sealed open came a second time" };
    }
    return this.#judge(found, request, { sender, clients: this.#clients });
  }

  #unseal(
    data: Uint8Array,
    asked: Omit<OpenContext, "dataPrefix">,
  ): SealedRequest | undefined {
    const { subjects, clock } = this.#options;
    const context = { ...asked, dataPrefix: subjects.prefix };
    return this.#gate?.read(data, context, clock.wallTime());
  }

  /** A client has proved to have its key. */
  #judge(
    found: Extract<SealedRequest, OpenedAsk>,
    request: OpenRequest,
    { sender, clients }: {
      readonly sender: string;
      readonly clients: ClientDirectory;
    },
  ): Understood {
    const { token, clock } = this.#options;
    const shown = formatPublicKey(found.client);
    const known = clients.find(shown);
    const refuse = (reason: Reason): Understood => ({
      type: "answer",
      answer: refuseSealed(found, reason, token),
      reason,
      client: known?.name ?? shown,
    });
    if (known === undefined) return refuse(unknownKey(shown));
    switch (found.type) {
      case "full":
        return refuse(FULL);
      case "clock": {
        const time = clock.wallTime();
        const { data } = sealAnswer(found, { type: "clock", time });
        const answer = encodeSealed(data, token);
        return { type: "answer", answer, reason: CLOCKS, client: known.name };
      }
      case "ask": {
        const target = tryParseAddress(found.target);
        if (typeof target !== "string") {
          const options = { target, token, sender, opened: found, known };
          return { type: "ask", ask: new Ask(request, options) };
        }
        const text = `what the open asks for is no address: ${target}`;
        return refuse({ code: "protocol", text });
      }
    }
  }

  #refuse(reason: Reason): Understood {
    const answer = encodeRefusal(reason, this.#options.token);
    return { type: "answer", answer, reason, client: undefined };
  }
}

function refuseSealed(
  opened: OpenedAsk,
  reason: Reason,
  token: string,
): OpenMessage {
  const { data } = sealAnswer(opened, { type: "refused", reason });
  return encodeSealed(data, token);
}

/** @throws {TunnelError} for a key of the client's with which nothing can be agreed. */
function sealAnswer(
  opened: OpenedAsk,
  answer: SealedAnswer,
): { readonly data: Uint8Array; readonly keys: SealSpec["keys"] } {
  const sealed = opened.answer(answer);
  if (sealed !== undefined) return sealed;
  throw new TunnelError(
    "protocol",
    "no secret can be agreed on with the client",
  );
}
