/** The open on both versions of the wire, and requests nobody should send. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { CODEC_NAMES } from "../../lib/wire/codec.ts";
import { formatAddress, tryParseAddress } from "../../lib/base/address.ts";
import { isErrorCode, TunnelError, WIRE_CODES } from "../../lib/base/errors.ts";
import { formatTarget, isAddress, parseTarget } from "../../lib/base/target.ts";
import { encodeMessage } from "../../lib/wire/message.ts";
import {
  decodeReply,
  decodeRequest,
  encodeAccept,
  encodeAgain,
  encodeDialing,
  encodeRefusal,
  encodeRequest,
  type HeaderList,
  type HeaderReader,
  type OpenRequest,
} from "../../lib/wire/open.ts";
import { bytes } from "../support/arbitraries.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const EMPTY = `{"ID":"","Reply":"","Data":null,"Metadata":null}`;

/** Reads headers as NATS has them: by name, whatever its case. */
function reader(headers: HeaderList): HeaderReader {
  return (name) =>
    headers.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
}

function body(
  data: string | null,
  metadata: Record<string, string> | null,
): Uint8Array {
  return encodeMessage({
    id: "",
    reply: "",
    data: data === null ? null : encoder.encode(data),
    metadata,
  });
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof TunnelError, String(error));
    assert.equal(error.code, "protocol");
    return error.text;
  }
  assert.fail("it was read");
}

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

Deno.test("encodeRequest() asks as the original does", () => {
  const { headers, body } = encodeRequest({
    target: { host: "127.0.0.1", port: 16379 },
    native: undefined,
  });
  assert.deepEqual(headers, [
    ["remote_host", "127.0.0.1"],
    ["remote_port", "16379"],
  ]);
  assert.equal(decoder.decode(body), EMPTY);
});

Deno.test("encodeRequest() adds what version 2 knows", () => {
  const { headers, body } = encodeRequest({
    target: { host: "redis", port: 6379 },
    native: { client: "c", number: 36, window: 262_144, codec: "json" },
  });
  assert.deepEqual(headers, [
    ["remote_host", "redis"],
    ["remote_port", "6379"],
    ["sproxy-version", "2"],
    ["sproxy-client", "c"],
    ["sproxy-tunnel", "10"],
    ["sproxy-window", "262144"],
    ["sproxy-codec", "json"],
  ]);
  assert.equal(decoder.decode(body), EMPTY);
});

Deno.test("encodeRequest() names what is no address as people do, and says where the application is", () => {
  const native = {
    ...{ client: "c", number: 36, window: 1, codec: "binary" } as const,
    endpoints: {
      source: { host: "10.0.0.9", port: 50_000 },
      destination: { host: "::1", port: 8080 },
    },
  };
  for (
    const [target, text] of [
      [{ service: "db" }, "svc:db"],
      [{ path: "/run/db.sock" }, "unix:/run/db.sock"],
    ] as const
  ) {
    const { headers } = encodeRequest({ target, native });
    assert.deepEqual(headers[0], ["sproxy-target", text]);
    assert.ok(!headers.some(([name]) => name.startsWith("remote_")));
    assert.deepEqual(headers.at(-1), [
      "sproxy-source",
      "10.0.0.9:50000 [::1]:8080",
    ]);
  }
});

Deno.test("decodeRequest() takes no service or Unix socket from version 1, and no ends that are no addresses", () => {
  const target = ["sproxy-target", "svc:db"] as const;
  const old = [target, ["remote_host", "h"], ["remote_port", "1"]] as const;
  assert.deepEqual(
    decodeRequest(reader(old), body(null, null)).target,
    { host: "h", port: 1 },
  );
  const native = Object.entries(GOOD);
  for (
    const text of [
      "",
      "a:1 b:2",
      "1.2.3.4:5",
      "1.2.3.4:5 1.2.3.4:5 x",
      "1.2.3.4:5  1.2.3.4:6",
    ]
  ) {
    const headers = [...native, ["sproxy-source", text] as const];
    const read = decodeRequest(reader(headers), body(null, null));
    assert.equal(read.native?.endpoints, undefined, text);
  }
});

