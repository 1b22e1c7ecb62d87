/** What is said to stand open, and that it is not said once it is mended. */
import assert from "node:assert/strict";
import { exposures, modeOf, sentenceOf } from "../../lib/process/exposures.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import {
  fakeSources,
  HIDDEN,
  parseRun,
  PUBLIC_KEYS,
} from "../support/option_values.ts";

/** What stands open for these flags and variables. */
function found(
  role: Role,
  {
    args = [],
    env = {},
    files = {},
    listensAt = [],
    secretFiles = [],
    modes = {},
  }: {
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly files?: Readonly<Record<string, string>>;
    readonly listensAt?: readonly string[];
    readonly secretFiles?: readonly string[];
    readonly modes?: Readonly<Record<string, number>>;
  },
): string[] {
  const { config } = parseRun(role, args, fakeSources({ env, files }));
  return [...exposures(config, {
    listensAt: [listensAt],
    secretFiles,
    modeOf: (path) => modes[path],
  })].map(sentenceOf);
}

Deno.test("exposures(): a client that listens on every interface, unless it is told from where", () => {
  const cases: [listensAt: string[], args: string[], told: boolean][] = [
    [["0.0.0.0"], [], true],
    [["::"], [], true],
    [["127.0.0.1", "::1"], [], false],
    [["10.0.0.1"], [], false],
    [["0.0.0.0"], ["--allow-from", "10.0.0.0/8"], false],
  ];
  for (const [listensAt, args, told] of cases) {
    const all = found("client", { listensAt, args });
    assert.equal(all.length, told ? 1 : 0, String(listensAt));
    for (const text of all) assert.match(text, /^listens on every interface: /);
  }
});

Deno.test("exposures(): PROXY headers beyond this machine, unless it asks who comes", () => {
  const forward = ["-L", "10.0.0.1:1:a:1", "--accept-proxy"];
  const front = ["-D", "127.0.0.1:1", "--accept-proxy"];
  const cases: [listensAt: string[], args: string[], told: boolean][] = [
    [["10.0.0.1"], forward, true],
    [["127.0.0.1", "::1"], forward, false],
    [[], forward, false],
    [["10.0.0.1"], [...forward, "--allow-from", "10.0.0.2"], false],
    [["10.0.0.1"], forward.slice(0, -1), false],
    [["127.0.0.1"], front, false],
  ];
  for (const [listensAt, args, told] of cases) {
    const all = found("client", { listensAt, args });
    assert.equal(all.length, told ? 1 : 0, args.join(" "));
    for (const text of all) {
      assert.match(text, /^--accept-proxy stands open beyond this machine: /);
    }
  }
});

Deno.test("exposures(): a front-end beyond this machine, unless it asks who comes", () => {
  const env = { SOCKS_PASSWORD: "hunter2" };
  const login = ["--socks-user", "ann"];
  const cases: [listensAt: string[], args: string[], told: boolean][] = [
    [["127.0.0.1", "::1"], ["-D", "1"], false],
    [[], ["-D", "/x.sock"], false],
    [["10.0.0.1"], ["-D", "10.0.0.1:1"], true],
    [["::"], ["--http-proxy", "*:1"], true],
    [["10.0.0.1"], ["-D", "10.0.0.1:1", "--allow-from", "10.0.0.0/8"], false],
    [["10.0.0.1"], ["-D", "10.0.0.1:1", ...login], false],
  ];
  for (const [listensAt, args, told] of cases) {
    const all = found("client", {
      listensAt,
      args,
      env: args.includes("ann") ? env : {},
    });
    assert.equal(all.length, told ? 1 : 0, args.join(" "));
    for (const text of all) {
      assert.match(text, /^--socks or --http-proxy stands open beyond /);
    }
  }
});

Deno.test("exposures(): a server that dials any target", () => {
  const cases: [args: string[], told: boolean][] = [
    [[], true],
    [["--deny-target", "10.0.0.0/8:*"], true],
    [["--allow-target", "db:5432"], false],
    [["--service", "db=db:5432"], false],
  ];
  for (const [args, told] of cases) {
    const all = found("server", { args });
    assert.equal(all.length, told ? 1 : 0);
    for (const text of all) assert.match(text, /^dials any target: /);
  }
});

Deno.test("exposures(): a server whose clients have keys, unless each has targets of its own", () => {
  const [one, two] = PUBLIC_KEYS;
  const any = `- { name: a, keys: ${one} }`;
  const bound = `- { name: b, keys: ${two}, allow: "db:5432" }`;
  for (
    const [entries, told] of [
      [[any], true],
      [[any, bound], true],
      [[bound], false],
      [[`- { name: c, keys: ${two}, services: db }`], false],
    ] as const
  ) {
    const files = { "/s.yaml": `clients:\n${entries.join("\n")}\n` };
    const args = ["--config", "/s.yaml", "--secret-key", "k"];
    const all = found("server", { args, files });
    assert.equal(all.length, told ? 1 : 0, entries.join());
    for (const text of all) {
      assert.match(text, /^dials any target: whoever has the key of /);
    }
  }
});

