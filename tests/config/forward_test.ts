/** How forwards are written: the flag's syntax, and the list of a config file. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/base/errors.ts";
import { formatPlace } from "../../lib/base/place.ts";
import { formatDestination } from "../../lib/base/target.ts";
import {
  type Forward,
  MAX_FORWARDS,
  parseForward,
} from "../../lib/config/forward.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";

/** A forward in few words. */
function told(forward: Forward): string {
  const { name, listen } = forward;
  const label = name === undefined ? "" : `${name}: `;
  return `${label}${formatPlace(listen)} > ${formatDestination(forward)}`;
}

Deno.test("parseForward() reads what ssh -L takes", () => {
  for (
    const [text, ...wanted] of [
      ["8080:db:5432", "localhost:8080 > db:5432"],
      ["0:db:5432", "localhost:0 > db:5432"],
      ["localhost:8080:db:5432", "localhost:8080 > db:5432"],
      ["127.0.0.1:8080:10.0.0.7:22", "127.0.0.1:8080 > 10.0.0.7:22"],
      ["*:8080:db:5432", ":8080 > db:5432"],
      [":8080:db:5432", ":8080 > db:5432"],
      ["[::1]:8080:db:5432", "[::1]:8080 > db:5432"],
      ["[::]:8080:[fd00::1]:22", "[::]:8080 > [fd00::1]:22"],
      ["8080:[fd00::1]:22", "localhost:8080 > [fd00::1]:22"],
      ["[fe80::1%eth0]:1:h:2", "[fe80::1%eth0]:1 > h:2"],
      [
        "8000-8002:h:9000-9002",
        "localhost:8000 > h:9000",
        "localhost:8001 > h:9001",
        "localhost:8002 > h:9002",
      ],
      ["*:1-1:h:5-5", ":1 > h:5"],
      ["/run/db.sock:db:5432", "unix:/run/db.sock > db:5432"],
      ["./db.sock:[::1]:5432", "unix:./db.sock > [::1]:5432"],
      ["run/db.sock:db:5432", "unix:run/db.sock > db:5432"],
      ["~/db.sock:db:5432", "unix:~/db.sock > db:5432"],
      // Hosts of these names.
      ["8080:svc:80", "localhost:8080 > svc:80"],
      [
        "8080-8081:unix:80-81",
        "localhost:8080 > unix:80",
        "localhost:8081 > unix:81",
      ],
      ["65535:h:65535", "localhost:65535 > h:65535"],
      ["8080:svc:db", "localhost:8080 > svc:db"],
      ["*:8080:svc:db@edge7", ":8080 > svc:db@edge7"],
      ["[::1]:0:svc:a_b-C", "[::1]:0 > svc:a_b-C"],
      ["/run/x:svc:db", "unix:/run/x > svc:db"],
      ["8080:unix:/run/x.sock", "localhost:8080 > unix:/run/x.sock"],
      ["./x:unix:/run/a:b@c", "unix:./x > unix:/run/a:b@c"],
      ["8080:unix:/run/a:b@c", "localhost:8080 > unix:/run/a:b@c"],
      ["8080:unix:/run/a@b/c@edge", "localhost:8080 > unix:/run/a@b/c@edge"],
      ["8080:db:5432@edge7", "localhost:8080 > db:5432@edge7"],
      ["8080:svc:22@edge7", "localhost:8080 > svc:22@edge7"],
      [
        "8080-8081:[::1]:80-81@e",
        "localhost:8080 > [::1]:80@e",
        "localhost:8081 > [::1]:81@e",
      ],
    ]
  ) assert.deepEqual(parseForward(text ?? "").map(told), wanted, text);
});

