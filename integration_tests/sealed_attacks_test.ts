/**
 * What somebody without a key can do to sealed tunnels who may do everything
 * on the broker: bytes of his own, recorded ones, and answers to opens.
 */
import assert from "node:assert/strict";
import { parsePublicKey, parseSeed } from "../lib/seal/keys.ts";
import { NO_PSK, type OpenContext, SealedAsk } from "../lib/seal/open.ts";
import { parseAddress } from "./support/addresses.ts";
import { expectTunnel, roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { owned } from "./support/owned.ts";
import { type RawMessage, RawNats } from "./support/raw_nats.ts";
import { connectRedis, type RedisConnection } from "./support/redis_client.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import type { ClientRole, LogEntry } from "./support/roles.ts";
import { type Keys, SealedStage } from "./support/sealed_stage.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";
import { soon } from "./support/waits.ts";

/** Where the server of a stage waits for opens, and who asks there. */
const REQUESTS = ["proxy.request", "proxy.request.>"];

/** What the client of a stage is called. */
const CLIENT_ID = "edge7";

/** How often a recorded message is sent again. */
const REPEATS = 5;

/** Offsets at which bytes are tried to be put in: more than the target gets here. */
const OFFSETS = 1_024;

/** Opens that a rogue server tries to get. */
const OPENS = 10;

/** Both roles with keys, and somebody who may do everything on the broker. */
interface Stage extends AsyncDisposable {
  readonly url: string;
  readonly keys: Keys;
  readonly client: ClientRole;
  readonly enemy: RawNats;
  /** All that went by since he came. */
  readonly seen: readonly RawMessage[];
  /** Puts a new server in the place of the one that runs, as a restart does. */
  readonly restartServer: () => Promise<void>;
}

/** Starts all of it; the client leads to `target`. */
async function startStage(target: string): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const stage = cleanup.use(await SealedStage.start());
  const { url, keys } = stage;
  let server = await stage.server();
  cleanup.defer(() => server[Symbol.asyncDispose]());
  const enemy = cleanup.use(await RawNats.connect(url));
  const seen: RawMessage[] = [];
  enemy.subscribe(">", (message) => void seen.push(message));
  await enemy.flush();
  const client = cleanup.use(
    await stage.client({ target, args: ["--client-id", CLIENT_ID] }),
  );
  const restartServer = async (): Promise<void> => {
    await server.process.kill();
    server = await stage.server();
  };
  return owned(cleanup, { url, keys, client, enemy, seen, restartServer });
}

/** What Redis says of itself under `name`. */
async function statistic(
  { redis }: RedisConnection,
  name: string,
): Promise<number> {
  const found = new RegExp(`^${name}:(\\d+)`, "m").exec(await redis.info());
  return Number(found?.[1]);
}

/** A frame as docs/protocol.md writes them: type, flags, and numbers of so many bytes each. */
function frame(
  type: number,
  flags: number,
  fields: readonly (readonly [value: number, bytes: number])[],
  text = "",
): Uint8Array<ArrayBuffer> {
  const numbers = fields.flatMap(([value, bytes]) =>
    Array.from(
      { length: bytes },
      (_, at) => Math.floor(value / 256 ** (bytes - 1 - at)) % 256,
    )
  );
  const tail = new TextEncoder().encode(text);
  return Uint8Array.from([type, flags, ...numbers, ...tail]);
}

/** Frames that nobody has sealed, each of which would do harm to a plain tunnel whose direction stands at `offset`. */
function plainFrames(offset: number): Uint8Array<ArrayBuffer>[] {
  const position = [[0, 8], [1 << 30, 8]] as const;
  const shutdown = 15;
  return [
    frame(1, 0, [[offset, 8], ...position], "FLUSHALL\r\n"),
    frame(2, 1, position),
    frame(3, 0, [[offset, 8], ...position]),
    ...Array.from(
      { length: 18 },
      (_, code) => frame(4, 0, [[code + 1, 2]], "forged"),
    ),
    frame(4, 0, [[shutdown, 2]]),
    frame(5, 1, [[7, 4], [offset, 8], ...position]),
    frame(6, 1, [[7, 4], [offset, 8], ...position]),
  ];
}

