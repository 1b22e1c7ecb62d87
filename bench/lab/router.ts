/**
 * Is the process that makes a {@linkcode Lab}: network namespaces with a TUN
 * device each, and between them lines that delay, lose and bound. A kernel need
 * have no netem for it.
 *
 * The namespaces have no name and are held by this process and by those in
 * them: with the last of these they are gone, whatever ends it. When its input
 * ends, as it does with who started it, it ends them all.
 *
 * Its argument is a {@linkcode Wiring} as JSON. It answers with a line of JSON, takes
 * another wiring on a line of its input, answers that, and ends with its input.
 *
 * @module
 */

import { messageOf } from "../../lib/base/errors.ts";
import { type Line, numbersOf, Pipe } from "./pipe.ts";
import { DEVICE, type Made, MTU, type Wiring } from "./wiring.ts";

/** Packets read of one device before the others have their turn. */
const BATCH = 64;

/** Longest rest of the loop, in ms. */
const REST = 1_000;

const libc = Deno.dlopen("libc.so.6", {
  unshare: { parameters: ["i32"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // What is a word there fits into 32 bits here, and so needs no bigint.
  ioctl: { parameters: ["i32", "u32", "buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  write: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  ppoll: { parameters: ["buffer", "u32", "buffer", "pointer"], result: "i32" },
}).symbols;

/** `sched.h`: a network namespace of one's own. */
const CLONE_NEWNET = 0x4000_0000;
/** `fcntl.h`. */
const O_RDWR = 0x2;
/** `fcntl.h`: reads return at once. */
const O_NONBLOCK = 0x800;
/** `fcntl.h`: not for the processes we start. */
const O_CLOEXEC = 0x8_0000;
/** `linux/if_tun.h`: makes the open file a device. */
const TUNSETIFF = 0x4004_54ca;
/** `linux/if_tun.h`: IFF_TUN (packets of IP) and IFF_NO_PI (nothing before them). */
const TUN_FLAGS = 0x1001;
/** Where the flags are in `struct ifreq`, after the name. */
const FLAGS_AT = 16;
/** Bytes of `struct ifreq`. */
const IFREQ_BYTES = 40;
/** `poll.h`: there is something to read. */
const POLLIN = 0x1;
/** Bytes of `struct pollfd`. */
const POLLFD_BYTES = 8;
/** Where the destination is in a packet of IPv4. */
const DESTINATION_AT = 16;

/** A packet on its way. */
interface Packet {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly length: number;
  /** Which namespace it goes to. */
  readonly to: number;
}

/** A namespace's device, and its line to and from the middle. */
interface Port {
  readonly device: number;
  readonly namespace: number;
  readonly up: Pipe<Packet>;
  readonly down: Pipe<Packet>;
}

/** The result of a system call, unless it failed. */
function done(result: number, what: string): number {
  if (result < 0) throw new Error(`${what} failed: it takes root and Linux`);
  return result;
}

function openFile(path: string, flags: number): number {
  const name = new TextEncoder().encode(`${path}\0`);
  return done(libc.open(name, flags), `opening ${path}`);
}

/** Makes a namespace and goes into it, with its device. */
function makePort(line: Line, random: () => number): Port {
  done(libc.unshare(CLONE_NEWNET), "unshare (a network namespace)");
  const namespace = openFile("/proc/thread-self/ns/net", O_CLOEXEC);
  const device = openFile("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  const request = new Uint8Array(IFREQ_BYTES);
  new TextEncoder().encodeInto(DEVICE, request);
  new DataView(request.buffer).setInt16(FLAGS_AT, TUN_FLAGS, true);
  done(libc.ioctl(device, TUNSETIFF, request), "TUNSETIFF (a TUN device)");
  return {
    device,
    namespace,
    up: new Pipe(line, random),
    down: new Pipe(line, random),
  };
}

/** Carries packets between namespaces until its input ends. */
class Router {
  readonly #ports: readonly Port[];
  readonly #polled: Uint8Array<ArrayBuffer>;
  readonly #timeout = new BigInt64Array(2);
  /** Memory of packets that have arrived, for the next ones. */
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  #input = "";

  constructor({ seed, lines }: Wiring) {
    const random = numbersOf(seed);
    this.#ports = lines.map((line) => makePort(line, random));
    const watched = [0, ...this.#ports.map(({ device }) => device)];
    this.#polled = new Uint8Array(watched.length * POLLFD_BYTES);
    const view = new DataView(this.#polled.buffer);
    for (const [index, descriptor] of watched.entries()) {
      view.setInt32(index * POLLFD_BYTES, descriptor, true);
      view.setInt16(index * POLLFD_BYTES + 4, POLLIN, true);
    }
    answer({ namespaces: this.#ports.map(({ namespace }) => namespace) });
  }

  /** Ends every other process in the namespaces. */
  clear(): void {
    const own = new Set(
      this.#ports.map(({ namespace }) =>
        Deno.readLinkSync(`/proc/self/fd/${namespace}`)
      ),
    );
    for (const { name } of Deno.readDirSync("/proc")) {
      const pid = Number(name);
      if (!Number.isInteger(pid) || pid === Deno.pid) continue;
      try {
        if (!own.has(Deno.readLinkSync(`/proc/${pid}/ns/net`))) continue;
        Deno.kill(pid, "SIGKILL");
      } catch {
        // It has ended, or may not be looked at: then it is none of them.
      }
    }
  }

  /** Returns when the input has ended. */
  run(): void {
    const results = new DataView(this.#polled.buffer);
    for (;;) {
      for (const port of this.#ports) this.#read(port);
      const dueAt = this.#carry();
      const wait = Math.min(Math.max(0, dueAt - performance.now()), REST);
      this.#timeout[1] = BigInt(Math.floor(wait * 1e6) % 1e9);
      this.#timeout[0] = BigInt(Math.floor(wait / 1e3));
      const count = this.#polled.length / POLLFD_BYTES;
      libc.ppoll(this.#polled, count, this.#timeout, null);
      if (results.getInt16(6, true) !== 0 && !this.#obey()) return;
    }
  }

  /** Takes what a namespace sends. */
  #read({ device, up }: Port): void {
    for (let count = 0; count < BATCH; count++) {
      const bytes = this.#spare.pop() ?? new Uint8Array(MTU);
      const length = libc.read(device, bytes, MTU);
      if (length <= 0) {
        this.#spare.push(bytes);
        return;
      }
      const to = this.#destination(bytes);
      const packet = { bytes, length, to };
      if (to < 0 || !up.push(packet, length, performance.now())) {
        this.#spare.push(bytes);
      }
    }
  }

  /** The number of the namespace that a packet is for; -1 for none. */
  #destination(packet: Uint8Array): number {
    if ((packet[0] ?? 0) >> 4 !== 4) return -1; // IPv6 looks for its neighbours
    const to = (packet[DESTINATION_AT + 3] ?? 0) - 1;
    return to < this.#ports.length ? to : -1;
  }

  /** Passes on what is due; returns when the next is. */
  #carry(): number {
    const now = performance.now();
    for (const { up } of this.#ports) {
      for (let one = up.take(now); one !== undefined; one = up.take(now)) {
        const { bytes, length, to } = one.packet;
        if (!this.#ports[to]?.down.push(one.packet, length, one.at)) {
          this.#spare.push(bytes);
        }
      }
    }
    let dueAt = Infinity;
    for (const { device, up, down } of this.#ports) {
      for (let one = down.take(now); one !== undefined; one = down.take(now)) {
        const { bytes, length } = one.packet;
        // One that the device does not take is lost, as on any line.
        libc.write(device, bytes, length);
        this.#spare.push(bytes);
      }
      dueAt = Math.min(dueAt, up.dueAt, down.dueAt);
    }
    return dueAt;
  }

  /** Takes what has come on the input; false when that has ended. */
  #obey(): boolean {
    const bytes = new Uint8Array(64 * 1024);
    const count = libc.read(0, bytes, bytes.length);
    if (count <= 0) return false;
    this.#input += new TextDecoder().decode(bytes.subarray(0, count));
    const lines = this.#input.split("\n");
    this.#input = lines.pop() ?? "";
    for (const text of lines) {
      const wiring: Wiring = JSON.parse(text);
      for (const [index, line] of wiring.lines.entries()) {
        const port = this.#ports[index];
        if (port) port.up.line = port.down.line = line;
      }
      answer({});
    }
    return true;
  }
}

function answer(what: Partial<Made>): void {
  // deno-lint-ignore no-console -- how this process answers
  console.log(JSON.stringify(what));
}

if (import.meta.main) {
  try {
    const router = new Router(JSON.parse(Deno.args[0] ?? ""));
    router.run();
    router.clear();
  } catch (error) {
    // deno-lint-ignore no-console -- how this process complains
    console.error(messageOf(error));
    Deno.exit(1);
  }
}
