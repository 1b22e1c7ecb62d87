/** Which addresses of a target may be dialled, by rules and by what the addresses are. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../lib/base/address.ts";
import {
  judgeName,
  judgePath,
  judgeTarget,
  type TargetRules,
} from "../../lib/base/target_judge.ts";
import { parseTargetRule } from "../../lib/base/target_rules.ts";

const PORT = 80;

/** Rules, each list written with blanks between. */
function rules(allow: string, deny = "", who = "-"): TargetRules {
  const parse = (text: string) =>
    text.split(" ").filter((word) => word !== "").map(parseTargetRule);
  const called = { allow: `${who}-allow-target`, deny: `${who}-deny-target` };
  return { allow: parse(allow), deny: parse(deny), called };
}

/** What is dialled of `found` when `host` is asked for. */
function dialled(
  all: TargetRules | readonly TargetRules[],
  host: string,
  ...found: string[]
): readonly string[] {
  const sets = "allow" in all ? [all] : all;
  const target = { host, port: PORT };
  if (parseIp(host) === undefined && judgeName(sets, target)) return [];
  const verdict = judgeTarget(sets, target, found.length > 0 ? found : [host]);
  return "addresses" in verdict ? verdict.addresses : [];
}

/** Why nothing of `found` is dialled when `host` is asked for. */
function why(all: TargetRules, host: string, ...found: string[]): string {
  const target = { host, port: PORT };
  const name = parseIp(host) === undefined
    ? judgeName([all], target)
    : undefined;
  const verdict = judgeTarget([all], target, found.length > 0 ? found : [host]);
  const refusal = name ?? ("refusal" in verdict ? verdict.refusal : undefined);
  assert.equal(refusal?.code, "denied");
  return refusal.text;
}

/** Addresses that only a rule for themselves opens, in all forms of writing. */
const GUARDED: readonly string[] = [
  // Link-local.
  ...["169.254.169.254", "169.254.0.0", "169.254.255.255", "fe80::1"],
  ...["fe80::1%eth0", "febf:ffff::1", "FE80:0:0:0:0:0:0:1"],
  // Unspecified.
  ...["0.0.0.0", "0.1.2.3", "::", "0:0:0:0:0:0:0:0", "::%1"],
  // Multicast and broadcast.
  ...["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1%lo"],
  // Metadata elsewhere than 169.254.169.254.
  ...["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe"],
  ...["fd00:42::42", "192.0.0.192", "100.100.100.200", "168.63.129.16"],
  // Mapped, translated, compatible, NAT64, 6to4.
  ...["::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::FFFF:0:0"],
  ...["0:0:0:0:0:ffff:169.254.169.254", "::ffff:169.254.169.254%1"],
  ...[
    "::ffff:0:169.254.169.254",
    "::169.254.169.254",
    "::ffff:100.100.100.200",
  ],
  ...["64:ff9b::a9fe:a9fe", "64:ff9b::0.0.0.0", "64:ff9b:1::169.254.1.1"],
  ...["64:ff9b::224.0.0.1", "2002:a9fe:a9fe::1", "2002::1", "2002:e000::"],
];

/** Addresses of this machine. */
const LOOPBACK: readonly string[] = [
  ...["127.0.0.1", "127.255.255.255", "::1", "::1%1", "0:0:0:0:0:0:0:1"],
  ...["::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1", "::127.0.0.1"],
  ...["::ffff:0:127.0.0.1", "2002:7f00:1::"],
];

/** Addresses of networks of one's own. */
const PRIVATE: readonly string[] = [
  ...["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"],
  ...["100.127.255.255", "192.0.0.1", "198.18.0.1", "198.19.255.255"],
  ...["240.0.0.1", "fc00::1", "fd12:3456::1", "fec0::1", "::ffff:10.0.0.1"],
  ...["64:ff9b::10.0.0.1", "64:ff9b:1::c0a8:101", "2002:a00:1::1"],
];

/** Those of everybody, the nearest ones to special ranges among them. */
const PUBLIC: readonly string[] = [
  ...["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"],
  ...["126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0"],
  ...["172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"],
  ...["198.17.255.255", "198.20.0.0", "168.63.129.15", "168.63.129.17"],
  ...[
    "223.255.255.255",
    "2606:4700::1111",
    "64:ff9b::1.1.1.1",
    "2002:101:101::",
  ],
  ...["2001:db8::a9fe:a9fe", "fbff::1"],
];

