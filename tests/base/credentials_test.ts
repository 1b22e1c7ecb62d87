import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Secret } from "../../lib/base/credentials.ts";

Deno.test("Secret never prints, however it is printed", () => {
  const secret = new Secret("hunter2");
  assert.equal(secret.reveal(), "hunter2");
  for (
    const text of [
      String(secret),
      `${secret}`,
      JSON.stringify({ secret }),
      Deno.inspect({ secret }, { depth: 9 }),
      inspect({ secret }, { depth: 9, showHidden: true }),
      Object.values(secret).join(),
    ]
  ) assert.ok(!text.includes("hunter2"), text);
  assert.equal(JSON.stringify({ secret }), '{"secret":"(secret)"}');
});
