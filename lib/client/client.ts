/**
 * The client's part: accept local connections and open a tunnel for each.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Address, formatAddress } from "../base/address.ts";
import type { Bus, LinkEvent } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import type { CodecName } from "../wire/codec.ts";
import type { Reason } from "../base/errors.ts";
import { binaryCodec } from "../wire/binary.ts";
import { type Accepted, type Opening, Openings } from "./pending_opens.ts";
import { Session, type SessionOptions } from "../session/session.ts";
import type { Socket, SocketListener } from "../net/socket.ts";
import { firstNumber, OPEN_TOKEN, parseId } from "../wire/subjects.ts";
import { V1_WARNING } from "../tunnel/v1_machine.ts";

/** Shortest time between two warnings of a shared client ID, in ms. */
const SHARED_ID_WARNING_MS = 60_000;

/** What a client's ingress is made of. */
export interface IngressOptions
  extends Omit<SessionOptions, "role" | "onOther" | "onTick" | "keepTicking"> {
  /** Where the server is to dial. */
  readonly target: Address;
  /** The form of frames. */
  readonly codec: CodecName;
  /** Longest time from accept to open, in ms. */
  readonly openTimeout: number;
  /** Most opens under way. */
  readonly maxOpening: number;
  /** Turn away servers that speak version 1. */
  readonly refuseV1: boolean;
  /** Bytes a second sent to a version 1 server. */
  readonly v1Rate: number;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
}

/** The listening side of the tunnels of one process. */
export class Ingress implements Disposable {
  /** The tunnels. */
  readonly session: Session;
  readonly #options: IngressOptions;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #target: string;
  readonly #openings: Openings;
  readonly #log = getLogger(["sproxy", "open"]);
  readonly #stop = new AbortController();
  #saidV1 = false;
  /** Answers to opens of other processes so far. */
  #foreignAnswers = 0;
  /** When the log may tell of them again. */
  #nextWarning = -Infinity;

