/** What `top` shows, and what it says where it has nothing to show. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Secret } from "../../lib/base/credentials.ts";
import type { Snapshot } from "../../lib/status/snapshot.ts";
import { askSnapshot } from "../../lib/tools/status_client.ts";
import { type Screen, topLines } from "../../lib/tools/top_view.ts";
import { serveStatus, type StatusServer } from "../../lib/process/status.ts";
import { ending, NOON, part, snapshot, tunnel } from "../support/snapshots.ts";

const PIPE: Screen = { order: "rate", styled: false };

const BUSY = snapshot([part({
  link: {
    ...{ connected: false, server: "n1:4222", reconnects: 2 },
    outages: [{ from: NOON - 5_000, why: "it closed the connection" }],
  },
  services: [{
    ...{ name: "db", target: "db:1", checked: true, up: false, why: "refused" },
    ...{ opened: 0, open: 0 },
  }],
  endings: [
    ending({ code: "idle", why: "no byte for 1m", client: "edge7" }),
  ],
}, [
  tunnel({ id: "1", target: "quiet:1", ms: 3_000 }),
  tunnel({ id: "2", target: "busy:1", rate: { sent: 4096, received: 1 } }),
  tunnel({
    ...{ id: "3", target: "a-stalled:1", condition: "stalled" },
    ...{ stalled: { side: "there", ms: 61_000 } },
    held: { send: 1024, receive: 1024 },
  }),
])]);

function targets(screen: Screen): string[] {
  return topLines(BUSY, screen).flatMap((line) =>
    /\b(quiet|busy|stalled):1/.exec(line)?.[1] ?? []
  );
}

Deno.test("topLines() has the page's table, sorted as it is asked for", () => {
  const lines = topLines(BUSY, PIPE);
  const table = lines.slice(lines.findIndex((line) => line.startsWith("WHO")));
  assert.match(
    table[0] ?? "",
    /^WHO +TARGET +AGE +SENT +RECEIVED +HELD +STATE$/,
  );
  assert.match(
    table[1] ?? "",
    /^127\.0\.0\.1:40000 +busy:1 +1m 00s +4\.0 KiB\/s +1 B\/s +0 B +open$/,
  );
  assert.ok(
    lines.some((line) =>
      line.endsWith("2.0 KiB  stalled 1m 01s: target does not read")
    ),
  );
  assert.match(lines[0] ?? "", /gw1 client +pid 4711 +up 1h 00m .* ready$/);
  const all = lines.join("\n");
  assert.match(
    all,
    /NOT CONNECTED +1 outage in the last hour, the last 5s ago/,
  );
  assert.match(all, /service db is out of order: refused/);
  assert.match(
    all,
    /ENDED LATELY\n1m 00s ago +idle .* edge7 \(127\.0\.0\.1:39999\) .*no byte for 1m/,
  );
  assert.deepEqual(targets(PIPE), ["busy", "stalled", "quiet"]);
  assert.deepEqual(targets({ ...PIPE, order: "held" })[0], "stalled");
  assert.deepEqual(targets({ ...PIPE, order: "age" })[2], "quiet");
  assert.deepEqual(targets({ ...PIPE, order: "target" })[0], "stalled");
});

Deno.test("topLines() says of a process that is not ready what went wrong last", () => {
  const lastError = { text: "NATS at n1: wrong password", at: NOON - 3_000 };
  const told = (about: Partial<Snapshot>): string =>
    topLines({ ...snapshot(), lastError, ...about }, PIPE).join("\n");
  const away = told({ ready: false, notReady: "not connected to NATS" });
  assert.match(away, /NOT READY: not connected.*\nlast error, 3s ago: NATS at/);
  assert.doesNotMatch(told({}), /last error/, "it is over");
  const same = told({ ready: false, notReady: lastError.text });
  assert.doesNotMatch(same, /last error/);
});

Deno.test("topLines() fits a screen of any size, and says what it leaves out", () => {
  const many = snapshot([part(
    { endings: [ending()] },
    Array.from(
      { length: 60 },
      (_, at) =>
        tunnel({
          id: `${at}`,
          target: `a-very-long-name-of-a-target-${at}:5432`,
        }),
    ),
  )]);
  fc.assert(fc.property(
    fc.integer({ min: 40, max: 200 }),
    fc.integer({ min: 8, max: 100 }),
    (columns, lines) => {
      const shown = topLines(many, { ...PIPE, columns, lines });
      assert.ok(shown.length <= lines, `${shown.length} > ${lines}`);
      for (const line of shown) assert.ok(line.length <= columns, line);
      const rows = shown.filter((line) => /a-very/.test(line)).length;
      if (rows < 60 && lines > 12) {
        assert.match(shown.join("\n"), new RegExp(`… and ${60 - rows} more`));
      }
    },
  ));
});

Deno.test("topLines() tells a terminal nothing that others wrote", () => {
  const evil = "\x1b]0;x\x07\n\u202eab";
  const lines = topLines(
    snapshot([part({
      notReady: evil,
      endings: [ending({ target: evil, why: evil, client: evil })],
    }, [tunnel({ target: evil, client: evil, peer: evil })])], { host: evil }),
    PIPE,
  );
  for (const line of lines) {
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(line, /[\x00-\x1f\u202e]/);
  }
});

/** A status that is shown with this token. */
function serve(token?: string): StatusServer {
  return serveStatus({
    ...{ address: { host: "127.0.0.1", port: 0 }, flag: "--status-addr" },
    read: () => ({ notReadyReason: undefined, metrics: [] }),
    look: () => Promise.resolve(BUSY),
    token: () => token === undefined ? undefined : new Secret(token),
    maxConnections: 8,
  });
}