Deno.test("decodeRequest() refuses what is no target, by its value", () => {
  for (
    const text of ["", "svc:", "svc:a.b", "unix:", "unix:run", "svc:a@b", "db"]
  ) {
    const headers = [...Object.entries(GOOD), ["sproxy-target", text] as const];
    const told = refusal(() =>
      decodeRequest(reader(headers), body(null, null))
    );
    assert.equal(
      told,
      `sproxy-target is ${JSON.stringify(text)}, want svc:NAME or unix:PATH`,
    );
  }
});

Deno.test("decodeRequest() reads back every request", () => {
  const host = fc.oneof(
    fc.domain(),
    fc.ipV4(),
    fc.ipV6(),
    fc.constantFrom("a_b.svc", "xn--bcher-kva.example", "example.com."),
  );
  const end = fc.record({
    host: fc.oneof(fc.ipV4(), fc.ipV6(), fc.constant("fe80::1%eth0")),
    port: fc.integer({ min: 0, max: 65_535 }),
  }, { noNullPrototype: true });
  const native = fc.record({
    client: fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/),
    number: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    window: fc.integer({ min: 0, max: 1 << 30 }),
    codec: fc.constantFrom(...CODEC_NAMES),
    traceparent: fc.constant(TRACEPARENT),
    endpoints: fc.record({ source: end, destination: end }, {
      noNullPrototype: true,
    }),
  }, {
    requiredKeys: ["client", "number", "window", "codec"],
    noNullPrototype: true,
  });
  const address = fc.record({
    host,
    port: fc.integer({ min: 1, max: 65_535 }),
  }, { noNullPrototype: true });
  const sealed = fc.record({
    sealed: fc.uint8Array({ maxLength: 600 }),
  }, { noNullPrototype: true });
  const request: fc.Arbitrary<OpenRequest> = fc.oneof(
    fc.record({
      target: address,
      native: fc.option(native, { nil: undefined }),
    }, { noNullPrototype: true }),
    fc.record({ target: sealed, native }, { noNullPrototype: true }),
    fc.record({
      target: fc.constantFrom(
        { service: "db" },
        { path: "/run/db.sock" },
        { path: "/tmp/ä b@c" },
      ),
      native,
    }, { noNullPrototype: true }),
  );
  fc.assert(fc.property(request, (sent) => {
    const { headers, body } = encodeRequest(sent);
    assert.deepEqual(decodeRequest(reader(headers), body), sent);
  }));
});

Deno.test("decodeRequest() reads a version 1 request, from headers or from the body", () => {
  const expected = { target: { host: "h", port: 7 }, native: undefined };
  const headers: HeaderList = [["Remote_Host", "h"], ["REMOTE_PORT", "7"]];
  assert.deepEqual(decodeRequest(reader(headers), body(null, null)), expected);
  assert.deepEqual(decodeRequest(reader(headers), new Uint8Array(0)), expected);
  const metadata = { remote_host: "h", remote_port: "7" };
  assert.deepEqual(
    decodeRequest(() => undefined, body(null, metadata)),
    expected,
  );
});

const GOOD: Readonly<Record<string, string>> = {
  remote_host: "h",
  remote_port: "7",
  "sproxy-version": "2",
  "sproxy-client": "c",
  "sproxy-tunnel": "a",
  "sproxy-window": "1000",
  "sproxy-codec": "binary",
};

