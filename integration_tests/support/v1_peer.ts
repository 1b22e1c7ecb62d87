/**
 * Plays the Go original's client and server in this process: what they say to
 * the letter, and the races they have. They share no code with ours.
 *
 * @module
 */

import { type Endpoint, parseAddress } from "./addresses.ts";
import { Changes, pause, type WaitOptions } from "./changes.ts";
import { RawNats } from "./raw_nats.ts";
import { Target } from "./targets.ts";
import { chunksOf, close, isDisconnect, writeAll } from "./transfer.ts";

/** Bytes the original reads at once; of a longer message it drops the rest. */
const READ_SIZE = 32 * 1024;

/** Messages that may wait for one connection; more are dropped. */
const QUEUE_LENGTH = 100;

/** A message of the original, in the order of its fields. */
interface V1Message {
  readonly ID: string;
  readonly Reply: string;
  readonly Data: string | null;
  readonly Metadata: Readonly<Record<string, string>> | null;
}

/** What both ends of the original lose, for tests to look at. */
export interface Losses {
  /** Messages dropped because the queue was full. */
  readonly messages: number;
  /** Bytes dropped because the message was too long. */
  readonly bytes: number;
}

function encode(
  id: string,
  data: Uint8Array | null,
  metadata: V1Message["Metadata"],
): string {
  const message: V1Message = {
    ID: id,
    Reply: "",
    Data: data === null ? null : data.toBase64(),
    Metadata: metadata,
  };
  return JSON.stringify(message);
}

/** What the original's decoder makes of a message; undefined where it logs and drops. */
function decode(payload: Uint8Array): V1Message | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(payload));
  } catch {
    // The original logs it and goes on.
    return undefined;
  }
}

function bytesOf({ Data }: V1Message): Uint8Array {
  return Data === null ? new Uint8Array(0) : Uint8Array.fromBase64(Data);
}

/** Messages for one connection, of which there is room for 100. */
class Queue {
  readonly #messages: V1Message[] = [];
  readonly #changes = new Changes();
  #ended = false;
  dropped = 0;

