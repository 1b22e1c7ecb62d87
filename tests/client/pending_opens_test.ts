/** Opens under way: what is asked, when it is asked again, and every answer. */
import assert from "node:assert/strict";
import type { ErrorCode, Reason } from "../../lib/base/errors.ts";
import { Sealer } from "../../lib/client/sealer.ts";
import { NO_PSK, SealedGate } from "../../lib/seal/open.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import {
  encodeAccept,
  encodeAgain,
  encodeRefusal,
  encodeSealed,
  type HeaderList,
} from "../../lib/wire/open.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { CLIENT_SEAL, KEYS, random } from "../support/shell_pair.ts";
import {
  BROKEN,
  BUSY,
  DIALING,
  OpensBench,
  REFUSED,
  unseal,
  V1,
} from "./opens_bench.ts";

Deno.test("PendingOpens.start() asks as the original does, and says what it can beyond", async () => {
  const bench = new OpensBench();
  await bench.start();
  assert.deepEqual(bench.asked, [{
    request: {
      target: { host: "db", port: 5432 },
      native: {
        ...{ client: "c", number: 36, window: 4_096, codec: "json" },
        express: true,
      },
    },
    subject: "proxy.request.c",
    reply: "p.data.to_client.c.open.10",
  }]);
});

Deno.test("PendingOpens hands over the tunnel that a server opened", async () => {
  const bench = new OpensBench();
  const one = await bench.start();
  const two = await bench.start();
  assert.equal(bench.opens.size, 2);
  await bench.accept(1);
  await bench.accept(0);
  assert.deepEqual(
    bench.opened.map(({ open }) => [open.caller.socket, open.number]),
    [[two, 37], [one, 36]],
  );
  assert.deepEqual(bench.opened[0]?.reply, {
    type: "open",
    id: "c.s.11",
    server: "s",
    window: 9,
    codec: "json",
  });
  assert.equal(bench.opens.size, 0);
  assert.deepEqual(bench.codes, []);
});

Deno.test("PendingOpens knows a version 1 server by its answer", async () => {
  const bench = new OpensBench({}, "proxy.request");
  await bench.start();
  await bench.answer(0, V1);
  assert.deepEqual(bench.opened[0]?.reply, {
    type: "v1",
    id: "66840b31340ea8b4",
  });
});

Deno.test("PendingOpens passes a refusal on, of either version", async () => {
  const bench = new OpensBench({}, "proxy.request");
  await bench.start();
  await bench.answer(0, { headers: [], body: REFUSED.body });
  await bench.start();
  const words = "failed to resolve remote host: lookup x: no such host";
  await bench.answer(1, {
    headers: [],
    body: encodeRefusal({ code: "ok", text: words }, "s").body,
  });
  await bench.start();
  await bench.answer(2, BROKEN);
  assert.deepEqual(bench.codes, ["refused", "no-such-host", "internal"]);
  assert.equal(bench.failed[1]?.reason.text, words);
  assert.equal(bench.opens.size, 0);
});