/** Sealed frames that were made of a real one. */
function bentFrames(real: Uint8Array): Uint8Array<ArrayBuffer>[] {
  const bent = (
    change: (bytes: Uint8Array) => void,
  ): Uint8Array<ArrayBuffer> => {
    const copy = Uint8Array.from(real);
    change(copy);
    return copy;
  };
  const flip = (at: number, bit = 1) => (bytes: Uint8Array): void => {
    const index = at < 0 ? bytes.length + at : at;
    bytes[index] = (bytes[index] ?? 0) ^ bit;
  };
  return [
    bent(() => {}), // as it is
    bent(flip(1, 1)), // of the other lane
    bent(flip(1, 2)), // about the pair of processes
    bent(flip(9, 0x40)), // a later counter
    bent(flip(5, 0xff)), // under a later key
    bent(flip(10)), // other bytes
    bent(flip(-1)), // another tag
    Uint8Array.from(real.subarray(0, 25)),
    Uint8Array.of(16),
    Uint8Array.of(16, 2, ...crypto.getRandomValues(new Uint8Array(64))),
  ];
}

/** The data messages among `seen`, by subject. */
function dataOf(
  seen: readonly RawMessage[],
  side: "server" | "client",
): RawMessage[] {
  return seen.filter(({ subject, data }) =>
    subject.startsWith(`p.data.to_${side}.`) && data[0] === 16
  );
}

/** The same subject with another number. */
function withNumber(subject: string, number: string): string {
  return subject.replace(/[^.]+$/, number);
}

integrationTest(
  "nothing that is injected into a sealed tunnel reaches the target, cuts it or brings it out of step",
  async () => {
    await using redis = await startOwnRedis();
    await using stage = await startStage(redis.address);
    const { client, enemy, seen } = stage;
    await using connection = await connectRedis(client.endpoint);
    for (let count = 1; count <= 3; count++) {
      assert.equal(await connection.redis.incr("count"), count);
    }
    await enemy.flush();
    let sent = 0;
    for (const side of ["server", "client"] as const) {
      const recorded = dataOf(seen, side);
      const real = recorded.find(({ data }) => data.length > 60);
      assert.ok(real);
      const other = dataOf(seen, side === "server" ? "client" : "server")[0];
      assert.ok(other);
      const places = [real.subject, withNumber(real.subject, "0")];
      const forged = [
        // One of the offsets is the right one.
        ...Array.from({ length: OFFSETS }, (_, at) => plainFrames(at)[0])
          .flatMap((bytes) => bytes ?? []),
        ...plainFrames(200),
        ...bentFrames(real.data),
        ...bentFrames(other.data),
      ];
      const close = `{"ID":"${
        real.subject.slice("p.data.to_server.".length)
      }","Reply":"","Data":"RkxVU0hBTEwNCg==","Metadata":{"type":"close"}}`;
      for (const place of places) {
        for (const bytes of forged) enemy.publish(place, bytes);
        enemy.publish(place, close);
        sent += forged.length + 1;
      }
    }
    assert.ok(sent > 4 * OFFSETS);
    // What the broker has taken goes before what the client says now.
    await enemy.flush();
    for (let count = 4; count <= 6; count++) {
      assert.equal(await connection.redis.incr("count"), count);
    }
    const ended = ({ msg }: LogEntry): boolean => msg === "tunnel closed";
    assert.deepEqual(client.entries().filter(ended), []);
    await connection[Symbol.asyncDispose]();
    const end = await client.entry(ended);
    assert.equal(end.reason, "ok");
    assert.ok(Number(end.sent) < OFFSETS, `${end.sent}`);
  },
);

integrationTest(
  "whoever says without the key that another process has the client's ID cuts no sealed tunnel",
  async () => {
    await using echo = startEcho();
    await using stage = await startStage(echo.address);
    const { client, enemy, seen } = stage;
    using conn = await dial(client.endpoint);
    await soon("the tunnel works", roundTrip(conn));
    await enemy.flush();
    const holds = `p.data.to_client.${CLIENT_ID}.hold.`;
    const questions = seen.filter(({ subject }) => subject === `${holds}0`);
    const [question] = questions;
    assert.ok(question);
    const longer = [[2 ** 40, 8], [0, 8], [0, 8]] as const;
    const numbers = [0, 1, 2, 3, 4, 5].map((id) => [id, 4] as const);
    for (const id of numbers) {
      const asked = frame(5, 1, [id, ...longer]);
      enemy.publish(`${holds}0`, asked, { reply: `${holds}abc` });
      enemy.publish(question.reply, frame(6, 0, [id, ...longer]));
    }
    enemy.publish(question.reply, frame(4, 0, [[15, 2]], "forged"));
    for (const { subject, data } of questions) {
      enemy.publish(subject, data, { reply: `${holds}abc` });
      enemy.publish(question.reply, data);
    }
    // What the broker has taken goes before what the client hears now.
    await enemy.flush();
    await soon("it still works", roundTrip(conn));
    await expectTunnel(client);
    assert.deepEqual(
      client.entries().filter(({ level }) => level === "warn"),
      [],
    );
  },
);