Deno.test("decodeRequest() names the header that is wrong, and its value", () => {
  const cases: readonly (readonly [string, string | undefined, string])[] = [
    ["remote_host", undefined, `remote_host is "", want a host`],
    ["remote_host", "", `remote_host is ""`],
    ["remote_host", "a b", `remote_host is "a b"`],
    ["remote_host", "a\r\nb", String.raw`remote_host is "a\r\nb"`],
    ["remote_host", "a/b", `remote_host is "a/b"`],
    ["remote_host", "x".repeat(254), `remote_host is "${"x".repeat(80)}"`],
    [
      "remote_port",
      undefined,
      `remote_port is "", want a port from 1 to 65535`,
    ],
    ["remote_port", "0", `remote_port is "0"`],
    ["remote_port", "65536", `remote_port is "65536"`],
    ["remote_port", "-1", `remote_port is "-1"`],
    ["remote_port", "6379x", `remote_port is "6379x"`],
    ["remote_port", "1e3", `remote_port is "1e3"`],
    ["remote_port", " 7", `remote_port is " 7"`],
    ["remote_port", "000007", `remote_port is "000007"`],
    ["sproxy-version", "1", `sproxy-version is "1", want 2 or more`],
    ["sproxy-version", "two", `sproxy-version is "two"`],
    ["sproxy-version", "99999", `sproxy-version is "99999"`],
    ["sproxy-client", undefined, `sproxy-client is "", want a token`],
    ["sproxy-client", "a.b", `sproxy-client is "a.b"`],
    ["sproxy-client", ">", `sproxy-client is ">"`],
    ["sproxy-tunnel", "0", `sproxy-tunnel is "0"`],
    ["sproxy-tunnel", "A", `sproxy-tunnel is "A"`],
    ["sproxy-tunnel", "zzzzzzzzzzz", `sproxy-tunnel is "zzzzzzzzzzz"`],
    ["sproxy-window", undefined, `sproxy-window is ""`],
    ["sproxy-window", "1073741825", `sproxy-window is "1073741825"`],
    ["sproxy-window", "1.5", `sproxy-window is "1.5"`],
    ["sproxy-codec", undefined, `sproxy-codec is "", want binary or json`],
    ["sproxy-codec", "xml", `sproxy-codec is "xml"`],
    ["sproxy-codec", "toString", `sproxy-codec is "toString"`],
  ];
  for (const [name, value, says] of cases) {
    const headers: HeaderList = Object.entries({ ...GOOD, [name]: value ?? "" })
      .filter(([key]) => key !== name || value !== undefined);
    const text = refusal(() =>
      decodeRequest(reader(headers), body(null, null))
    );
    assert.ok(text.startsWith(says), text);
  }
  assert.match(
    refusal(() => decodeRequest(() => undefined, encoder.encode("garbage"))),
    /not JSON/,
  );
});

Deno.test("decodeRequest() reads no body that it does not need, and none that is large", () => {
  const garbage = encoder.encode("x".repeat(8 * 1024));
  const { target } = decodeRequest(reader(Object.entries(GOOD)), garbage);
  assert.deepEqual(target, { host: "h", port: 7 });
  assert.match(
    refusal(() => decodeRequest(() => undefined, new Uint8Array(8 * 1024 + 1))),
    /has 8193 bytes/,
  );
});

Deno.test("decodeRequest() takes the hosts that an option may name, and no others", () => {
  for (
    const [host, taken] of [
      ["my_service", true],
      ["example.com.", true],
      ["127.1", true],
      ["::1", true],
      ["x".repeat(253), true],
      ["[::1]", false],
      ["fe80::1%eth0", true],
      ["fe80::1%", false],
      ["::g", false],
      ["a:1", false],
      ["a..b", false],
      [".a", false],
      [".", false],
      ["bücher.example", false],
      ["x".repeat(254), false],
      ["a\x00b", false],
      ["a\tb", false],
      ["a%b", false],
    ] as const
  ) {
    const headers = Object.entries({ ...GOOD, remote_host: host });
    const decode = (): OpenRequest["target"] =>
      decodeRequest(reader(headers), body(null, null)).target;
    const option = tryParseAddress(formatAddress({ host, port: 1 }));
    if (taken) {
      assert.deepEqual(decode(), { host, port: 7 });
      assert.deepEqual(option, { host, port: 1 });
    } else {
      assert.match(refusal(decode), /^remote_host is /);
      assert.equal(typeof option, "string", host);
    }
  }
});

