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
  } = info as Record<string, unknown>;
  return {
    maxPayload: typeof maxPayload === "number" && maxPayload > 0
      ? maxPayload
      : DEFAULT_MAX_PAYLOAD,
    headers: headers === true,
    tlsRequired: required === true,
    tlsOffered: required === true || available === true,
  };
}

/**
 * Operations that wait at most. nats-core takes them within the same turn of
 * the event loop, so only a broker out of its mind gets here.
 */
const MAX_WAITING = 4096;

/** Hands operations to nats-core's reader, in order. */
export class OperationQueue implements AsyncIterableIterator<Uint8Array> {
  readonly #waiting: Uint8Array[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

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
    this.#wake?.();
  }

  /** Ends the iteration, after what waits. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** The next operation. */
  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    while (this.#waiting.length === 0 && !this.#ended) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    const value = this.#waiting.shift();
    return value === undefined
      ? { done: true, value: undefined }
      : { done: false, value };
  }

  /** Itself: there is one reader. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    return this;
  }
}