integrationTest(
  "recorded frames of a sealed tunnel that are sent again, to it and to another, make the target execute nothing again",
  async () => {
    await using redis = await startOwnRedis();
    await using direct = await connectRedis(parseAddress(redis.address));
    await using stage = await startStage(redis.address);
    const { client, enemy, seen } = stage;
    await using first = await connectRedis(client.endpoint);
    await using second = await connectRedis(client.endpoint);
    assert.equal(await first.redis.incr("count"), 1);
    assert.equal(await second.redis.incr("count"), 2);
    await enemy.flush();
    const recorded = [...dataOf(seen, "server"), ...dataOf(seen, "client")];
    const subjects = new Set(recorded.map(({ subject }) => subject));
    assert.ok(subjects.size >= 4, [...subjects].join(" "));
    for (let i = 0; i < REPEATS; i++) {
      for (const { subject, data, reply } of recorded) {
        enemy.publish(subject, data, { reply });
        for (const other of subjects) enemy.publish(other, data, { reply });
      }
    }
    await enemy.flush();
    for (const [at, { redis }] of [first, second].entries()) {
      assert.equal(await redis.incr("after"), at + 1);
    }
    assert.equal(await direct.redis.get("count"), "2");
  },
);

integrationTest(
  "a recorded open that is sent again is not dialled again, with whatever it is sent along",
  async () => {
    await using redis = await startOwnRedis();
    await using direct = await connectRedis(parseAddress(redis.address));
    await using stage = await startStage(redis.address);
    const { client, enemy, seen } = stage;
    const count = async (to: number): Promise<void> => {
      const since = client.process.mark();
      {
        await using connection = await connectRedis(client.endpoint);
        assert.equal(await connection.redis.incr("count"), to);
      }
      await client.entry(({ msg }) => msg === "tunnel closed", { since });
      await enemy.flush();
    };
    // Until it has heard a server the client asks twice, where that takes a second.
    await count(1);
    const first = seen.length;
    await count(2);
    // Recorded before the tunnel's end, and sent after it.
    const recorded = seen.slice(first).filter(({ data }) => data.length > 0);
    const opens = recorded.filter(({ subject }) => isRequest(subject));
    assert.equal(opens.length, 1);
    const before = await statistic(direct, "total_connections_received");
    for (let i = 0; i < REPEATS; i++) {
      for (const { subject, data, headers, reply } of recorded) {
        enemy.publish(subject, data, {
          ...(Object.keys(headers).length > 0 && { headers }),
          reply,
        });
      }
    }
    await enemy.flush();
    await using connection = await connectRedis(client.endpoint);
    assert.equal(await connection.redis.get("count"), "2");
    assert.equal(
      await statistic(direct, "total_connections_received"),
      before + 1,
    );
  },
);

integrationTest(
  "a server that was restarted dials once for a recorded open that is sent again, and passes on no recorded byte",
  async () => {
    await using redis = await startOwnRedis();
    await using direct = await connectRedis(parseAddress(redis.address));
    await using stage = await startStage(redis.address);
    const { client, enemy, seen, restartServer } = stage;
    {
      await using connection = await connectRedis(client.endpoint);
      assert.equal(await connection.redis.incr("count"), 1);
    }
    await client.entry(({ msg }) => msg === "tunnel closed");
    await enemy.flush();
    const open = seen.find(({ subject }) => isRequest(subject));
    const frames = dataOf(seen, "server");
    assert.ok(open && frames.length > 1);
    await restartServer();
    const before = await statistic(direct, "total_connections_received");
    const answer = Promise.withResolvers<string>();
    using _answers = enemy.subscribe(open.reply, ({ headers }) => {
      const server = headers["sproxy-server"];
      if (server !== undefined) answer.resolve(server);
    });
    for (let i = 0; i < REPEATS; i++) {
      enemy.publish(open.subject, open.data, open);
    }
    // The new server tells its token; in the old one's place it hears the old frames.
    const token = await soon("it is answered", answer.promise);
    for (const { subject, data, reply } of frames) {
      const parts = subject.split(".");
      parts.splice(-2, 1, token);
      enemy.publish(parts.join("."), data, { reply });
    }
    await enemy.flush();
    await using connection = await connectRedis(client.endpoint);
    assert.equal(await connection.redis.get("count"), "1");
    assert.equal(
      await statistic(direct, "total_connections_received"),
      before + 2,
    );
  },
);

