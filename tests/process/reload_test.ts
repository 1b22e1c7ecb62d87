/** What SIGHUP reads anew, and what it says of it, on real files. */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { RunError } from "../../lib/base/errors.ts";
import { systemSources } from "../../lib/config/sources.ts";
import { readKeys } from "../../lib/process/key_files.ts";
import { LiveReload } from "../../lib/process/live_reload.ts";
import {
  type Reloaded,
  type ReloadPart,
  Reloads,
} from "../../lib/process/reload.ts";
import { Reloader } from "../../lib/process/reloader.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { captureLog } from "../support/capture_log.ts";
import { parseRun } from "../support/option_values.ts";

interface Made {
  readonly seed: string;
  readonly publicKey: string;
}

function makeKey(): Made {
  const pair = nkeys.createCurve();
  return {
    seed: new TextDecoder().decode(pair.getSeed()),
    publicKey: pair.getPublicKey(),
  };
}

/** What of a process reloads. */
class Process {
  readonly reloader: Reloader;
  readonly #live: LiveReload;
  #latest: Reloaded | undefined;
  /** What keeps its one part from taking over. */
  refusal: Error | undefined;

  constructor(role: Role, file: string) {
    const [files, pipes] = [new Map(), new Map()];
    const args = ["--config", file];
    const { config } = parseRun(role, args, systemSources(files));
    const keys = readKeys(config.security, pipes);
    this.reloader = new Reloader({
      ...{ role, args, files, pipes, config, keys },
      ...{ configFile: file, notices: [] },
    });
    const parts = new Reloads();
    parts.join({
      prepare: (reloaded) => {
        if (this.refusal !== undefined) throw this.refusal;
        return { commit: () => void (this.#latest = reloaded) };
      },
    });
    this.#live = new LiveReload({
      reloader: this.reloader,
      parts,
      fit: () => ({}),
      onBegin: () => {},
      onTaken: async () => {},
    });
    this.#live.start();
  }

  /** What a reload takes over; undefined for nothing. */
  async reload(): Promise<Reloaded | undefined> {
    this.#latest = undefined;
    await this.#live.request("SIGHUP");
    return this.#latest;
  }
}

/** A folder with a key and a config file of a server, which has read them. */
class Stage implements AsyncDisposable {
  readonly server = makeKey();
  readonly clients = [makeKey(), makeKey(), makeKey()];
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<Stage> {
    const stage = new Stage(await Deno.makeTempDir());
    await stage.writeKey(stage.server.seed);
    return stage;
  }

