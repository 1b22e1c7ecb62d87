/**
 * Makes sockets for which the kernel buffers next to nothing, so that hundreds
 * of stalled readers fill the tunnels' windows and not gigabytes of the kernel.
 *
 * By default the kernel takes 4 MB for a reader on loopback that has stopped,
 * because it sizes buffers by the segment (64 KiB there) that the reader's
 * side announces. Only `setsockopt` changes that, which Deno does not offer:
 * so these sockets are made with the C library (Linux only).
 *
 * @module
 */

import type { Endpoint } from "./addresses.ts";

/** Segment that is announced, in bytes: the least every TCP takes. */
const SEGMENT = 536;

/** Receive buffer, in bytes; the kernel doubles it. */
const RECEIVE_BUFFER = 4096;

/** Connections the kernel holds for a listener that does not accept. */
const BACKLOG = 4096;

/** Numbers of Linux's headers. */
const LINUX = {
  AF_INET: 2,
  SOCK_STREAM: 1,
  SOCK_CLOEXEC: 0x80000,
  SOL_SOCKET: 1,
  SO_RCVBUF: 8,
  IPPROTO_TCP: 6,
  TCP_MAXSEG: 2,
} as const;

/** Bytes of a `sockaddr_in`. */
const ADDRESS_SIZE = 16;

/** Whether such sockets can be made here. */
export const TIGHT_SOCKETS: boolean = Deno.build.os === "linux";

/** What is used of the C library. */
const LIBC = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  setsockopt: {
    parameters: ["i32", "i32", "i32", "buffer", "u32"],
    result: "i32",
  },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Sockets with tight buffers that never read. */
export class TightSockets implements Disposable {
  readonly #library = Deno.dlopen("libc.so.6", LIBC);
  readonly #open = new Set<number>();

  /** Listens on a port of 127.0.0.1 and never accepts: the kernel completes the connections. */
  listen(): Endpoint {
    const { bind, listen, getsockname } = this.#library.symbols;
    const socket = this.#make();
    const address = addressOf(0);
    this.#expect(bind(socket, address, ADDRESS_SIZE), "bind");
    this.#expect(listen(socket, BACKLOG), "listen");
    this.#expect(
      getsockname(socket, address, int(ADDRESS_SIZE)),
      "getsockname",
    );
    const port = new DataView(address.buffer).getUint16(2);
    return { hostname: "127.0.0.1", port };
  }

  /** Connects to a port of 127.0.0.1 and sends `greeting`; what comes back is not read. */
  connect(port: number, greeting: Uint8Array<ArrayBuffer>): void {
    const { connect, send } = this.#library.symbols;
    const socket = this.#make();
    this.#expect(connect(socket, addressOf(port), ADDRESS_SIZE), "connect");
    const sent = send(socket, greeting, BigInt(greeting.length), 0);
    this.#expect(Number(sent), "send");
  }

  /** Closes all of them. */
  closeAll(): void {
    for (const socket of this.#open) this.#library.symbols.close(socket);
    this.#open.clear();
  }

  /** Closes all of them, for good. */
  [Symbol.dispose](): void {
    this.closeAll();
    this.#library.close();
  }

  #make(): number {
    const { socket: make, setsockopt } = this.#library.symbols;
    const { AF_INET, SOCK_STREAM, SOCK_CLOEXEC } = LINUX;
    const { SOL_SOCKET, SO_RCVBUF } = LINUX;
    const { IPPROTO_TCP, TCP_MAXSEG } = LINUX;
    // Not for the processes of the test: they would keep it open.
    const socket = make(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    this.#expect(socket, "socket");
    this.#open.add(socket);
    for (
      const [level, option, value] of [
        [SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER],
        [IPPROTO_TCP, TCP_MAXSEG, SEGMENT],
      ] as const
    ) {
      this.#expect(
        setsockopt(socket, level, option, int(value), 4),
        "setsockopt",
      );
    }
    return socket;
  }

  #expect(result: number, call: string): void {
    if (result < 0) throw new Error(`${call} failed`);
  }
}

/** A `sockaddr_in` of 127.0.0.1. */
function addressOf(port: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ADDRESS_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, LINUX.AF_INET, true);
  view.setUint16(2, port);
  bytes.set([127, 0, 0, 1], 4);
  return bytes;
}

/** A C `int` in memory. */
function int(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Int32Array([value]).buffer);
}
