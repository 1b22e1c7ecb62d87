/**
 * A name server whose answers a test chooses, and counts.
 *
 * @module
 */

import { Changes } from "./changes.ts";
import { UNSHARE } from "./surroundings.ts";

/** Where resolvers ask; they know no other port. */
const DNS_PORT = 53;

/** The type of a question for IPv4 addresses (RFC 1035, 3.2.2). */
const TYPE_A = 1;

/** Bytes of a message before its question. */
const HEADER = 12;

/** Names that are never answered end so. */
export const SILENT = ".silent.test";

/** Says of every name what address it has: at each question what is next. */
export class NameServer implements AsyncDisposable {
  /** The address it is at. */
  readonly address: string;
  readonly #socket: Deno.DatagramConn;
  readonly #next: () => string;
  readonly #running: Promise<void>;
  #asked = 0;
  #passedOver = 0;
  readonly #changes = new Changes();

  private constructor(address: string, next: () => string) {
    this.address = address;
    this.#next = next;
    this.#socket = Deno.listenDatagram({
      transport: "udp",
      hostname: address,
      port: DNS_PORT,
    });
    this.#running = this.#run();
  }

  /** Starts one at an address of the loopback that nobody else is likely to use; takes root. */
  static start(next: () => string): NameServer {
    const [a = 0, b = 0] = crypto.getRandomValues(new Uint8Array(2));
    return new NameServer(`127.53.${a}.${b}`, next);
  }

  /** How often it was asked for IPv4 addresses. */
  get asked(): number {
    return this.#asked;
  }

  /** Waits until it was asked so often for what it does not answer. */
  async passedOver(count: number): Promise<void> {
    await this.#changes.until(() => this.#passedOver >= count);
  }

  /** What runs a command that asks this name server and nobody else; `folder` is for its files. */
  through(folder: string): readonly string[] {
    const script = `echo "nameserver ${this.address}" > "$0/resolv.conf" &&
      echo "hosts: dns" > "$0/nsswitch.conf" &&
      mount --bind "$0/resolv.conf" /etc/resolv.conf &&
      mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"`;
    return [UNSHARE ?? "unshare", "--mount", "sh", "-c", script, folder];
  }

  /** Answers nobody any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    for await (const [question, from] of this.#socket) {
      if (nameIn(question).endsWith(SILENT)) {
        this.#passedOver++;
        this.#changes.notify();
      } else await this.#socket.send(this.#answer(question), from);
    }
  }

  /** The answer to a message with one question (RFC 1035, 4). */
  #answer(question: Uint8Array): Uint8Array {
    const nameEnd = question.indexOf(0, HEADER) + 1;
    const asked = question.subarray(0, nameEnd + 4);
    const type = new DataView(asked.slice().buffer).getUint16(nameEnd);
    if (type !== TYPE_A) return header(asked, 0);
    this.#asked++;
    const ip = this.#next().split(".").map(Number);
    // A pointer to the name, type A, class IN, no time to live, four bytes.
    const record = [0xc0, HEADER, 0, TYPE_A, 0, 1, 0, 0, 0, 0, 0, 4, ...ip];
    return new Uint8Array([...header(asked, 1), ...record]);
  }
}

/** The name that a question is for. */
function nameIn(question: Uint8Array): string {
  const labels: string[] = [];
  for (let at = HEADER, size; (size = question[at] ?? 0) > 0; at += 1 + size) {
    const label = question.subarray(at + 1, at + 1 + size);
    labels.push(new TextDecoder().decode(label));
  }
  return labels.join(".");
}

/** `question` as the beginning of an answer with so many records. */
function header(question: Uint8Array, records: number): Uint8Array {
  const answer = question.slice();
  answer.set([0x81, 0x80, 0, 1, 0, records, 0, 0, 0, 0], 2);
  return answer;
}