/** Opens of somebody's own, made with the real client's key where the test says so. */
class Asker {
  readonly #stage: Stage;
  readonly #client = "probe";
  #number = 0;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** Seals an open for `target` at a time, in ms since 1970. */
  seal(
    target: string,
    time: number,
  ): { readonly ask: SealedAsk; readonly context: OpenContext } {
    const { server, client } = this.#stage.keys;
    const key = parseSeed(client.seed);
    const serverKey = parsePublicKey(server.publicKey);
    assert.ok(key && serverKey);
    const context = {
      requestSubject: `proxy.request.${this.#client}`,
      dataPrefix: "p.data",
      client: this.#client,
      number: ++this.#number,
      window: 65_536,
      codec: "binary",
    };
    const ask = SealedAsk.make(
      { key, psk: NO_PSK },
      serverKey,
      { ...context, target, time },
      (bytes) => crypto.getRandomValues(Uint8Array.from(bytes)),
    );
    assert.ok(ask);
    return { ask, context };
  }

  /** Sends an open, perhaps with other headers or on another subject, and gives the answer. */
  async send(
    data: Uint8Array | null,
    context: OpenContext,
    change: {
      readonly headers?: Readonly<Record<string, string | undefined>>;
      readonly subject?: string;
    } = {},
  ): Promise<RawMessage> {
    const { enemy } = this.#stage;
    const wanted: Readonly<Record<string, string | undefined>> = {
      "sproxy-version": "2",
      "sproxy-client": context.client,
      "sproxy-tunnel": context.number.toString(36),
      "sproxy-window": String(context.window),
      "sproxy-codec": context.codec,
      "sproxy-security": "ik1",
      ...change.headers,
    };
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(wanted)) {
      if (value !== undefined) headers[name] = value;
    }
    const { subject = context.requestSubject } = change;
    const reply = `p.data.to_client.${headers["sproxy-client"]}.open.${
      headers["sproxy-tunnel"]
    }`;
    const { promise, resolve } = Promise.withResolvers<RawMessage>();
    using _answers = enemy.subscribe(reply, resolve);
    const body = JSON.stringify({
      ID: "",
      Reply: "",
      Data: data?.toBase64() ?? null,
      Metadata: null,
    });
    enemy.publish(subject, body, { headers, reply });
    return await soon("the open is answered", promise);
  }
}

/** What an answer says in the clear, or in its seal. */
function said(answer: RawMessage, ask?: SealedAsk): string {
  const { Data }: { Data: string | null } = JSON.parse(
    new TextDecoder().decode(answer.data),
  );
  const data = Uint8Array.fromBase64(Data ?? "");
  return answer.headers["sproxy-security"] === "ik1"
    ? ask?.read(data)?.answer.type ?? "unreadable"
    : `${answer.headers["sproxy-code"]}: ${new TextDecoder().decode(data)}`;
}

integrationTest(
  "a sealed open is taken for a minute by the server's clock; an older one, such as a recorded one, is not dialled",
  async () => {
    await using echo = startEcho();
    await using stage = await startStage(echo.address);
    const asker = new Asker(stage);
    for (
      const [seconds, answer] of [
        [-62, "clock"],
        [-3_600, "clock"],
        [90, "clock"],
        [-30, "open"],
        [0, "open"],
        [30, "open"],
      ] as const
    ) {
      const dialled = echo.accepted;
      const { ask, context } = asker.seal(
        echo.address,
        Date.now() + seconds * 1_000,
      );
      for (let i = 0; i < (answer === "clock" ? REPEATS : 1); i++) {
        const got = await asker.send(ask.data, context);
        assert.equal(said(got, ask), answer, `${seconds} s`);
      }
      assert.equal(echo.accepted - dialled, answer === "open" ? 1 : 0);
    }
  },
);