Deno.test("PendingOpens passes over what no server says, and tells of it when no other answer comes", async () => {
  const bodies = [
    "",
    "{}",
    "null",
    "[]",
    "\0",
    '{"Data":7}',
    '{"Data":"!"}',
    '{"Data":""}',
    '{"Data":"Lio+"}', // ".*>"
    '{"Data":"YSBi"}', // "a b"
    '{"Metadata":[]}',
    `{"Data":"${btoa("x".repeat(200))}"}`,
  ];
  const bench = new OpensBench();
  for (const [at, body] of bodies.entries()) {
    await bench.start();
    await bench.answer(at, {
      headers: [],
      body: new TextEncoder().encode(body),
    });
    assert.deepEqual(bench.codes, [], body);
  }
  const { body } = V1;
  const headers: HeaderList[] = [
    [["sproxy-version", "2"]],
    [["sproxy-version", "2"], ["sproxy-server", "a.b"]],
    [["sproxy-version", "2"], ["sproxy-server", "s"]],
    [
      ["sproxy-version", "2"],
      ["sproxy-server", "s"],
      ["sproxy-window", "-1"],
      ["sproxy-codec", "json"],
    ],
    [
      ["sproxy-version", "2"],
      ["sproxy-server", "s"],
      ["sproxy-window", "99999999999"],
      ["sproxy-codec", "json"],
    ],
    [
      ["sproxy-version", "2"],
      ["sproxy-server", "s"],
      ["sproxy-window", "9"],
      ["sproxy-codec", "xml"],
    ],
  ];
  for (const each of headers) {
    await bench.start();
    await bench.answer(bench.asked.length - 1, { headers: each, body });
    assert.deepEqual(bench.codes, [], JSON.stringify(each));
  }
  assert.deepEqual(bench.opened, []);
  // A real answer counts, whatever came before it.
  await bench.accept(0);
  assert.equal(bench.opened.length, 1);
  await bench.wait(12_000);
  assert.deepEqual(new Set(bench.codes), new Set(["no-server"]));
  assert.match(
    bench.failed[0]?.reason.text ?? "",
    /^no server answers on proxy\.request, but an answer came that no server gives \(/,
  );
});

Deno.test("PendingOpens ends an open at once when no server listens", async () => {
  const bench = new OpensBench();
  bench.stopServers();
  await bench.start();
  assert.deepEqual(bench.codes, ["no-server"]);
  assert.match(bench.failed[0]?.reason.text ?? "", /proxy\.request/);
});

Deno.test("PendingOpens whose opens are sealed gives one up a second after the word that no server listens, which anybody may have said", async () => {
  const clock = new FakeClock();
  const sealer = new Sealer({ seal: CLIENT_SEAL, clock, random });
  const bench = new OpensBench({ clock, codec: "binary", sealer });
  await bench.start();
  bench.opens.onReply(36, {
    subject: "",
    subjectBytes: new Uint8Array(0),
    reply: "",
    data: new Uint8Array(0),
    status: 503,
    header: () => undefined,
  });
  await bench.broker.settled(); // nobody is on the subject of all
  const gate = new SealedGate({ keys: [KEYS.server], psk: NO_PSK, random });
  const opened = bench.asked.map((asked) => unseal(gate, asked));
  const answer = opened[0]?.answer({ type: "open", id: "c.s.10", window: 9 });
  assert.ok(answer);
  await bench.answer(0, encodeSealed(answer.data, "s"));
  assert.deepEqual([bench.opened.length, bench.codes], [1, []]);
  bench.stopServers();
  await bench.start();
  await clock.advance(999, () => bench.broker.settled());
  assert.deepEqual(bench.codes, []);
  await clock.advance(1, () => bench.broker.settled());
  assert.deepEqual(bench.codes, ["no-server"]);
});

Deno.test("PendingOpens asks again for 3 s after the link came back: servers may be on their way", async () => {
  const bench = new OpensBench();
  bench.stopServers();
  bench.bus.cut();
  bench.bus.restore();
  await bench.start();
  await bench.wait(2_900);
  assert.deepEqual(bench.codes, []);
  await bench.wait(500);
  assert.deepEqual(bench.codes, ["no-server"]);
});

Deno.test("PendingOpens asks another server when one falls silent, three in all", async () => {
  const bench = new OpensBench();
  await bench.start();
  await bench.wait(3_999);
  assert.equal(bench.asked.length, 1);
  await bench.wait(1);
  assert.equal(bench.asked.length, 2);
  await bench.wait(4_000);
  assert.equal(bench.asked.length, 3);
  assert.equal(new Set(bench.asked.map(({ reply }) => reply)).size, 3);
  await bench.wait(3_999);
  assert.deepEqual(bench.codes, []);
  await bench.wait(1);
  assert.deepEqual(bench.codes, ["timeout"]);
  assert.match(bench.failed[0]?.reason.text ?? "", /silent/);
  assert.deepEqual(
    bench.failed.map(({ open, by }) => [open.attempts, by]),
    [[3, "local"]],
  );
});

Deno.test("PendingOpens waits for a server that says it still dials", async () => {
  const bench = new OpensBench({ openTimeout: 60_000 });
  await bench.start();
  for (let i = 0; i < 10; i++) {
    await bench.wait(3_900);
    await bench.answer(0, DIALING);
  }
  assert.equal(bench.asked.length, 1);
  await bench.accept(0);
  assert.equal(bench.opened.length, 1);
});

Deno.test("PendingOpens names the JetStream stream that answers in place of a server", async () => {
  const bench = new OpensBench();
  const acknowledge = (at: number): Promise<void> =>
    bench.answer(at, {
      headers: [],
      body: new TextEncoder().encode('{"stream":"EVENTS","seq":1}'),
    });
  await bench.start();
  await acknowledge(0);
  await bench.accept(0);
  assert.equal(bench.opened.length, 1);
  await bench.start();
  for (const at of [1, 2, 3]) {
    await acknowledge(at);
    await bench.wait(4_000);
  }
  assert.deepEqual(bench.failed.map(({ reason }) => reason), [{
    code: "no-server",
    text:
      'no server answers on proxy.request, but the JetStream stream "EVENTS" captures the request',
  }]);
});

Deno.test("PendingOpens asks another server where one cannot reach the target, and tells what tells most", async () => {
  const bench = new OpensBench();
  await bench.start();
  const refuse = (at: number, server: string, code: ErrorCode): Promise<void> =>
    bench.answer(
      at,
      encodeRefusal({ code, text: `${server}: ${code}` }, server),
    );
  await refuse(0, "a", "denied");
  assert.deepEqual(bench.asked[1]?.request.native?.not, ["a"]);
  await bench.answer(1, encodeAgain("a"));
  await refuse(2, "b", "unreachable");
  assert.deepEqual(bench.asked[3]?.request.native?.not, ["a", "b"]);
  await refuse(3, "c", "timeout");
  await bench.answer(4, encodeAgain("b"));
  assert.deepEqual(bench.failed, []);
  await refuse(5, "d", "denied");
  assert.deepEqual(
    bench.failed.map(({ reason }) => reason),
    [{ code: "timeout", text: "c: timeout" }],
  );
  await bench.start();
  await refuse(6, "a", "refused");
  await bench.accept(7);
  assert.equal(bench.opened.length, 1, "the other one can");
});

Deno.test("PendingOpens does not go on asking the only server there is", async () => {
  const bench = new OpensBench();
  await bench.start();
  await bench.answer(0, REFUSED);
  for (let at = 1; bench.failed.length === 0; at++) {
    assert.ok(at <= 6, "it asks for ever");
    await bench.answer(at, encodeAgain("s"));
  }
  assert.deepEqual(bench.codes, ["refused"]);
  // One that alone answers for long is known to be alone.
  for (let i = 0; i < 16; i++) {
    await bench.start();
    await bench.accept(bench.asked.length - 1);
  }
  const before = bench.asked.length;
  await bench.start();
  await bench.answer(before, REFUSED);
  assert.deepEqual(bench.codes, ["refused", "refused"]);
  assert.equal(bench.asked.length, before + 1);
});

Deno.test("PendingOpens goes on asking where another server has answered other opens", async () => {
  const bench = new OpensBench();
  await bench.start();
  await bench.accept(0);
  await bench.start();
  await bench.answer(1, encodeRefusal({ code: "denied", text: "no" }, "a"));
  // The one that can is picked at last.
  for (let at = 2; at < 20; at++) await bench.answer(at, encodeAgain("a"));
  await bench.accept(20);
  assert.deepEqual([bench.opened.length, bench.codes], [2, []]);
});

Deno.test("PendingOpens asks nobody else because of servers that have not refused an open and say that they have", async () => {
  const bench = new OpensBench();
  await bench.start();
  for (let i = 0; i < 10; i++) await bench.answer(0, encodeAgain("s"));
  assert.deepEqual([bench.asked.length, bench.codes], [1, []]);
  await bench.accept(0);
  assert.equal(bench.opened.length, 1);
});

Deno.test("PendingOpens takes the first tunnel opened, whichever request it answers", async () => {
  const bench = new OpensBench();
  await bench.start();
  await bench.wait(4_000);
  assert.equal(bench.asked.length, 2);
  // The first server was slow, not dead.
  await bench.accept(0);
  assert.deepEqual(bench.opened.map(({ open }) => open.number), [36]);
  assert.equal(bench.opens.size, 0);
  await bench.accept(1);
  assert.deepEqual(bench.unwanted, ["c.s.12"]);
  assert.equal(bench.opened.length, 1);
});

Deno.test("PendingOpens does not heed an earlier server's refusal when it has asked another", async () => {
  const bench = new OpensBench();
  await bench.start();
  await bench.wait(4_000);
  await bench.answer(0, REFUSED);
  await bench.answer(0, { headers: [], body: new Uint8Array([1]) });
  assert.deepEqual(bench.codes, []);
  await bench.answer(1, BROKEN);
  assert.deepEqual(bench.codes, ["internal"]);
});

for (const code of ["limit", "draining"] as const) {
  const busy = encodeRefusal({ code, text: "not now" }, "s");

  Deno.test(`PendingOpens asks another server where one refuses with ${code}`, async () => {
    const bench = new OpensBench();
    await bench.start();
    await bench.answer(0, busy);
    assert.deepEqual(bench.asked[1]?.request.native?.not, ["s"]);
    await bench.answer(1, encodeAgain("s"));
    await bench.accept(2);
    assert.equal(bench.opened.length, 1);
  });

  Deno.test(`PendingOpens asks the only server again a little later where it refuses with ${code}, three times in all`, async () => {
    const bench = new OpensBench();
    await bench.start();
    /** Answers until it is not asked again at once; says how often that was. */
    const exhaust = async (): Promise<number> => {
      const from = bench.asked.length - 1;
      assert.equal(bench.asked[from]?.request.native?.not, undefined);
      await bench.answer(from, busy);
      for (let at = from + 1; at < bench.asked.length; at++) {
        assert.ok(at < from + 10, "it asks for ever");
        await bench.answer(at, encodeAgain("s"));
      }
      return bench.asked.length - from;
    };
    for (let round = 0; round < 3; round++) {
      assert.deepEqual(bench.codes, []);
      // Either of two servers would have been picked once in seven times.
      assert.equal(await exhaust(), 7);
      await bench.wait(200);
    }
    assert.deepEqual(bench.codes, [code]);
    assert.equal(bench.opens.size, 0);
  });
}

Deno.test("PendingOpens asks a server again that was busy, not one that refused", async () => {
  const bench = new OpensBench();
  await bench.start();
  for (const [at, server] of ["a", "b", "c", "d"].entries()) {
    const code = server === "b" ? "limit" : "denied";
    await bench.answer(at, encodeRefusal({ code, text: "no" }, server));
  }
  await bench.wait(200);
  assert.deepEqual(bench.asked[4]?.request.native?.not, ["a", "c", "d"]);
  await bench.accept(4);
  assert.equal(bench.opened.length, 1);
});

Deno.test("PendingOpens gives an open up when it took too long altogether", async () => {
  const bench = new OpensBench({ openTimeout: 5_000 });
  await bench.start();
  for (let i = 0; i < 5; i++) {
    assert.deepEqual(bench.codes, []);
    await bench.answer(0, DIALING);
    await bench.wait(1_000);
  }
  assert.deepEqual(bench.codes, ["timeout"]);
});

Deno.test("PendingOpens asks once NATS is back, and says so when it is not", async () => {
  const bench = new OpensBench();
  bench.bus.cut();
  await bench.start();
  await bench.wait(5_000);
  assert.equal(bench.asked.length, 0);
  bench.bus.restore();
  await bench.broker.settled();
  await bench.accept(0);
  assert.equal(bench.opened.length, 1);
  assert.equal(bench.opened[0]?.open.attempts, 1);

  bench.bus.cut();
  await bench.start();
  await bench.wait(15_000);
  assert.deepEqual(bench.codes, ["timeout"]);
  assert.match(bench.failed[0]?.reason.text ?? "", /^NATS is not connected/);
});

Deno.test("PendingOpens asks again when the link is lost under a request", async () => {
  const bench = new OpensBench();
  await bench.start();
  bench.bus.cut();
  await bench.wait(6_000);
  assert.equal(bench.asked.length, 1);
  bench.bus.restore();
  await bench.broker.settled();
  assert.equal(bench.asked.length, 2);
  await bench.accept(1);
  assert.equal(bench.opened.length, 1);
});

Deno.test("PendingOpens gives an open up also while the link is down and nobody has said so", async () => {
  const bench = new OpensBench();
  await bench.start();
  bench.bus.connected = false; // as between the end of a link and its event
  await bench.wait(14_999);
  assert.deepEqual(bench.codes, []);
  await bench.wait(1);
  assert.deepEqual(bench.codes, ["timeout"]);
});

Deno.test("PendingOpens tells of a tunnel that nobody waits for, and of nothing else", async () => {
  const bench = new OpensBench();
  await bench.start();
  bench.opens.cancel({ code: "draining", text: "about to stop" });
  assert.deepEqual(bench.codes, ["draining"]);
  assert.equal(bench.opens.size, 0);
  await bench.answer(0, DIALING);
  await bench.answer(0, REFUSED);
  await bench.answer(0, { headers: [], body: new Uint8Array([1]) });
  assert.deepEqual(bench.unwanted, []);
  await bench.accept(0);
  await bench.answer(0, V1);
  assert.deepEqual(bench.unwanted, ["c.s.10", "66840b31340ea8b4"]);
  assert.deepEqual(bench.opened, []);
});

Deno.test("PendingOpens leaves alone what another client of the same ID asked for", async () => {
  const bench = new OpensBench();
  await bench.start();
  const { headers, body } = encodeAccept({
    id: "c.s.zz",
    native: { server: "s", window: 1, codec: "json" },
  });
  bench.server.publish("p.data.to_client.c.open.zz", new JsonMessage(body), {
    headers,
  });
  await bench.broker.settled();
  assert.equal(bench.foreign, 1);
  assert.deepEqual(bench.unwanted, []);
});

Deno.test("PendingOpens that refuses version 1 waits a second for a server of version 2", async () => {
  const bench = new OpensBench({ refuseV1: true }, "proxy.request");
  await bench.start();
  await bench.answer(0, V1);
  await bench.wait(900);
  await bench.accept(0);
  assert.equal(bench.opened[0]?.reply.type, "open");

  await bench.start();
  await bench.answer(1, V1);
  await bench.wait(500);
  await bench.answer(1, DIALING);
  await bench.wait(3_000);
  await bench.accept(1);
  assert.equal(bench.opened.length, 2);

  await bench.start();
  await bench.answer(2, V1);
  await bench.wait(999);
  assert.deepEqual(bench.codes, []);
  await bench.wait(1);
  assert.deepEqual(bench.codes, ["version"]);
  assert.equal(bench.asked.length, 3);
});

/** Where the opens were asked for since the last call. */
function subjects(bench: OpensBench): string[] {
  return bench.asked.splice(0).map(({ subject }) => subject);
}

Deno.test("PendingOpens asks on its own subject, and where nobody listens there at once on that of all", async () => {
  const bench = new OpensBench({}, "proxy.request");
  await bench.start();
  await bench.answer(0, V1);
  assert.equal(bench.opened.length, 1);
  assert.deepEqual(subjects(bench), ["proxy.request"]);
  // A server of the newer kind starts: it is found within a minute.
  bench.serve("proxy.request.*");
  await bench.wait(59_999);
  await bench.start();
  await bench.answer(0, V1);
  assert.deepEqual(subjects(bench), ["proxy.request"]);
  await bench.wait(1);
  await bench.start();
  assert.deepEqual(subjects(bench), ["proxy.request.c"]);
});

Deno.test("PendingOpens asks on the subject of all where its own is denied, and is not refused by that", async () => {
  const bench = new OpensBench();
  bench.serve("proxy.request");
  bench.bus.forbidden = (subject) => subject === "proxy.request.c";
  await bench.start();
  await bench.accept(0);
  assert.deepEqual(subjects(bench), ["proxy.request"]);
  assert.equal(bench.opens.refusal, undefined);
  assert.equal(bench.opened[0]?.open.attempts, 1);
});

Deno.test("PendingOpens that may publish on neither subject fails at once, and says so until it may", async () => {
  const bench = new OpensBench();
  bench.bus.forbidden = (subject) => subject.startsWith("proxy.request");
  await bench.start();
  assert.deepEqual(bench.codes, ["denied"]);
  assert.match(bench.opens.refusal?.text ?? "", /proxy\.request\.c$/);
  bench.bus.forbidden = (subject) => subject === "proxy.request";
  await bench.start();
  await bench.accept(0);
  assert.equal(bench.opens.refusal, undefined);

  const later = new OpensBench();
  for (const subject of ["proxy.request.c", "proxy.request"]) {
    later.bus.forbidden = (one) => one.startsWith("proxy.request");
    await later.start();
    assert.ok(later.opens.refusal, subject);
    if (subject === "proxy.request") {
      later.bus.cut();
      later.bus.restore();
    } else await later.wait(60_001);
    assert.equal(later.opens.refusal, undefined);
  }
});

Deno.test("PendingOpens fenced off the subject of all says that no server hears its own", async () => {
  const bench = new OpensBench({}, "elsewhere");
  bench.bus.forbidden = (subject) => subject === "proxy.request";
  await bench.start();
  assert.deepEqual(bench.codes, ["no-server"]);
  assert.match(
    bench.failed[0]?.reason.text ?? "",
    /^no server listens on proxy\.request\.c, and NATS refuses what is published to proxy\.request;/,
  );
});

Deno.test("PendingOpens asks on the subject of all after a second, too, where somebody hears its own and says nothing", async () => {
  const bench = new OpensBench();
  await bench.start();
  await bench.wait(999);
  assert.equal(bench.asked.length, 1);
  bench.serve("proxy.request");
  await bench.wait(1);
  assert.deepEqual(
    bench.asked.map(({ subject }) => subject),
    ["proxy.request.c", "proxy.request"],
  );
  await bench.answer(1, V1);
  assert.equal(bench.opened.length, 1);
  // An answer on the own subject has shown that servers are there.
  const served = new OpensBench();
  await served.start();
  await served.accept(0);
  served.serve("proxy.request");
  await served.start();
  await served.wait(3_999);
  assert.deepEqual(
    served.asked.map(({ subject }) => subject),
    ["proxy.request.c", "proxy.request.c"],
  );
});

Deno.test("PendingOpens waits for a slow server on its own subject while nobody listens on that of all", async () => {
  const bench = new OpensBench();
  await bench.start();
  await bench.wait(1_500);
  for (let second = 0; second < 6; second++) {
    await bench.answer(0, DIALING);
    await bench.wait(1_000);
  }
  await bench.accept(0);
  assert.equal(bench.opened.length, 1);
  assert.equal(bench.asked.length, 1);
});

Deno.test("PendingOpens that has seen a server of version 2 believes none of version 1 any more", async () => {
  const refused = { headers: [], body: REFUSED.body };
  for (const answer of [V1, refused]) {
    const bench = new OpensBench({}, "proxy.request");
    await bench.start();
    await bench.answer(0, V1);
    await bench.start();
    await bench.answer(1, DIALING);
    await bench.start();
    await bench.answer(2, answer);
    await bench.wait(999);
    assert.deepEqual([bench.opened.length, bench.codes], [1, []]);
    await bench.answer(1, answer);
    await bench.accept(1);
    assert.equal(bench.opened.length, 2);
    await bench.wait(1);
    assert.deepEqual(bench.codes, ["version"]);
    assert.match(bench.failed[0]?.reason.text ?? "", /of version 2 before/);
  }
});

Deno.test("PendingOpens asks all of many opens anew with the servers' other key where they have not the first", async () => {
  const clock = new FakeClock();
  const serverKeys = [KEYS.server.publicKey, KEYS.nextServer.publicKey];
  const bench = new OpensBench({
    clock,
    codec: "binary",
    sealer: new Sealer({ seal: { ...CLIENT_SEAL, serverKeys }, clock, random }),
  });
  const gate = new SealedGate({ keys: [KEYS.nextServer], psk: NO_PSK, random });
  const OPENS = 5;
  for (let i = 0; i < OPENS; i++) await bench.start();
  for (let i = 0; i < OPENS; i++) await bench.answer(i, BROKEN);
  await clock.advance(1_000, () => bench.broker.settled());
  const readable = bench.asked.map((asked) =>
    unseal(gate, asked) !== undefined
  );
  assert.deepEqual(readable, [
    ...new Array(OPENS).fill(false),
    ...new Array(OPENS).fill(true),
  ]);
});

Deno.test("PendingOpens takes no answer of version 1 to what it asked on its own subject", async () => {
  const bench = new OpensBench();
  await bench.start();
  await bench.answer(0, V1);
  await bench.answer(0, { headers: [], body: REFUSED.body });
  assert.deepEqual([bench.opened, bench.codes], [[], []]);
  await bench.accept(0);
  assert.equal(bench.opened.length, 1);
});

const NO_ANSWER: Reason = { code: "timeout", text: "no answer in 1000 ms" };

/** Opens that fail: how, who says so, and after how many requests. */
const FAILURES: Readonly<
  Record<string, readonly [(bench: OpensBench) => Promise<void>, string]>
> = {
  "there is no server": [
    async (bench) => {
      bench.stopServers();
      await bench.start();
    },
    "no-server by local after 1: no server listens on proxy.request; start one, or check its /ready, --nats-url and --request-subject",
  ],
  "NATS is away all the time": [
    async (bench) => {
      bench.bus.cut();
      await bench.start();
      await bench.wait(15_000);
    },
    "timeout by local after 0: NATS is not connected, and the open was not answered within 15000 ms (--open-timeout)",
  ],
  "NATS goes away": [
    async (bench) => {
      await bench.start();
      bench.bus.cut();
      await bench.wait(15_000);
    },
    "timeout by local after 1: NATS is not connected, and the open was not answered within 15000 ms (--open-timeout)",
  ],
  "the server still dials": [
    async (bench) => {
      await bench.start();
      for (let i = 0; i < 15; i++) {
        await bench.answer(0, DIALING);
        await bench.wait(1_000);
      }
    },
    "timeout by local after 1: the server still dials the target, and the open was not answered within 15000 ms (--open-timeout)",
  ],
  "servers fall silent": [
    async (bench) => {
      await bench.start();
      await bench.wait(12_000);
    },
    "timeout by local after 3: the server that took the open fell silent, 3 times: 'ls' lists those that answer; its log says why if it has another --data-prefix or this client asks too much",
  ],
  "the link comes back too late for an answer": [
    async (bench) => {
      await bench.start();
      bench.bus.cut();
      await bench.wait(14_000);
      bench.bus.restore();
      await bench.wait(1_000);
    },
    "timeout by local after 2: no server answered the open within 15000 ms (--open-timeout)",
  ],
  "a server is busy, and the client stops while another is asked": [
    async (bench) => {
      await bench.start();
      await bench.answer(0, BUSY);
      bench.opens.cancel({ code: "draining", text: "the client stops" });
    },
    "draining by local after 2: the client stops",
  ],
  "all servers are busy": [
    async (bench) => {
      await bench.start();
      for (let at = 0; at < bench.asked.length; at++) {
        await bench.answer(at, at % 7 === 0 ? BUSY : encodeAgain("s"));
        await bench.wait(200);
      }
    },
    "draining by peer after 3: about to stop",
  ],
  "every server refuses it": [
    async (bench) => {
      await bench.start();
      for (const [at, server] of ["a", "b", "c", "d"].entries()) {
        const reason = { code: "refused", text: `no, says ${server}` } as const;
        await bench.answer(at, encodeRefusal(reason, server));
      }
    },
    "refused by peer after 4: no, says a",
  ],
  "the only server refuses it, and gets it again": [
    async (bench) => {
      await bench.start();
      await bench.answer(0, REFUSED);
      for (let at = 1; at <= 6; at++) await bench.answer(at, encodeAgain("s"));
      assert.equal(bench.asked.length, 7);
    },
    "refused by peer after 1: connection refused",
  ],
  "one dials in vain, and the next still dials": [
    async (bench) => {
      await bench.start();
      await bench.wait(1_000);
      await bench.answer(0, encodeRefusal(NO_ANSWER, "a"));
      for (let i = 0; i < 14; i++) {
        await bench.answer(1, DIALING);
        await bench.wait(1_000);
      }
    },
    "timeout by peer after 2: no answer in 1000 ms",
  ],
  "the only server dials in vain, and gets it again": [
    async (bench) => {
      await bench.start();
      await bench.answer(0, encodeRefusal(NO_ANSWER, "s"));
      for (let i = 1; i <= 6; i++) await bench.answer(i, encodeAgain("s"));
    },
    "timeout by peer after 1: no answer in 1000 ms",
  ],
  "one refuses it and another falls silent": [
    async (bench) => {
      await bench.start();
      await bench.answer(0, REFUSED);
      await bench.wait(12_000);
    },
    "refused by peer after 4: connection refused",
  ],
  "NATS refuses the request": [
    async (bench) => {
      await bench.start();
      bench.bus.deny("proxy.request.c");
      bench.bus.deny("proxy.request");
    },
    "denied by local after 1: NATS refuses what is published to proxy.request.c",
  ],
};

for (const [what, [play, expected]] of Object.entries(FAILURES)) {
  Deno.test(`PendingOpens says who failed an open, why, and after how many requests: ${what}`, async () => {
    const bench = new OpensBench();
    await play(bench);
    assert.deepEqual(
      bench.failed.map(({ open: { attempts }, reason: { code, text }, by }) =>
        `${code} by ${by} after ${attempts}: ${text}`
      ),
      [expected],
    );
  });
}
