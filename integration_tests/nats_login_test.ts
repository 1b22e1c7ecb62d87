/** Logging in to real nats-servers in every way they offer. */
import assert from "node:assert/strict";
import { RunError, UsageError } from "../lib/base/errors.ts";
import { connectNats } from "../lib/nats/connection.ts";
import type { NatsOptions } from "../lib/nats/options.ts";
import { type Credentials, Secret } from "../lib/base/credentials.ts";
import { brokers } from "../tests/support/brokers.ts";
import { RechunkRelay } from "../tests/support/rechunk_relay.ts";
import {
  CA,
  CLIENT,
  exercise,
  expectBackAfterRestart,
  firstAttempt,
  STRANGER,
  tlsBlock,
} from "./support/broker_links.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";

const DATA = new URL("../tests/testdata/", import.meta.url);

function path(name: string): string {
  return new URL(name, DATA).pathname;
}

function read(name: string): string {
  return Deno.readTextFileSync(path(name));
}

const CERTIFICATE = {
  cert: read("tls/server.pem"),
  key: read("tls/server.key"),
};
/** A key pair made for these tests. */
const NKEY = {
  id: "UAEVWP4WLLT372M6U6Z6UGKJOASLWSSNZ72AK3QPHHVW2BP4GDUTYWC2",
  seed: "SUANPIDF6T64MO2T5KEIH52M7VU63EDB3GGXCF7WEP2LSYGJYDX6ZMB63E",
};

const LOGINS: readonly {
  readonly what: string;
  readonly config: string;
  readonly right: Credentials;
  readonly wrong: Credentials;
  readonly secret: string;
}[] = [
  {
    what: "a user and a password",
    config: `authorization { user: "u", password: "right one" }`,
    right: { kind: "password", user: "u", password: new Secret("right one") },
    wrong: { kind: "password", user: "u", password: new Secret("hunter2") },
    secret: "hunter2",
  },
  {
    what: "a token",
    config: `authorization { token: "right one" }`,
    right: { kind: "token", token: new Secret("right one") },
    wrong: { kind: "token", token: new Secret("hunter2") },
    secret: "hunter2",
  },
  {
    what: "an nkey",
    config: `authorization { users: [ { nkey: ${NKEY.id} } ] }`,
    right: { kind: "nkey", file: new Secret(`${NKEY.seed}\n`) },
    wrong: { kind: "creds", file: new Secret(read("nats/user.creds")) },
    secret: "SUA",
  },
  {
    what: "a credentials file",
    config: read("nats/operator.conf"),
    right: {
      kind: "creds",
      file: new Secret(read("nats/user.creds").trimEnd()),
    },
    wrong: { kind: "nkey", file: new Secret(NKEY.seed) },
    secret: NKEY.seed,
  },
];

for (const { what, config, right, wrong, secret } of LOGINS) {
  integrationTest(`connectNats() logs in with ${what}`, async () => {
    await using server = await startNatsServer({ config });
    await using bus = await connectNats({
      servers: brokers(server.url),
      credentials: right,
    });
    await exercise(bus);
  });

  integrationTest(
    `connectNats() gives up at once without the right one of ${what}`,
    async () => {
      await using server = await startNatsServer({ config });
      for (const credentials of [wrong, { kind: "none" } as const]) {
        await assert.rejects(
          connectNats({ servers: brokers(server.url), credentials }),
          (error: unknown) =>
            error instanceof RunError &&
            error.message.includes(`127.0.0.1:${server.port}`) &&
            error.message.includes("Authorization Violation") &&
            !Deno.inspect(error).includes(secret),
        );
      }
    },
  );
}

integrationTest("connectNats() speaks TLS where it is told to", async () => {
  await using server = await startNatsServer({ config: tlsBlock() });
  await using bus = await connectNats({
    servers: brokers(`tls://localhost:${server.port}`),
    tls: { ca: CA },
  });
  await exercise(bus);
});

integrationTest(
  "connectNats() speaks TLS to an address the certificate is for",
  async () => {
    await using server = await startNatsServer({ config: tlsBlock() });
    await using bus = await connectNats({
      servers: brokers(`nats://127.0.0.1:${server.port}`),
      tls: { ca: CA },
    });
    await exercise(bus);
  },
);

/** Cluster members that are known by addresses alone: none is in the certificate. */
const ADDRESS = "127.0.0.2";

integrationTest(
  "connectNats() checks a certificate for the name that was given, whatever address is dialled",
  async () => {
    await using server = await startNatsServer({
      config: `listen: "${ADDRESS}:-1"\n${tlsBlock()}`,
    });
    for (const certificate of [{}, CLIENT]) {
      const options = {
        tls: { ca: CA, ...certificate },
        resolve: () => Promise.resolve([ADDRESS]),
      };
      await using bus = await connectNats({
        ...options,
        servers: brokers(`tls://localhost:${server.port}`),
      });
      await exercise(bus);
      await assert.rejects(
        connectNats({
          ...options,
          servers: brokers(`tls://other.test:${server.port}`),
          connectTimeout: 1000,
        }),
        /TLS failed/,
      );
    }
  },
);