Deno.test("askSnapshot() has the snapshot, with the token where one is asked for", async () => {
  const { signal } = new AbortController();
  await using open = serve();
  assert.deepEqual(
    await askSnapshot(open.address, { token: undefined, signal }),
    JSON.parse(JSON.stringify(BUSY)),
  );
  await using guarded = serve("0123456789abcdef");
  const token = new Secret("0123456789abcdef");
  const told = await askSnapshot(guarded.address, { token, signal });
  assert.equal(told.tunnels.open, 3);
  for (
    const [token, why] of [
      [undefined, /asks for a token: name its file with --status-token$/],
      [
        new Secret("x".repeat(16)),
        /does not take the token of --status-token$/,
      ],
    ] as const
  ) {
    await assert.rejects(
      askSnapshot(guarded.address, { token, signal }),
      (error: Error) => why.test(error.message),
    );
  }
});

Deno.test("askSnapshot() says what is wrong in one line, whatever listens there", async () => {
  const answers: readonly (readonly [string, RegExp])[] = [
    ["", /the answer is no HTTP, or ends too early; is the process running/],
    ["INFO {}\r\n", /the answer is no HTTP/],
    ["HTTP/1.1 404 x\r\n\r\n{}", /none of this program's: it answered 404$/],
    ["HTTP/1.1 200 x\r\n\r\n[]", /none of this program's: it answered 200$/],
    [
      'HTTP/1.1 200 x\r\n\r\n{"process":{},"total":{},"tunnels":{}}',
      /none of this program's: it answered 200$/,
    ],
    [
      'HTTP/1.1 403 x\r\n\r\n{"reason":"\\u001b[2Jno"}',
      /is not shown: "\\u001b\[2Jno"$/,
    ],
  ];
  for (const [answer, why] of answers) {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = (async () => {
      using conn = await listener.accept();
      await conn.read(new Uint8Array(1024));
      await conn.write(new TextEncoder().encode(answer));
    })();
    const { hostname: host, port } = listener.addr;
    await assert.rejects(
      askSnapshot({ host, port }, {
        token: undefined,
        signal: new AbortController().signal,
      }),
      (error: Error) => {
        assert.match(error.message, why);
        return true;
      },
    );
    await serving;
  }
});
