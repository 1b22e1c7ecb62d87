import assert from "node:assert/strict";
import { isIP } from "node:net";
import fc from "fast-check";
import {
  formatAddress,
  hostProblem,
  parseAddress,
  parseIp,
  portProblem,
  tryParseAddress,
  withoutZone,
  withZoneHint,
  zoneOf,
} from "../../lib/base/address.ts";

Deno.test("parseAddress() reads names, IPv4 and bracketed IPv6", () => {
  for (
    const [text, host, port] of [
      ["redis:6379", "redis", 6379],
      ["db-1.example.com.:1", "db-1.example.com.", 1],
      ["my_service:80", "my_service", 80],
      ["127.0.0.1:65535", "127.0.0.1", 65535],
      ["[::1]:22", "::1", 22],
      ["[2001:db8::10.0.0.1]:443", "2001:db8::10.0.0.1", 443],
      ["host:0080", "host", 80],
      ["[fe80::1%eth0]:22", "fe80::1%eth0", 22],
      ["[fe80::1%eth0.100]:22", "fe80::1%eth0.100", 22],
      ["[::1%1]:22", "::1%1", 22],
    ] as const
  ) assert.deepEqual(parseAddress(text), { host, port }, text);
});

Deno.test("parseAddress() takes an empty host or port 0 only when told to", () => {
  const options = { allowEmptyHost: true, allowPortZero: true };
  assert.deepEqual(parseAddress(":8080", options), { host: "", port: 8080 });
  assert.deepEqual(parseAddress("[::]:0", options), { host: "::", port: 0 });
  assert.throws(() => parseAddress(":8080"), /":8080" .*: it has no host$/);
  assert.throws(() => parseAddress("h:0"), /"h:0" .*: its port is 0$/);
  assert.throws(
    () => parseAddress(":0", { allowEmptyHost: true }),
    /port is 0/,
  );
  assert.throws(() => parseAddress("[]:80", options), /brackets are for IPv6/);
});

Deno.test("parseAddress() refuses what is no address, and says why", () => {
  for (
    const [text, problem] of [
      ["6380", /it has no host; write host:6380$/],
      ["tcp://host:1", /it has a scheme; write host:port alone$/],
      ["redis://host:6379/0", /it has a scheme; write host:port alone$/],
      ["", /it has no port; write host:port$/],
      ["host", /it has no port; write host:port$/],
      ["host:", /it has no port$/],
      ["[::1]", /it has no port$/],
      ["[::1]80", /it has no port|no host|brackets/],
      ["host:http", /its port is not a number$/],
      ["host:-1", /its port is not a number$/],
      ["host:+80", /its port is not a number$/],
      ["host:80.0", /its port is not a number$/],
      ["host: 80", /its port has white space in it$/],
      ["host:80 ", /its port has white space in it$/],
      ["host:0", /its port is 0$/],
      ["host:65536", /its port is above 65535$/],
      ["host:99999999999999999999", /its port is above 65535$/],
      ["::1:22", /an IPv6 address goes in brackets/],
      ["::1", /an IPv6 address goes in brackets/],
      ["[127.0.0.1]:80", /brackets are for IPv6 addresses$/],
      ["[::g]:80", /its host is no IPv6 address$/],
      ["[fe80::1%]:80", /its zone is no name or number of an interface$/],
      ["[fe80::1%a/b]:80", /its zone is no name or number of an interface$/],
      ["[fe80::1%a%b]:80", /its zone is no name or number of an interface$/],
      [`[fe80::1%${"x".repeat(16)}]:80`, /its zone is no name or number/],
      ["[fe80::g%eth0]:80", /its host is no IPv6 address$/],
      ["[%eth0:]:80", /its host is no IPv6 address$/],
      ["fe80::1%eth0:22", /and its zone go in brackets, as in \[fe80::1%eth0/],
      ["[fe80::1]%eth0:22", /and its zone go in brackets/],
      ["127.0.0.1%lo:22", /its host has characters that no host name has$/],
      ["a b:80", /its host has white space or control characters in it$/],
      ["a\n:80", /its host has white space or control characters in it$/],
      ["a\x00:80", /its host has white space or control characters in it$/],
      ["bücher.de:80", /outside ASCII; write its xn-- form$/],
      ["a..b:80", /its host has an empty label$/],
      [".a:80", /its host has an empty label$/],
      [".:80", /its host has an empty label$/],
      ["u@h:80", /it has a user; write host:port alone$/],
      ["h:80/db", /it has a path; write host:port alone$/],
      ["h:port/db", /it has a path; write host:port alone$/],
      ["[::1]:80/", /it has a path; write host:port alone$/],
      ["//h:80", /it has a path; write host:port alone$/],
      ["HTTP://h:80/", /it has a scheme; write host:port alone$/],
      ["tcp:h:80", /it has more than one colon; write host:port$/],
      ["http//h:80", /its host has characters that no host name has$/],
      [`${"a".repeat(254)}:80`, /its host is longer than 253 characters$/],
    ] as const
  ) {
    assert.throws(() => parseAddress(text), (error: Error) => {
      assert.match(error.message, problem, text);
      assert.doesNotMatch(error.message, /[\r\n]/);
      return error instanceof SyntaxError;
    });
  }
});

Deno.test("parseAddress() does not repeat what could be a password", () => {
  for (const text of ["redis://u:hunter2@h:1/0", "hunter2@h:1"]) {
    assert.throws(() => parseAddress(text), (error: Error) => {
      assert.doesNotMatch(error.message, /hunter2/);
      return /\*\*\*@h:1/.test(error.message);
    });
  }
});

Deno.test("parseAddress() says how every interface is written to those who write *", () => {
  assert.throws(
    () => parseAddress("*:80", { allowEmptyHost: true }),
    /: for every interface write :80$/,
  );
  assert.throws(() => parseAddress("*:80"), /no host name has$/);
});

Deno.test("a zone is no part of an address's bytes", () => {
  assert.deepEqual(parseIp("fe80::1%eth0"), parseIp("fe80::1"));
  assert.equal(zoneOf("fe80::1%eth0.1"), "eth0.1");
  for (const host of ["fe80::1", "host", "a%b"]) {
    assert.equal(zoneOf(host), undefined);
    assert.equal(withoutZone(host), host);
  }
  assert.equal(withoutZone("fe80::1%eth0"), "fe80::1");
});

Deno.test("withZoneHint() says what to do about zones, and nothing where they are not to blame", () => {
  const lookup = "failed to lookup address information";
  const invalid = "Invalid argument (os error 22)";
  assert.equal(
    withZoneHint(lookup, "fe80::1%eth9"),
    `${lookup}; is there an interface "eth9"?`,
  );
  assert.equal(
    withZoneHint(invalid, "febf::1"),
    `${invalid}; a link-local address needs its interface, as in [febf::1%eth0]`,
  );
  for (const host of ["fec0::1", "fe7f::1", "::1", "254.128.0.1", "fe80", ""]) {
    assert.equal(withZoneHint(lookup, host), lookup, host);
  }
  assert.equal(withZoneHint("refused", "fe80::1%eth9"), "refused");
});

Deno.test("tryParseAddress() gives a problem that does not repeat the text", () => {
  fc.assert(fc.property(fc.string(), fc.nat(), (middle, port) => {
    const result = tryParseAddress(`hunter2${middle}:${port}`);
    if (typeof result === "string") assert.doesNotMatch(result, /hunter2/);
  }));
});

Deno.test("parseAddress() never throws anything but SyntaxError", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    try {
      parseAddress(text);
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
    }
  }));
});

