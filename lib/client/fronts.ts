/**
 * The front-ends of a client: on their connections applications say where they
 * want to go, in SOCKS or to an HTTP proxy.
 *
 * Until a request is whole an application is a stranger: it has a time for it,
 * a length, and with more strangers than there may be the oldest one goes.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { Throttle } from "../base/throttle.ts";
import { HttpParser } from "../front/http.ts";
import type { FrontLogin } from "../front/login.ts";
import {
  type FrontKind,
  type FrontParser,
  type FrontRequest,
  type FrontStep,
  MAX_HEAD_BYTES,
} from "../front/parser.ts";
import { SocksParser } from "../front/socks.ts";
import { ResumedSocket } from "../net/resumed_socket.ts";
import { directOf, type DirectSocket, type Socket } from "../net/socket.ts";
import type { CountedWay } from "../session/counters.ts";
import type { Ingress } from "./client.ts";
import { STRANGER_MS, type Strangers } from "./strangers.ts";

/** How long an application may take to close once it was refused, in ms. */
const LINGER_MS = 500;

/** Time between two lines about requests that are not served, in ms. */
const REFUSED_MS = 10_000;

const PARSERS = {
  socks: SocksParser,
  "http-proxy": HttpParser,
} as const satisfies Record<
  FrontKind,
  new (login?: FrontLogin) => FrontParser
>;

/** What front-ends are made of. */
export interface FrontsOptions {
  /** Opens the tunnels. */
  readonly ingress: Pick<Ingress, "open">;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** Where connections are counted whose request is not whole. */
  readonly strangers: Strangers;
}

/** What of front-ends may change while they serve. */
export interface FrontRules {
  /** Who may use them; undefined for everybody. */
  readonly login?: FrontLogin | undefined;
}

/** One front-end. */
export interface FrontWay {
  /** What is spoken there. */
  readonly front: FrontKind;
  /** Where all of its connections go; undefined for no site. */
  readonly site?: string | undefined;
  /** The way in itself, to find its tunnels by, and to count them by. */
  readonly way?: CountedWay | undefined;
}

/** All front-ends of one process. */
export class Fronts {
  readonly #options: FrontsOptions;
  readonly #strangers: Strangers;
  #login: FrontLogin | undefined;
  readonly #refusals = new Map<FrontKind, Throttle>();
  readonly #log = getLogger(["sproxy", "client"]);

  /** None listens yet. */
  constructor(options: FrontsOptions & FrontRules) {
    this.#options = options;
    this.#strangers = options.strangers;
    this.follow(options);
  }

  /** From now on these rules count; whoever has begun to speak is judged as before. */
  follow({ login }: FrontRules): void {
    this.#login = login;
  }

  /** Hears on a connection, which came by `way`, where it is to go, and sees to it. */
  take(socket: Socket, way: FrontWay): void {
    void this.#hear(socket, way);
  }

  /** Hears what an application wants, and sees to it. It never throws. */
  async #hear(socket: Socket, way: FrontWay): Promise<void> {
    const { front: kind } = way;
    const connection = directOf(socket);
    const stranger = this.#strangers.take(connection);
    let heard = false;
    try {
      using _deadline = this.#options.clock.after(
        STRANGER_MS,
        () => stranger.close(`no whole request within ${STRANGER_MS} ms`),
      );
      const parser = new PARSERS[kind](this.#login);
      let step: FrontStep | undefined;
      while (step === undefined || step.type === "more") {
        connection.readLimit = MAX_HEAD_BYTES;
        const { done, value } = await connection.reader.read();
        if (done) {
          // It thought better of it.
          connection.close();
          return;
        }
        heard = true;
        step = parser.push(value);
        if (step.answer.length > 0 && step.type !== "end") {
          await connection.writer.write(step.answer);
        }
      }
      // One that was closed meanwhile is nobody's any more.
      if (!this.#strangers.release(stranger)) return;
      if (step.type === "request") {
        this.#open(socket, { connection, way, request: step.request });
      } else {
        if (step.why !== undefined) this.#refuse(socket, kind, step.why);
        void this.#sayGoodbye(connection, step.answer);
      }
    } catch (error) {
      connection.close();
      // Whoever said nothing has only seen whether somebody listens, or meant to ask later.
      if (heard && stranger.closed !== undefined) {
        this.#refuse(socket, kind, stranger.closed);
      } else {
        const why = stranger.closed ?? messageOf(error);
        this.#log.debug("an application has gone", { forward: kind, why });
      }
    } finally {
      this.#strangers.release(stranger);
    }
  }

  #open(
    socket: Socket,
    { connection, way, request }: {
      readonly connection: DirectSocket;
      readonly way: FrontWay;
      readonly request: FrontRequest;
    },
  ): void {
    const { target, accepted: greeting, early: unread } = request;
    this.#options.ingress.open({
      socket,
      target,
      site: way.site,
      forward: way.front,
      endpoints: socket.endpoints,
      way: way.way,
      accept: () =>
        new ResumedSocket(connection, {
          remote: socket.remote,
          endpoints: socket.endpoints,
          unread,
          greeting,
        }),
      reject: (reason) =>
        void this.#sayGoodbye(connection, request.refused(reason)),
    });
  }

  /** Tells an application that nothing comes of it, and closes its connection. It never throws. */
  async #sayGoodbye(
    connection: DirectSocket,
    answer: Uint8Array,
  ): Promise<void> {
    try {
      using _linger = this.#options.clock.after(
        LINGER_MS,
        () => connection.close(),
      );
      await connection.writer.write(answer);
      await connection.writer.close();
      if (this.#strangers.full) return;
      // Closed while bytes are unread, a socket takes back what it has sent.
      const stranger = this.#strangers.take(connection);
      try {
        while (!(await connection.reader.read()).done);
      } finally {
        this.#strangers.release(stranger);
      }
    } catch {
      // It has gone, or took too long: nobody is left to be told.
    } finally {
      connection.close();
    }
  }

  #refuse({ remote }: Socket, kind: FrontKind, why: string): void {
    let refusals = this.#refusals.get(kind);
    if (refusals === undefined) {
      refusals = new Throttle(REFUSED_MS);
      this.#refusals.set(kind, refusals);
    }
    const count = refusals.note(this.#options.clock.now());
    if (count === undefined) return;
    this.#log.warn("a request at a front-end is not served", {
      why,
      count,
      forward: kind,
      peer: remote,
    });
  }
}
