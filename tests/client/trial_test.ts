/** Opens that are only tried: what is told of them, and that nothing of them is left. */
import assert from "node:assert/strict";
import { Trials } from "../../lib/client/trial.ts";
import { TunnelError } from "../../lib/base/errors.ts";
import { encodeMessage } from "../../lib/wire/message.ts";
import { decodeFrame } from "../../lib/wire/codec.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import { isToolNumber, parseId } from "../../lib/wire/subjects.ts";
import {
  CLIENT_SEAL,
  Pair,
  type PairOptions,
  random,
  SERVER_SEAL,
  SUBJECTS,
  TARGET,
} from "../support/shell_pair.ts";
import type { SeenMessage } from "../support/memory_bus.ts";

/** A pair that serves, and trials under the token of its client. */
class Bench implements Disposable {
  readonly pair: Pair;
  readonly trials: Trials;
  readonly seen: SeenMessage[] = [];

  constructor(options: PairOptions = {}, token = "client1") {
    this.pair = new Pair(options);
    this.pair.broker.filter = (message) => {
      this.seen.push(message);
      return true;
    };
    this.trials = new Trials({
      bus: this.pair.broker.connect(),
      clock: this.pair.clock,
      subjects: SUBJECTS,
      refuseV1: false,
      openTimeout: 5_000,
      token,
      random,
      seal: options.client?.seal,
    });
  }

  [Symbol.dispose](): void {
    this.trials[Symbol.dispose]();
    this.pair[Symbol.dispose]();
  }
}

for (
  const [what, options] of [
    ["plain", {}],
    ["sealed", {
      client: { seal: CLIENT_SEAL },
      server: { seal: SERVER_SEAL },
    }],
  ] as const
) {
  Deno.test(`a trial of a ${what} target opens a tunnel and ends it, beside the client of that ID, which says nothing to it`, async () => {
    using bench = new Bench(options);
    const { pair, trials, seen } = bench;
    const { app, target } = await pair.open();
    const before = seen.length;
    const outcome = await (async () => {
      const open = trials.open({ target: TARGET });
      await pair.settle();
      return await open;
    })();
    await pair.settle();
    assert.deepEqual(outcome, { type: "open", v1: false, ms: 0 });
    // The target was dialled and let go; the client's own tunnel is untouched.
    assert.equal(pair.server.targets.length, 2);
    assert.deepEqual(pair.sizes, [1, 1]);
    assert.ok(pair.server.targets[1]?.closed);
    assert.ok(!app.closed && !target.closed);
    const byClient = seen.slice(before).filter(({ from }) =>
      from === pair.client.bus
    );
    assert.deepEqual(byClient.map(({ subject }) => subject), []);
    const id = seen.slice(before).map(({ subject }) =>
      parseId(SUBJECTS.idOf("server", subject) ?? "")
    ).find((id) => id !== undefined && id.number !== 0);
    assert.ok(id !== undefined && isToolNumber(id.number));
  });
}

Deno.test("a trial that a server refuses tells its words, and one without a server the client's", async () => {
  using bench = new Bench({
    server: {
      dial: () => Promise.reject(new TunnelError("refused", "Dial x: no")),
    },
  });
  const { pair, trials } = bench;
  const open = trials.open({ target: TARGET });
  await pair.settle();
  const outcome = await Promise.race([open, pair.wait(10_000)]);
  assert.deepEqual({ ...outcome, ms: 0 }, {
    type: "failed",
    by: "peer",
    reason: { code: "refused", text: "Dial x: no" },
    ms: 0,
  });
  const away = trials.open({ target: TARGET, site: "berlin" });
  await pair.settle();
  const other = await away;
  assert.ok(other.type === "failed" && other.by === "local");
  assert.equal(other.reason.code, "no-server");
  assert.match(other.reason.text, /no server @berlin listens/);
});

Deno.test("a trial that a server of version 1 answers ends the tunnel with the close that it knows", async () => {
  using bench = new Bench({}, "other");
  const { pair, trials, seen } = bench;
  await pair.server.egress.drain();
  const old = pair.broker.connect();
  old.subscribe("proxy.request", ({ reply }) => {
    const answer = { id: "old-id", reply: "", data: null, metadata: null };
    const data = new TextEncoder().encode("old-id");
    old.publish(reply, new JsonMessage(encodeMessage({ ...answer, data })));
  });
  const open = trials.open({ target: TARGET });
  await pair.settle();
  assert.deepEqual(await open, { type: "open", v1: true, ms: 0 });
  await pair.settle();
  const close = seen.find(({ subject }) =>
    subject === "p.data.to_server.old-id"
  );
  assert.match(
    new TextDecoder().decode(close?.data),
    /"Metadata":\{"type":"close"\}/,
  );
});

Deno.test("trials that are given up have failed, and what is answered later is not taken", async () => {
  const dialled = Promise.withResolvers<never>();
  using bench = new Bench({ server: { dial: () => dialled.promise } });
  const { pair, trials } = bench;
  const open = trials.open({ target: TARGET });
  await pair.settle();
  trials[Symbol.dispose]();
  const outcome = await open;
  assert.ok(outcome.type === "failed");
  assert.equal(outcome.reason.code, "aborted");
  dialled.reject(new TunnelError("refused", "late"));
  await pair.settle();
  assert.equal(pair.server.egress.opening, 0);
});

Deno.test("what a trial says to a server that opened is a RESET, which decodes", async () => {
  using bench = new Bench({}, "other");
  const { pair, trials, seen } = bench;
  const open = trials.open({ target: TARGET });
  await pair.settle();
  await open;
  const frames = seen.filter(({ subject }) =>
    subject.startsWith("p.data.to_server.other.server1.")
  ).map(({ data }) => decodeFrame(data));
  assert.deepEqual(frames.map((frame) => frame?.type), ["reset"]);
});
