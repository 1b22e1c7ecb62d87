/**
 * An open as a server goes about it: who asks, for what, and how they are
 * answered; sealed or not makes no difference to the rest.
 *
 * @module
 */
import type { Endpoints } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { type Reason, TunnelError } from "../base/errors.ts";
import { type Target, tryParseTarget } from "../base/target.ts";
import { formatPublicKey } from "../seal/keys.ts";
import {
  type GateKeys,
  type OpenContext,
  type OpenedAsk,
  type Random,
  type SealedAnswer,
  SealedGate,
} from "../seal/open.ts";
import { SeenOpens } from "../seal/seen_opens.ts";
import type { SealSpec } from "../session/session.ts";
import {
  encodeAccept,
  encodeRefusal,
  encodeSealed,
  type NativeRequest,
  type OpenMessage,
  type OpenRequest,
} from "../wire/open.ts";
import {
  encodeReport,
  encodeSealedReport,
  type Probe,
  PROBE_STREAM,
  PROBE_TEXT,
  type ServerReport,
} from "../wire/probe.ts";
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

/** Why nothing can be answered under a seal. */
const NO_SECRET = "no secret can be agreed on with the client";

/** Why nothing is said to one that was answered. */
const REPEATED = "a sealed open came a second time";

/** What there is against an open whose client has proved to have its key. */
type Judged =
  | { readonly type: "known"; readonly known: KnownClient }
  | { readonly type: "repeated" }
  | {
    readonly type: "refused";
    readonly reason: Reason;
    /** What it is told. */
    readonly said: SealedAnswer;
    /** What it is called, or its key. */
    readonly client: string;
    readonly known: KnownClient | undefined;
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
    /** The client who was told, by the key that it has proved to have. */
    readonly client?: string;
    /** The same, where it is one that may open tunnels. */
    readonly known?: KnownClient | undefined;
  }
  /** Nobody is to be answered. */
  | { readonly type: "nothing"; readonly why: string };

/** What becomes of a probe: to whom it is answered, and how. */
export type UnderstoodProbe =
  | {
    readonly type: "told";
    /** The client whose key it was sealed with; undefined where nothing is sealed. */
    readonly known?: KnownClient | undefined;
    /** The message that says it; undefined where it was answered before. */
    readonly answer: (report: ServerReport) => OpenMessage | undefined;
  }
  | Exclude<Understood, { readonly type: "ask" }>;