/** Bad forwards, and what is said of each. */
const BAD: readonly (readonly [text: string, problem: string])[] = [
  ["", "it is empty"],
  ["6380", "it has no target"],
  ["6380:redis", 'its target "redis" has no port'],
  [
    "redis:6379",
    'it has no port to listen at; write for example "6379:redis:6379"',
  ],
  [
    "127.0.0.1:6379",
    'it has no port to listen at; write for example "6379:127.0.0.1:6379"',
  ],
  [
    "8080:80",
    "its target has no host; write for example 8080:localhost:80",
  ],
  ["/run/db.sock", "it has no target"],
  ["/run/db.sock:db", 'its target "db" has no port'],
  ["/run/db.sock:", 'its target "" has no port'],
  ["/run/a:b.sock:db:5432", "it has too many colons"],
  ["/run/a\nb:db:5432", 'the path "/run/a\\nb" has control characters in it'],
  [
    "db.sock:db:5432",
    'the port to listen at, "db.sock", is neither a port nor a range of ports (a path has a / in it)',
  ],
  [":db:5432", 'the port to listen at, "", is neither'],
  ["x:8080:db:", 'the port of its target, "", is neither'],
  ["8080:db:pg", 'the port of its target, "pg", is neither'],
  ["8080:db:0", 'the address of its target, "db:0": its port is 0'],
  ["65536:db:1", 'the port to listen at, "65536", is above 65535'],
  ["1:db:65536", 'the port of its target, "65536", is above 65535'],
  ["1-65536:db:1", "is above 65535"],
  ["9-8:db:9-8", 'the port to listen at, "9-8", runs backwards'],
  ["0-3:db:0-3", 'the port to listen at, "0-3", begins at 0'],
  ["1-:db:1", "is neither a port nor a range"],
  ["1-3:db:1-4", "it listens at 3 and leads to 4 ports"],
  ["1-3:db:5432", "it listens at 3 and leads to 1 ports"],
  ["8080:db:1-2", "it listens at 1 and leads to 2 ports"],
  [
    `1-${MAX_FORWARDS + 1}:db:1-${MAX_FORWARDS + 1}`,
    "has more than 1000 ports",
  ],
  ["8080::5432", 'the address of its target, ":5432": it has no host'],
  ["8080:*:5432", "its host has characters that no host name has"],
  ["8080:d b:5432", "its host has white space"],
  [
    "a b:8080:db:5432",
    'the address to listen at, "a b:8080": its host has white space',
  ],
  ["8080:bücher:80", "its host has characters outside ASCII"],
  [
    "::1:8080:db:5432",
    "it has too many colons; an IPv6 address goes in brackets",
  ],
  ["8080:fd00::1:22", "it has too many colons"],
  ["[::1:8080:db:5432", "it has too many colons"],
  ["[::1]8080:db:5432", "the port to listen at"],
  ["[db]:8080:db:5432", "brackets are for IPv6 addresses"],
  ["8080:[db]:5432", "brackets are for IPv6 addresses"],
  ["8080:http://web:80", "it has a scheme; leave that out"],
  ["8080:svc:", 'the name of its service, "", is empty'],
  ["8080:svc:a.b", "has other characters than letters, digits, - and _"],
  ["8080:svc:a b", "has other characters than letters, digits, - and _"],
  ["8080:svc:db:5432", "has other characters than letters, digits, - and _"],
  ["8080-8081:svc:db", "it listens at 2 ports and leads to one place"],
  [
    "8080:unix:run/x",
    'the path of its Unix socket, "run/x", does not begin with a /',
  ],
  ["8080:unix:/run/\nx", "has control characters in it"],
  ["svc:db", 'it has no port to listen at; write for example "8080:svc:db"'],
  [":svc:db", 'the port to listen at, "", is neither'],
  ["8080:db:5432@", 'its site "" is empty'],
  ["8080:db:5432@edge 7", 'its site "edge 7" has other characters'],
  ["8080:db:5432@7", 'its site "7" looks like a port'],
  ["8080:db@edge7", 'its target "db@edge7" has no port'],
  ["*:8080:db@edge7", "is neither a port nor a range of ports"],
  ["8080:ann@db:22", 'its site "db:22" has other characters'],
  ["8080:\x1b[31m:1", "the address of its target"],
];

Deno.test("parseForward() refuses what is none, with the right form and the reason", () => {
  for (const [text, problem] of BAD) {
    assert.throws(() => parseForward(text), (error: unknown) => {
      assert.ok(error instanceof SyntaxError, String(error));
      const { message } = error;
      assert.match(
        message,
        / is no forward \(\[BIND:\]PORT:TARGET or PATH:TARGET, such as 8080:db:5432 or 8080:svc:db\): /,
      );
      assert.ok(message.includes(problem), `${message} says no "${problem}"`);
      assert.doesNotMatch(message, /\p{Cc}/u);
      return true;
    }, text);
  }
});

const PATH = "/etc/client.yaml";

