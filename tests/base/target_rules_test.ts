import assert from "node:assert/strict";
import { BlockList } from "node:net";
import fc from "fast-check";
import { parseIp, zoneOf } from "../../lib/base/address.ts";
import {
  covers,
  coversPath,
  exactRule,
  parseTargetRule,
} from "../../lib/base/target_rules.ts";

/** What is asked for, and what it is resolved to. */
interface Target {
  readonly host: string;
  readonly port: number;
  readonly resolvedIp?: string;
}

/** Whether the rule `pattern` covers the target. */
function isCovered(
  pattern: string,
  { host, port, resolvedIp }: Target,
): boolean {
  const literal = parseIp(host) !== undefined;
  const dialled = literal ? host : resolvedIp ?? "";
  return covers(parseTargetRule(pattern), {
    name: literal ? undefined : host,
    ip: parseIp(dialled),
    zone: zoneOf(dialled),
    port,
  });
}

Deno.test("covers() covers what a pattern says, and nothing beside it", () => {
  const table: [pattern: string, target: Target, covered: boolean][] = [
    ["redis:6379", { host: "redis", port: 6379 }, true],
    ["redis:6379", { host: "REDIS.", port: 6379 }, true],
    ["Redis.:6379", { host: "redis", port: 6379 }, true],
    ["redis:6379", { host: "redis", port: 6380 }, false],
    ["redis:6379", { host: "redis2", port: 6379 }, false],
    ["redis:6379", { host: "xredis", port: 6379 }, false],
    ["redis:*", { host: "redis", port: 1 }, true],
    ["redis:*", { host: "redis", port: 65535 }, true],
    ["redis:*", { host: "redis", port: 0 }, false],
    ["redis:*", { host: "redis", port: NaN }, false],
    ["redis:*", { host: "redis", port: 65536 }, false],
    ["host:1000-2000", { host: "host", port: 1000 }, true],
    ["host:1000-2000", { host: "host", port: 2000 }, true],
    ["host:1000-2000", { host: "host", port: 999 }, false],
    ["host:1000-2000", { host: "host", port: 2001 }, false],
    ["*.example.com:443", { host: "a.example.com", port: 443 }, true],
    ["*.example.com:443", { host: "a.b.Example.com", port: 443 }, true],
    ["*.example.com:443", { host: "example.com", port: 443 }, false],
    ["*.example.com:443", { host: ".example.com", port: 443 }, false],
    ["*.example.com:443", { host: "badexample.com", port: 443 }, false],
    ["*.example.com:443", { host: "a.example.com.evil.org", port: 443 }, false],
    ["*:443", { host: "anything", port: 443 }, true],
    ["*:443", { host: "10.0.0.1", port: 443 }, true],
    ["*:443", { host: "anything", port: 80 }, false],
    ["10.0.0.0/8:*", { host: "10.255.0.1", port: 5 }, true],
    ["10.0.0.0/8:*", { host: "11.0.0.1", port: 5 }, false],
    ["10.0.0.0/8:*", { host: "::ffff:10.0.0.1", port: 5 }, true],
    ["10.0.0.0/9:*", { host: "10.128.0.0", port: 5 }, false],
    ["10.0.0.7:22", { host: "10.0.0.7", port: 22 }, true],
    ["10.0.0.7:22", { host: "10.0.0.8", port: 22 }, false],
    ["0.0.0.0/0:*", { host: "1.2.3.4", port: 5 }, true],
    ["0.0.0.0/0:*", { host: "::1", port: 5 }, false],
    ["[::1]:22", { host: "::1", port: 22 }, true],
    ["[::1]:22", { host: "0:0:0:0:0:0:0:1", port: 22 }, true],
    ["[::1]:22", { host: "::2", port: 22 }, false],
    ["[::1]:22", { host: "127.0.0.1", port: 22 }, false],
    ["[fd00::/8]:22", { host: "fd12::1", port: 22 }, true],
    ["[fd00::/8]:22", { host: "fe12::1", port: 22 }, false],
    ["[::/0]:22", { host: "10.0.0.1", port: 22 }, false],
    // With a zone, that one alone; without, any.
    ["[fe80::1%eth0]:22", { host: "fe80::1%eth0", port: 22 }, true],
    ["[fe80::1%eth0]:22", { host: "fe80::1%eth1", port: 22 }, false],
    ["[fe80::1%eth0]:22", { host: "fe80::1%ETH0", port: 22 }, false],
    ["[fe80::1%eth0]:22", { host: "fe80::1", port: 22 }, false],
    ["[fe80::1%eth0]:22", { host: "fe80::2%eth0", port: 22 }, false],
    ["[fe80::1]:22", { host: "fe80::1%eth0", port: 22 }, true],
    ["[fe80::%eth0/10]:22", { host: "fe80::9%eth0", port: 22 }, true],
    ["[fe80::%eth0/10]:22", { host: "fe80::9%lo", port: 22 }, false],
    ["[fe80::/10]:22", { host: "fe80::9%eth0", port: 22 }, true],
    [
      "[fe80::%4/10]:22",
      { host: "db", port: 22, resolvedIp: "fe80::9%4" },
      true,
    ],
    [
      "[fe80::%4/10]:22",
      { host: "db", port: 22, resolvedIp: "fe80::9" },
      false,
    ],
    // A name is in a network only by the address that will be dialled.
    ["10.0.0.0/8:*", { host: "db", port: 5 }, false],
    ["10.0.0.0/8:*", { host: "db", port: 5, resolvedIp: "10.1.1.1" }, true],
    ["10.0.0.0/8:*", { host: "db", port: 5, resolvedIp: "11.1.1.1" }, false],
    ["10.0.0.0/8:*", { host: "db", port: 5, resolvedIp: "nonsense" }, false],
    // Short forms are names here; a resolver may make addresses of them.
    ["127.0.0.0/8:*", { host: "127.1", port: 5 }, false],
    ["127.0.0.0/8:*", { host: "0x7f.1", port: 5 }, false],
    ["127.0.0.0/8:*", { host: "2130706433", port: 5 }, false],
    ["127.0.0.0/8:*", { host: "", port: 5 }, false],
  ];
  for (const [pattern, target, covered] of table) {
    assert.equal(
      isCovered(pattern, target),
      covered,
      `${pattern} ${JSON.stringify(target)}`,
    );
  }
});