/** Each way to open addresses, and what it opens beside ordinary ones. */
const WAYS: readonly (readonly [
  what: string,
  rules: TargetRules,
  host: string | undefined,
  opens: { readonly loopback: boolean; readonly private: boolean },
])[] = [
  ["an address, no rules", rules(""), undefined, both(true)],
  ["a name, no rules", rules(""), "db", both(true)],
  ["a name, only rules that deny", rules("", "x:1"), "db", both(true)],
  ["an address, *", rules("*:80"), undefined, both(true)],
  ["a name, *", rules("*:80"), "db", both(true)],
  ["a name, every network", rules("0.0.0.0/0:* [::/0]:*"), "db", both(true)],
  [
    "an address, every network",
    rules("0.0.0.0/0:* [::/0]:*"),
    undefined,
    both(true),
  ],
  [
    "a name, its rule",
    rules("db:80"),
    "DB.",
    { loopback: false, private: true },
  ],
  ["a name, a domain's rule", rules("*.a.test:80"), "db.a.test", both(false)],
  [
    "localhost, its rule",
    rules("localhost:80"),
    "LocalHost.",
    both(true),
  ],
  [
    "a name of localhost, a domain's rule",
    rules("*.localhost:80"),
    "db.localhost",
    { loopback: true, private: false },
  ],
  [
    "a name that only ends like it",
    rules("*.test:80 notlocalhost:80"),
    "notlocalhost",
    { loopback: false, private: true },
  ],
];

function both(open: boolean): { loopback: boolean; private: boolean } {
  return { loopback: open, private: open };
}

for (const [what, set, host, opens] of WAYS) {
  Deno.test(`judgeTarget(): ${what}`, () => {
    for (
      const [addresses, open] of [
        [GUARDED, false],
        [LOOPBACK, opens.loopback],
        [PRIVATE, opens.private],
        [PUBLIC, true],
      ] as const
    ) {
      for (const address of addresses) {
        assert.deepEqual(
          dialled(set, host ?? address, address),
          open ? [address] : [],
          address,
        );
      }
    }
  });
}

Deno.test("judgeTarget() opens what a rule names, asked for by any name or as an address", () => {
  const table: [address: string, rule: string, named: boolean][] = [
    ["169.254.169.254", "169.254.169.254:80", true],
    ["169.254.169.254", "169.254.169.254:81", false],
    ["169.254.169.254", "169.254.0.0/16:*", true],
    ["169.254.169.254", "169.254.0.0/15:*", false], // not a whole range
    ["::ffff:169.254.169.254", "169.254.0.0/16:*", true],
    ["169.254.169.254", "[::ffff:169.254.169.254]:*", true],
    ["64:ff9b::a9fe:a9fe", "169.254.0.0/16:*", false],
    ["64:ff9b::a9fe:a9fe", "[64:ff9b::a9fe:a9fe]:*", true],
    ["64:ff9b::a9fe:a9fe", "[64:ff9b::/96]:*", false],
    ["fe80::1%eth0", "[fe80::/10]:*", true],
    ["fe80::1%eth0", "[fe80::%eth0/10]:*", true],
    ["fe80::1%eth1", "[fe80::%eth0/10]:*", false],
    ["0.0.0.0", "0.0.0.0:*", true],
    ["::", "[::]:*", true],
    ["::", "[::/0]:*", false],
    ["255.255.255.255", "255.255.255.255:*", true],
    ["255.255.255.255", "240.0.0.0/4:*", false],
    ["100.100.100.200", "100.64.0.0/10:*", false],
    ["100.100.100.200", "100.100.100.200:*", true],
    ["fd00:ec2::254", "[fd00::/8]:*", false],
    ["fd00:ec2::254", "[fd00:ec2::254]:*", true],
    ["127.0.0.1", "127.0.0.1:*", true],
    ["10.1.2.3", "10.0.0.0/8:*", true],
    ["10.1.2.3", "8.0.0.0/6:*", true],
  ];
  for (const [address, rule, named] of table) {
    for (const host of [address, "db.a.test"]) {
      assert.deepEqual(
        dialled(rules(rule), host, address),
        named ? [address] : [],
        `${host} ${address} ${rule}`,
      );
      // Beside a rule that covers the name, too.
      assert.deepEqual(
        dialled(rules(`*.a.test:* ${rule}`), "db.a.test", address),
        named ? [address] : [],
        `${address} ${rule} beside a domain's`,
      );
    }
  }
});

