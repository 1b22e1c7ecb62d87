/** Files with keys and certificates that change while a role runs. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { comes, soon, whenReady } from "./support/waits.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import {
  type KeyUser,
  keyUsersConfig,
  makeKeyUser,
} from "./support/nats_users.ts";
import {
  type ClientRole,
  type Role,
  type RoleName,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";

const ROLES = ["client", "server"] as const;

const TLS = new URL("../tests/testdata/tls/", import.meta.url);

/** Pings often enough that a role sees at once that its broker has gone. */
const QUICK = ["--nats-ping-interval", "250ms"];

/** How long one of several attempts to use a tunnel may take, in ms. */
const ATTEMPT = 2_000;

/** So that a login that never succeeds is seen soon. */
const IMPATIENT = ["--nats-connect-timeout", "5s"];

/** A broker with two roles, one of which logs in with a file. */
interface Rotating extends AsyncDisposable {
  readonly folder: Folder;
  readonly nats: NatsServer;
  readonly role: Role;
  readonly client: ClientRole;
}

/** How a file holds a key. */
const KINDS = [
  ["--nats-creds", (user: KeyUser) => user.creds],
  ["--nats-nkey", (user: KeyUser) => `${user.seed}\n`],
] as const;

/** The user that is always let in: the other role, and who looks on. */
const other = makeKeyUser();

/** Starts both roles; the one called `name` logs in as `user`, with the file `key`. */
async function start(
  name: RoleName,
  options: {
    readonly flag: string;
    readonly key: string;
    readonly user: KeyUser;
    readonly workers?: string;
  },
): Promise<Rotating> {
  const { flag, key, user, workers = "1" } = options;
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  await folder.write("key", key);
  await folder.write("other", other.seed);
  const config = keyUsersConfig(user, other);
  const nats = cleanup.use(await startNatsServer({ config }));
  const echo = cleanup.use(startEcho());
  const login = (role: RoleName): string[] =>
    role === name
      ? [flag, folder.at("key"), "--workers", workers]
      : ["--nats-nkey", folder.at("other")];
  // The tasks let a role read its home.
  const rights = { env: { HOME: folder.path } };
  const server = cleanup.use(
    await startServer(nats.url, {
      ...rights,
      args: [...login("server"), ...QUICK],
    }),
  );
  const client = cleanup.use(
    await startClient(nats.url, {
      ...rights,
      target: echo.address,
      args: [...login("client"), "--status-addr", "127.0.0.1:0", ...QUICK],
    }),
  );
  const owner = cleanup.move();
  return {
    folder,
    nats,
    client,
    role: name === "client" ? client : server,
    [Symbol.asyncDispose]: () => owner.disposeAsync(),
  };
}

/** Expects that the role is ready again, and that a new tunnel works. */
async function expectBack({ role, client }: Rotating): Promise<void> {
  const gone = role.process.status.then(() => {
    throw new Error(`the ${role.process.name} has ended`);
  });
  await Promise.race([whenReady(role, 200), gone]);
  await comes(async () => {
    using conn = await dial(client.endpoint);
    return await soon("a new tunnel works", roundTrip(conn), ATTEMPT)
      .then(() => undefined, String);
  });
}

integrationTest(
  "credentials that were rotated are read at the next connect, and tunnels go on",
  async () => {
    await using folder = await Folder.make();
    const user = makeKeyUser();
    // Written on Windows: a byte order mark and CRLF.
    const file = await folder.write("key", `\uFEFF${user.seed}\r\n`);
    await using nats = await startNatsServer({ config: keyUsersConfig(user) });
    await using echo = startEcho();
    const options = {
      args: ["--nats-nkey", file],
      env: { HOME: folder.path },
      target: echo.address,
    };
    await using _server = await startServer(nats.url, options);
    await using client = await startClient(nats.url, options);
    using conn = await dial(client.endpoint);
    await roundTrip(conn);
    // Half written: the next attempts fail, and say why.
    await folder.write("key", user.seed.slice(0, 20));
    const mark = client.process.mark();
    await nats.kill();
    await nats.restart();
    const failed = await client.entry(
      ({ msg, why }) =>
        msg === "cannot connect to NATS" && /nkey seed/.test(String(why)),
      { since: mark },
    );
    assert.ok(!JSON.stringify(failed).includes(user.seed.slice(0, 20)));
    await Deno.remove(file);
    await client.entry(
      ({ msg, why }) =>
        msg === "cannot connect to NATS" &&
        /--nats-nkey.*no such file/i.test(String(why)),
      { since: mark },
    );
    await folder.write("key", user.seed);
    await roundTrip(conn);
  },
);