integrationTest(
  "connectNats() checks the certificate of a broker that a cluster announces by its address for the name that was given",
  async () => {
    const cluster = { name: "announced", routes: [] };
    await using first = await startNatsServer({ cluster, config: tlsBlock() });
    await using second = await startNatsServer({
      name: "nats-server 2",
      cluster: { ...cluster, routes: [first.clusterPort] },
      config: `listen: "${ADDRESS}:-1"\n${tlsBlock()}`,
    });
    await first.whenJoined(1);
    await using bus = await connectNats({
      servers: brokers(`tls://localhost:${first.port}`),
      tls: { ca: CA },
    });
    const up = Promise.withResolvers<string>();
    bus.onLink((event) => event.type === "up" && up.resolve(event.server));
    await first.kill();
    assert.equal(await up.promise, `${ADDRESS}:${second.port}`);
  },
);

integrationTest(
  "connectNats() comes back over TLS after a restart",
  async () => {
    await using server = await startNatsServer({ config: tlsBlock() });
    await using bus = await connectNats({
      servers: brokers(`tls://localhost:${server.port}`),
      tls: { ca: CA },
    });
    await expectBackAfterRestart(bus, server);
  },
);

integrationTest(
  "connectNats() shows its certificate to a broker that asks for one",
  async () => {
    await using server = await startNatsServer({
      config: tlsBlock("verify: true"),
    });
    await using bus = await connectNats({
      servers: brokers(`tls://localhost:${server.port}`),
      tls: { ca: CA, ...CLIENT },
    });
    await exercise(bus);
    await expectBackAfterRestart(bus, server);
  },
);

integrationTest(
  "connectNats() begins with TLS where it is told to",
  async () => {
    await using server = await startNatsServer();
    await using front = new RechunkRelay(server.port, {
      certificate: CERTIFICATE,
    });
    for (const certificate of [{}, CLIENT]) {
      await using bus = await connectNats({
        servers: brokers(`tls://localhost:${front.port}`),
        tls: { ca: CA, first: true, ...certificate },
      });
      await exercise(bus);
    }
  },
);

const TLS_FAILURES: readonly {
  readonly what: string;
  readonly config: string;
  readonly host?: string;
  readonly tls?: NatsOptions["tls"];
  readonly reason: RegExp;
  readonly hint: RegExp;
}[] = [
  {
    what: "a certificate of unknown origin, though the broker demands TLS",
    config: tlsBlock(),
    reason: /^TLS failed: .*(UnknownIssuer|unknown issuer)/i,
    hint: /--nats-tls-ca$/,
  },
  {
    what: "a certificate for another name",
    config: tlsBlock(),
    host: "127.0.0.2",
    tls: { ca: CA },
    reason: /^TLS failed: .*not valid for name/i,
    hint: /^dial the broker by a name/,
  },
  {
    what: "a certificate for another address, by way of node:tls",
    config: tlsBlock("verify: true"),
    host: "127.0.0.2",
    tls: { ca: CA, ...CLIENT },
    reason: /^TLS failed: .*(127\.0\.0\.2|altnames|not valid)/i,
    hint: /^dial the broker by a name/,
  },
  {
    what: "a broker that wants a certificate we do not have",
    config: tlsBlock("verify: true"),
    tls: { ca: CA },
    reason: /certificate/i,
    hint: /--nats-tls-cert and --nats-tls-key$/,
  },
  {
    what: "a broker that does not know the authority of our certificate",
    config: tlsBlock("verify: true"),
    tls: { ca: CA, ...STRANGER },
    reason: /fatal alert: \w*certificate/i,
    hint: /^it does not take our certificate: that of --nats-tls-cert /,
  },
  {
    what: "a certificate of unknown origin, by way of node:tls",
    config: tlsBlock("verify: true"),
    tls: CLIENT,
    reason: /^TLS failed: .*(issuer|certificate|self.signed)/i,
    hint: /--nats-tls-ca/,
  },
  {
    what: "a broker without TLS where TLS is demanded",
    config: "",
    tls: { ca: CA },
    reason: /does not offer TLS/,
    hint: /^write nats:\/\/ in place of tls:/,
  },
];

for (const { what, config, host, tls, reason, hint } of TLS_FAILURES) {
  integrationTest(`connectNats() refuses ${what}`, async () => {
    await using server = await startNatsServer({
      config: config + (host ? `\nlisten: "127.0.0.2:-1"` : ""),
    });
    const url = `nats://${host ?? "localhost"}:${server.port}`;
    const failed = await firstAttempt(url, tls && { tls });
    assert.match(failed.reason, reason);
    assert.match(failed.hint ?? "", hint);
  });
}

const UNUSABLE: readonly {
  readonly what: string;
  readonly options: NatsOptions;
  readonly message: RegExp;
  readonly secret?: string;
}[] = [
  { what: "no server", options: { servers: [] }, message: /No NATS server/ },
  {
    what: "an nkey seed that is none",
    options: {
      servers: brokers("localhost"),
      credentials: { kind: "nkey", file: new Secret("SUhunter2") },
    },
    message: /nkey seed is malformed/,
    secret: "hunter2",
  },
  {
    what: "a credentials file that is none",
    options: {
      servers: brokers("localhost"),
      credentials: { kind: "creds", file: new Secret("hunter2") },
    },
    message: /credentials are malformed/,
    secret: "hunter2",
  },
];

for (const { what, options, message, secret } of UNUSABLE) {
  Deno.test(`connectNats() refuses ${what}`, async () => {
    await assert.rejects(
      connectNats(options),
      (error: unknown) =>
        error instanceof UsageError && message.test(error.message) &&
        (secret === undefined || !Deno.inspect(error).includes(secret)),
    );
  });
}