  /** An ingress on a bus, without a listener yet. */
  constructor(options: IngressOptions) {
    const { bus, clock, subjects, token, random } = options;
    this.#options = options;
    this.#bus = bus;
    this.#clock = clock;
    this.#target = formatAddress(options.target);
    this.session = new Session({
      ...options,
      role: "client",
      onOther: (id, message, now) => {
        if (id.server === OPEN_TOKEN) {
          this.#openings.onReply(id.number, message, now);
          return true;
        }
        // A frame that overtook the answer to its open is sent again.
        return this.#openings.has(id.number);
      },
      onTick: (now) => this.#openings.tick(now),
      keepTicking: () => this.#openings.size > 0,
    });
    this.#openings = new Openings({
      bus,
      clock,
      subjects,
      token,
      target: options.target,
      window: this.session.initialWindow,
      codec: options.codec,
      openTimeout: options.openTimeout,
      refuseV1: options.refuseV1,
      firstNumber: firstNumber(random),
      onOpen: (opening, reply) => this.#onOpen(opening, reply),
      onFailed: (opening, reason) =>
        this.#turnAway(opening.socket, reason, opening),
      onOrphan: (id) => this.#disown(id),
      onTwin: () => this.#warnOfSharedId(),
    });
    bus.onLink((event) => this.#onLink(event), this.#stop.signal);
  }

  /** Opens under way. */
  get opening(): number {
    return this.#openings.size;
  }

  /** Accepts connections until the listener is disposed. */
  async serve(listener: SocketListener): Promise<void> {
    for await (const socket of listener.accept()) this.#onAccept(socket);
  }

  /** Gives up what is not open yet. */
  cancelOpenings(reason: Reason): void {
    this.#openings.cancel(reason);
  }

  /** Ends the session. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.session[Symbol.dispose]();
  }

  #onAccept(socket: Socket): void {
    const { maxOpening, maxTunnels } = this.#options;
    if (!this.session.hasRoom(this.#openings.size)) {
      this.#turnAway(socket, {
        code: "limit",
        text: `${maxTunnels} tunnels are open (--max-tunnels)`,
      });
    } else if (this.#openings.size >= maxOpening) {
      this.#turnAway(socket, {
        code: "limit",
        text: `${maxOpening} opens are under way (--max-opening)`,
      });
    } else {
      this.#openings.start(socket);
      this.session.startTicking();
    }
  }

  #onOpen(
    opening: Opening,
    reply: Accepted,
  ): void {
    const { number, socket } = opening;
    if (reply.type === "v1") {
      this.#onOpenV1(opening, reply.id);
      return;
    }
    const id = parseId(reply.id);
    const { token } = this.#options;
    if (
      id === undefined || id.client !== token || id.number !== number ||
      id.server !== reply.server
    ) {
      this.#turnAway(socket, {
        code: "protocol",
        text: `the server answered with a connection ID not asked for`,
      }, opening);
      return;
    }
    this.session.addNative({
      id,
      socket,
      target: this.#target,
      codec: reply.codec,
      peerWindow: reply.window,
    });
  }

  #onOpenV1(opening: Opening, id: string): void {
    const { subjects, token, v1Rate, openTimeout } = this.#options;
    const { socket, number } = opening;
    if (parseId(id)?.client === token) {
      // Ours are for tunnels of version 2: data under one could end another's.
      this.#turnAway(socket, {
        code: "protocol",
        text: "the version 1 server answered with a version 2 connection ID",
      }, opening);
      return;
    }
    if (!this.#saidV1) {
      this.#saidV1 = true;
      this.#log.warn(V1_WARNING, { peer: "server" });
    }
    const inbound = subjects.data("client", id);
    // In this very turn: its first bytes may be on their way already.
    const subscription = this.#bus.subscribe(inbound, (message) => {
      if (!tunnel.receive(message, this.#clock.now())) {
        this.session.counters.malformed++;
      }
      this.session.touch(tunnel);
    });
    const tunnel = this.session.addV1({
      id,
      number,
      socket,
      target: this.#target,
      inbound,
      outbound: subjects.data("server", id),
      rate: v1Rate,
      listenTimeout: openTimeout,
      onEnd: () => subscription[Symbol.dispose](),
    });
  }

  /** Ends a local connection that gets no tunnel. */
  #turnAway(socket: Socket, reason: Reason, opening?: Opening): void {
    socket.close();
    this.session.counters.refused(reason.code);
    this.#log.warn("open failed", {
      peer: socket.remote,
      target: this.#target,
      reason: reason.code,
      why: reason.text,
      ...(opening === undefined ? {} : {
        ms: Math.round(this.#clock.now() - opening.startedAt),
        attempts: opening.attempts,
      }),
    });
  }

  /** One line, and then a count now and then: such answers come as often as opens. */
  #warnOfSharedId(): void {
    this.#foreignAnswers++;
    const now = this.#clock.now();
    if (now < this.#nextWarning) return;
    this.#nextWarning = now + SHARED_ID_WARNING_MS;
    this.#log.warn(
      "an open of another process was answered here: after a restart that is all, else another client uses the same --client-id",
      { id: this.#options.token, answers: this.#foreignAnswers },
    );
  }

  /** Tells a server that nobody wants the tunnel it opened. */
  #disown(text: string): void {
    const { subjects, token } = this.#options;
    const id = parseId(text);
    if (id?.client !== token || this.session.knows(id)) return;
    this.#bus.publish(
      subjects.data("server", text),
      binaryCodec.encode(text, {
        type: "reset",
        code: "unknown-tunnel",
        text: "the open came too late",
      }),
    );
  }

  #onLink(event: LinkEvent): void {
    if (event.type === "up") this.#openings.linkUp(this.#clock.now());
    else this.#openings.linkDown();
    if (this.#openings.size > 0) this.session.startTicking();
  }
}
