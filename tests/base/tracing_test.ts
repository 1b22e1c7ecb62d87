/** What of a `traceparent` counts, and how one is written. */
import assert from "node:assert/strict";
import { formatTraceparent, parseTraceparent } from "../../lib/base/tracing.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";

Deno.test("parseTraceparent() reads what formatTraceparent() writes, and versions to come", () => {
  for (const flags of [0, 1, 0xff]) {
    const parent = { traceId: TRACE, spanId: SPAN, flags };
    assert.deepEqual(parseTraceparent(formatTraceparent(parent)), parent);
  }
  assert.equal(
    formatTraceparent({ traceId: TRACE, spanId: SPAN, flags: 1 }),
    `00-${TRACE}-${SPAN}-01`,
  );
  assert.equal(
    parseTraceparent(`cc-${TRACE}-${SPAN}-01-what.the.future.says`)?.spanId,
    SPAN,
  );
});

Deno.test("parseTraceparent() takes nothing else, whoever sent it", () => {
  for (
    const text of [
      "",
      "x",
      `00-${TRACE}-${SPAN}`,
      `00-${TRACE}-${SPAN}-01-more`,
      `00-${TRACE}-${SPAN}-01 `,
      `ff-${TRACE}-${SPAN}-01`,
      `00-${TRACE.toUpperCase()}-${SPAN}-01`,
      `00-${"0".repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${"0".repeat(16)}-01`,
      `01-${TRACE}-${SPAN}-01-\r\nx`,
      `01-${TRACE}-${SPAN}-01-${"x".repeat(1_000)}`,
    ]
  ) assert.equal(parseTraceparent(text), undefined, text);
});