Deno.test("exposures(): a secret that goes over the network as it is", () => {
  const login = { NATS_USER: "ann", NATS_PASSWORD: HIDDEN };
  const cases: [env: Record<string, string>, told: RegExp | undefined][] = [
    [{ ...login, NATS_URL: "nats://a" }, /^password over nats:\/\/ .* a:4222 /],
    [{ ...login, NATS_URL: "127.0.0.1,[::1]:1,b:2" }, /^password .* b:2 /],
    [{ NATS_URL: `nats://u:${HIDDEN}@10.0.0.1` }, /^password .* 10\.0\.0\.1:/],
    [{ NATS_TOKEN: HIDDEN, NATS_URL: "a" }, /^token over nats:\/\/ /],
    [
      { ...login, NATS_URL: "localhost,127.0.0.2,[::1]:1,x.localhost" },
      undefined,
    ],
    [{ ...login, NATS_URL: "tls://a" }, undefined],
    [{ ...login, NATS_URL: "nats://a", NATS_TLS_FIRST: "true" }, undefined],
    [
      { ...login, NATS_URL: "ws://127.0.0.1,wss://a,ws://b/x" },
      /^password over ws:\/\/ in the clear: b:80 is not this machine \(wss:\/\/ has TLS, /,
    ],
    [{ ...login, NATS_URL: "wss://a" }, undefined],
    [{ NATS_JWT: HIDDEN, NATS_URL: "a" }, /^jwt over nats:\/\/ /],
    [{ NATS_JWT: HIDDEN, NATS_SEED: "SU", NATS_URL: "a" }, undefined],
    [{ NATS_NKEY: "/n", NATS_URL: "a" }, undefined],
    [{ NATS_CREDS: "/c", NATS_URL: "a" }, undefined],
    [{ NATS_URL: "a" }, undefined],
  ];
  for (const [env, told] of cases) {
    const all = found("client", { env });
    assert.equal(all.length, told === undefined ? 0 : 1, env.NATS_URL);
    for (const text of all) {
      assert.match(text, told ?? /^$/);
      assert.ok(!text.includes(HIDDEN));
    }
  }
});

Deno.test("exposures(): secret files that others may read or write", () => {
  const tls = ["--nats-tls-cert", "/cert", "--nats-tls-key", "/key"];
  const open = { "/key": 0o100644, "/n": 0o666, "/cert": 0o644, "/f": 0o604 };
  const shut = { "/key": 0o100640, "/n": 0o400, "/cert": 0o644, "/f": 0o660 };
  const given = { args: ["--nats-nkey", "/n", ...tls], secretFiles: ["/f"] };
  const mended = "(chmod 600 makes it the owner's alone)";
  assert.deepEqual(found("client", { ...given, modes: open }), [
    `secret file readable by others: "/f" has mode 604 ${mended}`,
    `secret file readable by others: "/n" has mode 666 ${mended}`,
    `secret file readable by others: "/key" has mode 644 ${mended}`,
  ]);
  assert.deepEqual(found("client", { ...given, modes: shut }), []);
  assert.deepEqual(found("client", given), []);
});

Deno.test("modeOf() follows links, and knows no mode of what is no file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/secret`;
    await Deno.writeTextFile(file, "x");
    await Deno.chmod(file, 0o640);
    await Deno.symlink(file, `${folder}/link`);
    assert.equal((modeOf(`${folder}/link`) ?? 0) & 0o777, 0o640);
    assert.equal(modeOf(folder), undefined);
    assert.equal(modeOf(`${folder}/none`), undefined);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("exposures(): control without a login, and a record of what is sealed", () => {
  const control = /^--control stands open: /;
  const told = (role: Role, env: Readonly<Record<string, string>>): number =>
    found(role, { env, args: ["--control"] }).filter((text) =>
      control.test(text)
    ).length;
  for (const role of ["server", "client"] as const) {
    assert.equal(told(role, {}), 1);
    assert.equal(told(role, { NATS_CREDS: "a.creds" }), 0);
    assert.equal(
      told(role, { NATS_TLS_CERT: "a.pem", NATS_TLS_KEY: "a.key" }),
      0,
    );
  }
  const audit = ["--audit-subject", "audit"];
  const sealed = [
    ...["--secret-key", "a.key", "--server-key", PUBLIC_KEYS[0], ...audit],
  ];
  const clear = /^--audit-subject tells in the clear /;
  const says = (args: readonly string[]): boolean =>
    found("client", { args }).some((text) => clear.test(text));
  assert.ok(says(sealed));
  assert.ok(!says(audit));
});
