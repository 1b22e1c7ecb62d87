/**
 * What a broker sends beside messages: the line in which it tells about
 * itself, and the queue in which operations wait for nats-core.
 *
 * @module
 */

import { NatsProtocolError } from "./parser.ts";

/** What a broker says about itself, as far as it concerns us. */
export interface BrokerInfo {
  /** Largest payload it takes, headers included, in bytes. */
  readonly maxPayload: number;
  /** Whether it knows headers, and tells when nobody listens (2.2 and later). */
  readonly headers: boolean;
  /** Whether it talks no further without TLS. */
  readonly tlsRequired: boolean;
  /** Whether it speaks TLS to those who want it. */
  readonly tlsOffered: boolean;
  /** `host:port` of the brokers of its cluster; undefined when it does not say. */
  readonly cluster: readonly string[] | undefined;
}

/** The payload a broker takes when it does not say: its own default, 1 MiB. */
const DEFAULT_MAX_PAYLOAD = 1024 * 1024;

/**
 * What the JSON of an INFO line says.
 *
 * @throws {NatsProtocolError} when it is no JSON object.
 */
export function parseBrokerInfo(json: Uint8Array): BrokerInfo {
  let info: unknown;
  try {
    info = JSON.parse(new TextDecoder().decode(json));
  } catch (cause) {
    throw new NatsProtocolError("its INFO is no JSON", { cause });
  }
  if (typeof info !== "object" || info === null || Array.isArray(info)) {
    throw new NatsProtocolError("its INFO is no object");
  }
  const {
    max_payload: maxPayload,
    headers,
    tls_required: required,
    tls_available: available,
    connect_urls: cluster,
  } = info as Record<string, unknown>;
  return {
    maxPayload: typeof maxPayload === "number" && maxPayload > 0
      ? maxPayload
      : DEFAULT_MAX_PAYLOAD,
    headers: headers === true,
    tlsRequired: required === true,
    tlsOffered: required === true || available === true,
    cluster: Array.isArray(cluster)
      ? cluster.filter((text) => typeof text === "string")
      : undefined,
  };
}

/**
 * Operations that wait at most. nats-core takes them within the same turn of
 * the event loop, so only a broker out of its mind gets here.
 */
const MAX_WAITING = 4096;

/**
 * Hands operations to nats-core's reader, in order. Its own queue would lose
 * what comes just before the end.
 */
export class OperationQueue {
  readonly #waiting: Uint8Array[] = [];
  #ended = false;
  #wake = (): void => {};

  /**
   * Adds an operation; the queue owns its bytes.
   *
   * @throws {NatsProtocolError} when too many wait already.
   */
  push(operation: Uint8Array): void {
    if (this.#waiting.length === MAX_WAITING) {
      throw new NatsProtocolError("it floods us with operations");
    }
    this.#waiting.push(operation);
    this.#wake();
  }

  /** Ends the iteration, after what waits. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** The operations, for the one reader. */
  async *read(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const operation = this.#waiting.shift();
      if (operation !== undefined) yield operation;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}