/** The forwards that flags, variables and a file ask for. */
function forwardsOf(
  { args = [], env = {}, file }: {
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly file?: string;
  },
): string[] {
  const files: Record<string, string> = file === undefined
    ? {}
    : { [PATH]: file };
  const config = file === undefined ? [] : ["--config", PATH];
  const sources = fakeSources({ env, files });
  return parseRun("client", [...config, ...args], sources)
    .config.client.forwards.map((way) =>
      "front" in way ? `${way.front} ${formatPlace(way.listen)}` : told(way)
    );
}

/** What is wrong with them. */
function problemsOf(
  given: Parameters<typeof forwardsOf>[0],
): readonly string[] {
  try {
    forwardsOf(given);
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return error.problems;
  }
  return [];
}

const ORIGINAL = "0.0.0.0:8082 > redis:6379";

Deno.test("the original's forward is there alone, or where somebody asked for it", () => {
  const [L, one] = ["-L", "1:a:1"];
  for (
    const [given, ...wanted] of [
      [{}, ORIGINAL],
      [{ args: [L, one] }, "localhost:1 > a:1"],
      [{ env: { FORWARD: one } }, "localhost:1 > a:1"],
      [{ file: `client: {forwards: ["${one}"]}` }, "localhost:1 > a:1"],
      [{ file: "client: {forwards: []}" }, ORIGINAL],
      [
        { args: [L, one, "--listen-addr", ":2"] },
        ":2 > redis:6379",
        "localhost:1 > a:1",
      ],
      [
        { args: [L, one], env: { REMOTE_ADDR: "b:2" } },
        "0.0.0.0:8082 > b:2",
        "localhost:1 > a:1",
      ],
      [
        { args: [L, one], file: 'client: {listen_addr: ":3"}' },
        ":3 > redis:6379",
        "localhost:1 > a:1",
      ],
    ] as const
  ) assert.deepEqual(forwardsOf(given), wanted, JSON.stringify(given));
});

Deno.test("flags and variables take the place of the file's forwards, and it is said", () => {
  const file = 'client: {forwards: ["1:a:1"]}';
  for (
    const [given, origin] of [
      [{ args: ["-L", "2:b:2", "-L3:c:3"] }, "--forward"],
      [{ env: { FORWARD: "2:b:2, 3:c:3" } }, "environment variable FORWARD"],
    ] as const
  ) {
    assert.deepEqual(forwardsOf({ ...given, file }), [
      "localhost:2 > b:2",
      "localhost:3 > c:3",
    ]);
    const { args = [], env = {} } = { args: [], env: {}, ...given };
    const sources = fakeSources({ env, files: { [PATH]: file } });
    const { notices } = parseRun(
      "client",
      ["--config", PATH, ...args],
      sources,
    );
    assert.deepEqual(notices, [{
      level: "info",
      text:
        `${origin} goes before client.forwards in ${PATH}, which is not used`,
    }]);
  }
});

Deno.test("client.forwards in a file are texts, or mappings with a name", () => {
  const file = `
client:
  forwards:
    - 1:a:1
    - { name: db, listen: 5432, target: db:5432 }
    - { listen: "*:80", target: "[::1]:80" }
    - { name: sock, listen: ~/a:b.sock, target: db:5432 }
    - { name: many, listen: 8000-8001, target: h:9000-9001 }
`;
  assert.deepEqual(forwardsOf({ file, env: { HOME: "/h" } }), [
    "localhost:1 > a:1",
    "db: localhost:5432 > db:5432",
    ":80 > [::1]:80",
    "sock: unix:/h/a:b.sock > db:5432",
    "many: localhost:8000 > h:9000",
    "many: localhost:8001 > h:9001",
  ]);
  const text = 'client: {forwards: "1:a:1, 2:b:2"}';
  assert.deepEqual(forwardsOf({ file: text }).length, 2);
});