  push(message: V1Message | undefined): void {
    if (message === undefined || this.#ended) return;
    if (this.#messages.length >= QUEUE_LENGTH) this.dropped++;
    else this.#messages.push(message);
    this.#changes.notify();
  }

  /** The messages as they come, until the end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<V1Message> {
    const { signal } = new AbortController(); // not the test's
    for (;;) {
      await this.#changes.until(
        () => this.#messages.length > 0 || this.#ended,
        { signal },
      );
      const message = this.#messages.shift();
      if (message === undefined || this.#ended) return;
      yield message;
    }
  }

  end(): void {
    this.#ended = true;
    this.#changes.notify();
  }
}

/** Hands on what arrives until the connection ends, as much at once as the original reads. */
async function readAll(
  conn: Deno.TcpConn,
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  await untilCut(async () => {
    for await (const bytes of chunksOf(conn, READ_SIZE)) onBytes(bytes);
  });
}

/** Runs `body`, for which it is no failure that the connection is cut. */
async function untilCut(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
}

/** How the original's server is slow or unlucky. */
export interface V1ServerOptions {
  /** From the connected target to the subscription, in ms; default 0. */
  readonly subscribeDelay?: number;
  /** Before each message is written to the target, in ms; default 0. */
  readonly writeDelay?: number;
  /** It resolves names, and then fails to dial, of which it tells nobody. */
  readonly failDials?: boolean;
}

/** The original's server. */
export class V1Server implements AsyncDisposable {
  readonly #nats: RawNats;
  readonly #options: V1ServerOptions;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #queues = new Set<Queue>();
  readonly #running = new Set<Promise<void>>();
  readonly #changes = new Changes();
  #accepted = 0;
  #ended = 0;
  #closes = 0;

  private constructor(nats: RawNats, options: V1ServerOptions) {
    this.#nats = nats;
    this.#options = options;
    // No queue group: each of several servers answers.
    nats.subscribe("proxy.request", ({ headers, reply }) => {
      this.#onRequest(headers, reply);
    });
  }

  /** Starts one; it takes requests when this resolves. */
  static async start(
    url: string,
    options: V1ServerOptions = {},
  ): Promise<V1Server> {
    const nats = await RawNats.connect(url);
    const server = new V1Server(nats, options);
    await nats.flush();
    return server;
  }

  /** Requests it has accepted. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Close messages it was sent, and paid no heed to. */
  get closes(): number {
    return this.#closes;
  }

  /** Messages it dropped because 100 waited. */
  get dropped(): number {
    return [...this.#queues].reduce((sum, { dropped }) => sum + dropped, 0);
  }

  /** Waits until `count` connections to targets have ended. */
  async whenEnded(count: number, options: WaitOptions = {}): Promise<void> {
    await this.#changes.until(() => this.#ended >= count, options);
  }

  /** Its process ends: nobody is told anything. */
  async stop(): Promise<void> {
    await this.#nats.close();
    for (const queue of this.#queues) queue.end();
    for (const conn of this.#connections) close(conn);
    await Promise.all(this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #onRequest(headers: Readonly<Record<string, string>>, reply: string): void {
    const { remote_host: host, remote_port: port } = headers;
    const refuse = (why: string): void =>
      this.#nats.publish(
        reply,
        encode("", new TextEncoder().encode(why), { error: "true" }),
      );
    if (host === undefined) {
      return refuse("remote_host not found in message metadata");
    }
    if (port === undefined) {
      return refuse("remote_port not found in message metadata");
    }
    if (host.endsWith(".invalid")) {
      return refuse(
        `failed to resolve remote host: lookup ${host}: no such host`,
      );
    }
    const id = crypto.getRandomValues(new Uint8Array(8)).toHex();
    this.#accepted++;
    // The answer goes before the dial, which nobody hears about.
    this.#nats.publish(reply, encode("", new TextEncoder().encode(id), {}));
    const running = this.#serve(id, { hostname: host, port: Number(port) });
    this.#running.add(running);
    void running.then(() => this.#running.delete(running));
  }

  async #serve(id: string, target: Endpoint): Promise<void> {
    const { subscribeDelay = 0, failDials = false } = this.#options;
    if (failDials) return;
    let conn: Deno.TcpConn;
    try {
      conn = await Deno.connect(target);
    } catch {
      return; // logged there, and nowhere else
    }
    conn.setNoDelay(true);
    this.#connections.add(conn);
    const queue = new Queue();
    this.#queues.add(queue);
    const down = readAll(
      conn,
      (bytes) =>
        this.#nats.publish(`p.data.to_client.${id}`, encode(id, bytes, {})),
    );
    const up = (async (): Promise<void> => {
      await pause(subscribeDelay);
      // It never unsubscribes.
      this.#nats.subscribe(`p.data.to_server.${id}`, ({ data }) => {
        queue.push(decode(data));
      });
      await this.#toTarget(conn, queue);
    })();
    await Promise.race([down, up]);
    queue.end();
    close(conn);
    this.#connections.delete(conn);
    await Promise.all([down, up]);
    this.#ended++;
    this.#changes.notify();
  }

  async #toTarget(conn: Deno.TcpConn, queue: Queue): Promise<void> {
    const { writeDelay = 0 } = this.#options;
    await untilCut(async () => {
      for await (const message of queue) {
        if (message.Metadata?.type === "close") this.#closes++;
        await pause(writeDelay);
        await writeAll(conn, bytesOf(message)); // a close is zero bytes
      }
    });
  }
}

/** How the original's client is slow, and where it leads. */
export interface V1ClientOptions {
  /** `host:port` the server is to dial. */
  readonly target: string;
  /** From the reply to the subscription, in ms; default 0. */
  readonly subscribeDelay?: number;
  /** From the end of the subscription to the close message, in ms; default 0. */
  readonly closeDelay?: number;
}

/** The original's client. */
export class V1Client implements AsyncDisposable {
  /** Where it listens. */
  readonly endpoint: Endpoint;
  readonly #nats: RawNats;
  readonly #options: V1ClientOptions;
  readonly #listener: Target;
  readonly #ids: string[] = [];
  #dropped = 0;
  #cutOff = 0;
  #stopped: Promise<void> | undefined;

  private constructor(nats: RawNats, options: V1ClientOptions) {
    this.#nats = nats;
    this.#options = options;
    this.#listener = new Target(async (conn) => {
      const id = await this.#open();
      if (id !== undefined) await this.#relay(conn, id);
    });
    this.endpoint = this.#listener.endpoint;
  }

  /** Starts one, on a port the OS chooses. */
  static async start(url: string, options: V1ClientOptions): Promise<V1Client> {
    return new V1Client(await RawNats.connect(url), options);
  }

  /** Connection IDs it was given. */
  get ids(): readonly string[] {
    return this.#ids;
  }

  /** What it has lost. */
  get losses(): Losses {
    return { messages: this.#dropped, bytes: this.#cutOff };
  }

  /** Its process ends: nobody is told anything. */
  stop(): Promise<void> {
    return this.#stopped ??= this.#nats.close().then(() =>
      this.#listener[Symbol.asyncDispose]()
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Asks for a tunnel; undefined where its NATS library refuses the subject. */
  async #open(): Promise<string | undefined> {
    const { hostname, port } = parseAddress(this.#options.target);
    const { data, status } = await this.#nats.request(
      "proxy.request",
      encode("", null, null),
      { headers: { remote_host: hostname, remote_port: String(port) } },
    );
    const reply = status === 503 ? undefined : decode(data);
    if (reply === undefined) return undefined;
    // It does not look for an error: whatever is in Data is the ID.
    const id = new TextDecoder().decode(bytesOf(reply));
    if (id === "" || /\s/.test(id)) return undefined;
    this.#ids.push(id);
    await pause(this.#options.subscribeDelay ?? 0);
    return id;
  }

  async #relay(conn: Deno.TcpConn, id: string): Promise<void> {
    const queue = new Queue();
    const subscription = this.#nats.subscribe(
      `p.data.to_client.${id}`,
      ({ data }) => queue.push(decode(data)),
    );
    const down = untilCut(async () => {
      for await (const message of queue) {
        const bytes = bytesOf(message);
        this.#cutOff += Math.max(0, bytes.length - READ_SIZE);
        await writeAll(conn, bytes.subarray(0, READ_SIZE));
      }
    });
    const up = readAll(
      conn,
      (bytes) =>
        this.#nats.publish(`p.data.to_server.${id}`, encode(id, bytes, null)),
    );
    await Promise.race([down, up]);
    queue.end();
    close(conn);
    await Promise.all([down, up]);
    this.#dropped += queue.dropped;
    subscription[Symbol.dispose]();
    const { closeDelay = 0 } = this.#options;
    if (closeDelay > 0) {
      await this.#nats.flush();
      await pause(closeDelay);
    }
    this.#nats.publish(
      `p.data.to_server.${id}`,
      encode(id, null, { type: "close" }),
    );
    await this.#nats.flush();
  }
}
