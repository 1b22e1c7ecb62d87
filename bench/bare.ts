/**
 * Relays over NATS with nothing in it, as the control of the bench. No
 * offsets, no acknowledgements, no flow control, no half-close, no reconnect:
 * what it cannot do nobody can who goes the same way in this runtime.
 *
 *   bare.ts client NATS_PORT
 *   bare.ts server NATS_PORT TARGET_PORT
 *
 * Each says in one line of JSON that it is ready; the client with its port.
 *
 * @module
 */
import { writeAll } from "../integration_tests/support/transfer.ts";

/** Bytes per read. */
const READ_SIZE = 16 * 1024;

/** What a message may be gathered in. */
const INBOX_SIZE = 4 * 1024 * 1024;

const LF = 10;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One connection to the broker, as little as will do. */
class Wire {
  readonly #conn: Deno.TcpConn;
  #queue: Uint8Array[] = [];
  #writing = false;

  constructor(conn: Deno.TcpConn) {
    conn.setNoDelay(true);
    this.#conn = conn;
    this.#send(encoder.encode('CONNECT {"verbose":false}\r\n'));
  }

  subscribe(subject: string): void {
    this.#send(encoder.encode(`SUB ${subject} 1\r\n`));
  }

  publish(subject: string, payload: Uint8Array): void {
    const head = encoder.encode(`PUB ${subject} ${payload.length}\r\n`);
    const message = new Uint8Array(head.length + payload.length + 2);
    message.set(head);
    message.set(payload, head.length);
    message.set(encoder.encode("\r\n"), head.length + payload.length);
    this.#send(message);
  }

  /** Hands over each message until the broker ends the connection. */
  async read(
    onMessage: (subject: string, payload: Uint8Array) => void,
  ): Promise<void> {
    const inbox = new Uint8Array(INBOX_SIZE);
    let end = 0;
    for (;;) {
      const count = await this.#conn.read(inbox.subarray(end));
      if (count === null) return;
      end += count;
      let at = 0;
      for (;;) {
        const lineEnd = inbox.subarray(at, end).indexOf(LF);
        if (lineEnd < 0) break;
        const bodyAt = at + lineEnd + 1;
        const line = decoder.decode(inbox.subarray(at, bodyAt - 2));
        const [verb, subject = "", , size] = line.split(" ");
        let next = bodyAt;
        if (verb === "MSG") {
          next += Number(size) + 2;
          if (next > end) break;
          onMessage(subject, inbox.slice(bodyAt, next - 2));
        } else if (verb === "PING") this.#send(encoder.encode("PONG\r\n"));
        at = next;
      }
      inbox.copyWithin(0, at, end);
      end -= at;
    }
  }

  #send(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    if (this.#writing) return;
    this.#writing = true;
    queueMicrotask(() => void this.#flush());
  }

  /** One write for all that one turn has queued. */
  async #flush(): Promise<void> {
    while (this.#queue.length > 0) {
      const queue = this.#queue;
      this.#queue = [];
      const size = queue.reduce((sum, { length }) => sum + length, 0);
      const bytes = new Uint8Array(size);
      let at = 0;
      for (const part of queue) {
        bytes.set(part, at);
        at += part.length;
      }
      await writeAll(this.#conn, bytes);
    }
    this.#writing = false;
  }
}

/** Bytes from an application to the wire, and the other way; an empty message is the end. */
class Link {
  readonly #conn: Deno.TcpConn;
  #written: Promise<void> = Promise.resolve();
  #open = true;

  constructor(conn: Deno.TcpConn) {
    conn.setNoDelay(true);
    this.#conn = conn;
  }

  write(payload: Uint8Array): void {
    this.#written = this.#written.then(() => this.#write(payload));
  }

  async pump(wire: Wire, subject: string): Promise<void> {
    const buffer = new Uint8Array(READ_SIZE);
    while (this.#open) {
      const count = await this.#conn.read(buffer).catch(() => null);
      if (count === null) break;
      wire.publish(subject, buffer.subarray(0, count));
    }
    wire.publish(subject, new Uint8Array(0));
    this.#close();
  }

  async #write(payload: Uint8Array): Promise<void> {
    if (payload.length === 0 || !this.#open) this.#close();
    else await writeAll(this.#conn, payload).catch(() => this.#close());
  }

  #close(): void {
    if (this.#open) this.#conn.close();
    this.#open = false;
  }
}

const links = new Map<string, Link>();

function ready(port?: number): void {
  // deno-lint-ignore no-console -- how this process says that it is ready
  console.log(JSON.stringify({ port }));
}

async function client(wire: Wire): Promise<void> {
  wire.subscribe("bare.down.*");
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void wire.read((subject, payload) =>
    links.get(subject.slice("bare.down.".length))?.write(payload)
  );
  ready(listener.addr.port);
  let number = 0;
  for await (const conn of listener) {
    const key = String(++number);
    const link = new Link(conn);
    links.set(key, link);
    void link.pump(wire, `bare.up.${key}`).then(() => links.delete(key));
  }
}

async function server(wire: Wire, target: number): Promise<void> {
  wire.subscribe("bare.up.*");
  const waiting = new Map<string, Uint8Array[]>();
  const open = async (key: string): Promise<void> => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: target });
    const link = new Link(conn);
    for (const payload of waiting.get(key) ?? []) link.write(payload);
    waiting.delete(key);
    links.set(key, link);
    await link.pump(wire, `bare.down.${key}`);
    links.delete(key);
  };
  ready();
  await wire.read((subject, payload) => {
    const key = subject.slice("bare.up.".length);
    const link = links.get(key);
    if (link !== undefined) link.write(payload);
    else if (waiting.has(key)) waiting.get(key)?.push(payload);
    else if (payload.length > 0) {
      waiting.set(key, [payload]);
      void open(key);
    }
  });
}

const [role, nats, target] = Deno.args;
const wire = new Wire(
  await Deno.connect({ hostname: "127.0.0.1", port: Number(nats) }),
);
if (role === "client") await client(wire);
else await server(wire, Number(target));
