/**
 * Datagrams to a Unix socket, such as the one at which a service manager
 * listens.
 *
 * @module
 */

/** Sends to one socket until disposed. */
export class DatagramSender implements Disposable {
  readonly #socket: Deno.DatagramConn;
  readonly #to: Deno.UnixAddr;

  /**
   * Takes a socket of its own; nothing is sent yet.
   *
   * @param path Where to; one that begins with a NUL is abstract, which is to
   * say that it is no file (Linux only).
   * @throws {Error} where there are no such sockets, or this process may not have one.
   */
  constructor(path: string) {
    if (Deno.listenDatagram === undefined) {
      throw new Error("this runtime has no datagrams without --unstable-net");
    }
    // Nobody sends to it: abstract, it needs no file, nor a permission for one.
    const own = `\0tcp-sproxy-${crypto.randomUUID()}`;
    this.#socket = Deno.listenDatagram({ transport: "unixpacket", path: own });
    this.#to = { transport: "unixpacket", path };
  }

  /**
   * Sends `text` as one datagram.
   *
   * @throws {Error} when nobody is there, or this process may not send there.
   */
  async send(text: string): Promise<void> {
    await this.#socket.send(new TextEncoder().encode(text), this.#to);
  }

  /** Sends nothing any more. */
  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
