/** What is seen of all tunnels at once, on a broker in memory. */
import assert from "node:assert/strict";
import { Pair } from "../support/shell_pair.ts";

Deno.test("Session.survey() counts frames, windows, and tunnels that are not read", async () => {
  using pair = new Pair();
  const { session } = pair.client.ingress;
  assert.equal(session.survey().windows, 0);
  const { app, target } = await pair.open();
  await pair.open();
  app.send("hello");
  await pair.wait(100);
  const idle = session.survey();
  assert.equal(idle.windows, 2 * idle.largestWindow);
  assert.equal(idle.largestWindow, session.initialWindow);
  assert.deepEqual(Object.fromEntries(idle.paused), {
    ...{ credit: 0, window: 0, pace: 0, nats: 0 },
  });
  const { frames } = session.counters;
  assert.equal(frames.sent.data, 1);
  assert.ok(frames.received.ack + frames.received.data > 0);
  assert.equal(
    frames.sent.data,
    pair.server.egress.session.counters.frames.received.data,
  );
  // The target takes nothing: the credit is used up, and then nothing is read.
  target.stall();
  for (let sent = 0; sent < 8; sent++) app.send(new Uint8Array(1 << 20));
  await pair.wait(5_000);
  assert.equal(session.survey().paused.get("credit"), 1);
});

Deno.test("Session counts the tunnels that went on after the link was away, and round trips", async () => {
  using pair = new Pair();
  const { counters } = pair.client.ingress.session;
  await pair.open();
  await pair.open();
  await pair.wait(2_500);
  assert.ok((counters.roundTrips.cumulative.at(-1) ?? 0) > 0);
  assert.equal(counters.resumes, 0);
  pair.client.bus.cut();
  await pair.wait(1_000);
  assert.equal(counters.resumes, 0);
  pair.client.bus.restore();
  await pair.wait(1_000);
  assert.equal(counters.resumes, 2);
});
