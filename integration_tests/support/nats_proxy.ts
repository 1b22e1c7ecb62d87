/**
 * A proxy of our own, SOCKS 5 and HTTP CONNECT on one port, that alone knows
 * where names lead.
 *
 * @module
 */

import { type Endpoint, endpointOf, formatAddress } from "./addresses.ts";
import { close, readExactly, writeAll } from "./transfer.ts";

/** How it works. */
export interface NatsProxyOptions {
  /** Where `host:port` leads that clients ask for; others are refused. */
  readonly leads: Readonly<Record<string, number>>;
  /** `user:password` that it wants. */
  readonly login?: string;
  /** Answers with this in place of connecting, and nothing else. */
  readonly answer?: Uint8Array;
}

/** A running proxy. */
export class NatsProxy implements AsyncDisposable {
  /** Where it listens. */
  readonly endpoint: Endpoint;
  /** What clients have asked for, in order. */
  readonly asked: string[] = [];
  readonly #options: NatsProxyOptions;
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<Deno.Conn>();
  readonly #running: Promise<void>[] = [];

  /** Listens on a port of 127.0.0.1 the OS chooses. */
  constructor(options: NatsProxyOptions) {
    this.#options = options;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.endpoint = endpointOf(this.#listener);
    this.#running.push(this.#accept());
  }

  /** `host:port` of it. */
  get address(): string {
    return formatAddress(this.endpoint);
  }

  /** Ends it, and all that goes through it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#open) close(conn);
    await Promise.all(this.#running);
  }

  async #accept(): Promise<void> {
    for await (const conn of this.#listener) {
      this.#open.add(conn);
      this.#running.push(this.#serve(conn));
    }
  }

  async #serve(near: Deno.TcpConn): Promise<void> {
    try {
      const far = await this.#connect(near);
      if (far === undefined) return;
      this.#open.add(far);
      far.setNoDelay(true);
      near.setNoDelay(true);
      await Promise.all([
        near.readable.pipeTo(far.writable),
        far.readable.pipeTo(near.writable),
      ]);
    } catch {
      // Whatever went wrong, both sides see it as an end.
    } finally {
      close(near);
    }
  }

  /** Hears what is asked for; undefined when that was refused. */
  async #connect(near: Deno.TcpConn): Promise<Deno.TcpConn | undefined> {
    if (this.#options.answer !== undefined) {
      await near.read(new Uint8Array(1000));
      await writeAll(near, this.#options.answer);
      return undefined;
    }
    const [first = 0] = await readExactly(near, 1);
    return first === 5 ? await this.#socks(near) : await this.#http(near);
  }

  async #socks(near: Deno.TcpConn): Promise<Deno.TcpConn | undefined> {
    const { login } = this.#options;
    const [count = 0] = await readExactly(near, 1);
    const methods = await readExactly(near, count);
    const method = login === undefined ? 0 : 2;
    if (!methods.includes(method)) {
      await writeAll(near, Uint8Array.of(5, 0xff));
      return undefined;
    }
    await writeAll(near, Uint8Array.of(5, method));
    if (login !== undefined) {
      await readExactly(near, 1);
      const user = await this.#text(near);
      const isRight = `${user}:${await this.#text(near)}` === login;
      await writeAll(near, Uint8Array.of(1, isRight ? 0 : 1));
      if (!isRight) return undefined;
    }
    const [, , , kind] = await readExactly(near, 4);
    const host = kind === 3
      ? await this.#text(near)
      : kind === 1
      ? (await readExactly(near, 4)).join(".")
      : "::1";
    if (kind === 4) await readExactly(near, 16);
    const [high = 0, low = 0] = await readExactly(near, 2);
    const far = await this.#dial(`${host}:${high * 256 + low}`);
    // A bound address that is a name, which few expect.
    await writeAll(
      near,
      Uint8Array.of(5, far === undefined ? 2 : 0, 0, 3, 1, 120, 0, 0),
    );
    return far;
  }

  async #http(near: Deno.TcpConn): Promise<Deno.TcpConn | undefined> {
    let head = "";
    while (!head.endsWith("\r\n\r\n")) {
      head += String.fromCharCode((await readExactly(near, 1))[0] ?? 0);
    }
    const answer = async (text: string): Promise<void> => {
      const whole = `HTTP/1.1 ${text}\r\nVia: test\r\n\r\n`;
      await writeAll(near, new TextEncoder().encode(whole));
    };
    const { login } = this.#options;
    const wanted = `Proxy-Authorization: Basic ${btoa(login ?? "")}\r\n`;
    if (login !== undefined && !head.includes(wanted)) {
      await answer("407 Proxy Authentication Required");
      return undefined;
    }
    const [, place = ""] = /^ONNECT (\S+) HTTP/.exec(head) ?? [];
    const far = await this.#dial(place);
    await answer(far === undefined ? "403 Forbidden" : "200 Connected");
    return far;
  }

  async #text(near: Deno.TcpConn): Promise<string> {
    const [length = 0] = await readExactly(near, 1);
    return new TextDecoder().decode(await readExactly(near, length));
  }

  async #dial(place: string): Promise<Deno.TcpConn | undefined> {
    this.asked.push(place);
    const port = this.#options.leads[place];
    return port === undefined
      ? undefined
      : await Deno.connect({ hostname: "127.0.0.1", port });
  }
}