Deno.test("covers() agrees with the runtime on networks", () => {
  fc.assert(
    fc.property(
      fc.ipV4(),
      fc.ipV4(),
      fc.integer({ min: 0, max: 32 }),
      (network, ip, bits) => {
        const list = new BlockList();
        list.addSubnet(network, bits);
        const mask = bits === 0 ? 0 : (~0 << (32 - bits)) >>> 0;
        const number = network.split(".")
          .reduce((sum, part) => sum * 256 + Number(part), 0);
        const base = [24, 16, 8, 0]
          .map((shift) => ((number & mask) >>> shift) & 255).join(".");
        assert.equal(
          isCovered(`${base}/${bits}:*`, { host: ip, port: 1 }),
          list.check(ip),
        );
      },
    ),
    { numRuns: 2_000 },
  );
});

Deno.test("parseTargetRule() refuses what is no pattern, and says why", () => {
  for (
    const [text, problem] of [
      ["", /it has no port/],
      ["redis", /it has no port; write host:port$/],
      ["6379", /it has no host; write \*:6379$/],
      ["*", /it has no port; write \*:\*$/],
      ["redis:", /it has no port$/],
      [":80", /it has no host$/],
      ["redis:0", /its port is 0$/],
      ["redis:0-10", /its port is 0$/],
      ["redis:65536", /its port is above 65535$/],
      ["redis:http", /its port is not a number$/],
      ["redis:20-10", /runs backwards$/],
      ["redis:1-2-3", /neither a port, a range nor \*$/],
      ["redis:-5", /it has no port$/],
      ["redis:5-", /it has no port$/],
      ["foo*.com:80", /its host has characters that no host name has$/],
      ["*.*.com:80", /its host has characters that no host name has$/],
      ["*.:80", /it has no host$/],
      ["*..com:80", /its host has an empty label$/],
      ["*.10.0.0.1:80", /its host is no domain$/],
      ["*.::1:80", /its host is no domain$/],
      ["a..b:80", /its host has an empty label$/],
      ["127.1:80", /its host is an address in a short form$/],
      ["0x7f.1:80", /its host is an address in a short form$/],
      ["1.2.3.4.5:80", /its host is an address in a short form$/],
      ["::1:22", /an IPv6 address goes in brackets/],
      ["[redis]:80", /"redis" is no IP address$/],
      ["[]:80", /"" is no IP address$/],
      ["10.0.0.0/33:80", /the length of its network is not 0 to 32$/],
      ["10.0.0.0/:80", /the length of its network is not 0 to 32$/],
      ["10.0.0.0/-1:80", /the length of its network is not 0 to 32$/],
      ["10.0.0.0/8/8:80", /the length of its network is not 0 to 32$/],
      ["[fd00::/129]:80", /the length of its network is not 0 to 128$/],
      ["10.0.0.1/8:80", /it has bits set after the first 8$/],
      ["example.com/8:80", /"example.com" is no IP address$/],
      ["a b:80", /white space/],
      ["tcp://db:80", /it has a scheme; write host:port alone$/],
      ["u@db:80", /it has a user; write host:port alone$/],
      ["db:80/x", /it has a path; write host:port alone$/],
      ["db:80/*", /it has a path; write host:port alone$/],
      ["[fe80::1%]:80", /"fe80::1%" is no IP address$/],
      ["[fe80::/10%eth0]:80", /the length of its network is not 0 to 128$/],
      ["a\nb:80", /white space or control characters/],
    ] as const
  ) {
    assert.throws(() => parseTargetRule(text), (error: Error) => {
      assert.match(error.message, problem, text);
      assert.match(error.message, /^".*" is not a target pattern: /, text);
      assert.doesNotMatch(error.message, /[\r\n]/);
      return error instanceof SyntaxError;
    });
  }
});

