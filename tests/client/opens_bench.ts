/** The opens of a client on a bench, and servers played by the test. */
import assert from "node:assert/strict";
import type { BusMessage } from "../../lib/nats/bus.ts";
import type { Decider, Reason } from "../../lib/base/errors.ts";
import type { OpenedAsk, SealedGate } from "../../lib/seal/open.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import {
  decodeRequest,
  encodeAccept,
  encodeDialing,
  encodeRefusal,
  type OpenMessage,
  type OpenReply,
  type OpenRequest,
} from "../../lib/wire/open.ts";
import type { Caller } from "../../lib/client/caller.ts";
import type { PendingOpen } from "../../lib/client/pending_open.ts";
import {
  PendingOpens,
  type PendingOpensOptions,
} from "../../lib/client/pending_opens.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { MemoryBroker } from "../support/memory_bus.ts";
import { SUBJECTS } from "../support/shell_pair.ts";

/** A request, and where it came. */
export interface Asked {
  readonly request: OpenRequest;
  readonly subject: string;
  readonly reply: string;
}

/** The opens of a client, and servers played by the test. */
export class OpensBench {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly bus = this.broker.connect();
  readonly server = this.broker.connect();
  readonly asked: Asked[] = [];
  readonly opened: { open: PendingOpen; reply: OpenReply }[] = [];
  readonly failed: { open: PendingOpen; reason: Reason; by: Decider }[] = [];
  readonly unwanted: string[] = [];
  foreign = 0;
  readonly opens: PendingOpens;
  readonly #serving = new DisposableStack();

  constructor(
    options: Partial<PendingOpensOptions> = {},
    serving = "proxy.request.*",
  ) {
    this.opens = new PendingOpens({
      bus: this.bus,
      clock: this.clock,
      subjects: SUBJECTS,
      token: "c",
      window: 4_096,
      codec: "json",
      openTimeout: 15_000,
      firstNumber: 36,
      refuseV1: false,
      onOpen: (open, reply) =>
        void this.opened.push({ open: { ...open }, reply }),
      onFailed: (open, reason, by) =>
        void this.failed.push({ open, reason, by }),
      onUnwanted: (id) => void this.unwanted.push(id),
      onDuplicateClientId: () => void this.foreign++,
      ...options,
    });
    this.bus.subscribe("p.data.to_client.c.>", (message) => {
      const number = parseInt(message.subject.split(".").at(-1) ?? "", 36);
      this.opens.onReply(number, message);
    });
    this.serve(serving);
  }

  /** A server listens on `pattern`, too, until that is disposed of. */
  serve(pattern: string): Disposable {
    return this.#serving.use(
      this.server.subscribe(pattern, (message) => {
        const { subject, reply } = message;
        this.asked.push({ request: read(message), subject, reply });
      }),
    );
  }

  /** Answers request `at` (from 0). */
  async answer(
    at: number,
    { headers, body }: OpenMessage,
  ): Promise<void> {
    const subject = this.asked[at]?.reply;
    assert.ok(subject, `there was no request ${at}`);
    this.server.publish(subject, new JsonMessage(body), { headers });
    await this.broker.settled();
  }

  /** Accepts request `at`, as a version 2 server does. */
  accept(at: number): Promise<void> {
    const number = this.asked[at]?.request.native?.number ?? 0;
    return this.answer(
      at,
      encodeAccept({
        id: `c.s.${number.toString(36)}`,
        native: { server: "s", window: 9, codec: "json" },
      }),
    );
  }

  /** Asks for a tunnel. */
  async start(
    caller: Partial<Caller & { readonly socket: FakeSocket }> = {},
  ): Promise<FakeSocket> {
    const { socket = new FakeSocket() } = caller;
    const target = { host: "db", port: 5432 };
    this.opens.start({ target, ...caller, socket });
    await this.broker.settled();
    return socket;
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, () => this.broker.settled());
  }

  /** From now on no server listens. */
  stopServers(): void {
    this.#serving[Symbol.dispose]();
  }

  /** Codes of the opens that failed. */
  get codes(): string[] {
    return this.failed.map(({ reason }) => reason.code);
  }
}

function read(message: BusMessage): OpenRequest {
  return decodeRequest((name) => message.header(name), message.data);
}

/** What was asked for under a seal, if `gate` can read it. */
export function unseal(gate: SealedGate, asked: Asked): OpenedAsk | undefined {
  const { request: { target, native }, subject } = asked;
  if (!("sealed" in target) || native === undefined) return undefined;
  return gate.read(target.sealed, {
    ...native,
    requestSubject: subject,
    dataPrefix: SUBJECTS.prefix,
  });
}

/** Answers of servers. */
export const DIALING = encodeDialing("s");
export const BUSY = encodeRefusal(
  { code: "draining", text: "about to stop" },
  "s",
);
export const REFUSED = encodeRefusal(
  { code: "refused", text: "connection refused" },
  "s",
);
/** The same from every server. */
export const BROKEN = encodeRefusal(
  { code: "internal", text: "out of order" },
  "s",
);
export const V1 = encodeAccept({ id: "66840b31340ea8b4" });
