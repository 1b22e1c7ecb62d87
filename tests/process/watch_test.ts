/** When a watch has files looked at, on real files, with events and a clock of the test's. */
import assert from "node:assert/strict";
import { RunError, UsageError } from "../../lib/base/errors.ts";
import {
  type ConfigWatch,
  filesOf,
  LATEST_MS,
  QUIET_MS,
  watchConfig,
  type WatchFs,
} from "../../lib/process/watch.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { turn } from "../support/memory_bus.ts";
import { parseRun } from "../support/option_values.ts";

type Kind = Deno.FsEvent["kind"];

/** A watcher whose events the test makes. */
class FakeWatcher implements AsyncIterable<{ readonly kind: Kind }> {
  readonly paths: readonly string[];
  closed = false;
  #next = Promise.withResolvers<Kind | undefined>();

  constructor(paths: readonly string[]) {
    this.paths = paths;
  }

  say(kind: Kind): void {
    const { resolve } = this.#next;
    this.#next = Promise.withResolvers();
    resolve(kind);
  }

  close(): void {
    this.closed = true;
    this.#next.resolve(undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<{ readonly kind: Kind }> {
    for (;;) {
      const kind = await this.#next.promise;
      if (kind === undefined) return;
      yield { kind };
    }
  }
}

/** A folder with a config file and a key, watched. */
class Stage implements AsyncDisposable {
  readonly folder: string;
  readonly clock = new FakeClock();
  readonly log = captureLog();
  readonly watchers: FakeWatcher[] = [];
  readonly watch: ConfigWatch;
  changes = 0;
  failure: Error | undefined;

  private constructor(folder: string) {
    this.folder = folder;
    this.watch = watchConfig({
      files: () => [`${folder}/conf/a.yaml`, `${folder}/keys/key`],
      onChange: () => this.changes++,
      clock: this.clock,
      watchFs: this.watchFs,
    });
  }

  static async make(): Promise<Stage> {
    const folder = await Deno.makeTempDir();
    for (const name of ["conf", "keys"]) await Deno.mkdir(`${folder}/${name}`);
    await Deno.writeTextFile(`${folder}/conf/a.yaml`, "a");
    await Deno.writeTextFile(`${folder}/keys/key`, "k");
    return new Stage(folder);
  }

  readonly watchFs: WatchFs = (paths) => {
    if (this.failure !== undefined) throw this.failure;
    const watcher = new FakeWatcher(paths);
    this.watchers.push(watcher);
    return watcher;
  };

  get config(): string {
    return `${this.folder}/conf/a.yaml`;
  }

  /** The watcher that counts. */
  get watcher(): FakeWatcher {
    const watcher = this.watchers.at(-1);
    assert.ok(watcher && !watcher.closed);
    return watcher;
  }