Deno.test("judgeTarget() denies by the name, and by each address in any form", () => {
  const table: [deny: string, host: string, found: string[], left: string[]][] =
    [
      ["db:80", "db", ["1.1.1.1"], []],
      ["db:80", "DB.", ["1.1.1.1"], []],
      ["db:81", "db", ["1.1.1.1"], ["1.1.1.1"]],
      ["*.a.test:*", "x.a.test", ["1.1.1.1"], []],
      ["*:80", "db", ["1.1.1.1"], []],
      ["*:80", "1.1.1.1", ["1.1.1.1"], []],
      ["1.1.1.0/24:*", "db", ["1.1.1.1", "1.1.2.1"], ["1.1.2.1"]],
      ["1.1.1.0/24:*", "db", ["1.1.1.1", "1.1.1.2"], []],
      ["10.0.0.0/8:*", "db", ["::ffff:10.0.0.1"], []],
      ["10.0.0.0/8:*", "db", ["64:ff9b::10.0.0.1"], []],
      ["10.0.0.0/8:*", "64:ff9b::a00:1", ["64:ff9b::a00:1"], []],
      ["10.0.0.0/8:*", "2002:a00:1::", ["2002:a00:1::"], []],
      ["[64:ff9b::/96]:*", "db", ["64:ff9b::1.1.1.1"], []],
      // An interface has a name and a number: whoever denies one means it.
      ["[::1%1]:*", "::1%lo", ["::1%lo"], []],
      ["[::1%1]:*", "::1", ["::1"], []],
      ["0.0.0.0/0:* [::/0]:*", "db", ["1.1.1.1", "2606:4700::1"], []],
    ];
  for (const [deny, host, found, left] of table) {
    for (const allow of ["", "*:*", "db:* *.a.test:* 0.0.0.0/0:* [::/0]:*"]) {
      assert.deepEqual(
        dialled(rules(allow, deny), host, ...found),
        left,
        `${deny} ${host} ${found} ${allow}`,
      );
    }
  }
});

Deno.test("judgeTarget() asks everybody who has a say", () => {
  const server = rules("*:* 10.0.0.0/8:*", "10.9.0.0/16:*");
  assert.deepEqual(dialled([server, rules("db:*")], "db", "10.1.1.1"), [
    "10.1.1.1",
  ]);
  assert.deepEqual(dialled([server, rules("db:*")], "other", "10.1.1.1"), []);
  assert.deepEqual(dialled([server, rules("")], "db", "10.9.1.1"), []);
  assert.deepEqual(dialled([rules(""), server], "db", "10.9.1.1"), []);
  // Whoever lets in all of the world does not vouch for another's names…
  const names = rules("*.a.test:*");
  assert.deepEqual(dialled([rules("*:*"), names], "x.a.test", "10.1.1.1"), []);
  assert.deepEqual(dialled([rules(""), names], "x.a.test", "10.1.1.1"), []);
  // … who names an address does, and also opens it to a guest of that name.
  assert.deepEqual(dialled([server, names], "x.a.test", "10.1.1.1"), [
    "10.1.1.1",
  ]);
  const metadata = rules("169.254.169.254:*");
  assert.deepEqual(
    dialled([rules(""), metadata], "169.254.169.254"),
    ["169.254.169.254"],
  );
});

Deno.test("what is refused says by which address, rule and flag", () => {
  const table: [text: string, set: TargetRules, host: string, ip?: string][] = [
    [
      "db:80 is not an allowed target (--allow-target)",
      rules("x:1"),
      "db",
      "1.1.1.1",
    ],
    [
      "db:80 is denied by *:80 (--deny-target)",
      rules("", "*:80"),
      "db",
      "1.1.1.1",
    ],
    [
      "db:80 (10.0.0.1) is denied by 10.0.0.0/8:* (--deny-target)",
      rules("", "10.0.0.0/8:*"),
      "db",
      "10.0.0.1",
    ],
    [
      "169.254.1.1:80 is a link-local address, which here only a rule for that address opens (--allow-target)",
      rules(""),
      "169.254.1.1",
    ],
    [
      "[::]:80 is an unspecified address, which here only a rule for that address opens (--allow-target)",
      rules("*:*"),
      "::",
    ],
    [
      "x.a.test:80 (127.0.0.1) is a loopback address, which here only a rule for that address opens (--allow-target)",
      rules("*.a.test:*"),
      "x.a.test",
      "127.0.0.1",
    ],
    ["db:80 has no address", rules(""), "db", "nonsense"],
  ];
  for (const [text, set, host, ip] of table) {
    assert.equal(why(set, host, ip ?? host), text);
  }
});

