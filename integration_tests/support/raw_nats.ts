/**
 * Speaks the NATS client protocol in as few lines as the tests need: none of
 * our own code, so that it does not share our mistakes.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { nkeys } from "@nats-io/nats-core";
import { writeAll } from "./transfer.ts";

/** A message as it came. */
export interface RawMessage {
  readonly subject: string;
  /** Empty when no answer is wanted. */
  readonly reply: string;
  /** Header names as they were written. */
  readonly headers: Readonly<Record<string, string>>;
  /** 503 for "no responders"; 0 for ordinary messages. */
  readonly status: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** What of a message beside its payload. */
export interface RawOptions {
  readonly reply?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** How to log in, beside what the URL says. */
export interface RawLogin {
  /** PEM of the authority that vouches for the broker; given, TLS is spoken. */
  readonly ca?: string;
  /** Seed of the nkey to log in with. */
  readonly seed?: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Messages handled before others get a turn: callbacks here share one thread. */
const TURN_MESSAGES = 8;

function nobody(subject: string): RawMessage {
  const data = new Uint8Array(0);
  return { subject, reply: "", headers: {}, status: 503, data };
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** One connection to a nats-server; it is not made again when it is lost. */
export class RawNats implements AsyncDisposable {
  /** What the broker has complained of, such as a permissions violation. */
  readonly errors: string[] = [];
  readonly #conn: Deno.Conn;
  readonly #handlers = new Map<number, (message: RawMessage) => void>();
  readonly #pongs: (() => void)[] = [];
  readonly #running: Promise<void>;
  readonly #inbox = `_INBOX.${crypto.randomUUID().replaceAll("-", "")}`;
  readonly #waiting = new Map<string, (message: RawMessage) => void>();
  #requests = 0;
  #sid = 0;
  #buffer = new Uint8Array(0);
  #queue: Uint8Array[] = [];
  #writing = false;
  #closed = false;

  private constructor(
    conn: Deno.Conn,
    login: Readonly<Record<string, string>>,
  ) {
    this.#conn = conn;
    const connect = {
      ...login,
      verbose: false,
      pedantic: false,
      lang: "test",
      version: "0",
      headers: true,
      no_responders: true,
      protocol: 1,
    };
    this.#send(`CONNECT ${JSON.stringify(connect)}\r\n`);
    this.#running = this.#run();
    this.subscribe(`${this.#inbox}.*`, (message) => {
      this.#waiting.get(message.subject)?.(message);
      this.#waiting.delete(message.subject);
    });
  }

  /** Connects to `nats://[user:password@]host:port`; subscriptions are in place after a flush. */
  static async connect(url: string, login: RawLogin = {}): Promise<RawNats> {
    const { hostname, port, username, password } = new URL(url);
    const { ca, seed } = login;
    const conn = await Deno.connect({ hostname, port: Number(port) });
    conn.setNoDelay(true);
    const nonce = ca === undefined && seed === undefined
      ? ""
      : await readNonce(conn);
    const nats = new RawNats(
      ca === undefined
        ? conn
        : await Deno.startTls(conn, { hostname, caCerts: [ca] }),
      seed === undefined
        ? username === "" ? {} : { user: username, pass: password }
        : signed(seed, nonce),
    );
    await nats.flush();
    return nats;
  }

  /** Subscribes; returns what unsubscribes. */
  subscribe(
    subject: string,
    handler: (message: RawMessage) => void,
  ): Disposable {
    const sid = ++this.#sid;
    this.#handlers.set(sid, handler);
    this.#send(`SUB ${subject} ${sid}\r\n`);
    return {
      [Symbol.dispose]: () => {
        this.#handlers.delete(sid);
        this.#send(`UNSUB ${sid}\r\n`);
      },
    };
  }

  /** Publishes; nothing says whether anybody got it. */
  publish(
    subject: string,
    payload: string | Uint8Array,
    options: RawOptions = {},
  ): void {
    const data = typeof payload === "string"
      ? encoder.encode(payload)
      : payload;
    const { reply = "", headers } = options;
    if (headers === undefined) {
      this.#send(`PUB ${subject} ${reply} ${data.length}\r\n`, data, "\r\n");
      return;
    }
    const lines = Object.entries(headers).map(([name, value]) =>
      `${name}: ${value}\r\n`
    );
    const head = encoder.encode(`NATS/1.0\r\n${lines.join("")}\r\n`);
    const total = head.length + data.length;
    this.#send(
      `HPUB ${subject} ${reply} ${head.length} ${total}\r\n`,
      head,
      data,
      "\r\n",
    );
  }

  /**
   * Publishes with an inbox as reply subject, and waits for the first answer;
   * when the connection ends, that is "no responders".
   */
  async request(
    subject: string,
    payload: string,
    options: RawOptions = {},
  ): Promise<RawMessage> {
    const reply = `${this.#inbox}.${++this.#requests}`;
    const { promise, resolve } = Promise.withResolvers<RawMessage>();
    if (this.#closed) resolve(nobody(reply));
    this.#waiting.set(reply, resolve);
    this.publish(subject, payload, { ...options, reply });
    return await promise;
  }

  /** Resolves when the broker has handled all that was sent so far, or never will. */
  async flush(): Promise<void> {
    if (this.#closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#pongs.push(resolve);
    this.#send("PING\r\n");
    await promise;
  }

  /** Ends the connection, as when its process ends. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#conn[Symbol.dispose]();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #send(...parts: (string | Uint8Array)[]): void {
    if (this.#closed) return;
    for (const part of parts) {
      this.#queue.push(typeof part === "string" ? encoder.encode(part) : part);
    }
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      for (;;) {
        // All that waits at once: floods are thousands of small parts.
        const parts = this.#queue.splice(0);
        if (parts.length === 0) break;
        await writeAll(this.#conn, concat(parts));
      }
    } catch {
      this.#closed = true; // the reader sees it, too, and ends
    } finally {
      this.#writing = false;
    }
  }

  async #run(): Promise<void> {
    let handled = 0;
    try {
      for (;;) {
        const line = decoder.decode(await this.#take(undefined));
        const [verb = "", ...fields] = line.split(" ");
        switch (verb.toUpperCase()) {
          case "PING":
            this.#send("PONG\r\n");
            break;
          case "PONG":
            this.#pongs.shift()?.();
            break;
          case "-ERR":
            this.errors.push(fields.join(" "));
            break;
          case "MSG":
          case "HMSG":
            await this.#message(verb.toUpperCase() === "HMSG", fields);
            if (++handled % TURN_MESSAGES === 0) {
              await new Promise((resolve) => setImmediate(resolve));
            }
        }
      }
    } catch (error) {
      if (this.#closed || error instanceof Deno.errors.UnexpectedEof) return;
      if (error instanceof Deno.errors.ConnectionReset) return;
      throw error;
    } finally {
      this.#closed = true;
      for (const resolve of this.#pongs.splice(0)) resolve();
      for (const [reply, resolve] of this.#waiting) resolve(nobody(reply));
    }
  }

  async #message(withHeaders: boolean, fields: string[]): Promise<void> {
    const total = Number(fields.pop());
    const headBytes = withHeaders ? Number(fields.pop()) : 0;
    const [subject = "", sid = "", reply = ""] = fields;
    const payload = await this.#take(total);
    await this.#take(0);
    const lines = decoder.decode(payload.subarray(0, headBytes)).split("\r\n");
    const headers: Record<string, string> = {};
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(":");
      if (colon > 0) {
        headers[line.slice(0, colon)] = line.slice(colon + 1).trim();
      }
    }
    this.#handlers.get(Number(sid))?.({
      subject,
      reply,
      headers,
      status: Number(/^NATS\/1\.0 (\d{3})/.exec(lines[0] ?? "")?.[1] ?? 0),
      data: payload.slice(headBytes),
    });
  }

  /** The next `size` bytes, or the next line (of which 0 bytes are left: CR LF). */
  async #take(size: number | undefined): Promise<Uint8Array<ArrayBuffer>> {
    for (;;) {
      const end = size === undefined || size === 0
        ? this.#buffer.indexOf(10)
        : this.#buffer.length >= size
        ? size - 1
        : -1;
      if (end >= 0) {
        const bytes = this.#buffer.slice(0, end + 1);
        this.#buffer = this.#buffer.subarray(end + 1);
        return size === undefined ? bytes.subarray(0, -2) : bytes;
      }
      const chunk = new Uint8Array(64 * 1024);
      const count = await this.#conn.read(chunk);
      if (count === null) throw new Deno.errors.UnexpectedEof("NATS left");
      const joined = new Uint8Array(this.#buffer.length + count);
      joined.set(this.#buffer);
      joined.set(chunk.subarray(0, count), this.#buffer.length);
      this.#buffer = joined;
    }
  }
}

/** Reads the broker's greeting, byte for byte because TLS may follow, and gives what is to be signed. */
async function readNonce(conn: Deno.Conn): Promise<string> {
  const byte = new Uint8Array(1);
  let text = "";
  while (!text.endsWith("\n")) {
    if (await conn.read(byte) === null) throw new Error(`NATS left: ${text}`);
    text += String.fromCharCode(...byte);
  }
  const { nonce } = JSON.parse(text.slice("INFO ".length));
  return String(nonce);
}

/** What proves that somebody has the key of `seed`. */
function signed(
  seed: string,
  nonce: string,
): Readonly<Record<string, string>> {
  const pair = nkeys.fromSeed(encoder.encode(seed.trim()));
  return {
    nkey: pair.getPublicKey(),
    sig: Uint8Array.from(pair.sign(encoder.encode(nonce)))
      .toBase64({ alphabet: "base64url", omitPadding: true }),
  };
}
