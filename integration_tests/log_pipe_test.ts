/** A log that nobody reads: standard error as a real pipe that fills up. */
import assert from "node:assert/strict";
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
import { dial, readExactly, writeAll } from "./support/transfer.ts";

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
      .pipeThrough(new TextDecoderStream(), { preventCancel: true })
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

for (const role of ["client", "server"] as const) {
  integrationTest(
    `a ${role} whose log nobody reads carries on, and says how many lines were lost`,
    async () => {
      await using nats = await startNatsServer();
      await using echo = startEcho();
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
      await using unread = new Unread(
        role,
        role === "client"
          ? [...common, ...listen, ...remote]
          : [...common, "--listen-addr", "off"],
      );
      await using _other = role === "client"
        ? await startServer(nats.url, { args: common })
        : await startClient(nats.url, {
          target: echo.address,
          args: [...common, ...listen],
        });
      await unread.readUntil(role === "client" ? /listening/ : /INFO {2}ready/);
      const message = new TextEncoder().encode("still here");
      for (let done = 0; done < CONNECTIONS; done++) {
        using conn = await dial({ hostname: "127.0.0.1", port });
        await writeAll(conn, message);
        assert.deepEqual(await readExactly(conn, message.length), message);
      }
      const [, lost] = await unread.readUntil(
        /WARN {2}log lines dropped count=(\d+)\n/,
      );
      assert.ok(Number(lost) > 0);
      assert.equal(await unread.stop(), 0);
      assert.match(unread.text, /INFO {2}stopped\n$/);
      // Whole lines only.
      const broken = unread.text.trimEnd().split("\n")
        .filter((line) => !/^\S+Z (DEBUG|INFO |WARN |ERROR) \S/.test(line));
      assert.deepEqual(broken, []);
    },
  );
}