Deno.test("decodeRequest() takes a version to come for the one it knows", () => {
  const headers = Object.entries({ ...GOOD, "sproxy-version": "3" });
  const { native } = decodeRequest(reader(headers), body(null, null));
  assert.ok(native);
});

Deno.test("decodeRequest() refuses or reads whatever comes, and never crashes", () => {
  const value = fc.option(
    fc.oneof(
      fc.string({ unit: "binary", maxLength: 300 }),
      fc.constantFrom(...Object.values(GOOD)),
      fc.nat().map(String),
    ),
    { nil: undefined },
  );
  const named = fc.option(
    fc.tuple(fc.constantFrom("svc:", "unix:", "unix:/"), fc.string())
      .map((parts) => parts.join("")),
    { nil: undefined },
  );
  const headers: fc.Arbitrary<Record<string, string | undefined>> = fc.record({
    ...Object.fromEntries(Object.keys(GOOD).map((name) => [name, value])),
    "sproxy-target": named,
    "sproxy-source": value,
  });
  const bodies = fc.oneof(
    bytes,
    fc.json().map((text) => encoder.encode(text)),
    fc.constant(body(null, null)),
    fc.record({ Metadata: fc.dictionary(fc.string(), fc.string()) })
      .map((message) => encoder.encode(JSON.stringify(message))),
  );
  fc.assert(
    fc.property(headers, bodies, (fields, bytes) => {
      try {
        const { target } = decodeRequest((name) => fields[name], bytes);
        assert.ok(!("sealed" in target));
        if (isAddress(target)) {
          assert.ok(target.port >= 1 && target.port <= 65_535);
          assert.doesNotMatch(target.host, /[\s\p{Cc}/"]/u);
        } else assert.deepEqual(parseTarget(formatTarget(target)), target);
      } catch (error) {
        if (!(error instanceof TunnelError)) throw error;
        assert.equal(error.code, "protocol");
        assert.doesNotMatch(error.text, /\p{Cc}/u);
      }
      try {
        decodeReply((name) => fields[name], bytes);
      } catch (error) {
        if (!(error instanceof TunnelError)) throw error;
        assert.equal(error.code, "protocol");
      }
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("encodeAccept() and decodeReply() agree, on either version", () => {
  const native = { server: "s", window: 5, codec: "json" } as const;
  const two = encodeAccept({ id: "c.s.1", native });
  assert.deepEqual(decodeReply(reader(two.headers), two.body), {
    type: "open",
    id: "c.s.1",
    ...native,
  });
  const one = encodeAccept({ id: "bbddb5ce40c2d3c7" });
  assert.deepEqual(one.headers, []);
  assert.equal(
    decoder.decode(one.body),
    `{"ID":"","Reply":"","Data":"YmJkZGI1Y2U0MGMyZDNjNw==","Metadata":{}}`,
    "as the original replies",
  );
  assert.deepEqual(decodeReply(reader([]), one.body), {
    type: "v1",
    id: "bbddb5ce40c2d3c7",
  });
});

Deno.test("encodeDialing() is a sign of life and no answer", () => {
  const { headers, body } = encodeDialing("s");
  assert.deepEqual(decodeReply(reader(headers), body), {
    type: "dialing",
  });
});

Deno.test("encodeRefusal() and decodeReply() agree on every code", () => {
  for (const code of Object.keys(WIRE_CODES).filter(isErrorCode)) {
    const { headers, body } = encodeRefusal({ code, text: "why" }, "s");
    assert.deepEqual(decodeReply(reader(headers), body), {
      type: "refused",
      // No refusal is well: its sender has a fault.
      reason: { code: code === "ok" ? "internal" : code, text: "why" },
      server: "s",
    });
  }
  const { body } = encodeRefusal({ code: "denied", text: "no" }, "s");
  assert.equal(
    decoder.decode(body),
    `{"ID":"","Reply":"","Data":"bm8=","Metadata":{"error":"true"}}`,
    "as a version 1 client reads it",
  );
});

Deno.test("decodeReply() finds a code in the words of version 1", () => {
  const cases = [
    ["failed to resolve remote host: lookup x: no such host", "no-such-host"],
    ["dial tcp 127.0.0.1:1: connect: connection refused", "refused"],
    ["dial tcp 10.0.0.1:1: i/o timeout", "timeout"],
    ["something else", "internal"],
  ] as const;
  for (const [text, code] of cases) {
    const reply = decodeReply(reader([]), body(text, { error: "true" }));
    assert.deepEqual(reply, {
      type: "refused",
      reason: { code, text },
      server: undefined,
    });
  }
  const long = decodeReply(
    reader([]),
    body("x".repeat(4_000), { error: "true" }),
  );
  assert.ok(long.type === "refused");
  assert.equal(long.reason.text.length, 1_024);
});

Deno.test("decodeReply() names what is wrong with a reply", () => {
  const two: HeaderList = [
    ["sproxy-version", "2"],
    ["sproxy-server", "s"],
    ["sproxy-window", "5"],
    ["sproxy-codec", "json"],
  ];
  const without = (name: string): HeaderList =>
    two.filter(([key]) => key !== name);
  const cases: readonly (readonly [HeaderList, string | null, RegExp])[] = [
    [[], "", /no server gives \(connection ID is ""/],
    [[], null, /no server gives \(connection ID is ""/],
    [[], "a..b", /no server gives \(connection ID is "a\.\.b"/],
    [[], "a.>", /no server gives \(connection ID is "a\.>"/],
    [[], "a b", /no server gives \(connection ID is "a b"/],
    [[], "x".repeat(129), /no server gives \(connection ID is "x{80}"/],
    [
      without("sproxy-server"),
      "c.s.1",
      /no server gives \(sproxy-server is ""/,
    ],
    [
      without("sproxy-window"),
      "c.s.1",
      /no server gives \(sproxy-window is ""/,
    ],
    [without("sproxy-codec"), "c.s.1", /no server gives \(sproxy-codec is ""/],
  ];
  for (const [headers, id, says] of cases) {
    const reply = decodeReply(reader(headers), body(id, {}));
    assert.ok(reply.type === "foreign");
    assert.match(reply.what, says);
  }
});

Deno.test("decodeReply() knows the acknowledgement of a JetStream stream", () => {
  const ack = encoder.encode('{"stream":"EVENTS", "seq":7}');
  assert.deepEqual(decodeReply(reader([]), ack), {
    type: "foreign",
    what: 'the JetStream stream "EVENTS" captures the request',
  });
});

Deno.test("an open says which servers are not to answer it, and one of them says so", () => {
  const native = { client: "c", number: 1, window: 1, codec: "json" } as const;
  const ask = (not: readonly string[]): OpenRequest => {
    const { headers, body } = encodeRequest({
      target: { host: "db", port: 1 },
      native: { ...native, not },
    });
    return decodeRequest(reader(headers), body);
  };
  assert.deepEqual(ask([]).native, native);
  assert.deepEqual(ask(["a", "b"]).native?.not, ["a", "b"]);
  assert.deepEqual(
    ask(["a", "*", "b", "c", "d", "e"]).native?.not,
    ["a", "b", "c"],
    "a bounded number of tokens",
  );
  const { headers, body } = encodeAgain("s");
  assert.deepEqual(decodeReply(reader(headers), body), { type: "again" });
});
