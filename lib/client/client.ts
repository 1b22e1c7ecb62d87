/**
 * The client's part: accept local connections and open a tunnel for each.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Bus, BusMessage } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import {
  blame,
  type Decider,
  type ErrorCode,
  type Reason,
  subscribeDenied,
} from "../base/errors.ts";
import { type Destination, formatDestination } from "../base/target.ts";
import { Repeats } from "../base/repeats.ts";
import {
  peerAttributes,
  targetAttributes,
  type Tracing,
} from "../base/tracing.ts";
import { Throttle } from "../base/throttle.ts";
import { binaryCodec } from "../wire/binary.ts";
import type { Caller } from "./caller.ts";
import type { Claim } from "./claim.ts";
import type { OpenedReply, PendingOpen } from "./pending_open.ts";
import { type OpenOptions, PendingOpens } from "./pending_opens.ts";
import { Prober } from "./prober.ts";
import { Reach } from "../session/reach.ts";
import { type ClientSeal, Sealer } from "./sealer.ts";
import { ServerWatch } from "./server_watch.ts";
import {
  Session,
  type SessionOptions,
  type TunnelSpec,
} from "../session/session.ts";
import { closeSocket } from "../net/socket.ts";
import { PEER_NUMBER } from "../wire/frame.ts";
import {
  type ConnectionId,
  firstNumber,
  formatId,
  HOLD_TOKEN,
  isToolNumber,
  OPEN_TOKEN,
  parseId,
  PROBE_TOKEN,
} from "../wire/subjects.ts";
import { V1_WARNING } from "../tunnel/v1_machine.ts";

/** Shortest time between two warnings of a shared client ID, in ms. */
const SHARED_ID_WARNING_MS = 60_000;

/** Why opens fail that no server has answered. */
const UNANSWERED: readonly ErrorCode[] = ["no-server", "timeout"];

/** What a client's ingress is made of. */
export interface IngressOptions
  extends OpenOptions, Omit<SessionOptions, "role" | "onOther" | "onUnknown"> {
  /** What opens are sealed with; undefined where they are not. */
  readonly seal?: ClientSeal | undefined;
  /** Bytes a second sent to a version 1 server. */
  readonly v1Rate: number;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
  /** What traces tunnels; undefined where nothing is traced. */
  readonly tracing?: Tracing | undefined;
  /** Whether it is watched if any server answers, which costs a probe now and then. */
  readonly watchServers?: boolean | undefined;
  /** The claim to the token, where it is one that others may have, too. */
  readonly claim?: Claim | undefined;
}

/** The side of the tunnels of one process where local connections come in. */
export class Ingress implements Disposable {
  /** The tunnels. */
  readonly session: Session;
  readonly #options: IngressOptions;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #opens: PendingOpens;
  readonly #sealer: Sealer | undefined;
  /** Whether the broker lets servers be sent data. */
  readonly #servers: Reach;
  readonly #stop = new AbortController();
  readonly #log = getLogger(["sproxy", "open"]);
  readonly #prober: Prober | undefined;
  readonly #watch: ServerWatch | undefined;
  #saidV1 = false;
  readonly #foreignAnswers = new Throttle(SHARED_ID_WARNING_MS);
  readonly #failures: Repeats;

