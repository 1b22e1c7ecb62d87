/**
 * What tests of the connection to a broker have in common: the certificates,
 * bytes there and back, and why an attempt fails.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Secret } from "../../lib/base/credentials.ts";
import { connectNats, type NatsBus } from "../../lib/nats/connection.ts";
import type { FailedAttempt, NatsOptions } from "../../lib/nats/options.ts";
import { brokers } from "../../tests/support/brokers.ts";
import { payload } from "../../tests/support/link_log.ts";
import type { NatsServer } from "./nats_server.ts";

/** Where the certificates of tests are, with a `/` at the end. */
export const TLS_FOLDER: string =
  new URL("../../tests/testdata/tls/", import.meta.url).pathname;

/** The authority that has signed them all. */
export const CA: string = Deno.readTextFileSync(`${TLS_FOLDER}ca.pem`);

/** Options of a connection that shows a certificate. */
interface Shown {
  readonly identity: { readonly cert: string; readonly key: Secret };
}

function shown(name: string): Shown {
  return {
    identity: {
      cert: Deno.readTextFileSync(`${TLS_FOLDER}${name}.pem`),
      key: new Secret(Deno.readTextFileSync(`${TLS_FOLDER}${name}.key`)),
    },
  };
}

/** One that the authority has signed. */
export const CLIENT: Shown = shown("client");

/** One of another authority. */
export const STRANGER: Shown = shown("next-client");

/** The `tls` block of a nats-server that shows its certificate, with `more` in it. */
export function tlsBlock(more = ""): string {
  return `tls {
    cert_file: ${JSON.stringify(`${TLS_FOLDER}server.pem`)}
    key_file: ${JSON.stringify(`${TLS_FOLDER}server.key`)}
    ca_file: ${JSON.stringify(`${TLS_FOLDER}ca.pem`)}
    ${more} }`;
}

/** Sends megabytes to itself and reads them again. */
export async function exercise(bus: NatsBus): Promise<void> {
  const count = 300;
  const done = Promise.withResolvers<void>();
  let received = 0;
  using _all = bus.subscribe("exercise", ({ data }) => {
    assert.equal(data[data.length - 1], received & 0xff);
    if (++received === count) done.resolve();
  });
  for (let i = 0; i < count; i++) {
    bus.publish("exercise", payload(new Uint8Array(16_384).fill(i)));
  }
  await done.promise;
}

/** Restarts the broker, and expects that the connection comes back and works. */
export async function expectBackAfterRestart(
  bus: NatsBus,
  server: NatsServer,
): Promise<void> {
  const up = Promise.withResolvers<void>();
  bus.onLink(({ type }) => type === "up" && up.resolve());
  await server.restart();
  await up.promise;
  await exercise(bus);
}

/** Why the first attempt at `url` fails; there is no second. */
export async function firstFailure(
  url: string,
  options: Partial<NatsOptions> = {},
): Promise<string> {
  return (await firstAttempt(url, options)).reason;
}

/** The first attempt at `url`, which fails; there is no second. */
export async function firstAttempt(
  url: string,
  options: Partial<NatsOptions> = {},
): Promise<FailedAttempt> {
  const failed = Promise.withResolvers<FailedAttempt>();
  const stop = new AbortController();
  await assert.rejects(
    connectNats({
      ...options,
      servers: brokers(url),
      signal: stop.signal,
      onAttemptFailed: (attempt) => {
        failed.resolve(attempt);
        stop.abort(new Error("failed"));
      },
    }),
    /^Error: failed$/,
  );
  return await failed.promise;
}
