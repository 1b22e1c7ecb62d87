/** Subjects and connection IDs. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  DEFAULT_DATA_PREFIX,
  DEFAULT_REQUEST_SUBJECT,
  firstNumber,
  formatId,
  isToken,
  makeToken,
  numberAtEnd,
  OPEN_TOKEN,
  otherRole,
  parseId,
  parseNumber,
  Subjects,
} from "../../lib/wire/subjects.ts";

const subjects = new Subjects({
  request: DEFAULT_REQUEST_SUBJECT,
  prefix: DEFAULT_DATA_PREFIX,
});

const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/);
const number = fc.oneof(fc.maxSafeNat(), fc.nat({ max: 100 }));

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Whether NATS delivers `subject` to a subscription to `pattern`. */
function matches(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [at, part] of wanted.entries()) {
    if (part === ">") return tokens.length > at;
    if (tokens[at] === undefined) return false;
    if (part !== "*" && part !== tokens[at]) return false;
  }
  return tokens.length === wanted.length;
}

Deno.test("Subjects keeps the original's names", () => {
  assert.equal(subjects.request, "proxy.request");
  assert.equal(
    subjects.data("server", "bbddb5ce40c2d3c7"),
    "p.data.to_server.bbddb5ce40c2d3c7",
  );
  assert.equal(
    subjects.data("client", "bbddb5ce40c2d3c7"),
    "p.data.to_client.bbddb5ce40c2d3c7",
  );
});

Deno.test("Subjects.pattern() takes in what is for a process, and nothing else", () => {
  const { pattern, data } = {
    pattern: (role: "client" | "server", token: string): string =>
      subjects.pattern(role, token),
    data: (role: "client" | "server", id: string): string =>
      subjects.data(role, id),
  };
  assert.equal(pattern("server", "s1"), "p.data.to_server.*.s1.>");
  assert.equal(pattern("client", "c1"), "p.data.to_client.c1.>");
  const cases: readonly (readonly ["client" | "server", string, boolean])[] = [
    ["server", "c1.s1.0", true],
    ["server", "c2.s1.7", true],
    ["server", "c1.s2.7", false],
    ["server", "s1.c1.7", false],
    ["server", "bbddb5ce40c2d3c7", false],
    ["client", "c1.s1.0", true],
    ["client", `c1.${OPEN_TOKEN}.5`, true],
    ["client", "c2.c1.5", false],
    ["client", "c1", false],
  ];
  for (const [role, id, expected] of cases) {
    const own = role === "client" ? "c1" : "s1";
    assert.equal(matches(pattern(role, own), data(role, id)), expected, id);
    const other = otherRole(role);
    assert.ok(!matches(pattern(role, own), data(other, id)));
  }
});

Deno.test("Subjects.prefixProblem() knows another prefix by where a client has its opens answered", () => {
  const problemOf = (reply: string): string | undefined =>
    subjects.prefixProblem("c", reply);
  const other = new Subjects({ request: "r", prefix: "a.b" });
  const id = formatId({ client: "c", server: OPEN_TOKEN, number: 7 });
  assert.equal(problemOf(subjects.data("client", id)), undefined);
  assert.equal(
    problemOf(other.data("client", id)),
    'the client has the data prefix "a.b", the server "p.data": give both the same --data-prefix',
  );
  // What says nothing of a prefix: inboxes, and what a broker makes of them.
  for (
    const reply of ["_INBOX.x.y", "_R_.x.y", "a.b.to_client.d.open.7", ""]
  ) assert.equal(problemOf(reply), undefined, reply);
});

Deno.test("Subjects.idOf() finds the ID in a data subject of its own", () => {
  assert.equal(subjects.idOf("server", "p.data.to_server.c.s.7"), "c.s.7");
  assert.equal(subjects.idOf("client", "p.data.to_client.abc"), "abc");
  for (
    const subject of [
      "p.data.to_client.c.s.7",
      "p.data.to_serverx.c",
      "x.p.data.to_server.c",
      "",
    ]
  ) assert.equal(subjects.idOf("server", subject), undefined, subject);
});

Deno.test("isToken() takes what may stand between two dots", () => {
  for (const good of ["a", "edge-7", "A_b", "0", "x".repeat(32)]) {
    assert.ok(isToken(good), good);
  }
  for (
    const bad of ["", ".", "a.b", "*", ">", "a b", "é", "a\n", "x".repeat(33)]
  ) assert.ok(!isToken(bad), bad);
});