Deno.test("judgeName() looks up no name that no address could save", () => {
  const table: [set: TargetRules, host: string, lookedUp: boolean][] = [
    [rules(""), "db", true],
    [rules("db:80"), "db", true],
    [rules("db:81"), "db", false],
    [rules("*.a.test:80"), "db", false],
    [rules("10.0.0.0/8:80"), "db", true],
    [rules("10.0.0.0/8:81"), "db", false],
    [rules("*:*", "db:80"), "db", false],
    [rules("", "10.0.0.0/8:80"), "db", true],
  ];
  for (const [set, host, lookedUp] of table) {
    const refusal = judgeName([set], { host, port: PORT });
    assert.equal(refusal === undefined, lookedUp, JSON.stringify(set));
  }
});

Deno.test("an IPv4 address that is special is so in whatever IPv6 form", () => {
  const forms = [
    (ip: string) => `::ffff:${ip}`,
    (ip: string) => `64:ff9b::${ip}`,
    (ip: string) => `64:ff9b:1::${ip}`,
    (ip: string) => `::ffff:0:${ip}`,
  ];
  fc.assert(
    fc.property(fc.ipV4(), fc.constantFrom(...forms), (ip, form) => {
      for (const set of [rules(""), rules("*.a.test:*")]) {
        const host = set.allow.length === 0 ? undefined : "x.a.test";
        const plain = dialled(set, host ?? ip, ip).length;
        assert.equal(dialled(set, host ?? form(ip), form(ip)).length, plain);
        const denied = rules("", `${ip}:*`);
        assert.deepEqual(dialled(denied, form(ip)), []);
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("a Unix socket is reached by a rule for its very path, and if no list denies it or is without it", () => {
  const path = "/var/run/docker.sock";
  const named = rules(`*:* unix:${path}`);
  const cases: readonly (readonly [
    all: readonly TargetRules[],
    refused: RegExp | undefined,
  ])[] = [
    [
      [rules("")],
      /^unix:\/var\/run\/docker\.sock is a Unix socket, which only /,
    ],
    [[rules("*:*")], /is not an allowed target \(--allow-target\)$/],
    [[rules("unix:/var/run/docker")], /is not an allowed target/],
    [[named], undefined],
    [[rules(`unix:${path}`, "*:*")], undefined],
    [[rules(`unix:${path}`, `unix:${path}`)], /is denied by unix:\/var/],
    [[named, rules("", `unix:${path}`, "own")], /is denied by .*\(own-deny-/],
    // Each list that allows must have it, and one at least.
    [[named, rules("*:*")], /is not an allowed target/],
    [[rules(""), named], undefined],
    [[named, rules("")], undefined],
    [[{ ...rules(""), servicesOnly: true }], /^unix:\S+ is no service, and /],
  ];
  for (const [all, refused] of cases) {
    const refusal = judgePath(all, path);
    assert.equal(refusal === undefined, refused === undefined);
    if (refused === undefined) continue;
    assert.equal(refusal?.code, "denied");
    assert.match(refusal?.text ?? "", refused);
  }
});

Deno.test("where only services may be reached no address is, unless a rule allows it", () => {
  const closed = { ...rules(""), servicesOnly: true };
  for (const host of ["db.example.com", "10.0.0.1", "8.8.8.8"]) {
    assert.deepEqual(dialled(closed, host, "8.8.8.8"), []);
    assert.match(
      why(closed, host, "8.8.8.8"),
      /is no service, and nothing else may be reached here \(--allow-target\)$/,
    );
  }
  const open = { ...rules("*:*"), servicesOnly: true };
  assert.deepEqual(dialled(open, "8.8.8.8"), ["8.8.8.8"]);
});

Deno.test("what was vouched for opens addresses of any kind, and what is denied stays so", () => {
  const vouched = { ...rules("db.example.com:80"), vouched: true };
  const kinds = ["169.254.169.254", "127.0.0.1", "10.0.0.1", "8.8.8.8"];
  assert.deepEqual(dialled(vouched, "db.example.com", ...kinds), kinds);
  assert.deepEqual(dialled(vouched, "other.example.com", ...kinds), []);
  assert.deepEqual(
    dialled([vouched, rules("", "10.0.0.0/8:*")], "db.example.com", ...kinds),
    kinds.filter((one) => !one.startsWith("10.")),
  );
});
