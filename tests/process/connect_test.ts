/**
 * Unit tests of what counts as the same failed attempt to connect.
 *
 * @module
 */
import assert from "node:assert/strict";
import { causeOf } from "../../lib/process/connect.ts";

Deno.test("a login that is refused is one cause, whether the end is seen or the error", () => {
  assert.equal(
    causeOf('it closed the connection: "Authorization Violation"'),
    causeOf("Authorization Violation"),
  );
  assert.notEqual(
    causeOf("it closed the connection"),
    causeOf('it closed the connection: "Authorization Violation"'),
  );
});

Deno.test("times and lengths tell no causes apart", () => {
  assert.equal(
    causeOf("no answer within 5 s"),
    causeOf("no answer within 10 s"),
  );
});