Deno.test("makeToken() writes 16 random bytes", () => {
  const made = makeToken((bytes) => bytes.fill(0xff));
  assert.equal(made, "_____________________w");
  assert.ok(isToken(made));
  let asked = 0;
  makeToken((bytes) => {
    asked = bytes.length;
    return bytes;
  });
  assert.equal(asked, 16);
});

Deno.test("firstNumber() is from 1 to 2^48", () => {
  assert.equal(firstNumber((bytes) => bytes.fill(0)), 1);
  assert.equal(firstNumber((bytes) => bytes.fill(0xff)), 2 ** 48);
  const big = [1, 2, 3, 4, 5, 6];
  assert.equal(
    firstNumber((bytes) => {
      bytes.set(big);
      return bytes;
    }),
    0x0102_0304_0506 + 1,
  );
});

Deno.test("formatId() and parseId() are a round trip", () => {
  fc.assert(fc.property(token, token, number, (client, server, n) => {
    const id = { client, server, number: n };
    assert.deepEqual(parseId(formatId(id)), id);
    const subject = subjects.data("server", formatId(id));
    assert.equal(numberAtEnd(ascii(subject)), n);
  }));
});

Deno.test("parseId() refuses what is no version 2 ID", () => {
  for (
    const bad of [
      "",
      "bbddb5ce40c2d3c7",
      "a.b",
      "a.b.",
      "a..1",
      ".b.1",
      "a.b.1.c",
      "a.b.01",
      "a.b.-1",
      "a.b.1A",
      "a.b.2gosa7pa2gw", // 2^53
      "a.b.zzzzzzzzzzzz",
      "a.*.1",
      "a.>.1",
      "a b.c.1",
    ]
  ) assert.equal(parseId(bad), undefined, bad);
  assert.equal(parseNumber("2gosa7pa2gv"), Number.MAX_SAFE_INTEGER);
});

Deno.test("numberAtEnd() agrees with parseNumber(), leading zeros aside", () => {
  const tail = fc.oneof(
    fc.stringMatching(/^[0-9a-z]{0,13}$/),
    fc.string({ maxLength: 6 }).filter((text) => !text.includes(".")),
    fc.bigInt({ min: 2n ** 53n - 5n, max: 2n ** 53n + 5n })
      .map((value) => value.toString(36)),
  );
  fc.assert(
    fc.property(tail, (text) => {
      const found = numberAtEnd(ascii(`p.data.to_server.c.s.${text}`));
      const plain = text.replace(/^0+(?=.)/, "");
      const expected = text.length <= 11 ? parseNumber(plain) ?? -1 : found;
      assert.equal(found, expected);
      if (text.length > 11 && !text.startsWith("0")) assert.equal(found, -1);
    }),
    { numRuns: 2_000 },
  );
  assert.equal(numberAtEnd(ascii("")), -1);
  assert.equal(numberAtEnd(ascii("x.")), -1);
});

const scope = fc.record({ site: token, service: token }, {
  requiredKeys: [],
  noNullPrototype: true,
});

Deno.test("requestOn() reads whom a request is for, and nobody else hears it", () => {
  fc.assert(
    fc.property(scope, scope, token, (to, other, client) => {
      const subject = subjects.requestOf(client, to);
      assert.deepEqual(subjects.requestOn(subject), { client, ...to });
      assert.ok(matches(subjects.requestPattern(to), subject));
      const same = to.site === other.site && to.service === other.service;
      assert.equal(matches(subjects.requestPattern(other), subject), same);
    }),
  );
  // Also where names are the words between them.
  const words = ["at", "svc", "c"];
  for (const site of [undefined, ...words]) {
    for (const service of [undefined, ...words]) {
      for (const client of words) {
        const to = {
          ...(site !== undefined && { site }),
          ...(service !== undefined && { service }),
        };
        const subject = subjects.requestOf(client, to);
        assert.deepEqual(subjects.requestOn(subject), { client, ...to });
      }
    }
  }
});

Deno.test("requestOn() knows what is no request", () => {
  assert.deepEqual(subjects.requestOn("proxy.request"), {});
  for (
    const subject of [
      "proxy.requests.c",
      "proxy",
      "proxy.request.at.c",
      "proxy.request.svc.c",
      "proxy.request.x.y.c",
      "proxy.request.svc.db.at.edge.c",
      "proxy.request.at.edge.svc.db.x.c",
    ]
  ) assert.equal(subjects.requestOn(subject), undefined, subject);
});