for (const name of ROLES) {
  for (const [flag, fileOf] of KINDS) {
    integrationTest(
      `rotation: a ${name} whose file of ${flag} was replaced comes back with the new key when the old one is revoked`,
      async () => {
        const [user, next] = [makeKeyUser(), makeKeyUser()];
        await using stage = await start(name, {
          flag,
          key: fileOf(user),
          user,
        });
        await stage.folder.replace("key", fileOf(next));
        await stage.nats.reload(keyUsersConfig(next, other));
        await stage.role.entry(({ msg }) => msg === "connection to NATS lost");
        await expectBack(stage);
      },
    );
  }
}

for (const name of ROLES) {
  integrationTest(
    `rotation: all workers of a ${name} come back with the new key`,
    async () => {
      const [user, next] = [makeKeyUser(), makeKeyUser()];
      await using stage = await start(name, {
        flag: "--nats-creds",
        key: user.creds,
        user,
        workers: "2",
      });
      await whenReady(stage.role, 200, { matching: /"ready":2/ });
      await stage.folder.replace("key", next.creds);
      await stage.nats.reload(keyUsersConfig(next, other));
      let lost = 0;
      await soon(
        "both lose their connection",
        stage.role.entry(({ msg }) =>
          msg === "connection to NATS lost" && ++lost === 2
        ),
      );
      // Each connection may get to another worker.
      for (let i = 0; i < 4; i++) await expectBack(stage);
      await whenReady(stage.role, 200, { matching: /"ready":2/ });
    },
  );
}

/** What stands in the file, or that there is none, before the new key does. */
const MEANWHILE: readonly {
  readonly what: string;
  readonly text: string | undefined;
  readonly named: boolean;
}[] = [
  { what: "with the old key", text: "old", named: false },
  { what: "empty", text: "", named: true },
  { what: "half-written", text: "half", named: true },
  { what: "gone", text: undefined, named: true },
];

const [[flag, fileOf]] = KINDS;

for (const { what, text, named } of MEANWHILE) {
  integrationTest(
    `rotation: a client whose file of ${flag} is ${what} when it must log in again${
      named ? " names it," : ""
    } tries again and comes back once the new key is there`,
    async () => {
      const [user, next] = [makeKeyUser(), makeKeyUser()];
      await using stage = await start("client", {
        flag,
        key: fileOf(user),
        user,
      });
      const { role, folder, nats } = stage;
      if (text === undefined) await Deno.remove(folder.at("key"));
      else {
        const whole = fileOf(text === "old" ? user : next);
        const length = text === ""
          ? 0
          : text === "half"
          ? whole.length / 2
          : whole.length;
        await folder.write("key", whole.slice(0, length));
      }
      const since = role.process.mark();
      await nats.reload(keyUsersConfig(next, other));
      await soon(
        named ? "the log names the file" : "a login is refused",
        role.entry(
          ({ msg, level, why }) =>
            level !== "info" &&
            (named
              ? `${msg} ${why}`.includes(folder.at("key"))
              : /authorization/i.test(String(why))),
          { since },
        ),
      );
      await folder.replace("key", fileOf(next));
      await expectBack(stage);
    },
  );
}

/** A file of the test certificates. */
function pem(name: string): string {
  return Deno.readTextFileSync(new URL(name, TLS));
}

/** The configuration of a broker that shows, and with `verify` demands, a certificate of one authority. */
function tlsConfig(prefix: string, verify: boolean): string {
  const path = (name: string): string =>
    JSON.stringify(new URL(`${prefix}${name}`, TLS).pathname);
  return `tls { cert_file: ${path("server.pem")}, key_file: ${
    path("server.key")
  }, ca_file: ${path("ca.pem")}, verify: ${verify} }`;
}

for (const verify of [false, true]) {
  integrationTest(
    `rotation: a client comes back when the broker's authority${
      verify ? ", its own certificate and its key were" : " was"
    } replaced`,
    async () => {
      await using folder = await Folder.make();
      const files = ["ca.pem", ...(verify ? ["client.pem", "client.key"] : [])];
      for (const file of files) await folder.write(file, pem(file));
      await using nats = await startNatsServer({
        config: tlsConfig("", verify),
      });
      const url = `tls://localhost:${nats.port}`;
      await using client = await startClient(url, {
        env: { HOME: folder.path },
        target: "127.0.0.1:1",
        args: [
          ...["--nats-tls-ca", folder.at("ca.pem")],
          ...(verify
            ? [
              ...["--nats-tls-cert", folder.at("client.pem")],
              ...["--nats-tls-key", folder.at("client.key")],
            ]
            : []),
          ...["--status-addr", "127.0.0.1:0", ...QUICK, ...IMPATIENT],
        ],
      });
      for (const file of files) await folder.replace(file, pem(`next-${file}`));
      await nats.restart({ config: tlsConfig("next-", verify) });
      // Ready it is not: there is no server.
      await soon(
        "it is back",
        client.entry(({ msg }) => msg === "connected to NATS again"),
      );
    },
  );
}

