/** A log that nobody reads: standard error as a real pipe that fills up. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import {
  ownSubjects,
  PROJECT,
  type RoleName,
  startClient,
  startServer,
} from "./support/roles.ts";
import { freePort } from "./support/addresses.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";

/** Enough to fill the pipe (64 KiB) and what waits before it, at 400 bytes each. */
const CONNECTIONS = 2_500;

/** A role whose standard error is read when the test does. */
class Unread implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  text = "";

  constructor(role: RoleName, args: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", new URL(`${role}.ts`, PROJECT).pathname, ...args],
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#reader = this.#child.stderr
      .pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /** Reads until `pattern` is found, and no further. */
  async readUntil(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.text);
      if (found !== null) return found;
      const { done, value } = await this.#reader.read();
      if (done) {
        throw new Error(`${pattern} is not in ${this.text.slice(-500)}`);
      }
      this.text += value;
    }
  }

  /** Asks it to end, and reads nothing more; resolves to its exit code. */
  async stopUnread(): Promise<number> {
    this.#child.kill("SIGTERM");
    return (await this.#child.status).code;
  }

  /** Asks it to end, and reads what it still says; resolves to its exit code. */
  async stop(): Promise<number> {
    this.#child.kill("SIGTERM");
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.text += value;
    }
    return (await this.#child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#reader.cancel();
    await this.#child.status;
  }
}

/** A role whose log nobody reads once it works, with the other one and a target. */
async function startUnread(
  role: RoleName,
  flags: readonly string[] = [],
): Promise<
  AsyncDisposable & {
    readonly unread: Unread;
    /** Opens so many tunnels, each in use, one after the other. */
    readonly use: (connections: number) => Promise<void>;
  }
> {
  await using cleanup = new AsyncDisposableStack();
  const nats = cleanup.use(await startNatsServer());
  const echo = cleanup.use(startEcho());
  const common = [
    "--nats-url",
    nats.url,
    "--log-level",
    "debug",
    ...ownSubjects(),
  ];
  const port = freePort();
  const listen = ["--listen-addr", `127.0.0.1:${port}`];
  const remote = ["--remote-addr", echo.address];
  const own = role === "client"
    ? [...listen, ...remote]
    : ["--listen-addr", "off"];
  const unread = cleanup.use(new Unread(role, [...common, ...own, ...flags]));
  cleanup.use(
    role === "client"
      ? await startServer(nats.url, { args: common })
      : await startClient(nats.url, {
        target: echo.address,
        args: [...common, ...listen],
      }),
  );
  await unread.readUntil(role === "client" ? /listening/ : /INFO {2}ready/);
  const owned = cleanup.move();
  return {
    unread,
    async use(connections): Promise<void> {
      for (let done = 0; done < connections; done++) {
        using conn = await dial({ hostname: "127.0.0.1", port });
        await roundTrip(conn);
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

for (
  const [role, workers] of [["client", 1], ["server", 1], [
    "client",
    2,
  ]] as const
) {
  integrationTest(
    `a ${role} whose log nobody reads carries on, and says how many lines were lost: workers=${workers}`,
    async () => {
      const flags = ["--workers", String(workers)];
      await using stage = await startUnread(role, flags);
      const { unread } = stage;
      // What waits does so in each worker.
      await stage.use(workers * CONNECTIONS);
      const [, lost] = await unread.readUntil(
        /WARN {2}log lines dropped count=(\d+)(?: worker=[12])?\n/,
      );
      assert.ok(Number(lost) > 0);
      assert.equal(await unread.stop(), 0);
      assert.match(unread.text, /INFO {2}stopped(?: worker=[12])?\n$/);
      // Whole lines only.
      const broken = unread.text.trimEnd().split("\n")
        .filter((line) => !/^\S+Z (DEBUG|INFO |WARN |ERROR) \S/.test(line));
      assert.deepEqual(broken, []);
    },
  );
}

integrationTest(
  "a client whose log nobody reads ends when it is told to",
  async () => {
    await using stage = await startUnread("client");
    await stage.use(CONNECTIONS);
    assert.equal(await stage.unread.stopUnread(), 0);
  },
);
