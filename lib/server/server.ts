/**
 * The server's part: answer opens by dialling their targets.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Address, formatAddress } from "../base/address.ts";
import type { Bus, BusMessage, LinkEvent } from "../nats/bus.ts";
import type { Clock } from "../base/clock.ts";
import {
  messageOf,
  publishDenied,
  type Reason,
  TunnelError,
} from "../base/errors.ts";
import type { UnixPath } from "../base/place.ts";
import type { Service } from "../base/service.ts";
import { formatTarget, tryParseTarget } from "../base/target.ts";
import {
  peerAttributes,
  type Span,
  targetAttributes,
  type Tracing,
} from "../base/tracing.ts";
import { JsonMessage } from "../wire/json.ts";
import {
  encodeAgain,
  encodeDialing,
  type OpenMessage,
  type OpenRequest,
  PROTOCOL_VERSION,
} from "../wire/open.ts";
import type { ServerFacts } from "../wire/probe.ts";
import type { KnownClient } from "./clients.ts";
import { Dials } from "./dials.ts";
import { Hearing } from "./hearing.ts";
import type { Aim, ServiceState, ServiceView } from "./offers.ts";
import { introduced } from "./introduce.ts";
import { HeardCounts, type HeardEndpoint } from "./heard_counts.ts";
import { isProbe, Probes } from "./probes.ts";
import { RefusalLog } from "./refusal_log.ts";
import { type RefusedRequest, Requests } from "./requests.ts";
import { Reach, type ReachOptions } from "../session/reach.ts";
import { type Ask, Reception, type ServerSeal } from "./reception.ts";
import type { Dialled, Dialler } from "./targets.ts";
import { Session, type SessionOptions } from "../session/session.ts";
import { closeSocket, type Socket } from "../net/socket.ts";
import {
  type ConnectionId,
  firstNumber,
  formatId,
  makeToken,
  MAX_ID_LENGTH,
  OPEN_TOKEN,
  parseId,
  type RequestScope,
} from "../wire/subjects.ts";
import { PEER_NUMBER } from "../wire/frame.ts";
import { V1_WARNING } from "../tunnel/v1_machine.ts";

/** When a client first hears that the dial goes on, and how often after that, in ms. */
const DIALING_NOTICE_MS = { first: 500, next: 1_000 } as const;

/** Version 1 peers remembered as warned of; with more the log has told enough. */
const MAX_V1_PEERS = 1024;

const DRAINING = new TunnelError("draining", "the server is about to stop");
const NATS_DOWN = new TunnelError(
  "nats-down",
  "the link to NATS went down while the target was dialled",
);

/** Who pays for the look-ups of checks: no client has a blank in its name. */
const CHECKS = "checks of services";

/** Where and when an open came. */
interface Came extends Pick<RefusedRequest, "subject"> {
  readonly since: number;
}

