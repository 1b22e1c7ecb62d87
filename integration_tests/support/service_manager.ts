/**
 * A service manager as a role sees systemd: a socket at which datagrams
 * arrive, and variables that say where it is.
 *
 * @module
 */
import { Changes } from "./changes.ts";

/** Hears what a service says of itself. */
export class Manager implements AsyncDisposable {
  /** What a service is started with. */
  readonly env: Readonly<Record<string, string>>;
  /** All that was said, the oldest first. */
  readonly heard: string[] = [];
  readonly #socket: Deno.DatagramConn;
  readonly #changes = new Changes();
  readonly #hearing: Promise<void>;

  /**
   * Listens.
   *
   * @param at A path, or `@` and an abstract name.
   * @param watchdogMs Within what time it wants to hear that a service lives, in ms.
   */
  constructor(at: string, watchdogMs: number) {
    const path = at.replace(/^@/, "\0");
    this.#socket = Deno.listenDatagram({ transport: "unixpacket", path });
    this.env = {
      NOTIFY_SOCKET: at,
      WATCHDOG_USEC: String(watchdogMs * 1_000),
    };
    this.#hearing = this.#hear();
  }

  /** How much was said until now. */
  mark(): number {
    return this.heard.length;
  }

  /** The first that was, or is, said after `mark` and for which `pattern` holds. */
  async says(pattern: RegExp, mark: number = 0): Promise<string> {
    return await this.#changes.until(() =>
      this.heard.slice(mark).find((message) => pattern.test(message))
    );
  }

  /** Hears nothing any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#hearing;
  }

  async #hear(): Promise<void> {
    for await (const [bytes] of this.#socket) {
      this.heard.push(new TextDecoder().decode(bytes));
      this.#changes.notify();
    }
  }
}