Deno.test("parseTargetRule() never throws anything but SyntaxError", () => {
  const pattern = fc.array(
    fc.constantFrom("*", ".", ":", "[", "]", "/", "-", "a", "1", "10", "é"),
  ).map((parts) => parts.join(""));
  fc.assert(fc.property(pattern, (text) => {
    try {
      parseTargetRule(text);
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
    }
  }));
});

Deno.test("a rule for a Unix socket covers that very path, and no address; nothing else covers a path", () => {
  const rule = parseTargetRule("unix:/run/db.sock");
  assert.ok(coversPath(rule, "/run/db.sock"));
  for (const path of ["/run/db.sock2", "/run/db", "/run//db.sock", "/"]) {
    assert.ok(!coversPath(rule, path));
  }
  for (const port of [0, 1, 80]) {
    assert.ok(!covers(rule, { name: "unix", port }));
    assert.ok(!covers(rule, { name: undefined, ip: [127, 0, 0, 1], port }));
  }
  for (const text of ["*:*", "unix:*", "unix:1-65535", "[::/0]:*"]) {
    assert.ok(!coversPath(parseTargetRule(text), "/run/db.sock"), text);
  }
  // A host may have that name.
  assert.ok(covers(parseTargetRule("unix:22"), { name: "unix", port: 22 }));
});

Deno.test("exactRule() covers one target as it was written", () => {
  const db = exactRule({ host: "DB.example.com.", port: 5 });
  assert.ok(covers(db, { name: "db.example.com", port: 5 }));
  assert.ok(!covers(db, { name: "db.example.com", port: 6 }));
  assert.ok(!covers(db, { name: "x.db.example.com", port: 5 }));
  const metadata = exactRule({ host: "169.254.169.254", port: 80 });
  assert.ok(
    covers(metadata, { name: undefined, ip: [169, 254, 169, 254], port: 80 }),
  );
  assert.ok(coversPath(exactRule({ path: "/a" }), "/a"));
});
