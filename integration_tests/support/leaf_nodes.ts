/**
 * Starts a hub and a leaf node: two brokers that share one account, each with
 * limits of its own.
 *
 * Of the brokers' versions only later ones (since 2026) hold what comes over
 * a leaf link against their `max_payload`, and cut the link when it is larger;
 * Debian's does not. So a relay on that link does it, with every version.
 *
 * @module
 */

import { type Endpoint, parseAddress } from "./addresses.ts";
import { Changes, type WaitOptions } from "./changes.ts";
import { comes } from "./waits.ts";
import { type NatsServer, startNatsServer } from "./nats_server.ts";
import { owned } from "./owned.ts";
import { Target } from "./targets.ts";
import { chunksOf, close, isDisconnect, writeAll } from "./transfer.ts";

/** Two brokers. */
export interface LeafAndHub extends AsyncDisposable {
  /** The one that others connect to. */
  readonly hub: NatsServer;
  /** The one at the edge, connected to the hub. */
  readonly leaf: NatsServer;
  /** The link between them. */
  readonly link: LeafLink;
}

/** Operations of the leaf node protocol with a payload, whose size stands last. */
const WITH_PAYLOAD = /^(?:LMSG|HMSG) .* (\d+)$/i;

const encoder = new TextEncoder();
const decoder = new TextDecoder("latin1");

/** Relays leaf links to a hub, and cuts one that brings a larger message than the hub takes. */
export class LeafLink implements AsyncDisposable {
  readonly #hub: Endpoint;
  readonly #most: number;
  readonly #relay: Target;
  readonly #changes = new Changes();
  #cuts = 0;

  /** Listens on a port of its own. */
  constructor(hub: Endpoint, most: number) {
    this.#hub = hub;
    this.#most = most;
    this.#relay = new Target((leaf) => this.#serve(leaf));
  }

  /** Where the leaf node connects to. */
  get address(): string {
    return this.#relay.address;
  }

  /** How often a link was cut so far. */
  get cuts(): number {
    return this.#cuts;
  }

  /** Waits until links were cut `count` times in all. */
  async whenCut(count: number, options: WaitOptions = {}): Promise<void> {
    await this.#changes.until(() => this.#cuts >= count, options);
  }

  /** Ends all links. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#relay[Symbol.asyncDispose]();
  }

  async #serve(leaf: Deno.TcpConn): Promise<void> {
    const hub = await Deno.connect({ ...this.#hub });
    hub.setNoDelay(true);
    const down = this.#down(hub, leaf);
    try {
      await this.#up(leaf, hub);
    } finally {
      close(hub);
      close(leaf);
      await down;
    }
  }

  async #down(hub: Deno.TcpConn, leaf: Deno.TcpConn): Promise<void> {
    try {
      for await (const bytes of chunksOf(hub)) {
        await writeAll(leaf, withGossip(bytes, this.address));
      }
    } catch (error) {
      if (!isDisconnect(error)) throw error;
    } finally {
      close(leaf);
    }
  }

  /** Forwards what the leaf node says until it says too much. */
  async #up(leaf: Deno.TcpConn, hub: Deno.TcpConn): Promise<void> {
    let line = "";
    let payload = 0;
    for await (const bytes of chunksOf(leaf)) {
      for (let at = 0; at < bytes.length;) {
        if (payload > 0) {
          const skipped = Math.min(payload, bytes.length - at);
          payload -= skipped;
          at += skipped;
          continue;
        }
        const end = bytes.indexOf(10, at);
        const next = end < 0 ? bytes.length : end + 1;
        line += decoder.decode(bytes.subarray(at, next));
        at = next;
        if (end < 0) break;
        const size = Number(WITH_PAYLOAD.exec(line.trimEnd())?.[1] ?? -1);
        line = "";
        if (size > this.#most) {
          await this.#cut(leaf);
          return;
        }
        if (size >= 0) payload = size + "\r\n".length;
      }
      await writeAll(hub, bytes);
    }
  }

  async #cut(leaf: Deno.TcpConn): Promise<void> {
    this.#cuts++;
    await writeAll(
      leaf,
      encoder.encode("-ERR 'Maximum Payload Violation'\r\n"),
    );
    this.#changes.notify();
  }
}

/** What the hub says, with `address` as where it can be reached: its own leads around the relay. */
function withGossip(bytes: Uint8Array, address: string): Uint8Array {
  const text = decoder.decode(bytes);
  if (!text.startsWith("INFO ")) return bytes;
  return encoder.encode(
    text.replace(/("leafnode_urls":\[)[^\]]*\]/, `$1"${address}"]`),
  );
}

/** Starts both; resolves when they are connected. */
export async function startLeafAndHub(
  options: {
    /** Largest payload the hub takes, in bytes; the leaf takes 1 MiB. */
    readonly hubPayload: number;
  },
): Promise<LeafAndHub> {
  await using cleanup = new AsyncDisposableStack();
  const hub = cleanup.use(
    await startNatsServer({
      name: "nats-server hub",
      maxPayload: options.hubPayload,
      config: `leafnodes { listen: "127.0.0.1:-1" }`,
    }),
  );
  const listening = "Listening for leafnode connections on ";
  const line = await hub.process.waitForLine((line) =>
    line.includes(listening)
  );
  const address = line.slice(line.indexOf(listening) + listening.length);
  const link = cleanup.use(
    new LeafLink(parseAddress(address), options.hubPayload),
  );
  const leaf = cleanup.use(
    await startNatsServer({
      name: "nats-server leaf",
      config:
        `leafnodes { reconnect: 1, remotes: [ { url: "nats-leaf://${link.address}" } ] }`,
    }),
  );
  await comes(async () => {
    const { leafs } = await leaf.monitor("leafz");
    return Array.isArray(leafs) && leafs.length > 0
      ? undefined
      : "the leaf node has not reached its hub";
  });
  return owned(cleanup, { hub, leaf, link });
}
