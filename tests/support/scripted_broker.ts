/**
 * A broker that does what a test tells it, well or badly: for what a real
 * nats-server cannot be made to do.
 *
 * @module
 */

import assert from "node:assert/strict";

const encoder = new TextEncoder();

/** One accepted connection, as its script sees it. */
export class ScriptedConnection {
  /** Which connection it is, from 1. */
  readonly number: number;
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(64 * 1024);
  #text = "";

  /** Takes `conn` over. */
  constructor(conn: Deno.TcpConn, number: number) {
    this.#conn = conn;
    this.number = number;
  }

  /** The next line; undefined when the client has gone. */
  async line(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\r\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return line;
      }
      const bytes = await this.bytes();
      if (bytes === undefined) return undefined;
      this.#text += new TextDecoder().decode(bytes);
    }
  }

  /** The next bytes, whatever they are; undefined when the client has gone. */
  async bytes(): Promise<Uint8Array | undefined> {
    const count = await this.#conn.read(this.#buffer);
    return count === null ? undefined : this.#buffer.subarray(0, count);
  }

  /** Reads lines until one begins with `start`, and returns it; answers pings on the way. */
  async until(start: string): Promise<string> {
    for (;;) {
      const line = await this.line();
      assert.ok(line !== undefined, `the client left before ${start}`);
      if (line.startsWith(start)) return line;
      if (line === "PING") await this.send("PONG\r\n");
    }
  }

  /** Sends text or bytes. */
  async send(data: string | Uint8Array): Promise<void> {
    let rest = typeof data === "string" ? encoder.encode(data) : data;
    while (rest.length > 0) {
      rest = rest.subarray(await this.#conn.write(rest));
    }
  }

  /** Sends INFO with `info` added to what a plain nats-server says. */
  async greet(info: Record<string, unknown> = {}): Promise<void> {
    await this.send(infoLine(info));
  }

  /** Greets and lets the client log in; answers no ping after that. */
  async login(info: Record<string, unknown> = {}): Promise<string> {
    await this.greet(info);
    const connect = await this.until("CONNECT ");
    await this.until("PING");
    await this.send("PONG\r\n");
    return connect;
  }

  /** Answers pings until the client leaves; returns the other lines. */
  async serve(
    onLine: (line: string) => Promise<void> | void = () => {},
  ): Promise<void> {
    for (;;) {
      const line = await this.line();
      if (line === undefined) return;
      if (line === "PING") await this.send("PONG\r\n");
      else await onLine(line);
    }
  }

  /** Answers nothing until the client leaves. */
  async listen(): Promise<void> {
    while (await this.line() !== undefined);
  }

  /** Ends the connection. */
  close(): void {
    this.#conn[Symbol.dispose]();
  }
}

/** An INFO line. */
export function infoLine(info: Record<string, unknown> = {}): string {
  return `INFO ${
    JSON.stringify({
      server_id: "TEST",
      version: "2.9.10",
      proto: 1,
      headers: true,
      max_payload: 1024 * 1024,
      ...info,
    })
  }\r\n`;
}

/** What a broker does with a connection; the connection is closed when it returns. */
export type Script = (connection: ScriptedConnection) => Promise<void>;

/** Runs a script for each connection, all at once. */
export class ScriptedBroker implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<ScriptedConnection>();
  readonly #running: Promise<void>[] = [];
  readonly #accepting: Promise<void>;
  #failure: unknown;

  /** Listens at once. */
  constructor(script: Script) {
    this.#accepting = this.#accept(script);
  }

  /** `nats://host:port`. */
  get url(): string {
    return `nats://${this.address}`;
  }

  /** `host:port`. */
  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Closes everything; fails when a script has failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    for (const connection of this.#open) connection.close();
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #accept(script: Script): Promise<void> {
    for await (const conn of this.#listener) {
      const connection = new ScriptedConnection(
        conn,
        this.#running.length + 1,
      );
      this.#open.add(connection);
      this.#running.push(this.#run(script, connection));
    }
  }

  async #run(script: Script, connection: ScriptedConnection): Promise<void> {
    try {
      await script(connection);
    } catch (error) {
      // A client that leaves while it is being talked to is nothing special.
      const gone = error instanceof Deno.errors.BrokenPipe ||
        error instanceof Deno.errors.ConnectionReset ||
        error instanceof Deno.errors.BadResource ||
        error instanceof Deno.errors.Interrupted;
      if (!gone) this.#failure ??= error;
    } finally {
      connection.close();
      this.#open.delete(connection);
    }
  }
}