Deno.test("accept_proxy is for all places to listen at, and an entry's own word goes before it", () => {
  const file = `client:
  forwards:
    - "1:a:1"
    - { listen: 2, target: "a:2", accept_proxy: true }
    - { listen: "3-4", target: "a:3-4", accept_proxy: false }
    - { listen: 5, target: "a:5", accept_proxy: "yes" }`;
  const proxied = (file: string, ...args: readonly string[]): number[] => {
    const sources = fakeSources({ env: {}, files: { [PATH]: file } });
    const { client } = parseRun("client", ["--config", PATH, ...args], sources)
      .config;
    return client.forwards.flatMap(({ listen, acceptProxy }) =>
      "port" in listen && acceptProxy ? [listen.port] : []
    );
  };
  assert.deepEqual(proxied(file), [2, 5]);
  const front = `${file}\n  socks: 6\n  accept_proxy: true`;
  assert.deepEqual(proxied(front), [1, 2, 5, 6]);
  assert.deepEqual(proxied(front, "--accept-proxy=false"), [2, 5]);
  assert.deepEqual(proxied("{}", "--accept-proxy"), [8082]);
  assert.match(
    problemsOf({
      file:
        'client: {forwards: [{listen: 1, target: "a:1", accept_proxy: maybe}]}',
    })[0] ?? "",
    /^client.forwards\[0\] in .*: accept_proxy: "maybe" is neither true nor false/,
  );
});

Deno.test("all that is wrong with the file's forwards is told, each by its place", () => {
  const file = `
client:
  forwards:
    - x:1
    - 7
    - { nam: a, listen: 1, target: "a:1" }
    - { name: "a b", target: "a:1" }
    - { name: c, listen: 5, target: "@edge" }
    - { name: c, listen: [5], target: "svc:x.y" }
    - { name: d, listen: 5-6, target: h:5 }
    - { listen: x/y }
`;
  const at = (index: number, name?: string): string =>
    `client.forwards[${index}]${
      name === undefined ? "" : ` ("${name}")`
    } in ${PATH}: `;
  const wanted = [
    `${at(0)}"x:1" is no forward (`,
    `${at(1)}the number "7" where there must be a mapping`,
    `${at(2)}unknown key "nam" (did you mean name?)`,
    `${at(3, "a b")}name: "a b" is no name of a forward: write 1 to 64 letters`,
    `${at(3, "a b")}it has no listen`,
    `${at(4, "c")}target: its target "" has no port`,
    `${at(5, "c")}listen: a list where there must be a string or a number`,
    `${at(5, "c")}target: the name of its service, "x.y", has other characters`,
    `${at(5, "c")}its name "c" is that of client.forwards[4] ("c"), too`,
    `${
      at(6, "d")
    }it listens at 2 and leads to 1 ports: there must be as many of each`,
    `${at(7)}it has no target`,
  ];
  const found = problemsOf({ file });
  assert.equal(found.length, wanted.length, found.join("\n"));
  for (const [index, part] of wanted.entries()) {
    assert.ok(found[index]?.startsWith(part), `${found[index]} for ${part}`);
  }
  assert.match(
    problemsOf({ file: "client: {forward: []}" })[0] ?? "",
    /^Unknown key "client.forward" in .* \(did you mean client.forwards\?\)/,
  );
  assert.match(
    problemsOf({ file: "client: {forwards: {a: 1}}" })[0] ?? "",
    /^client.forwards in .*: a mapping where there must be a string or a list/,
  );
  assert.match(
    problemsOf({
      file: 'client: {forwards: ["1:a:1"]}\nclient.forwards: "2:a:1"',
    })[0] ?? "",
    /^client.forwards is given twice/,
  );
});

Deno.test("forwards that do not go together are refused", () => {
  const range = (from: number): string => `${from}-${from + 599}:h:1-600`;
  for (
    const [args, ...wanted] of [
      [["1:a:1", "1:b:1"], "Two forwards listen at localhost:1"],
      [["0:a:1", "0:b:1", "*:0:c:1"]],
      [["1:a:1", "*:1:b:1"]], // for the system to say
      [["./a:b:1", "./a:c:1"], "Two forwards listen at unix:./a"],
      [
        [range(1), range(1_000)],
        "There are 1200 forwards: 1000 are the most, ranges counted port by port",
      ],
      [[`/${"x".repeat(106)}:a:1`]],
      [
        [`/${"é".repeat(54)}:a:1`],
        `The path of a Unix socket, "/${
          "é".repeat(54)
        }", has 109 bytes: the system takes 107 at most`,
      ],
    ] as const
  ) {
    const found = problemsOf({ args: args.flatMap((arg) => ["-L", arg]) })
      .map((problem) => problem.replace(/; run .*/, ""));
    assert.deepEqual(found, wanted, String(args));
  }
  assert.deepEqual(
    problemsOf({ args: ["-L", "[::1]:1:a:1", "--listen-addr", "[::1]:1"] })
      .map((problem) => problem.replace(/; run .*/, "")),
    ["Two forwards listen at [::1]:1"],
  );
});
