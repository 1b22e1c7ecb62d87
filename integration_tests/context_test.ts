/** Contexts and variables of the `nats` command, with real brokers and real files. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { makeJwtUser } from "./support/nats_jwt.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { keyUsersConfig, makeKeyUser } from "./support/nats_users.ts";
import {
  type Role,
  spawnRole,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";

/** A home with contexts in it, and the one that is selected. */
async function homeWith(
  contexts: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  selected?: string,
): Promise<Folder> {
  const home = await Folder.make();
  await Deno.mkdir(home.at(".config/nats/context"), { recursive: true });
  for (const [name, values] of Object.entries(contexts)) {
    const path = await home.write(
      `.config/nats/context/${name}.json`,
      JSON.stringify(values),
    );
    await Deno.chmod(path, 0o600);
  }
  if (selected !== undefined) {
    await home.write(".config/nats/context.txt", selected);
  }
  return home;
}

/** What a role has said of contexts. */
function told(role: Role): readonly string[] {
  return role.entries()
    .filter(({ note }) => String(note).startsWith("context "))
    .map(({ level, note }) => `${level}: ${note}`);
}

const USER = makeKeyUser();
const JWT = makeJwtUser();
const BEARER = makeJwtUser({ bearer: true });
const PASSWORD = `authorization { user: "ann", password: "pass word" }`;
const TOKEN = `authorization { token: "s3cret" }`;

/** Logins, by what the broker knows and what the context or the variables say. */
const LOGINS: readonly {
  readonly what: string;
  readonly config: string;
  readonly context?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
}[] = [
  {
    what: "a context with user and password",
    config: PASSWORD,
    context: { user: "ann", password: "pass word" },
  },
  {
    what: "a context with a token in a file",
    config: TOKEN,
    context: { token: "file://~/token" },
    files: { token: "s3cret\n" },
  },
  {
    what: "a context with a token in a variable",
    config: TOKEN,
    // One that `deno task` lets it read.
    context: { token: "env://NO_COLOR" },
    env: { NO_COLOR: "s3cret" },
  },
  {
    what: "a context with a credentials file in the home",
    config: keyUsersConfig(USER),
    context: { creds: "${HOME}/user.creds" },
    files: { "user.creds": USER.creds },
  },
  {
    what: "a context that has the credentials in it",
    config: keyUsersConfig(USER),
    context: { creds: `data:;base64,${btoa(USER.creds)}` },
  },
  {
    what: "a context with an nkey's file",
    config: keyUsersConfig(USER),
    context: { nkey: "~/user.nk" },
    files: { "user.nk": `${USER.seed}\n` },
  },
  {
    what: "a context with a JWT and its seed",
    config: JWT.config,
    context: { user_jwt: JWT.jwt, user_seed: JWT.seed },
  },
  {
    what: "a context with a bearer's JWT",
    config: BEARER.config,
    context: { user_jwt: BEARER.jwt },
  },
  {
    what: "NATS_JWT and NATS_SEED",
    config: JWT.config,
    env: { NATS_JWT: JWT.jwt, NATS_SEED: JWT.seed },
  },
  {
    what: "NATS_JWT alone, a bearer's",
    config: BEARER.config,
    env: { NATS_JWT: BEARER.jwt },
  },
  {
    what: "NATS_USER alone, a token",
    config: TOKEN,
    env: { NATS_USER: "s3cret" },
  },
];

for (const { what, config, context, env = {}, files = {} } of LOGINS) {
  integrationTest(`a server logs in with ${what}`, async () => {
    await using nats = await startNatsServer({ config });
    await using home = await homeWith({
      ...(context && { mine: { url: nats.url, ...context } }),
    });
    for (const [name, text] of Object.entries(files)) {
      await Deno.chmod(await home.write(name, text), 0o600);
    }
    await using server = await startServer(undefined, {
      env: {
        HOME: home.path,
        ...(context ? { NATS_CONTEXT: "mine" } : { NATS_URL: nats.url }),
        ...env,
      },
    });
    const lines = server.process.lines.join("\n");
    for (const secret of ["s3cret", "pass word", USER.seed, JWT.seed]) {
      assert.ok(!lines.includes(secret), lines);
    }
    assert.equal((await server.process.stop()).code, 0);
  });
}

