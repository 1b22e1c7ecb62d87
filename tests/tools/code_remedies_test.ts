/** What to do about an open that was refused: each code leads to something. */
import assert from "node:assert/strict";
import { type ErrorCode, WIRE_CODES } from "../../lib/base/errors.ts";
import { codeRemedy } from "../../lib/tools/code_remedies.ts";

Deno.test("remedies: every code of a refused open leads to something", () => {
  const codes = Object.keys(WIRE_CODES) as ErrorCode[];
  for (const code of codes) {
    assert.match(codeRemedy({ code, text: "" }), /^\w.{10}/, code);
  }
  const denied = (text: string): string => codeRemedy({ code: "denied", text });
  assert.match(denied("NATS refuses what is published to x"), /permissions/);
  assert.match(
    denied("the server knows no client with the key X"),
    /public key/,
  );
  assert.match(denied("x is not an allowed target"), /--allow-target/);
  const none = (text: string): string =>
    codeRemedy({ code: "no-server", text });
  assert.match(none("no server listens on proxy.request"), /start a server/);
  assert.match(none("… not sealed with the right keys"), /--server-key/);
});
