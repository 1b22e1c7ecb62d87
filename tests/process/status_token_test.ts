/** The token of the status page, as its file says. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/base/errors.ts";
import type { Reloaded } from "../../lib/process/reload.ts";
import { readStatusToken } from "../../lib/process/key_files.ts";
import { StatusToken } from "../../lib/process/status_token.ts";
import { parseRun } from "../support/option_values.ts";

const TOKEN = "correct-horse-battery";

/** A file of its owner's with `text` in it, until it is disposed. */
async function tokenFile(
  text: string,
  mode = 0o600,
): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, text);
  await Deno.chmod(path, mode);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}

Deno.test("readStatusToken() takes one line that nobody guesses, of a file that is nobody else's", async () => {
  for (const text of [TOKEN, `${TOKEN}\n`, `# for edge7\n\n  ${TOKEN}\r\n`]) {
    await using file = await tokenFile(text);
    const token = readStatusToken({ token: file.path }, new Map());
    assert.equal(token?.reveal(), TOKEN);
    assert.ok(!`${token}`.includes(TOKEN));
  }
  for (
    const [text, mode, why] of [
      ["", 0o600, /must hold one line of 16 or more/],
      ["fifteen-letters", 0o600, /must hold one line/],
      [`${TOKEN}\n${TOKEN}`, 0o600, /must hold one line/],
      ["correct horse battery", 0o600, /must hold one line/],
      ["corréct-horse-battery", 0o600, /must hold one line/],
      ["x".repeat(1025), 0o600, /must hold one line/],
      [TOKEN, 0o644, /is open to others \(mode 0644\)/],
    ] as const
  ) {
    await using file = await tokenFile(text, mode);
    assert.throws(
      () => readStatusToken({ token: file.path }, new Map()),
      (error: unknown) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, why);
        assert.ok(!error.message.includes(TOKEN));
        return true;
      },
    );
  }
  assert.equal(readStatusToken({ token: undefined }, new Map()), undefined);
});

Deno.test("StatusToken is read where a status is served, and anew by a reload, which refuses a bad one", async () => {
  await using file = await tokenFile(TOKEN);
  const { config } = parseRun("server", ["--status-token", file.path]);
  const options = { pipes: new Map<string, string>(), isUsed: true };
  const token = new StatusToken(config, options);
  assert.equal(token.current?.reveal(), TOKEN);
  const reloaded: Reloaded = { config, keys: undefined, files: new Map() };
  const other = TOKEN.toUpperCase();
  await Deno.writeTextFile(file.path, other);
  const { commit } = token.prepare(reloaded);
  assert.equal(token.current?.reveal(), TOKEN);
  await commit();
  assert.equal(token.current?.reveal(), other);
  await Deno.writeTextFile(file.path, "short");
  assert.throws(() => token.prepare(reloaded), UsageError);
  assert.equal(token.current?.reveal(), other);
  const none = new StatusToken(config, { ...options, isUsed: false });
  assert.equal(none.current, undefined);
});