integrationTest(
  "an open is refused before anything is dialled when one thing beside its seal was changed, when it is of another scheme, and when it is plain",
  async () => {
    await using echo = startEcho();
    await using stage = await startStage(echo.address);
    const asker = new Asker(stage);
    const plain = {
      "sproxy-security": undefined,
      remote_host: echo.endpoint.hostname,
      remote_port: String(echo.endpoint.port),
    };
    const otherKey = /^denied: the server has another key/;
    const sealedOnly = /^denied: the server takes sealed opens only/;
    const scheme = /^protocol: sproxy-security is ".*", want ik1$/;
    for (
      const [headers, subject, says] of [
        [{ "sproxy-tunnel": "zz" }, undefined, otherKey],
        [{ "sproxy-window": "65537" }, undefined, otherKey],
        [{ "sproxy-codec": "json" }, undefined, otherKey],
        [{ "sproxy-client": "edge7" }, "proxy.request.edge7", otherKey],
        [{}, "proxy.request", otherKey],
        [{ "sproxy-security": "ik2" }, undefined, scheme],
        [{ "sproxy-security": "none" }, undefined, scheme],
        [{ "sproxy-security": "IK1" }, undefined, scheme],
        [plain, undefined, sealedOnly],
        [plain, "proxy.request", sealedOnly],
      ] as const
    ) {
      const { ask, context } = asker.seal(echo.address, Date.now());
      const answer = await asker.send(ask.data, context, {
        headers,
        ...(subject !== undefined && { subject }),
      });
      assert.match(said(answer, ask), says, JSON.stringify([headers, subject]));
    }
    assert.equal(echo.accepted, 0);
    // As it was sealed it is taken.
    const { ask, context } = asker.seal(echo.address, Date.now());
    assert.equal(said(await asker.send(ask.data, context), ask), "open");
    assert.equal(echo.accepted, 1);
  },
);

/** What a rogue server without the key may answer before the right one does. */
const LIES: Readonly<
  Record<string, (asked: RawMessage, earlier: RawMessage | undefined) => Lie>
> = {
  "in plain version 2 form": ({ headers }) => ({
    headers: { ...ROGUE, "sproxy-window": "65536", "sproxy-codec": "binary" },
    data: rogueId(headers),
  }),
  "in version 1 form": ({ headers }) => ({
    headers: {},
    data: rogueId(headers),
  }),
  "that it refuses": () => ({
    headers: { ...ROGUE, "sproxy-code": "internal" },
    data: "no",
    metadata: { error: "true" },
  }),
  "that it refuses, in version 1 form": () => ({
    headers: {},
    data: "connection refused",
    metadata: { error: "true" },
  }),
  "in sealed form, with bytes of its own": () => ({
    headers: { ...ROGUE, "sproxy-security": "ik1" },
    data: crypto.getRandomValues(new Uint8Array(120)),
  }),
  "in sealed form, with the answer to another open": (_, earlier) => ({
    headers: { ...ROGUE, "sproxy-security": "ik1" },
    data: earlier === undefined ? "" : bodyData(earlier),
  }),
};

/** The headers of an answer of version 2. */
const ROGUE = { "sproxy-version": "2", "sproxy-server": "rogue" } as const;

/** An answer. */
interface Lie {
  readonly headers: Readonly<Record<string, string>>;
  readonly data: string | Uint8Array;
  readonly metadata?: Readonly<Record<string, string>>;
}

function rogueId(headers: RawMessage["headers"]): string {
  return `${headers["sproxy-client"]}.rogue.${headers["sproxy-tunnel"]}`;
}

function bodyData({ data }: RawMessage): Uint8Array {
  const { Data } = JSON.parse(new TextDecoder().decode(data));
  return Uint8Array.fromBase64(Data ?? "");
}

function isRequest(subject: string): boolean {
  return subject.startsWith("proxy.request");
}

for (const [how, lie] of Object.entries(LIES)) {
  integrationTest(
    `a rogue server that answers each sealed open ${how} gets none, and the right one all`,
    async () => {
      await using echo = startEcho();
      await using stage = await startStage(echo.address);
      const { client, enemy, seen } = stage;
      let answered = 0;
      const caught: string[] = [];
      for (const subject of REQUESTS) {
        enemy.subscribe(subject, (asked) => {
          const earlier = seen.find(({ subject, headers }) =>
            subject.includes(".open.") &&
            headers["sproxy-security"] === "ik1" &&
            headers["sproxy-server"] !== "rogue"
          );
          const { headers, data, metadata = null } = lie(asked, earlier);
          const bytes = typeof data === "string"
            ? new TextEncoder().encode(data)
            : data;
          const body = JSON.stringify({
            ID: "",
            Reply: "",
            Data: bytes.toBase64(),
            Metadata: metadata,
          });
          enemy.publish(asked.reply, body, {
            ...(Object.keys(headers).length > 0 && { headers }),
          });
          answered++;
        });
      }
      enemy.subscribe(
        "p.data.to_server.*.rogue.>",
        ({ subject, data }) => {
          // A RESET says that nobody wants such a tunnel.
          if (data[0] !== 4) caught.push(subject);
        },
      );
      await enemy.flush();
      for (let i = 0; i < OPENS; i++) {
        using conn = await dial(client.endpoint);
        await soon("the tunnel leads to the target", roundTrip(conn));
      }
      assert.ok(answered >= OPENS, `${answered}`);
      assert.equal(echo.accepted, OPENS);
      assert.deepEqual(caught, []);
    },
  );
}