  /** An ingress on a bus, without a listener yet. */
  constructor(options: IngressOptions) {
    this.#options = options;
    this.#bus = options.bus;
    this.#clock = options.clock;
    this.#failures = new Repeats(options.clock);
    this.session = new Session({
      ...options,
      role: "client",
      sealed: options.seal !== undefined,
      onOther: (id, message) => this.#onOther(id, message),
      onUnknown: (id, answer) => this.#onUnknown(id, answer),
    });
    const { subjects, token } = options;
    this.#servers = new Reach({
      ...options,
      pattern: subjects.data("server", `${token}.>`),
      subjectOf: (server) =>
        subjects.data(
          "server",
          formatId({ client: token, server, number: PEER_NUMBER }),
        ),
      onChange: () => {},
    });
    const { seal } = options;
    this.#sealer = seal && new Sealer({ ...options, seal });
    this.#opens = new PendingOpens({
      ...options,
      sealer: this.#sealer,
      window: this.session.initialWindow,
      firstNumber: firstNumber(options.random),
      onOpen: (open, reply) => this.#onOpen(open, reply),
      onFailed: (open, reason, by) =>
        this.#reject(open.caller, reason, { open, by }),
      onUnwanted: (id) => this.#disown(id),
      onDuplicateClientId: () => this.#onForeignAnswer(),
    });
    if (options.watchServers === true) {
      this.#prober = new Prober({ ...options, sealer: this.#sealer });
      this.#watch = new ServerWatch({
        ...options,
        prober: this.#prober,
        requests: this.#opens.requests,
        allowsV1: !options.refuseV1 && seal === undefined,
      });
    }
    this.#bus.onLink(({ type }) => {
      if (type !== "subscriptions") return;
      const deafness = this.#deafness;
      if (deafness !== undefined) this.#opens.cancel(deafness);
    }, this.#stop.signal);
  }

  /** Opens under way. */
  get opening(): number {
    return this.#opens.size;
  }

  /** Why no connection gets a tunnel, beside the link; undefined when they do. */
  get notReadyReason(): string | undefined {
    return (this.#servers.refusal ?? this.#opens.refusal)?.text ??
      this.#watch?.problem;
  }

  /** Why servers did not answer last, also if others did since; undefined where they did. */
  get lastFailure(): string | undefined {
    return this.#watch?.lastFailure;
  }

  /** Of how many destinations it is known whether servers answer, and of how many they do. */
  get readyDetails(): Readonly<Record<string, number>> {
    return { ...this.#watch?.counts };
  }

  /** From now on connections go to these, so that servers for them are watched. */
  watchFor(destinations: readonly Destination[]): void {
    this.#watch?.follow(destinations);
  }

  /** Which of the `refused` subscriptions there is no working without. */
  missing(refused: readonly string[]): string | undefined {
    const { subjects, token } = this.#options;
    const data = subjects.pattern("client", token);
    return refused.includes(data) ? data : undefined;
  }

  /** Why no answer would be heard; undefined when one is, as far as is known. */
  get #deafness(): Reason | undefined {
    const subject = this.missing(this.#bus.refusedSubjects);
    return subject === undefined ? undefined : subscribeDenied(subject);
  }

  /** Seals opens with this from now on; where nothing was sealed nothing will be. */
  reload(seal: ClientSeal): void {
    this.#sealer?.reload(seal);
  }

  /** Opens a tunnel for a local connection, or ends it with a line in the log. */
  open(untraced: Caller): void {
    const caller = this.#traced(untraced);
    // A tunnel that cannot be sent anything, or heard, is not worth a dial.
    const why = this.#deafness ?? this.#servers.refusal ??
      this.session.limitReached(this.#opens.size);
    if (why === undefined) this.#opens.start(caller);
    else this.#reject(caller, why);
  }

  /** `caller` with the spans of what begins here. */
  #traced(caller: Caller): Caller {
    const { tracing } = this.#options;
    if (tracing === undefined) return caller;
    const { target, site, socket, forward } = caller;
    const whole = tracing.begin("tunnel", {
      side: "client",
      attributes: {
        ...targetAttributes({ target, site }),
        ...peerAttributes("client", socket.remote),
        "sproxy.forward": forward,
      },
    });
    return { ...caller, trace: { whole, open: whole.child("open") } };
  }

  /** Gives up what is not open yet. */
  cancelOpenings(reason: Reason): void {
    this.#opens.cancel(reason);
  }

  /** Tells the log of failures that were counted and not told; called at the end, before it is said to be one. */
  tellRest(): void {
    this.#failures[Symbol.dispose]();
  }

  /** Ends the session. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#watch?.[Symbol.dispose]();
    this.#prober?.[Symbol.dispose]();
    this.#opens[Symbol.dispose]();
    this.#failures[Symbol.dispose]();
    this.#servers[Symbol.dispose]();
    this.session[Symbol.dispose]();
  }

  /** A message came for no open tunnel; returns whether that was all to be done. */
  #onOther(id: ConnectionId, message: BusMessage): boolean {
    const { claim } = this.#options;
    // A tool that asks under the same ID hears and answers for itself.
    if (isToolNumber(id.number)) return true;
    // Of a probe that another process with this ID has made nothing is known here.
    if (this.#prober?.receive(id, message) || id.server === PROBE_TOKEN) {
      return true;
    }
    if (id.server === OPEN_TOKEN) {
      this.#opens.onReply(id.number, message);
      return true;
    }
    if (id.server === HOLD_TOKEN) {
      claim?.receive(id.number, message);
      return true;
    }
    // A frame that overtook the answer to its open is sent again.
    return this.#opens.has(id.number);
  }

  /** Answers a frame for what is not open here, unless it is another process's. */
  #onUnknown(id: ConnectionId, answer: () => void): void {
    const { claim } = this.#options;
    if (claim === undefined || this.#opens.asked(id.number)) answer();
    else claim.whenAlone(answer);
  }

  #onOpen(open: PendingOpen, reply: OpenedReply): void {
    const { number, caller } = open;
    if (reply.type === "v1") {
      this.#onOpenV1(open, reply.id);
      return;
    }
    const id = parseId(reply.id);
    const { token } = this.#options;
    if (
      id === undefined || id.client !== token || id.number !== number ||
      id.server !== reply.server
    ) {
      this.#reject(caller, {
        code: "protocol",
        text: "the server answered with a connection ID not asked for",
      }, { open });
      return;
    }
    this.#opened(open);
    this.session.addNative({
      id,
      ...begin(caller),
      codec: reply.codec,
      peerWindow: reply.window,
      express: reply.express === true,
      seal: reply.seal,
    });
  }

  #onOpenV1(open: PendingOpen, id: string): void {
    const { token, v1Rate, openTimeout } = this.#options;
    const { caller, number } = open;
    if (parseId(id)?.client === token) {
      // Ours are for tunnels of version 2: data under one could end another's.
      this.#reject(caller, {
        code: "protocol",
        text: "the version 1 server answered with a version 2 connection ID",
      }, { open });
      return;
    }
    if (this.session.has(id)) {
      this.#reject(caller, {
        code: "protocol",
        text:
          "the version 1 server answered with the connection ID of an open tunnel",
      }, { open });
      return;
    }
    if (!this.#saidV1) {
      this.#saidV1 = true;
      this.#log.warn(V1_WARNING, {
        target: formatDestination(caller),
        peer: "server",
      });
    }
    this.#opened(open);
    this.session.addV1({
      id,
      number,
      ...begin(caller),
      rate: v1Rate,
      listenTimeout: openTimeout,
    });
  }

  /** Counts how long an open took that has its tunnel. */
  #opened({ startedAt }: PendingOpen): void {
    const { opens } = this.session.counters;
    opens.ok.observe(this.#clock.now() - startedAt);
  }

  /** Ends a local connection that gets no tunnel. */
  #reject(
    { socket, target, site, forward, way, reject, trace, told = false }: Caller,
    reason: Reason,
    { open, by = "local" }: {
      readonly open?: PendingOpen;
      readonly by?: Decider;
    } = {},
  ): void {
    if (reject === undefined) closeSocket(socket);
    else reject(reason, by);
    const { counters, recent } = this.session;
    counters.refused(reason.code, { way });
    const now = this.#clock.now();
    if (open !== undefined) counters.opens.failed.observe(now - open.startedAt);
    const asked = formatDestination({ target, site });
    const peer = socket.remote;
    recent.refused(
      { at: now, target: asked, peer, forward },
      { by, reason },
    );
    if (UNANSWERED.includes(reason.code) && by === "local") {
      this.#watch?.doubt({ target, site }, reason.text);
    }
    this.#options.observer?.refused({
      ...{ reason, by, forward, source: peer, target: asked },
      clientId: this.#options.token,
    });
    trace?.open.end({ "sproxy.attempts": open?.attempts }, reason);
    trace?.whole.end({}, reason);
    const { reason: code, ...whose } = blame(by, reason);
    const about = {
      target: asked,
      reason: code,
      ...(open !== undefined && {
        ms: Math.round(now - open.startedAt),
        attempts: open.attempts,
      }),
      ...whose,
    };
    const from = {
      ...(forward !== undefined && { forward }),
      peer,
    };
    if (told) {
      this.#log.debug("open failed", { ...about, ...from });
      return;
    }
    const cause = `${asked} ${forward} ${code} ${whose.why}`;
    this.#failures.note(cause, (count) => {
      const often = count > 1 && { count };
      this.#log.warn("open failed", { ...about, ...often, ...from });
    });
  }

  /** An open of another process was answered: the two find out, if the other can answer. */
  #onForeignAnswer(): void {
    const { claim } = this.#options;
    if (claim === undefined) this.#warnOfSharedId();
    else claim.whenAlone(() => this.#warnOfSharedId());
  }

  /** One line, and then a count now and then: such answers come as often as opens. */
  #warnOfSharedId(): void {
    const answers = this.#foreignAnswers.note(this.#clock.now());
    if (answers === undefined) return;
    this.#log.warn(
      "an open of another process was answered here: after a restart that is all, else another client uses the same --client-id",
      { id: this.#options.token, answers },
    );
  }

  /** Tells a server that nobody wants the tunnel it opened. */
  #disown(text: string): void {
    const { subjects, token } = this.#options;
    const id = parseId(text);
    if (id?.client !== token || this.session.knows(text)) return;
    this.#bus.publish(
      subjects.data("server", text),
      binaryCodec.encode(text, {
        type: "reset",
        code: "unknown-tunnel",
        text: "nobody waits for this tunnel any more: its open took too long",
      }),
    );
  }
}

/** A local connection as its tunnel has it. */
function begin(
  { socket, target, site, forward, way, trace, accept }: Caller,
): Pick<TunnelSpec, "socket" | "target" | "forward" | "way" | "span"> {
  trace?.open.end();
  return {
    socket: accept?.() ?? socket,
    target: formatDestination({ target, site }),
    forward,
    way,
    span: trace?.whole,
  };
}
