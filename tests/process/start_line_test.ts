/** What the first line of a process says of what it serves, to whom, and what stands open. */
import assert from "node:assert/strict";
import { VERSION } from "../../lib/config/cli.ts";
import { startFields } from "../../lib/process/start_line.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import {
  fakeSources,
  parseRun,
  PUBLIC_KEYS,
} from "../support/option_values.ts";

/** The fields of the line for this command line. */
function fieldsFor(
  role: Role,
  args: readonly string[],
  { listensAt = [], open = [], workers = 1, files = {} }: {
    readonly listensAt?: readonly string[];
    readonly open?: readonly string[];
    readonly workers?: number;
    readonly files?: Readonly<Record<string, string>>;
  } = {},
): Readonly<Record<string, unknown>> {
  const { config } = parseRun(role, args, fakeSources({ files }));
  return startFields(config, {
    workers,
    listensAt: [listensAt],
    open: open.map((what) => ({ what, why: "", hint: "" })),
    deno: "2.9.6",
    pid: 7,
  });
}

Deno.test("startFields() has name and version, what is served, to whom, and what is open, in order", () => {
  const fields = fieldsFor("server", [], { open: ["dials any target"] });
  assert.deepEqual(Object.entries(fields), [
    ["version", VERSION],
    ["deno", "2.9.6"],
    ["protocol", "2 and 1"],
    ["pid", 7],
    ["serves", "any target"],
    ["to", "anybody who may publish opens"],
    ["open", "dials any target"],
  ]);
  const many = fieldsFor("server", ["--refuse-v1"], { workers: 4 });
  assert.equal(many.protocol, "2");
  assert.equal(many.workers, 4);
  assert.equal(many.open, "nothing");
  const twice = fieldsFor("server", [], { open: ["a", "b", "a"] });
  assert.equal(twice.open, "a, b");
});

Deno.test("startFields() of a server names services, rules and site", () => {
  for (
    const [args, serves] of [
      [["--allow-target", "db:5432,*.x:80"], "db:5432, *.x:80"],
      [["--service", "db=db:5432"], "svc:db"],
      [
        ["--service", "db=db:1", "--allow-target", "a:1", "--site", "paris"],
        "svc:db, a:1 at site paris",
      ],
      [
        ["--allow-target", "a:1,a:2,a:3,a:4,a:5,a:6,a:7"],
        "a:1, a:2, a:3, a:4, a:5 and 2 more",
      ],
    ] as const
  ) assert.equal(fieldsFor("server", args).serves, serves);
});

Deno.test("startFields() of a server counts the clients that have keys", () => {
  const [one, two] = PUBLIC_KEYS;
  const files = {
    "/s.yaml":
      `clients:\n- { name: a, keys: ["${one}"] }\n- { name: b, keys: ["${two}"] }\n`,
  };
  const args = ["--config", "/s.yaml", "--secret-key", "/k"];
  assert.equal(fieldsFor("server", args, { files }).to, "2 clients with keys");
});

Deno.test("startFields() of a client names its ways in, and who comes to them", () => {
  const here = ["127.0.0.1", "::1"];
  const everywhere = ["0.0.0.0"];
  for (
    const [args, listensAt, serves, to] of [
      [
        ["-L", "5432:db:5432"],
        here,
        "localhost:5432 to db:5432",
        "this machine",
      ],
      [["-L", "*:1:db:2"], everywhere, "*:1 to db:2", "anybody who reaches it"],
      [
        ["-L", "*:1:svc:db@paris", "--allow-from", "10.0.0.0/8,fd00::/8"],
        everywhere,
        "*:1 to svc:db@paris",
        "2 networks (--allow-from)",
      ],
      [["-L", "/s.sock:a:1"], [], "unix:/s.sock to a:1", "this machine"],
      [
        ["-D", "1080@x"],
        here,
        "localhost:1080 for socks at site x",
        "this machine",
      ],
      [["-W", "db:22"], [], "db:22", "standard input"],
    ] as const
  ) {
    const fields = fieldsFor("client", args, { listensAt });
    assert.deepEqual([fields.serves, fields.to], [serves, to], args.join(" "));
  }
});
