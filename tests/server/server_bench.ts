/** A server on a bench, and a client played by the test. */
import assert from "node:assert/strict";
import type { Address } from "../../lib/base/address.ts";
import { isAddress } from "../../lib/base/target.ts";
import type { EgressOptions } from "../../lib/server/server.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import {
  decodeReply,
  encodeRequest,
  type HeaderList,
  type OpenReply,
} from "../../lib/wire/open.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { MemoryBroker } from "../support/memory_bus.ts";
import { TestServer } from "../support/shell_pair.ts";

/** A server, and a client played by the test. */
export class EgressBench implements Disposable {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly bus = this.broker.connect();
  readonly server: TestServer;
  readonly dialled: Address[] = [];
  /** Dials under way, for tests that end them. */
  readonly dials: PromiseWithResolvers<FakeSocket>[] = [];
  readonly replies: { subject: string; reply: OpenReply }[] = [];
  /** Times the broker said that no server listens. */
  nobody = 0;

  constructor(options: Partial<EgressOptions> & { hold?: boolean } = {}) {
    const { hold, ...rest } = options;
    this.server = new TestServer(this.broker, this.clock, {
      dial: (target) => {
        assert.ok(isAddress(target));
        this.dialled.push({ host: target.host, port: target.port });
        const dial = Promise.withResolvers<FakeSocket>();
        this.dials.push(dial);
        if (!hold) dial.resolve(new FakeSocket());
        return dial.promise;
      },
      ...rest,
    });
    for (const subject of ["_INBOX.>", "p.data.to_client.*.open.*"]) {
      this.bus.subscribe(subject, (message) => {
        if (message.status !== 0) {
          this.nobody++;
          return;
        }
        this.replies.push({
          subject: message.subject,
          reply: decodeReply((name) => message.header(name), message.data),
        });
      });
    }
  }

  /** Sends a request as it is. */
  async send(
    headers: HeaderList,
    body: Uint8Array,
    { reply = "_INBOX.t.1", subject = "proxy.request" }: {
      readonly reply?: string;
      readonly subject?: string;
    } = {},
  ): Promise<void> {
    this.bus.publish(subject, new JsonMessage(body), {
      headers,
      ...(reply === "" ? {} : { reply }),
    });
    await this.broker.settled();
  }

  /** Asks for tunnel `number`, as a version 2 client. */
  async ask(
    number: number,
    { client = "c", ...where }: {
      readonly client?: string;
      readonly reply?: string;
      readonly subject?: string;
    } = {},
  ): Promise<void> {
    const { headers, body } = encodeRequest({
      target: { host: "db", port: 5 },
      native: { client, number, window: 1 << 16, codec: "binary" },
    });
    const reply = `p.data.to_client.${client}.open.${number.toString(36)}`;
    const subject = `proxy.request.${client}`;
    await this.send(headers, body, { reply, subject, ...where });
  }

  /** Asks as a version 1 client. */
  async askV1(reply: string): Promise<void> {
    const request = {
      target: { host: "db", port: 5 },
      native: undefined,
    };
    const { headers, body } = encodeRequest(request);
    await this.send(headers, body, { reply });
  }

  /** Lets dial `at` (from 0) succeed; what it connected to. */
  async connect(at: number): Promise<FakeSocket> {
    const socket = new FakeSocket();
    this.dials[at]?.resolve(socket);
    await this.broker.settled();
    return socket;
  }

  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, () => this.broker.settled());
  }

  /** The answers since the last call, in words. */
  take(): string[] {
    return this.replies.splice(0).map(({ reply }) =>
      reply.type === "refused" ? reply.reason.code : reply.type
    );
  }

  [Symbol.dispose](): void {
    this.server[Symbol.dispose]();
  }
}
