/** What SIGHUP reads anew, and what it says of it, on real files. */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { systemSources } from "../../lib/config/sources.ts";
import { readKeys } from "../../lib/process/key_files.ts";
import { Reloader, Reloads } from "../../lib/process/reload.ts";
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

  reloader(args: readonly string[] = []): Reloader {
    const files = new Map();
    const pipes = new Map();
    const all = ["--config", `${this.folder}/a.yaml`, ...args];
    const { config } = parseRun("server", all, systemSources(files));
    const keys = readKeys(config.security, pipes);
    return new Reloader({
      role: "server",
      args: all,
      files,
      pipes,
      config,
      keys,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("a reload tells on one line which clients are new, gone or changed, and with which key", async () => {
  await using stage = await Stage.make();
  await stage.write([0, 1]);
  const reloader = stage.reloader();
  using log = captureLog();
  reloader.logStart();
  await stage.write([1, 2]);
  const first = reloader.read();
  assert.ok(first?.config.role === "server");
  assert.deepEqual(first.config.clients.map(({ name }) => name), ["c1", "c2"]);
  assert.deepEqual(first.keys.seeds, [stage.server.seed]);
  stage.clients[1] = makeKey();
  const next = makeKey();
  await stage.writeKey(`# the next\n${next.seed}\r\n`);
  await stage.write([1, 2]);
  assert.deepEqual(reloader.read()?.keys.seeds, [next.seed]);
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
  const reloader = stage.reloader();
  for (
    const [spoil, why] of [
      [() => stage.write([0, 0]), /its name "c0" is that of/],
      [() => stage.write([0], "tunel: 1\n"), /Unknown key "tunel"/],
      [() => stage.write([0], ": ["), /not YAML/],
      [() => stage.writeKey("SX"), /--secret-key.*it has 2 characters/],
      [() => Deno.chmod(`${stage.folder}/key`, 0o644), /chmod 600/],
      [() => Deno.remove(`${stage.folder}/a.yaml`), /no file .* found/],
    ] as const
  ) {
    await spoil();
    using log = captureLog();
    assert.equal(reloader.read(), undefined);
    const [line, ...more] = log.records;
    assert.deepEqual(more, []);
    assert.equal(line?.level, "error");
    assert.match(String(line?.properties.why), why);
    await stage.write([0]);
    await stage.writeKey(stage.server.seed);
    await Deno.chmod(`${stage.folder}/key`, 0o600);
    assert.ok(reloader.read());
  }
});

Deno.test("a reload says which options count at the start only, and takes keys and clients all the same", async () => {
  await using stage = await Stage.make();
  await stage.write([0]);
  const reloader = stage.reloader();
  await stage.write([0, 1], "server: {allow_target: 'db:1'}\n");
  for (let i = 0; i < 2; i++) {
    using log = captureLog();
    assert.ok(reloader.read());
    assert.deepEqual(
      log.records.map(({ level, properties }) => [level, properties.sections]),
      [["warning", "server"], ["info", undefined]],
    );
  }
});

Deno.test("whether tunnels are sealed does not change at a reload, and without keys there is nothing to say", async () => {
  await using stage = await Stage.make();
  const path = `${stage.folder}/a.yaml`;
  await Deno.writeTextFile(path, "");
  const plain = stage.reloader();
  {
    using log = captureLog();
    plain.logStart();
    assert.equal(plain.read(), undefined);
    assert.deepEqual(log.records, []);
  }
  await stage.write([0]);
  const sealed = stage.reloader();
  for (const [reloader, text] of [[plain, undefined], [sealed, ""]] as const) {
    if (text !== undefined) await Deno.writeTextFile(path, text);
    using log = captureLog();
    assert.equal(reloader.read(), undefined);
    const messages = log.records.map(({ rawMessage }) => String(rawMessage));
    assert.match(messages.at(-1) ?? "", /whether tunnels are sealed is read/);
  }
});

Deno.test("who begins to listen for reloads is told of the latest", async () => {
  await using stage = await Stage.make();
  await stage.write([0]);
  const reloaded = stage.reloader().read();
  assert.ok(reloaded);
  const reloads = new Reloads();
  const seen: unknown[] = [];
  reloads.deliver(reloaded);
  reloads.onReload((it) => seen.push(it));
  assert.deepEqual(seen, [reloaded]);
  reloads.deliver(reloaded);
  assert.equal(seen.length, 2);
});