  /** There is no config file any more, nor anything else in its place. */
  async clear(): Promise<void> {
    await Deno.remove(`${this.folder}/a.yaml`).catch((error: unknown) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  async writeKey(text: string): Promise<void> {
    await Deno.writeTextFile(`${this.folder}/key`, text, { mode: 0o600 });
  }

  /** Writes the config file; each client is called by its place. */
  async write(clients: readonly number[], more = ""): Promise<void> {
    const lines = clients.map((at) =>
      `  - {name: c${at}, keys: [${this.clients[at]?.publicKey}]}\n`
    );
    await Deno.writeTextFile(
      `${this.folder}/a.yaml`,
      `security.secret_key: ${this.folder}/key\n${more}clients:\n${
        lines.join("")
      }`,
    );
  }

  /** A process of `role` that has read the file. */
  process(role: Role = "server"): Process {
    return new Process(role, `${this.folder}/a.yaml`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("a reload tells on one line which clients are new, gone or changed, and with which key", async () => {
  await using stage = await Stage.make();
  await stage.write([0, 1]);
  const process = stage.process();
  using log = captureLog();
  process.reloader.logStart();
  await stage.write([1, 2]);
  const first = await process.reload();
  assert.ok(first?.config.role === "server");
  assert.deepEqual(first.config.clients.map(({ name }) => name), ["c1", "c2"]);
  assert.deepEqual(first.keys?.seeds, [stage.server.seed]);
  stage.clients[1] = makeKey();
  const next = makeKey();
  await stage.writeKey(`# the next\n${next.seed}\r\n`);
  await stage.write([1, 2]);
  assert.deepEqual((await process.reload())?.keys?.seeds, [next.seed]);
  const told = log.records.map(({ rawMessage, properties }) =>
    [rawMessage, properties] as const
  );
  const about = { clients: 2, psk: false };
  const { publicKey } = stage.server;
  assert.deepEqual(told, [
    ["tunnels are sealed", { ...about, publicKey }],
    ["SIGHUP: keys and clients were read anew", {
      ...{ ...about, publicKey },
      ...{ added: "c2", removed: "c0", changed: undefined },
    }],
    ["SIGHUP: keys and clients were read anew", {
      ...{ ...about, publicKey: next.publicKey },
      ...{ added: undefined, removed: undefined, changed: "c1" },
    }],
  ]);
});

Deno.test("a reload with an error takes nothing over, and says what is wrong on one line", async () => {
  await using stage = await Stage.make();
  await stage.write([0]);
  const process = stage.process();
  for (
    const [spoil, why] of [
      [() => stage.write([0, 0]), /its name "c0" is that of/],
      [() => stage.write([0], "tunel: 1\n"), /Unknown key "tunel"/],
      [() => stage.write([0], ": ["), /not YAML/],
      [() => stage.writeKey("SX"), /--secret-key.*it has 2 characters/],
      [() => Deno.chmod(`${stage.folder}/key`, 0o644), /chmod 600/],
      [() => Deno.remove(`${stage.folder}/a.yaml`), /no file .* found/],
      [
        () => Deno.writeTextFile(`${stage.folder}/a.yaml`, " \n"),
        /the config file .*a\.yaml" is empty$/,
      ],
      [async () => {
        await Deno.remove(`${stage.folder}/a.yaml`);
        const mkfifo = new Deno.Command("mkfifo", {
          args: [`${stage.folder}/a.yaml`],
        });
        assert.ok((await mkfifo.output()).success);
      }, /a\.yaml: it is a pipe now, and was none before/],
      [
        () => {
          process.refusal = new RunError("no port");
          return Promise.resolve();
        },
        /no port/,
      ],
    ] as const
  ) {
    await spoil();
    using log = captureLog();
    assert.equal(await process.reload(), undefined);
    const [line, ...more] = log.records;
    assert.deepEqual(more, []);
    assert.equal(line?.level, "error");
    assert.match(String(line?.rawMessage), /all stays as it is$/);
    assert.match(String(line?.properties.why), why);
    await stage.clear();
    await stage.write([0]);
    await stage.writeKey(stage.server.seed);
    await Deno.chmod(`${stage.folder}/key`, 0o600);
    process.refusal = undefined;
    assert.ok(await process.reload());
  }
});

Deno.test("a reload says which options count at the start only, and takes over the rest all the same", async () => {
  await using stage = await Stage.make();
  await stage.write([0]);
  const process = stage.process();
  await stage.write([0, 1], "server: {allow_target: 'db:1'}\nworkers: 2\n");
  for (const first of [true, false]) {
    using log = captureLog();
    assert.ok(await process.reload());
    assert.deepEqual(
      log.records.map(({ level, properties }) => [level, properties.options]),
      [
        ["warning", "workers"],
        ["info", undefined],
        ...first ? [["info", "server.allow_target"]] : [],
      ],
    );
  }
});

Deno.test("whether tunnels are sealed does not change at a reload, and what has not changed is told, too", async () => {
  await using stage = await Stage.make();
  const path = `${stage.folder}/a.yaml`;
  await Deno.writeTextFile(path, "");
  const plain = stage.process();
  {
    using log = captureLog();
    plain.reloader.logStart();
    assert.ok(await plain.reload());
    assert.deepEqual(log.records.map(({ rawMessage }) => rawMessage), [
      "SIGHUP: the configuration has not changed",
    ]);
  }
  await stage.write([0]);
  const sealed = stage.process();
  for (
    const [process, text] of [[plain, undefined], [sealed, "# none\n"]] as const
  ) {
    if (text !== undefined) await Deno.writeTextFile(path, text);
    using log = captureLog();
    assert.equal(await process.reload(), undefined);
    const why = log.records.map(({ properties }) => String(properties.why));
    assert.match(why.at(-1) ?? "", /whether tunnels are sealed is read/);
  }
});

Deno.test("a reload tells which forwards come, go and change, and names each secret by its key alone", async () => {
  await using stage = await Stage.make();
  const path = `${stage.folder}/a.yaml`;
  const write = async (client: unknown, log = {}): Promise<void> =>
    await Deno.writeTextFile(path, JSON.stringify({ client, log }));
  await write({ forwards: ["1:a:1", "2:b:1"], socks: 3 });
  const process = stage.process("client");
  for (
    const [client, ...lines] of [
      [
        { forwards: ["2:c:1", { name: "x", listen: 4, target: "d:1" }] },
        ["forwards have changed; open tunnels go on", {
          added: "x",
          removed: "localhost:1, localhost:3",
          changed: "localhost:2",
          forwards: 2,
          tunnels: 0,
        }],
      ],
      // Another order is no change.
      [
        { forwards: [{ name: "x", listen: 4, target: "d:1" }, "2:c:1"] },
        ["the configuration has not changed", {}],
      ],
      [
        { forwards: ["2:c:1", "4:d:1"], socks_user: "a", socks_password: "b" },
        ["forwards have changed; open tunnels go on", {
          added: undefined,
          removed: undefined,
          changed: "localhost:4",
          forwards: 2,
        }],
        ["options have changed, and count from now on", {
          options: "client.socks_password, client.socks_user",
        }],
      ],
      [
        { forwards: ["2:c:1", "4:d:1"], socks_user: "a", socks_password: "c" },
        ["options have changed, and count from now on", {
          options: "client.socks_password",
        }],
      ],
    ] as const
  ) {
    await write(client);
    using log = captureLog();
    assert.ok(await process.reload());
    assert.deepEqual(
      log.records.map(({ rawMessage, properties }) => [rawMessage, properties]),
      lines.map(([text, about]) => [`SIGHUP: ${text}`, about]),
    );
  }
});

Deno.test("of reloads that are asked for before the start, or while one is under way, the last one counts", async () => {
  const read: string[] = [];
  const ready = Promise.withResolvers<void>();
  const config = parseRun("client", []).config;
  const live = new LiveReload({
    reloader: {
      read: (cause) => {
        read.push(cause);
        const reloaded = { config, keys: undefined, files: new Map() };
        return { reloaded, taken: () => {} };
      },
    },
    parts: {
      prepare: async () => {
        await ready.promise;
        const nothing = async (): Promise<void> => {};
        return {
          ...{ tunnels: 0, places: undefined },
          ...{ commit: nothing, abandon: nothing },
        };
      },
    },
    fit: () => ({}),
    onBegin: () => {},
    onTaken: async () => {},
  });
  using _log = captureLog();
  await live.request("SIGHUP");
  await live.request("watch");
  assert.deepEqual(read, []);
  live.start();
  assert.deepEqual(read, ["watch"]);
  void live.request("watch");
  const last = live.request("SIGHUP");
  ready.resolve();
  await last;
  assert.deepEqual(read, ["watch", "SIGHUP"]);
  live[Symbol.dispose]();
  await live.request("SIGHUP");
  assert.equal(read.length, 2);
});

Deno.test("of several parts none takes over what one cannot, and the others give up what they made ready", async () => {
  const said: string[] = [];
  const part = (name: string, fails = false): ReloadPart => ({
    prepare: () => {
      said.push(`${name} prepares`);
      if (fails) throw new RunError("out of luck");
      return {
        commit: () => void said.push(`${name} commits`),
        abandon: () => void said.push(`${name} abandons`),
      };
    },
  });
  const { config } = parseRun("client", []);
  const reloaded = { config, keys: undefined, files: new Map() };
  const parts = new Reloads();
  for (const name of ["a", "b"]) parts.join(part(name));
  await (await parts.prepare(reloaded)).commit();
  assert.deepEqual(parts.latest?.config, config);
  parts.join(part("c", true));
  await assert.rejects(parts.prepare(reloaded), /out of luck/);
  assert.deepEqual(
    said,
    // deno-fmt-ignore
    [
      "a prepares", "b prepares", "a commits", "b commits",
      "a prepares", "b prepares", "c prepares", "b abandons", "a abandons",
    ],
  );
});
