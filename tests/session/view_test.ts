/** What people are shown of tunnels. */
import assert from "node:assert/strict";
import { Pair } from "../support/shell_pair.ts";

const MIB = 1 << 20;

Deno.test("Session.views() shows who talks to what, how much went through, and how it does", async () => {
  using pair = new Pair();
  const { app, target } = await pair.open();
  app.send("question");
  target.send("answer!");
  await pair.wait(1_000);
  const shown = (): unknown[] =>
    [pair.client.ingress.session, pair.server.egress.session].map((session) => {
      const [view, ...more] = session.views(10);
      assert.deepEqual(more, []);
      assert.ok(view && view.id !== "" && view.ms >= 1_000, view?.id);
      const { target, peer, sent, received, condition, stalled } = view;
      return [target, peer, sent, received, condition, stalled?.side];
    });
  const name = pair.client.ingress.session.views(1)[0]?.target;
  assert.ok(name);
  assert.deepEqual(shown(), [
    [name, app.remote, 8, 7, "open", undefined],
    [name, target.remote, 7, 8, "open", undefined],
  ]);

  target.stall();
  app.send(new Uint8Array(8 * MIB));
  await pair.wait(15_000);
  const [here, there] = [
    pair.server.egress.session,
    pair.client.ingress.session,
  ].map((session) => session.views(1)[0]);
  assert.equal(here?.condition, "stalled");
  assert.equal(here.stalled?.side, "here");
  assert.ok(here.held.receive > 0);
  assert.equal(there?.condition, "stalled");
  assert.equal(there.stalled?.side, "there");

  target.flow();
  await pair.wait(1_000);
  app.end();
  await pair.wait(1_000);
  assert.equal(
    pair.server.egress.session.views(1)[0]?.condition,
    "half-closed",
  );
  assert.equal(
    pair.client.ingress.session.views(1)[0]?.condition,
    "half-closed",
  );
});

Deno.test("Session.views() shows at most so many, the oldest first", async () => {
  using pair = new Pair();
  for (let i = 0; i < 3; i++) {
    await pair.open();
    await pair.wait(100);
  }
  const { session } = pair.client.ingress;
  const ages = session.views(2).map(({ ms }) => ms);
  assert.equal(ages.length, 2);
  assert.ok((ages[0] ?? 0) > (ages[1] ?? 0), String(ages));
  assert.deepEqual(session.views(0), []);
});

Deno.test("Session.recent has how tunnels ended, at both ends; tally() counts what is open", async () => {
  using pair = new Pair();
  const { app, target } = await pair.open();
  const { target: cut } = await pair.open();
  const sessions = [pair.client.ingress.session, pair.server.egress.session];
  const count = (): unknown[] =>
    sessions.map((session) => session.tally(({ target }) => target).size);
  assert.deepEqual(
    sessions.map((session) => [...session.tally(() => "all")]),
    [[["all", 2]], [["all", 2]]],
  );
  assert.deepEqual(
    sessions.map((session) => [...session.tally(() => undefined)]),
    [[], []],
  );
  app.send("ask");
  target.send("told");
  await pair.wait(1_000);
  app.end();
  target.end();
  cut.reset();
  await pair.wait(1_000);
  assert.deepEqual(count(), [0, 0]);
  for (const [at, session] of sessions.entries()) {
    const endings = session.recent.endings;
    assert.deepEqual(endings.map(({ kind }) => kind), ["end", "end"]);
    const clean = endings.find(({ code }) => code === "ok");
    const [sent, received] = at === 0 ? [3, 4] : [4, 3];
    assert.deepEqual(clean?.bytes, { sent, received });
    assert.ok((clean?.ms ?? 0) >= 1_000);
    const other = endings.find(({ code }) => code !== "ok");
    assert.ok(other?.why);
    assert.equal(other.byPeer, at === 0 ? true : undefined);
  }
});