  async say(...kinds: readonly Kind[]): Promise<void> {
    for (const kind of kinds) {
      this.watcher.say(kind);
      await turn();
    }
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms, turn);
  }

  get told(): readonly unknown[] {
    return this.log.records.map(({ rawMessage }) => rawMessage);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.watch[Symbol.dispose]();
    assert.ok(this.watchers.every(({ closed }) => closed));
    assert.equal(this.clock.timers, 0);
    this.log[Symbol.dispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("a change counts once when nothing has happened for a while, and only if something else is there", async () => {
  await using stage = await Stage.make();
  assert.deepEqual(stage.watcher.paths, [
    `${stage.folder}/conf`,
    `${stage.folder}/keys`,
  ]);
  assert.deepEqual(stage.told, ["the configuration is watched"]);
  assert.equal(stage.clock.timers, 0);
  await Deno.writeTextFile(stage.config, "b");
  await stage.say("modify");
  await stage.pass(QUIET_MS - 1);
  await stage.say("modify", "modify");
  await stage.pass(QUIET_MS - 1);
  assert.equal(stage.changes, 0);
  await stage.pass(1);
  assert.equal(stage.changes, 1);
  // Another file of the folder, or the same text again.
  await stage.say("create", "any", "other");
  await Deno.writeTextFile(stage.config, "b");
  await stage.say("modify");
  await stage.pass(LATEST_MS);
  assert.equal(stage.changes, 1);
  // What is only read makes no look.
  await stage.say("access");
  assert.equal(stage.clock.timers, 0);
  await Deno.writeTextFile(`${stage.folder}/keys/key`, "l");
  await stage.say("modify");
  await stage.pass(QUIET_MS);
  assert.equal(stage.changes, 2);
  assert.equal(stage.watchers.length, 1);
});

Deno.test("a folder that is never quiet has files looked at all the same", async () => {
  await using stage = await Stage.make();
  await Deno.writeTextFile(stage.config, "b");
  for (let ms = 0; ms < LATEST_MS; ms += QUIET_MS / 2) {
    assert.equal(stage.changes, 0, `after ${ms} ms`);
    await stage.say("modify");
    await stage.pass(QUIET_MS / 2);
  }
  assert.equal(stage.changes, 1);
  await stage.pass(LATEST_MS);
});

Deno.test("a file that is gone changes nothing and is told of once; what is then there counts", async () => {
  await using stage = await Stage.make();
  for (const [text, changes] of [["a", 0], ["b", 1]] as const) {
    await Deno.remove(stage.config);
    for (let at = 0; at < 3; at++) {
      await stage.say("remove");
      await stage.pass(QUIET_MS);
    }
    await Deno.writeTextFile(stage.config, text);
    await stage.say("create");
    await stage.pass(QUIET_MS);
    assert.equal(stage.changes, changes);
  }
  const gone = "watch: the config file is gone; all stays as it is";
  assert.deepEqual(stage.told.slice(1), [
    gone,
    "watch: the config file is there again, as it was",
    gone,
  ]);
});

Deno.test("a folder that is made again is watched again, and looked for meanwhile", async () => {
  await using stage = await Stage.make();
  const [first] = stage.watchers;
  await Deno.remove(`${stage.folder}/conf`, { recursive: true });
  await stage.say("remove");
  await stage.pass(QUIET_MS);
  assert.ok(first?.closed);
  assert.deepEqual(stage.watcher.paths, [`${stage.folder}/keys`]);
  await stage.pass(60_000);
  assert.equal(stage.changes, 0);
  await Deno.mkdir(`${stage.folder}/conf`);
  await Deno.writeTextFile(stage.config, "b");
  // Nothing that is watched tells of it.
  await stage.pass(2_000);
  assert.equal(stage.changes, 1);
  assert.equal(stage.watcher.paths.length, 2);
  assert.equal(stage.clock.timers, 0);
});

Deno.test("a link to a folder that leads elsewhere is a change, and where it leads is watched", async () => {
  await using stage = await Stage.make();
  const at = (name: string): string => `${stage.folder}/conf/${name}`;
  for (const version of ["1", "2"]) {
    await Deno.mkdir(at(version));
    await Deno.writeTextFile(at(`${version}/a.yaml`), version);
  }
  await Deno.symlink("1", at("data"));
  await Deno.remove(stage.config);
  await Deno.symlink("data/a.yaml", stage.config);
  await stage.say("create");
  await stage.pass(QUIET_MS);
  assert.equal(stage.changes, 1);
  assert.ok(stage.watcher.paths.includes(await Deno.realPath(at("1"))));
  await Deno.symlink("2", at("tmp"));
  await Deno.rename(at("tmp"), at("data"));
  await stage.say("remove");
  await stage.pass(QUIET_MS);
  assert.equal(stage.changes, 2);
  assert.ok(stage.watcher.paths.includes(await Deno.realPath(at("2"))));
});

Deno.test("a watch that breaks off is told of once, and tried again", async () => {
  await using stage = await Stage.make();
  stage.failure = new Error("no more watches");
  await stage.say("remove");
  await stage.pass(QUIET_MS);
  await stage.pass(10_000);
  await Deno.writeTextFile(stage.config, "b");
  await stage.pass(2_000);
  // Without events it still looks when it tries.
  assert.equal(stage.changes, 1);
  stage.failure = undefined;
  await stage.pass(2_000);
  assert.equal(stage.clock.timers, 0);
  const lost = stage.log.records.filter(({ level }) => level === "warning");
  assert.equal(lost.length, 1);
  assert.match(String(lost[0]?.properties.why), /no more watches/);
});

Deno.test("what cannot be watched ends the start: no file, a pipe's path, or no more watches", async () => {
  const folder = await Deno.makeTempDir();
  const { config } = parseRun("client", [
    "--nats-creds",
    "a",
    "--nats-tls-ca=b",
  ]);
  assert.deepEqual(filesOf(config, "f"), ["f", "a", "b"]);
  assert.throws(() => filesOf(config, undefined), UsageError);
  const onChange = (): void => {};
  assert.throws(
    () => watchConfig({ files: () => [folder], onChange }),
    UsageError,
  );
  await Deno.writeTextFile(`${folder}/a`, "");
  assert.throws(
    () =>
      watchConfig({
        files: () => [`${folder}/a`],
        onChange,
        watchFs: () => {
          throw new Error("no more watches");
        },
      }),
    (error) =>
      error instanceof RunError &&
      error.message === `Cannot watch ${folder}: no more watches`,
  );
  await Deno.remove(folder, { recursive: true });
});