/** An open that is understood. */
export class Ask {
  /** What to connect to. */
  readonly target: Target;
  /** The application's connection, as the client says; undefined for one of a Unix socket. */
  readonly endpoints: Endpoints | undefined;
  /** The span at the client that the tunnel is a part of, as the client says. */
  readonly traceparent: string | undefined;
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
      readonly target: Target;
      readonly token: string;
      /** Who pays for what nobody's key has sealed. */
      readonly sender: string;
      readonly opened?: OpenedAsk;
      readonly known?: KnownClient;
    },
  ) {
    this.target = options.target;
    this.native = request.native;
    const about = options.opened ?? request.native;
    this.endpoints = about?.endpoints;
    this.traceparent = about?.traceparent;
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

  /**
   * The message that says that the target is connected, and what the tunnel is
   * sealed with.
   *
   * @throws {TunnelError} `protocol` where no secret can be agreed on.
   */
  accept(
    id: string,
    window: number,
  ): { readonly message: OpenMessage; readonly seal?: SealSpec } {
    const { native } = this;
    if (this.#opened !== undefined) {
      const sealed = this.#opened.answer({ type: "open", id, window });
      if (sealed === undefined) throw new TunnelError("protocol", NO_SECRET);
      return {
        message: encodeSealed(sealed.data, this.#token),
        seal: { keys: sealed.keys, peerKey: this.key ?? "" },
      };
    }
    const message = encodeAccept({
      id,
      native: native && {
        ...{ server: this.#token, window, codec: native.codec },
        express: true,
      },
    });
    return { message };
  }

  /** The message that says why not; undefined where it was answered before. */
  refuse(reason: Reason): OpenMessage | undefined {
    if (this.#opened === undefined) return encodeRefusal(reason, this.#token);
    const sealed = this.#opened.answer({ type: "refused", reason });
    return sealed && encodeSealed(sealed.data, this.#token);
  }
}

/** Finds out who asks for what. */
export class Reception {
  readonly #options: AskOptions;
  readonly #gate: SealedGate | undefined;
  readonly #seen = new SeenOpens();
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
    const clients = this.#clients;
    if (clients === undefined) return this.#refuse(NO_KEY);
    const opened = native &&
      this.#unseal(target.sealed, { ...native, requestSubject: subject });
    if (opened === undefined) return this.#refuse(OTHER_KEY);
    const judged = this.#judge(opened, clients);
    const answer = (
      { reason, said, client, known }: Judged & { readonly type: "refused" },
    ): Understood => {
      const sealed = opened.answer(said);
      return sealed === undefined ? { type: "nothing", why: NO_SECRET } : {
        type: "answer",
        answer: encodeSealed(sealed.data, token),
        reason,
        client,
        known,
      };
    };
    if (judged.type === "repeated") return { type: "nothing", why: REPEATED };
    if (judged.type === "refused") return answer(judged);
    const { known } = judged;
    const asked = tryParseTarget(opened.target);
    if (typeof asked !== "string") {
      const options = { target: asked, token, sender, opened, known };
      return { type: "ask", ask: new Ask(request, options) };
    }
    const reason: Reason = {
      code: "protocol",
      text: `what the open asks for is no target: ${asked}`,
    };
    const said: SealedAnswer = { type: "refused", reason };
    return answer({ type: "refused", reason, said, client: known.name, known });
  }

  /** Reads a probe that came on `subject`, as an open is read; `id` is this server's public one. */
  understandProbe(
    { sealed, ...asker }: Probe,
    { subject, id }: { readonly subject: string; readonly id: string },
  ): UnderstoodProbe {
    const refuse = (reason: Reason): UnderstoodProbe => ({
      type: "answer",
      answer: encodeRefusal(reason, id),
      reason,
    });
    const clients = this.#clients;
    if (sealed === undefined) {
      // Who has not proved to have a key hears that this takes one.
      return {
        type: "told",
        answer: ({ facts, ...least }) =>
          encodeReport(clients === undefined ? { ...least, facts } : least),
      };
    }
    if (clients === undefined) return refuse(NO_KEY);
    const opened = this.#unseal(sealed, {
      ...asker,
      ...PROBE_STREAM,
      requestSubject: subject,
    });
    if (opened === undefined) return refuse(OTHER_KEY);
    const judged = this.#judge(opened, clients);
    const seal = (said: SealedAnswer): OpenMessage | undefined => {
      const sealed = opened.answer(said);
      return sealed && encodeSealedReport(id, sealed.data);
    };
    if (judged.type === "repeated") return { type: "nothing", why: REPEATED };
    if (judged.type === "known") {
      const { known } = judged;
      if (opened.target !== PROBE_TEXT) {
        return {
          type: "nothing",
          why: "what came as a probe asks for a target",
        };
      }
      return {
        type: "told",
        known,
        answer: (report) => seal({ type: "report", report }),
      };
    }
    const { reason, said, client, known } = judged;
    const answer = seal(said);
    return answer === undefined
      ? { type: "nothing", why: NO_SECRET }
      : { type: "answer", answer, reason, client, known };
  }

  #unseal(
    data: Uint8Array,
    asked: Omit<OpenContext, "dataPrefix">,
  ): OpenedAsk | undefined {
    const { subjects } = this.#options;
    return this.#gate?.read(data, { ...asked, dataPrefix: subjects.prefix });
  }

  /** A client has proved to have its key: what there is against an open of it. */
  #judge(opened: OpenedAsk, clients: ClientDirectory): Judged {
    const { clock } = this.#options;
    const key = formatPublicKey(opened.client);
    const known = clients.find(key);
    const client = known?.name ?? key;
    const refused = (
      reason: Reason,
      said: SealedAnswer = { type: "refused", reason },
    ): Judged => ({ type: "refused", reason, said, client, known });
    // Whose opens are remembered is known: nobody else can fill the memory.
    if (known === undefined) return refused(unknownKey(key));
    const now = clock.wallTime();
    const { id, sealedAt } = opened;
    switch (this.#seen.take(id, { client, sealedAt, now })) {
      case "repeated":
        return { type: "repeated" };
      case "full":
        return refused(FULL);
      case "clock":
        return refused(CLOCKS, { type: "clock", time: now });
      case "new":
        return { type: "known", known };
    }
  }

  #refuse(reason: Reason): Understood {
    const answer = encodeRefusal(reason, this.#options.token);
    return { type: "answer", answer, reason };
  }
}