integrationTest(
  "a client certificate can be shown with the permissions that the tasks give",
  async () => {
    await using nats = await startNatsServer({ config: tlsConfig("", true) });
    const path = (name: string): string => new URL(name, TLS).pathname;
    await using server = await startServer(`tls://localhost:${nats.port}`, {
      args: [
        ...["--nats-tls-ca", path("ca.pem")],
        ...["--nats-tls-cert", path("client.pem")],
        ...["--nats-tls-key", path("client.key"), ...IMPATIENT],
      ],
    });
    await whenReady(server, 200);
  },
);

integrationTest(
  "rotation: a certificate whose key is still the old one is only a delay",
  async () => {
    await using folder = await Folder.make();
    const files = ["ca.pem", "client.pem", "client.key"];
    for (const file of files) await folder.write(file, pem(file));
    await using nats = await startNatsServer({ config: tlsConfig("", true) });
    await using server = await startServer(`tls://localhost:${nats.port}`, {
      env: { HOME: folder.path },
      args: [
        ...["--nats-tls-ca", folder.at("ca.pem")],
        ...["--nats-tls-cert", folder.at("client.pem")],
        ...["--nats-tls-key", folder.at("client.key"), ...QUICK, ...IMPATIENT],
      ],
    });
    const since = server.process.mark();
    await folder.replace("ca.pem", pem("next-ca.pem"));
    await folder.replace("client.pem", pem("next-client.pem"));
    await nats.restart({ config: tlsConfig("next-", true) });
    const failed = ({ msg }: { readonly msg: string }): boolean =>
      msg === "cannot connect to NATS";
    await soon("an attempt fails", server.entry(failed, { since }));
    await folder.replace("client.key", pem("next-client.key"));
    await whenReady(server, 200);
  },
);

/** Rules of a broker that lets one user in, with a password. */
function passwordConfig(password: string): string {
  return `authorization { users: [{ user: edge, password: "${password}" }] }`;
}

/** A config file that says this password. */
function configFile(password: string): string {
  return `nats:\n  user: edge\n  password: ${password}\n`;
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `rotation: a server of ${workers} worker(s) whose config file has another password comes back with it`,
    async () => {
      await using folder = await Folder.make();
      const path = await folder.write("a.yaml", configFile("one"));
      await Deno.chmod(path, 0o600);
      await using nats = await startNatsServer({
        config: passwordConfig("one"),
      });
      await using server = await startServer(nats.url, {
        env: { HOME: folder.path },
        args: ["--config", path, "--workers", workers, ...QUICK],
      });
      if (workers === "2") {
        // Ready is a server with the first of them; all are to come back.
        await server.entry(({ msg }) => msg === "workers started");
      }
      // What cannot be read says nothing of the login, and keeps nobody out.
      await folder.write("a.yaml", "nats: {");
      const before = server.process.mark();
      await nats.restart();
      await server.entry(({ msg }) =>
        msg === "the config file cannot be used; the login stays as it was"
      );
      // Ready is a server with the first of them that is back.
      await comesBack(server, Number(workers), before);

      await folder.write("a.yaml", configFile("two"));
      const since = server.process.mark();
      server.process.signal("SIGHUP");
      const said = await server.entry(
        ({ msg }) => msg.startsWith("SIGHUP"),
        { since },
      );
      assert.equal(said.level, "info", JSON.stringify(said));
      assert.equal(said.files, path);
      await nats.reload(passwordConfig("two"));
      await comesBack(server, Number(workers), since);
    },
  );
}

/** Waits until so many threads of `role` have said since then that they are back. */
async function comesBack(
  role: Role,
  threads: number,
  since: number,
): Promise<void> {
  await comes(() => {
    const { length } = role.entries(since).filter(({ msg }) =>
      msg === "connected to NATS again"
    );
    return Promise.resolve(
      length === threads ? undefined : `${length} came back`,
    );
  });
}
