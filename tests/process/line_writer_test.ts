/** Lines to a standard error whose reader is slow, stopped or gone. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { LineWriter } from "../../lib/process/line_writer.ts";

const decoder = new TextDecoder();
const droppedLine = (count: number): string => `${count} dropped\n`;

/** A reader that takes what it is given when the test says so. */
class Reader {
  text = "";
  readonly #writes: (() => void)[] = [];

  readonly write = (bytes: Uint8Array): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#writes.push(() => {
      this.text += decoder.decode(bytes);
      resolve(bytes.length);
    });
    return promise;
  };

  /** Takes all that is written until nothing more comes. */
  async readAll(): Promise<void> {
    do {
      this.#writes.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#writes.length > 0);
  }
}

Deno.test("LineWriter writes the lines of one turn at once, in order", async () => {
  const writes: string[] = [];
  const writer = new LineWriter({
    droppedLine,
    write: (bytes) => {
      writes.push(decoder.decode(bytes));
      return Promise.resolve(bytes.length);
    },
  });
  writer.push("one\n");
  writer.push("two\n");
  await writer.flush(1_000);
  writer.push("three\n");
  await writer.flush(1_000);
  assert.deepEqual(writes, ["one\ntwo\n", "three\n"]);
});

Deno.test("LineWriter writes lines whole though little is taken at a time", async () => {
  let text = "";
  const writer = new LineWriter({
    droppedLine,
    write: (bytes) => {
      text += decoder.decode(bytes.subarray(0, 3));
      return Promise.resolve(Math.min(3, bytes.length));
    },
  });
  writer.push("a line of some length\n");
  await writer.flush(1_000);
  assert.equal(text, "a line of some length\n");
});

Deno.test("LineWriter tries a full pipe that does not block again, and loses nothing", async () => {
  let room = 10;
  let text = "";
  const writer = new LineWriter({
    droppedLine,
    write: (bytes) => {
      if (room === 0) {
        room = 10;
        return Promise.reject(new Deno.errors.WouldBlock("full"));
      }
      const taken = bytes.subarray(0, room);
      room -= taken.length;
      text += decoder.decode(taken);
      return Promise.resolve(taken.length);
    },
  });
  writer.push("a line of some length\n");
  await writer.flush(10_000);
  assert.equal(text, "a line of some length\n");
});

Deno.test("LineWriter drops what does not fit while nobody reads, and says how many, in their place", async () => {
  const reader = new Reader();
  const { write } = reader;
  const writer = new LineWriter({ droppedLine, write });
  const line = `${"x".repeat(1023)}\n`;
  for (let i = 0; i < 300; i++) writer.push(line);
  await new Promise((resolve) => setImmediate(resolve));
  // What is being written is out of the queue; as much again fits.
  for (let i = 0; i < 300; i++) writer.push(line);
  await reader.readAll();
  writer.push("after\n");
  await reader.readAll();
  const lines = reader.text.trimEnd().split("\n");
  assert.deepEqual(
    lines.map((line) => line.slice(0, 10)).filter((line) => line[0] !== "x"),
    ["44 dropped", "44 dropped", "after"],
  );
  assert.equal(lines.length, 256 + 1 + 256 + 1 + 1);
});

Deno.test("LineWriter starts a new line after one that was cut off, and counts what was lost", async () => {
  let room = 10;
  let text = "";
  const writer = new LineWriter({
    droppedLine,
    write: (bytes) => {
      if (room === 0) return Promise.reject(new Deno.errors.BrokenPipe("gone"));
      const taken = bytes.subarray(0, room);
      room -= taken.length;
      text += decoder.decode(taken);
      return Promise.resolve(taken.length);
    },
  });
  writer.push("the first line\n");
  await writer.flush(1_000);
  room = Infinity;
  writer.push("two\n");
  await writer.flush(1_000);
  assert.equal(text, "the first \ntwo\n1 dropped\n");
});

Deno.test("LineWriter counts of lines that were written in part only those that are not there", async () => {
  let room = 12;
  let text = "";
  const writer = new LineWriter({
    droppedLine,
    write: (bytes) => {
      if (room === 0) return Promise.reject(new Deno.errors.BrokenPipe("full"));
      const taken = bytes.subarray(0, room);
      room -= taken.length;
      text += decoder.decode(taken);
      return Promise.resolve(taken.length);
    },
  });
  const push = async (...lines: string[]): Promise<void> => {
    for (const line of lines) writer.push(`${line}\n`);
    await writer.flush(1_000);
  };
  await push("one", "two", "three", "four"); // up to "thre"
  await push("five"); // not even the end of "thre"
  room = 6; // that, "six", and no word of those dropped
  await push("six");
  room = Infinity;
  await push("seven");
  assert.equal(text, "one\ntwo\nthre\nsix\n3\nseven\n3 dropped\n");
});

Deno.test("LineWriter.flush() does not wait for a reader that has stopped", async () => {
  const reader = new Reader();
  const { write } = reader;
  const writer = new LineWriter({ droppedLine, write });
  writer.push("never read\n");
  await writer.flush(1);
  assert.equal(reader.text, "");
  await reader.readAll();
  assert.equal(reader.text, "never read\n");
});

Deno.test("the log goes on without a reader, and the process ends well", async () => {
  const code = `
    import { getLogger } from "@logtape/logtape";
    import { closeLog, configureLog } from ${
    JSON.stringify(import.meta.resolve("../../lib/process/log.ts"))
  };
    configureLog({ level: "info", format: "json" });
    const logger = getLogger(["sproxy"]);
    await Deno.stdin.read(new Uint8Array(1));
    for (let i = 0; i < 1000; i++) logger.info("line", { i });
    await closeLog();
    console.log("survived");
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", code],
    cwd: new URL("../../", import.meta.url),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await child.stderr.cancel();
  const writer = child.stdin.getWriter();
  await writer.write(new Uint8Array(1));
  await writer.close();
  const stdout = await new Response(child.stdout).text();
  const { code: exitCode } = await child.status;
  assert.deepEqual([stdout, exitCode], ["survived\n", 0]);
});