integrationTest(
  "a tunnel of roles that contexts lead to NATS over TLS",
  async () => {
    const data = new URL("../tests/testdata/tls/", import.meta.url).pathname;
    const tls = {
      ca: `${data}ca.pem`,
      cert: `${data}client.pem`,
      key: `file://${data}client.key`,
    };
    await using nats = await startNatsServer({
      config:
        `tls { cert_file: "${data}server.pem", key_file: "${data}server.key",
      ca_file: "${data}ca.pem", verify: true }`,
    });
    const url = `nats://localhost:${nats.port}`;
    await using home = await homeWith({ prod: { url, ...tls } }, "prod\n");
    await using echo = startEcho();
    const env = { HOME: home.path };
    await using server = await startServer(undefined, {
      env,
      args: ["--context", "prod", "--workers", "2"],
    });
    await using client = await startClient(undefined, {
      env,
      target: echo.address,
    });
    using conn = await dial(client.endpoint);
    await roundTrip(conn);
    const path = home.at(".config/nats/context/prod.json");
    assert.deepEqual(told(server), [
      `info: context "prod" (--context) is used, from ${path}`,
    ]);
    assert.deepEqual(told(client), [
      `info: context "prod" (selected by the nats command) is used, from ${path}`,
    ]);
  },
);

integrationTest(
  "a URL of ours keeps all of a context out, also its login",
  async () => {
    await using nats = await startNatsServer();
    await using home = await homeWith({
      prod: { url: "nats://192.0.2.1", token: "s3cret" },
    }, "prod");
    const env = { HOME: home.path };
    await using server = await startServer(nats.url, {
      env: { ...env, NATS_CONTEXT: "prod" },
    });
    await using client = await startClient(nats.url, { env, target: "a:1" });
    assert.equal(told(server).length, 1);
    assert.match(
      told(server)[0] ?? "",
      /^warn: .* is not used beside --nats-url/,
    );
    assert.deepEqual(told(client), []);
    const { connections } = await nats.monitor("connz?auth=1");
    assert.ok(!JSON.stringify(connections).includes("s3cret"));
  },
);

integrationTest(
  "a server does not follow the selection of the nats command",
  async () => {
    await using home = await homeWith(
      { prod: { url: "nats://192.0.2.1" } },
      "prod",
    );
    await using server = await spawnRole("server", {
      env: { HOME: home.path },
      args: ["--listen-addr", "off"],
    });
    // Whether or not there is a broker where it looks.
    const line = await server.waitForLine((line) =>
      /cannot connect to NATS|connected to NATS/.test(line)
    );
    assert.match(line, /server=localhost:4222/);
    const lines = server.lines.join("\n");
    assert.match(
      lines,
      /prod\\*" \(selected by the nats command\) is not used by/,
    );
  },
);

integrationTest(
  "a context with a secret that others may read is said to stand open",
  async () => {
    await using nats = await startNatsServer({ config: TOKEN });
    await using home = await homeWith({
      mine: { url: nats.url, token: "s3cret", color_scheme: "red" },
    });
    const path = home.at(".config/nats/context/mine.json");
    await Deno.chmod(path, 0o644);
    await using server = await startServer(undefined, {
      env: { HOME: home.path },
      args: ["--context", "mine", "--allow-target", "a:1"],
    });
    const warnings = server.entries().filter(({ level }) => level === "warn")
      .map(({ note, why }) => note ?? why);
    assert.deepEqual(warnings, [
      'context "mine" sets what is not used here: color_scheme',
      `"${path}" has mode 644`,
    ]);
  },
);

for (
  const [args, said] of [
    [["--context", "gone"], /--context: there is no context "gone" \(no file /],
    [["--context", "mine", "--nats-url", "a"], /does not go with --nats-url/],
    [["--context", "../mine"], /no name of a context: it has \.\. in it/],
    [["--context", "bad"], /creds in context "bad" .*op:\/\/ is not supported/],
  ] as const
) {
  integrationTest(`a client refuses ${args.join(" ")}`, async () => {
    await using home = await homeWith({
      mine: { url: "a" },
      bad: { creds: "op://vault/item/field" },
    });
    await using client = await spawnRole("client", {
      env: { HOME: home.path },
      args,
    });
    assert.equal((await client.status).code, 2);
    assert.match(client.lines.join("\n"), said);
  });
}