Deno.test("formatAddress() writes what parseAddress() reads", () => {
  const zoned = fc.tuple(fc.ipV6(), fc.stringMatching(/^[\w.~-]{1,15}$/))
    .map((parts) => parts.join("%"));
  const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), zoned);
  const port = fc.integer({ min: 1, max: 65_535 });
  fc.assert(fc.property(host, port, (host, port) => {
    assert.deepEqual(parseAddress(formatAddress({ host, port })), {
      host,
      port,
    });
  }));
  assert.equal(formatAddress({ host: "", port: 8080 }), ":8080");
});

Deno.test("parseIp() agrees with the runtime on what is an IP address", () => {
  const near = fc.array(
    fc.constantFrom("0", "1", "ff", "255", "256", "01", ".", ":", "::", "g"),
    { maxLength: 12 },
  ).map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), near), (text) => {
      assert.equal(parseIp(text) !== undefined, isIP(text) !== 0, text);
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("parseIp() gives the bytes, 4 of them for IPv4 within IPv6", () => {
  assert.deepEqual(parseIp("10.0.0.255"), [10, 0, 0, 255]);
  assert.deepEqual(parseIp("::ffff:10.0.0.255"), [10, 0, 0, 255]);
  assert.deepEqual(parseIp("::FFFF:a00:ff"), [10, 0, 0, 255]);
  assert.deepEqual(parseIp("::1"), [...new Array(15).fill(0), 1]);
  assert.deepEqual(
    parseIp("2001:db8::1:2"),
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2],
  );
  assert.equal(parseIp("010.0.0.1"), undefined);
  assert.equal(parseIp("127.1"), undefined);
  assert.equal(parseIp("1.2.3.4::"), undefined);
  assert.equal(parseIp(":".repeat(10_000)), undefined);
});

Deno.test("hostProblem() and portProblem() judge what peers send", () => {
  for (const host of ["redis", "::1", "10.0.0.1", "a_b.c", "127.1"]) {
    assert.equal(hostProblem(host), undefined, host);
  }
  for (const host of ["", "a b", "[::1]", "a/b", "é", "x".repeat(254), "a:1"]) {
    assert.notEqual(hostProblem(host), undefined, host);
  }
  assert.equal(portProblem("1"), undefined);
  assert.equal(portProblem("65535"), undefined);
  for (const port of ["", "0", "65536", "1e3", "-1", " 1", "0x1", "1\n"]) {
    assert.notEqual(portProblem(port), undefined, port);
  }
});
