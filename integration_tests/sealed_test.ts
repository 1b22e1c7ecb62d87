/** Sealed tunnels as users have them: what a broker that reads along sees, and roles that do not fit together. */
import assert from "node:assert/strict";
import { expectTunnel } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { RawNats } from "./support/raw_nats.ts";
import { connectRedis } from "./support/redis_client.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import { type Keys, refusal, SealedStage } from "./support/sealed_stage.ts";
import { V1Server } from "./support/v1_peer.ts";

/** Bytes that somebody sees who subscribes to everything: headers, subjects and payloads. */
class Onlooker implements AsyncDisposable {
  readonly #nats: RawNats;
  readonly #seen: string[] = [];

  private constructor(nats: RawNats) {
    this.#nats = nats;
    nats.subscribe(">", ({ subject, headers, data }) => {
      const bytes = new TextDecoder("latin1").decode(data);
      // The body of an open carries bytes in base 64.
      const inside = bytes.replaceAll(
        /[A-Za-z0-9+/]{8,}={0,2}/g,
        (text) => {
          try {
            return `${text} ${atob(text)}`;
          } catch {
            return text;
          }
        },
      );
      this.#seen.push(`${subject} ${JSON.stringify(headers)} ${inside}`);
    });
  }

  static async connect(url: string): Promise<Onlooker> {
    const nats = await RawNats.connect(url);
    const onlooker = new Onlooker(nats);
    await nats.flush();
    return onlooker;
  }

  /** Messages seen. */
  get count(): number {
    return this.#seen.length;
  }

  /** Which of `texts` were to be read. */
  async read(texts: readonly string[]): Promise<string[]> {
    await this.#nats.flush();
    const all = this.#seen.join("\n");
    return texts.filter((text) => all.includes(text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nats.close();
  }
}

for (const sealed of [true, false]) {
  integrationTest(
    sealed
      ? "redis through a sealed tunnel: who reads along on the broker sees neither the target nor a byte"
      : "redis through a plain tunnel: who reads along on the broker sees the target and the bytes",
    async () => {
      await using stage = await SealedStage.start();
      await using redis = await startOwnRedis();
      const { server: theirs, client: ours } = stage.keys;
      await using server = await stage.server(sealed ? stage.serverFlags : []);
      await using onlooker = await Onlooker.connect(stage.url);
      const target = { target: redis.address };
      await using client = sealed
        ? await stage.client(target)
        : await stage.plainClient([], target);
      const told = [server, client].map((role) =>
        role.entries().find(({ msg }) => msg === "tunnels are sealed")
          ?.publicKey
      );
      assert.deepEqual(
        told,
        sealed ? [theirs.publicKey, ours.publicKey] : [undefined, undefined],
      );
      {
        await using connection = await connectRedis(client.endpoint);
        const value = "marker-".repeat(10_000);
        assert.equal(await connection.redis.set("the-secret-key", value), "OK");
        assert.equal(await connection.redis.get("the-secret-key"), value);
      }
      assert.ok(onlooker.count > 5);
      const secrets = [
        redis.address,
        "remote_host",
        "the-secret-key",
        "marker-",
      ];
      const seen = await onlooker.read(secrets);
      assert.deepEqual(
        seen,
        sealed ? [] : ["remote_host", "the-secret-key", "marker-"],
      );
      for (const role of [server, client]) {
        const log = role.process.lines.join("\n");
        assert.ok(!log.includes(theirs.seed) && !log.includes(ours.seed));
      }
    },
  );
}

/** Two roles that do not fit together: the flags of each, and what the client says. */
const MISFITS: readonly {
  readonly what: string;
  readonly server: (keys: Keys) => readonly string[] | "version 1";
  readonly client: (keys: Keys) => readonly string[];
  readonly says: RegExp;
  /** Whether the target is dialled all the same: a server cannot know before it answers. */
  readonly dialled?: true;
}[] = [
  {
    what: "a client without a key and a sealed server",
    server: ({ server, client }) => [
      ...["--secret-key", server.path, "--client-key", client.publicKey],
    ],
    client: () => [],
    says:
      /^denied: the other end says: the server takes sealed opens only; give the client --secret-key and --server-key$/,
  },
  {
    what: "a sealed client and a server without a key",
    server: () => [],
    client: ({ server, client }) => [
      ...["--secret-key", client.path, "--server-key", server.publicKey],
    ],
    says:
      /^no-server: .* a server without the right key says: the server has no key, and cannot read a sealed open \(--secret-key\)$/,
  },
  {
    what: "a sealed client and a version 1 server",
    server: () => "version 1",
    client: ({ server, client }) => [
      ...["--secret-key", client.path, "--server-key", server.publicKey],
    ],
    says: /^no-server: .* a server without the right key says: remote_host/,
  },
  {
    what: "a client that has the key of another server",
    server: ({ server, client }) => [
      ...["--secret-key", server.path, "--client-key", client.publicKey],
    ],
    client: ({ client, other }) => [
      ...["--secret-key", client.path, "--server-key", other.publicKey],
    ],
    says:
      /^no-server: .* the server has another key than the one the open is sealed for \(--server-key\)$/,
  },
  {
    what: "a client that the server does not know",
    server: ({ server, client }) => [
      ...["--secret-key", server.path, "--client-key", client.publicKey],
    ],
    client: ({ server, other }) => [
      ...["--secret-key", other.path, "--server-key", server.publicKey],
    ],
    says:
      /^denied: the other end says: the server knows no client with the key X/,
  },
  {
    what: "a client without the server's --psk",
    server: ({ server, client, psk }) => [
      ...["--secret-key", server.path, "--client-key", client.publicKey],
      ...["--psk", psk],
    ],
    client: ({ server, client }) => [
      ...["--secret-key", client.path, "--server-key", server.publicKey],
    ],
    says:
      /^no-server: .* an answer came that was not sealed with the right keys \(--server-key, --psk\)$/,
    dialled: true,
  },
];

for (const { what, server, client, says, dialled } of MISFITS) {
  integrationTest(
    `${what} open no tunnel, and the client says why`,
    async () => {
      await using stage = await SealedStage.start();
      const { url, keys, echo } = stage;
      const args = server(keys);
      await using _server = args === "version 1"
        ? await V1Server.start(url)
        : await stage.server(args);
      await using ours = await stage.plainClient(client(keys));
      assert.match(await refusal(ours), says);
      if (args !== "version 1" && dialled === undefined) {
        assert.equal(echo.accepted, 0);
      }
    },
  );
}

integrationTest(
  "the same --psk at both ends opens tunnels",
  async () => {
    await using stage = await SealedStage.start();
    const args = ["--psk", stage.keys.psk];
    await using _server = await stage.server([...stage.serverFlags, ...args]);
    await using ours = await stage.client({ args });
    await expectTunnel(ours);
  },
);

integrationTest(
  "a client that the server does not know is refused before a name is looked up",
  async () => {
    await using stage = await SealedStage.start();
    const { other } = stage.keys;
    await using ours = await stage.server();
    const target = "no-such-host.invalid:1";
    await using known = await stage.client({ target });
    assert.match(await refusal(known), /^no-such-host: /);
    await using unknown = await stage.client({ key: other, target });
    assert.match(await refusal(unknown), /^denied: .*knows no client/);
    const entry = await ours.entry(({ msg, reason }) =>
      msg === "open refused" && reason === "denied"
    );
    assert.equal(entry.client, other.publicKey);
    assert.equal(entry.target, undefined);
  },
);