/** What a server's egress is made of. */
export interface EgressOptions
  extends Omit<SessionOptions, "role" | "onOther" | "onUnknown"> {
  /** Queue group of the request subject: one server of it answers each open. */
  readonly queueGroup: string;
  /**
   * Connects to a target, which is told nothing where a socket alone comes back.
   *
   * @throws {TunnelError} with the code for the client.
   */
  readonly dial: (
    target: Address | UnixPath,
    signal: AbortSignal,
    asker: Dialler,
  ) => Promise<Socket | Dialled>;
  /** The services that are offered at first. */
  readonly services?: readonly Service[] | undefined;
  /** The place that this server answers for, and no other; undefined for none. */
  readonly site?: string | undefined;
  /** What sealed opens are read with, and whose are taken; undefined where none are. */
  readonly seal?: ServerSeal | undefined;
  /** Most tunnels for one client. */
  readonly maxTunnelsPerClient: number;
  /** Most opens a second of one client. */
  readonly maxOpenRate: number;
  /** Turn away clients that speak version 1. */
  readonly refuseV1: boolean;
  /** What the inboxes of version 1 clients begin with. */
  readonly inboxPrefix: string;
  /** Bytes a second sent to a version 1 client. */
  readonly v1Rate: number;
  /** How long a version 1 client may take to listen, in ms. */
  readonly listenTimeout: number;
  /** What it says of itself to those who ask; undefined where nobody is answered. */
  readonly identity?: ServerIdentity | undefined;
  /** What traces tunnels; undefined where nothing is traced. */
  readonly tracing?: Tracing | undefined;
  /** Fills with bytes that nobody can guess. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
}

/** A service, and what is counted of it. */
export interface ServiceCount extends ServiceState {
  /** Tunnels to it that were opened. */
  readonly opened: number;
}

/** Which server it is, for people and tools. */
export interface ServerIdentity
  extends Pick<ServerFacts, "version" | "deno" | "host" | "pid" | "worker"> {
  /** Its public ID, which is not its token. */
  readonly publicId: string;
}

/** The dialling side of the tunnels of one process. */
export class Egress implements Disposable {
  /** The tunnels. */
  readonly session: Session;
  readonly #options: EgressOptions;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #log = getLogger(["sproxy", "open"]);
  /** Where opens come from; nowhere while the broker refuses every answer: others are to get them. */
  readonly #hearing: Hearing;
  /** Whether the broker lets clients be spoken to, and inboxes be answered. */
  readonly #clients: Reach;
  readonly #inboxes: Reach;
  readonly #reception: Reception;
  readonly #probes: Probes | undefined;
  readonly #startedAt: number;
  readonly #stop = new AbortController();
  readonly #dials: Dials;
  readonly #requests: Requests;
  readonly #refusals: RefusalLog;
  /** What was counted on each subject where opens are heard. */
  readonly #heard: HeardCounts;
  readonly #v1Peers = new Set<string>();
  #nextV1Number: number;

  /** An egress on a bus; it answers opens from now on. */
  constructor(options: EgressOptions) {
    this.#options = options;
    this.#bus = options.bus;
    this.#clock = options.clock;
    this.#reception = new Reception(options);
    this.#refusals = new RefusalLog(
      options.clock,
      ({ client, source, target, reason }, at) =>
        this.session.recent.refused({
          ...{ at, client, source },
          target: target && formatTarget(target),
        }, { by: "local", reason }),
    );
    this.#heard = new HeardCounts(options.subjects);
    this.#nextV1Number = firstNumber(options.random);
    this.session = new Session({
      ...options,
      role: "server",
      sealed: options.seal !== undefined,
    });
    const { counters } = this.session;
    this.#dials = new Dials({ clock: this.#clock, times: counters.dials });
    const { subjects, token } = options;
    this.#clients = this.#reach({
      pattern: subjects.data("client", ">"),
      subjectOf: (client) =>
        subjects.data(
          "client",
          formatId({ client, server: token, number: PEER_NUMBER }),
        ),
      onChange: () => this.#hearing.takePart(),
    });
    const inboxes = `${options.inboxPrefix}.`;
    this.#inboxes = this.#reach({
      pattern: `${inboxes}>`,
      subjectOf: (inbox) => inboxes + inbox,
      onChange: () => {},
    });
    this.#requests = new Requests({
      ...options,
      inboxes,
      counters,
      refusals: this.#refusals,
      inboxRefusal: () => this.#inboxes.refusal,
      onRefused: (refusal) => this.#onRefused(refusal),
      send: (subject, message) => void this.#send(subject, message),
    });
    this.#hearing = new Hearing({
      ...options,
      onRequest: (message) => this.#onRequest(message),
      check: (service, signal) => this.#check(service, signal),
      muteness: () => this.#clients.refusal,
    });
    const { identity } = options;
    this.#startedAt = options.clock.now();
    this.#probes = identity && new Probes({
      ...options,
      publicId: identity.publicId,
      reception: this.#reception,
      facts: (known) => this.#facts(identity, known),
    });
    this.#bus.onLink((event) => this.#onLink(event), this.#stop.signal);
    this.#countServices();
    this.session.counters.clients.keep(this.clients);
    this.#hearing.takePart();
  }

  /** Names of the clients that may open tunnels, where a key says who they are. */
  get clients(): readonly string[] {
    return this.#reception.clients?.names ?? [];
  }

  /**
   * Reads opens with other keys from now on, and takes them from other clients.
   * Open tunnels that these clients may still have go on; others end.
   */
  reload(seal: ServerSeal): void {
    this.#reception.reload(seal);
    this.session.abortWhere(({ info, peer }) =>
      this.#objectionTo(peer?.key, info)
    );
    this.session.counters.clients.keep(seal.clients.names);
  }

  /** Why the holder of `key` may not have a tunnel that was dialled; undefined if they may. */
  #objectionTo(
    key: string | undefined,
    { target, remote }: { readonly target: string; readonly remote: string },
  ): Reason | undefined {
    const asked = tryParseTarget(target);
    if (key === undefined || typeof asked === "string") return undefined;
    const led = tryParseTarget(remote);
    const dialled = typeof led === "string" || "service" in led
      ? undefined
      : led;
    const service = "service" in asked
      ? this.#hearing.offers.find(asked.service)
      : undefined;
    return this.#reception.clients?.objection(key, asked, { dialled, service });
  }

  /** Dials under way. */
  get opening(): number {
    return this.#dials.size;
  }

  /** Why no open is answered, beside the link; undefined when they are. */
  get notReadyReason(): string | undefined {
    return this.#clients.refusal?.text;
  }

  /** How many services there are, and how many of them are offered. */
  get readyDetails(): Readonly<Record<string, number>> {
    const { services } = this;
    if (services.length === 0) return {};
    const up = services.filter(({ up }) => up).length;
    return { services: services.length, services_up: up };
  }

  /** Which of the `refused` subscriptions there is no working without. */
  missing(refused: readonly string[]): string | undefined {
    return this.#hearing.missing(refused);
  }

  /** The subject where opens of any target are heard, of which NATS has `refused` some; undefined where it has all. */
  hears(refused: readonly string[]): string | undefined {
    return this.#hearing.general.findLast((one) => !refused.includes(one));
  }

  /** How each service is, and what is counted of it. */
  get services(): readonly ServiceCount[] {
    const { services } = this.session.counters;
    return this.#hearing.offers.states.map((state) => ({
      ...state,
      opened: services.find(state.name)?.opened ?? 0,
    }));
  }

  /** What people are shown of each service. */
  get serviceViews(): readonly ServiceView[] {
    const { services } = this.session.counters;
    return this.#hearing.offers.views.map((view) => ({
      ...view,
      opened: services.find(view.name)?.opened ?? 0,
    }));
  }

  /** Where opens are heard, and what was counted there. */
  get endpoints(): readonly HeardEndpoint[] {
    const { services } = this.session.counters;
    return this.#heard.endpoints(
      this.#hearing,
      (service) => services.find(service)?.opened ?? 0,
    );
  }

  /** Offers these services from now on, and no others; open tunnels to any stay. */
  setServices(services: readonly Service[]): void {
    this.#hearing.offers.set(services);
    this.#countServices();
  }

  /**
   * Takes no more opens, and gives up dials under way: their clients are told,
   * so that other servers of the queue group get them. Resolves when no more
   * requests can come.
   */
  async drain(): Promise<void> {
    if (this.#draining) return;
    this.#stop.abort(DRAINING);
    this.#dials.abort(DRAINING);
    await this.#hearing.drain();
  }

  /** Tells the log of refusals that were counted and not told; called at the end, before it is said to be one. */
  tellRest(): void {
    this.#refusals[Symbol.dispose]();
  }

  /** Gives up dials under way and ends the session. */
  [Symbol.dispose](): void {
    this.#stop.abort(DRAINING);
    this.#dials.abort(DRAINING);
    this.#refusals[Symbol.dispose]();
    this.#probes?.[Symbol.dispose]();
    this.#hearing[Symbol.dispose]();
    this.#clients[Symbol.dispose]();
    this.#inboxes[Symbol.dispose]();
    this.session[Symbol.dispose]();
  }

  #reach(
    options: Pick<ReachOptions, "pattern" | "subjectOf" | "onChange">,
  ): Reach {
    return new Reach({ ...this.#options, ...options });
  }

  /** An answer that did not get through: its client will not use the tunnel. */
  #onLink(event: LinkEvent): void {
    if (event.type === "subscriptions") this.#hearing.takePart();
    if (event.type !== "denied") return;
    const { subjects, token } = this.#options;
    const id = parseId(subjects.idOf("client", event.subject) ?? "");
    if (id?.server !== OPEN_TOKEN) return;
    this.session.abort(
      formatId({ ...id, server: token }),
      publishDenied(event.subject),
    );
  }

  /** Tunnels are counted for each service that there is now. */
  #countServices(): void {
    const names = this.#hearing.offers.states.map(({ name }) => name);
    this.session.counters.services.keep(names);
  }

  get #draining(): boolean {
    return this.#stop.signal.aborted;
  }

  /** What this client is told of the server. */
  #facts(
    { publicId: _, ...identity }: ServerIdentity,
    known: KnownClient | undefined,
  ): ServerFacts {
    const { site, refuseV1, seal, clock } = this.#options;
    const { size, allowed } = this.session;
    const why = this.session.limitReached(this.#dials.size)?.text;
    return {
      ...identity,
      site,
      protocols: refuseV1 || seal !== undefined
        ? [PROTOCOL_VERSION]
        : [PROTOCOL_VERSION, 1],
      up: Math.round(clock.now() - this.#startedAt),
      time: clock.wallTime(),
      tunnels: size,
      opening: this.#dials.size,
      limit: allowed,
      services: this.#hearing.offers.told(known),
      more: 0,
      state: this.#draining
        ? "draining"
        : why === undefined
        ? "ready"
        : "not-ready",
      why,
    };
  }

  #onRequest(message: BusMessage): void {
    if (isProbe(message)) {
      this.#probes?.receive(message);
      return;
    }
    const received = this.#requests.receive(message);
    if (received === undefined) return;
    const { request, subject, scope, sender, answerTo: reply } = received;
    if (request.native?.not?.includes(this.#options.token)) {
      this.#send(reply, encodeAgain(this.#options.token));
      return;
    }
    const id = this.#idFor(request);
    // The request was repeated: the first is answered, or will be.
    const key = formatId(id);
    if (this.session.knows(key) || this.#dials.has(key)) return;
    const understood = this.#reception.understand(request, { subject, sender });
    switch (understood.type) {
      case "ask": {
        const { ask } = understood;
        const { known } = ask;
        const over = known && this.#requests.overRate(known);
        const aim = over === undefined
          ? this.#aim(ask, scope)
          : { refusal: over.reason };
        const span = this.#spanOf(ask);
        const came = { subject, since: this.#clock.now() };
        if ("refusal" in aim) {
          const { refusal } = aim;
          this.#refuse(reply, refusal, ask, { tell: over?.tell, span, came });
        } else void this.#open(ask, aim, { id, reply, span, came });
        return;
      }
      case "answer": {
        const { answer, reason, client, known } = understood;
        // Keys that nobody knows are made at will.
        const payer = known?.name ?? sender;
        const asker = client ?? request.native?.client ?? "version 1";
        const by = { client: known?.name };
        this.#requests.refuse({ client: asker, payer, reason, subject }, by);
        this.#send(reply, answer);
        return;
      }
      case "nothing":
        this.#requests.drop(subject, understood.why);
    }
  }

  /** What traces the tunnel that `ask` is for, as a part of what traces it at the client. */
  #spanOf({ target, endpoints, traceparent, client }: Ask): Span | undefined {
    const source = endpoints && formatAddress(endpoints.source);
    return this.#options.tracing?.begin("tunnel", {
      side: "server",
      parent: traceparent,
      attributes: {
        ...targetAttributes({ target, site: this.#options.site }),
        ...peerAttributes("client", source ?? ""),
        "sproxy.client": client,
      },
    });
  }

  /** Counts and tells an open that is refused. */
  #onRefused(
    { payer, target, reason, subject, since, ask }: RefusedRequest,
  ): void {
    const now = this.#clock.now();
    this.#heard.answered(subject, now - (since ?? now), reason.code);
    const { observer, subjects } = this.#options;
    if (observer === undefined) return;
    const owner = subjects.requestOn(subject)?.client;
    const source = ask?.endpoints && formatAddress(ask.endpoints.source);
    observer.refused({
      ...{ reason, by: "local", source, key: ask?.key },
      target: target && formatTarget(target),
      client: ask?.known?.name,
      clientId: owner ?? ask?.native?.client,
      vouched: owner !== undefined || ask?.known?.name === payer,
    });
  }

  /** Says once per peer what version 1 cannot do; its inbox tells one peer from another. */
  #noteV1(reply: string): void {
    const inbox = reply.split(".").slice(0, 2).join(".").slice(
      0,
      MAX_ID_LENGTH,
    );
    if (this.#v1Peers.has(inbox) || this.#v1Peers.size >= MAX_V1_PEERS) return;
    this.#v1Peers.add(inbox);
    this.#log.warn(V1_WARNING, { inbox });
  }

  /** What is dialled for an open that came on a subject of this scope, or why nothing is. */
  #aim(ask: Ask, scope: RequestScope): Aim {
    const aim = this.#hearing.offers.aim(ask.target, scope, ask.known);
    if ("refusal" in aim) return aim;
    const refusal = this.#objection(ask);
    return refusal === undefined ? aim : { refusal };
  }

  /** Why a request is refused before its target is looked at; undefined if it is not. */
  #objection({ known, payer }: Ask): Reason | undefined {
    const { maxTunnelsPerClient } = this.#options;
    if (this.#draining) return DRAINING;
    const dials = this.#dials.countOf(payer);
    const maxTunnels = known?.maxTunnels ?? maxTunnelsPerClient;
    if (this.session.tunnelsOf(payer) + dials >= maxTunnels) {
      const option = known?.maxTunnels === undefined
        ? "--max-tunnels-per-client"
        : "max_tunnels";
      return {
        code: "limit",
        text:
          `${maxTunnels} tunnels of ${payer} are open or being opened (${option}, shared by all workers)`,
      };
    }
    const maxOpening = known?.maxOpening ?? Infinity;
    if (dials >= maxOpening) {
      return {
        code: "limit",
        text:
          `${maxOpening} opens of ${payer} are under way (max_opening, shared by all workers)`,
      };
    }
    const limit = this.session.limitReached(this.#dials.size);
    return limit !== undefined && this.#dials.makeRoom(payer)
      ? this.session.limitReached(this.#dials.size)
      : limit;
  }

  /** Tries the target of a service. */
  async #check(service: Service, signal: AbortSignal): Promise<void> {
    const dialled = await this.#options.dial(service.target, signal, {
      ...{ known: undefined, endpoints: undefined, payer: CHECKS, service },
    });
    // Nobody's connection: a header says so.
    const options = { clock: this.#clock, signal };
    closeSocket(await introduced(dialled, {}, options));
  }

  async #open(
    ask: Ask,
    { target, service }: Exclude<Aim, { readonly refusal: Reason }>,
    { id, reply, span, came }: {
      readonly id: ConnectionId;
      readonly reply: string;
      readonly span: Span | undefined;
      readonly came: Came;
    },
  ): Promise<void> {
    using dial = this.#dials.begin(formatId(id), ask.payer);
    let notice: Disposable | undefined;
    const dialling = span?.child("dial");
    const notify = (): void => {
      this.#send(reply, encodeDialing(id.server));
      notice = this.#clock.after(DIALING_NOTICE_MS.next, notify);
    };
    if (ask.native !== undefined) {
      notice = this.#clock.after(DIALING_NOTICE_MS.first, notify);
    }
    try {
      const { signal } = dial;
      const { known, payer, endpoints } = ask;
      const tunnelId = formatId(id);
      const asker = { known, payer, endpoints, service, id: tunnelId };
      const dialled = await this.#options.dial(target, signal, asker);
      const facts = { ...endpoints, tunnelId, clientName: known?.name };
      const options = { clock: this.#clock, signal };
      const socket = await introduced(dialled, facts, options);
      dial.succeeded();
      dialling?.end(peerAttributes("network.peer", socket.remote));
      this.#accept(ask, { id, socket, reply, span, came });
    } catch (error) {
      const reason = error instanceof TunnelError
        ? error
        : new TunnelError("internal", messageOf(error));
      dialling?.end({}, reason);
      this.#refuse(reply, reason, ask, { span, came });
    } finally {
      notice?.[Symbol.dispose]();
    }
  }

  /** Answers that `socket` is connected, and opens the tunnel if the answer could be sent. */
  #accept(
    ask: Ask,
    { id, socket, reply, span, came }: {
      readonly id: ConnectionId;
      readonly socket: Socket;
      readonly reply: string;
      readonly span: Span | undefined;
      readonly came: Came;
    },
  ): void {
    const { v1Rate, listenTimeout } = this.#options;
    const { native } = ask;
    const text = formatId(id);
    if (this.#draining || !this.#bus.connected) {
      closeSocket(socket);
      const reason = this.#draining ? DRAINING : NATS_DOWN;
      this.#refuse(reply, reason, ask, { span, came });
      return;
    }
    const target = formatTarget(ask.target);
    // What is allowed may have changed while it was dialled.
    const { remote } = socket;
    const objection = this.#objectionTo(ask.key, { target, remote });
    if (objection !== undefined) {
      closeSocket(socket);
      this.#refuse(reply, objection, ask, { span, came });
      return;
    }
    const { message, seal } = ask.accept(text, this.session.initialWindow);
    this.#send(reply, message);
    this.#heard.answered(came.subject, this.#clock.now() - came.since);
    if (native !== undefined) {
      const { codec, window: peerWindow, express = false } = native;
      const client = ask.known?.name;
      const { payer, client: asker } = ask;
      const source = sourceOf(ask);
      const service = "service" in ask.target ? ask.target.service : undefined;
      this.session.addNative({
        ...{ id, socket, target, source, service, client, asker, payer },
        ...{ codec, peerWindow, express, seal, span, key: ask.key },
      });
      void this.#clients.meet(id.client);
      return;
    }
    this.#noteV1(reply);
    this.session.addV1({
      id: text,
      number: id.number,
      socket,
      target,
      asker: ask.client,
      payer: ask.payer,
      span,
      rate: v1Rate,
      listenTimeout,
    });
  }

  #refuse(
    reply: string,
    reason: Reason,
    ask: Ask,
    { tell = true, span, came }: {
      readonly tell?: boolean | undefined;
      readonly span: Span | undefined;
      readonly came: Came;
    },
  ): void {
    span?.end({}, reason);
    const { client, payer, target } = ask;
    const source = sourceOf(ask);
    this.#requests.refuse({
      client,
      payer,
      target,
      source,
      reason,
      ...came,
      ask,
    }, {
      client: ask.known?.name,
      service: "service" in target ? target.service : undefined,
    });
    const answer = tell ? ask.refuse(reason) : undefined;
    if (answer !== undefined) this.#send(reply, answer);
  }

  #send(subject: string, { headers, body }: OpenMessage): boolean {
    // The reply goes ahead of the data that may follow it at once.
    return this.#bus.publish(subject, new JsonMessage(body), {
      headers,
      lane: "control",
    });
  }

  /** The ID of a tunnel to be: as a native client asked, or made up for a version 1 client. */
  #idFor({ native }: OpenRequest): ConnectionId {
    const { token, random } = this.#options;
    return {
      client: native?.client ?? makeToken(random),
      server: token,
      number: native?.number ?? this.#nextV1Number++,
    };
  }
}

/** Address of the application, as the client says it. */
function sourceOf({ endpoints }: Ask): string | undefined {
  return endpoints && formatAddress(endpoints.source);
}
