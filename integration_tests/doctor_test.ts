/** `doctor` against set-ups that are broken, each found and named; and against those that are not. */
import assert from "node:assert/strict";
import { freePort } from "./support/addresses.ts";
import { TLS_FOLDER, tlsBlock } from "./support/broker_links.ts";
import { examine } from "./support/doctor.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import {
  clientRules,
  loginAs,
  rulesConfig,
  SERVER_RULES,
} from "./support/nats_users.ts";
import { startServer } from "./support/roles.ts";
import { makeKey, SealedStage } from "./support/sealed_stage.ts";
import { PRLIMIT } from "./support/surroundings.ts";
import { startEcho, startSilent } from "./support/targets.ts";

/** A client whose forward is at any port. */
function forwardTo(...targets: readonly string[]): readonly string[] {
  return targets.flatMap((target) => ["-L", `127.0.0.1:0:${target}`]);
}

const NO_SERVER = [/^server/, /no server .*listens/, /start a server/] as const;

integrationTest(
  "doctor finds what is between a process and its broker: name, port, what speaks there, login, files",
  async () => {
    await using nats = await startNatsServer({
      config: `authorization { user: "field", password: "secret-one" }`,
    });
    await using silent = startSilent();
    await using http = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response("hello"),
    );
    await using folder = await Folder.make();
    const closed = freePort();
    const user = { NATS_USER: "field", HOME: folder.path };
    const right = { ...user, NATS_PASSWORD: "secret-one" };
    const at = (url: string): readonly string[] => ["--nats-url", url];
    const key = await folder.write("tls.key", "no key");
    const [wrong, none, two, nameless, refused, other, mute, file] =
      await Promise.all([
        examine("server", at(nats.url), {
          env: { ...user, NATS_PASSWORD: "secret-two" },
        }),
        examine("server", at(nats.url)),
        examine("server", at(`nats://127.0.0.1:${closed},${nats.url}`), {
          env: right,
        }),
        examine("server", at("nats://no-such-host.invalid")),
        examine("server", at(`nats://127.0.0.1:${closed}`)),
        examine("server", at(`nats://127.0.0.1:${http.addr.port}`)),
        examine("server", [
          ...at(`nats://${silent.address}`),
          ...["--timeout", "500ms"],
        ]),
        examine("server", [
          ...at(nats.url),
          ...["--nats-tls-cert", key, "--nats-tls-key", "/nowhere/tls.key"],
        ], { env: right }),
      ]);
    wrong.expectFailures([
      /^login/,
      /Authorization Violation.* \(tried with user "field" and a password\)/,
      /check the user and the password/,
    ]);
    assert.ok(!wrong.text.includes("secret-"), wrong.text);
    none.expectFailures([/^login/, /no login/, /it wants a login: give/]);
    two.expectFailures([
      new RegExp(`^connection 127.0.0.1:${closed}`),
      /refused/,
      /no broker listens there/,
    ]);
    assert.equal(two.step("round trip").state, "ok");
    nameless.expectFailures([
      /^name no-such-host.invalid/,
      /ENOTFOUND/,
      /check the name in --nats-url/,
    ]);
    refused.expectFailures([/^connection/, /refused/, /no broker listens/]);
    other.expectFailures([/^connection/, /an HTTP server/, /check the port/]);
    mute.expectFailures([/^connection/, /says nothing within 500 ms/, /check/]);
    file.expectFailures(
      [/^configuration/, /it holds no certificate in PEM text/, /^/],
      [/^configuration/, /Cannot read .*--nats-tls-key/, /mind the user/],
      [/^TLS/, /does not offer TLS/, /in place of tls:/],
    );
    for (const { code } of [wrong, none, two, nameless]) assert.equal(code, 1);
  },
);

integrationTest(
  "doctor names what is wrong with TLS: authority, name, dates, our certificate, who goes first",
  async () => {
    const verifying = `tls {
      cert_file: "${TLS_FOLDER}server.pem", key_file: "${TLS_FOLDER}server.key"
      ca_file: "${TLS_FOLDER}ca.pem", verify: true }`;
    await using strict = await startNatsServer({ config: verifying });
    await using plain = await startNatsServer({
      config: `listen: "127.0.0.2:-1"\n${tlsBlock()}`,
    });
    await using old = await startNatsServer({
      config: `tls { cert_file: "${TLS_FOLDER}expired-server.pem"
        key_file: "${TLS_FOLDER}expired-server.key" }`,
    });
    using first = Deno.listenTls({
      ...{ hostname: "127.0.0.1", port: 0 },
      cert: await Deno.readTextFile(`${TLS_FOLDER}server.pem`),
      key: await Deno.readTextFile(`${TLS_FOLDER}server.key`),
    });
    const shaken = (async () => {
      using conns = new DisposableStack();
      for await (const conn of first) {
        conns.use(conn).handshake().catch(() => {});
      }
    })();
    const ca = (name: string): readonly string[] => [
      ...["--nats-tls-ca", `${TLS_FOLDER}${name}.pem`],
    ];
    const mine = [
      ...["--nats-tls-cert", `${TLS_FOLDER}client.pem`],
      ...["--nats-tls-key", `${TLS_FOLDER}client.key`],
    ];
    const url = (port: number, host = "localhost"): readonly string[] => [
      ...["--nats-url", `tls://${host}:${port}`, "--timeout", "2s"],
    ];
    const [well, stranger, missing, misnamed, expired, early] = await Promise
      .all([
        examine("server", [...url(strict.port), ...ca("ca"), ...mine]),
        examine("server", [...url(strict.port), ...ca("next-ca"), ...mine]),
        examine("server", [...url(strict.port), ...ca("ca")]),
        examine("server", [...url(plain.port, "127.0.0.2"), ...ca("ca")]),
        examine("server", [...url(old.port), ...ca("expired-ca")]),
        examine("server", [
          ...url((first.addr as Deno.NetAddr).port, "127.0.0.1"),
          ...ca("ca"),
        ]),
      ]);
    first.close();
    await shaken;
    well.expectFailures();
    assert.match(well.step("TLS").found, /good; certificate of "CN=localhost"/);
    stranger.expectFailures([
      /^TLS/,
      /TLS failed: .*signed by "CN=tcp-sproxy test CA"/,
      /give the certificate of its authority, .* with --nats-tls-ca/,
    ]);
    missing.expectFailures([
      /^TLS/,
      /wants a certificate of ours/,
      /--nats-tls-cert and --nats-tls-key/,
    ]);
    misnamed.expectFailures([
      /^TLS/,
      /TLS failed: .*for localhost, 127.0.0.1/,
      /dial the broker by a name in its certificate/,
    ]);
    expired.expectFailures([
      /^TLS/,
      /TLS failed: .*from 2020-01-01 to 2021-01-01/,
      /renew the broker's certificate/,
    ]);
    early.expectFailures([
      /^connection/,
      /speaks TLS and nothing before/,
      /--nats-tls-first/,
    ]);
  },
);

integrationTest(
  "doctor tries what NATS must allow and what it should refuse",
  async () => {
    const edge7 = clientRules("edge7");
    const less = (list: readonly string[], one: string): readonly string[] =>
      list.filter((subject) => subject !== one);
    await using nats = await startNatsServer({
      config: rulesConfig({
        server: SERVER_RULES,
        fenced: edge7,
        deaf: { ...edge7, subscribe: ["elsewhere"] },
        mute: { ...edge7, publish: less(edge7.publish, "proxy.request.edge7") },
        silenced: { ...SERVER_RULES, publish: ["_INBOX.>"] },
      }),
    });
    const client = (user: string): ReturnType<typeof examine> =>
      examine("client", [
        ...["--nats-url", nats.url, "--client-id", "edge7"],
        ...forwardTo("localhost:1"),
      ], { env: loginAs(user) });
    const [fenced, deaf, mute, open] = await Promise.all([
      client("fenced"),
      client("deaf"),
      client("mute"),
      client("client"),
    ]);
    // Not beside those: what a server's doctor tries hears opens for a moment.
    const [silenced, server] = await Promise.all([
      examine("server", ["--nats-url", nats.url], { env: loginAs("silenced") }),
      examine("server", ["--nats-url", nats.url], { env: loginAs("server") }),
    ]);
    fenced.expectFailures([...NO_SERVER]);
    const { found } =
      fenced.findings.find(({ about }) => about === "that are not needed") ??
        { found: "" };
    assert.match(found, /all 5 that were tried are refused/);
    deaf.expectFailures(
      [
        /permission to subscribe p\.data\.to_client\.edge7\.>/,
        /hears answers/,
        /permissions/,
      ],
    );
    assert.equal(deaf.step("server").state, "skipped");
    mute.expectFailures(
      [
        /permission to publish proxy\.request\.edge7/,
        /asks for/,
        /permissions/,
      ],
      [/^server/, /NATS refuses what is published to proxy/, /grant it/],
    );
    open.expectFailures([...NO_SERVER]);
    assert.match(
      open.of("warn").map(({ found }) => found).join(),
      /may also hear the tunnels of other clients.*; answer and cut/,
    );
    silenced.expectFailures([
      /permission to publish p\.data\.to_client\.>/,
      /answers clients/,
      /'server permissions'/,
    ]);
    server.expectFailures();
  },
);

integrationTest(
  "doctor at a client opens a tunnel to each target, beside a client that runs, and says why there is none",
  async () => {
    await using nats = await startNatsServer();
    await using echo = startEcho();
    const closed = freePort();
    await using server = await startServer(nats.url, {
      args: [
        ...["--allow-target", `127.0.0.1:*,no-such-host.invalid:1`],
        ...["--service", `up=${echo.address}`],
      ],
    });
    const denied = `127.0.0.2:${echo.endpoint.port}`;
    const examined = await examine("client", [
      ...["--nats-url", nats.url, "--client-id", "edge7"],
      ...forwardTo(
        echo.address,
        "svc:up",
        "svc:down",
        `127.0.0.1:${closed}`,
        "no-such-host.invalid:1",
        denied,
        "svc:up@berlin",
      ),
    ]);
    examined.expectFailures(
      [
        /^service svc:down/,
        /offers no service|does not offer|down/,
        /--service/,
      ],
      [
        /^target 127.0.0.1:\d+/,
        /connection refused/,
        /start what is to listen/,
      ],
      [/^target no-such-host/, /Resolve no-such-host.*no-such-host/, /mend/],
      [/^target 127.0.0.2/, /is not an allowed target/, /--allow-target/],
      [/^service svc:up@berlin/, /no server @berlin listens/, /--site/],
    );
    const well = examined.of("ok").filter(({ found }) =>
      found.startsWith("a tunnel was opened and closed")
    );
    assert.equal(well.length, 2, examined.text);
    await echo.whenOpenAtMost(0);
    assert.equal(echo.accepted, 2);
    await server.process.stop();
  },
);

integrationTest(
  "doctor finds keys that do not fit, and is content with those that do",
  async () => {
    await using stage = await SealedStage.start();
    await using _server = await stage.server();
    const { client, server, other, psk } = stage.keys;
    const unread = await makeKey(stage.folder, "open.key");
    await Deno.chmod(unread.path, 0o644);
    const of = (
      id: string,
      ...flags: readonly string[]
    ): ReturnType<typeof examine> =>
      examine("client", [
        ...["--nats-url", stage.url, "--client-id", id],
        ...flags,
        ...forwardTo(stage.echo.address),
      ], { env: { HOME: stage.folder.path } });
    const own = ["--secret-key", client.path];
    const theirs = ["--server-key", server.publicKey];
    // An answer with another key may be anybody's: it is waited for the right one.
    const soon = ["--timeout", "2s"];
    const [well, wrong, unknown, secret, open] = await Promise.all([
      of("well", ...own, ...theirs),
      of("wrong", ...own, "--server-key", other.publicKey, ...soon),
      of("unknown", "--secret-key", other.path, ...theirs),
      of("secret", ...own, ...theirs, "--psk", psk, ...soon),
      of("open", "--secret-key", unread.path, ...theirs),
    ]);
    well.expectFailures();
    assert.match(well.step("target").found, /a tunnel was opened and closed/);
    assert.equal(well.step("clock").state, "ok");
    wrong.expectFailures([/^server/, /right key/, /compare --server-key/]);
    unknown.expectFailures(
      [/^server/, /knows no client with the key/, /list this client's/],
    );
    secret.expectFailures([/^server/, /right keys/, /--psk/]);
    open.expectFailures([/^configuration/, /is open to others/, /^/]);
    assert.equal(open.step("server").state, "skipped");
  },
);

integrationTest(
  "doctor at a server dials its services, and finds limits, ports and names that do not do",
  async () => {
    await using nats = await startNatsServer({
      maxPayload: 8_192,
      websocket: "no_tls: true",
    });
    await using echo = startEcho();
    await using running = await startServer(nats.url);
    const closed = freePort();
    const common = ["--nats-url", nats.url];
    const [examined, beside, taken, within, without, short] = await Promise.all(
      [
        examine("server", [
          ...common,
          ...["--service", `up=${echo.address}`],
          ...["--service", `down=127.0.0.1:${closed}`],
          ...[
            "--service",
            `denied=127.0.0.2:1`,
            "--deny-target",
            "127.0.0.2:*",
          ],
          ...["--allow-target", "no-such-host.invalid:1"],
        ]),
        examine("server", [
          ...common,
          ...["--listen-addr", await running.statusAddress()],
        ]),
        examine("server", [...common, "--listen-addr", echo.address]),
        examine("server", ["--nats-url", nats.websocketUrl]),
        examine("server", [
          ...["--nats-url", `nats://127.0.0.1:${nats.websocketPort}`],
        ]),
        PRLIMIT === undefined ? undefined : examine("server", common, {
          through: [PRLIMIT, "--nofile=64:64"],
        }),
      ],
    );
    examined.expectFailures(
      [/^service down/, /connection refused/, /start what is to listen/],
      [/^service denied/, /denied/, /--deny-target/],
    );
    const warned = examined.of("warn").map(({ step, about, found, todo }) =>
      [step, about, found, todo].join(" ")
    ).join("\n");
    assert.match(warned, /allowed target no-such-host.invalid .*ENOTFOUND/);
    assert.match(warned, /takes messages of 8KiB.*raise max_payload/);
    beside.expectFailures();
    assert.match(beside.step("status port").found, /runs here, and is ready/);
    taken.expectFailures([
      /^status port/,
      /the port is in use/,
      /--listen-addr/,
    ]);
    within.expectFailures();
    assert.match(within.step("connection").found, /greets within a WebSocket/);
    without.expectFailures([/^connection/, /an HTTP server/, /WebSockets/]);
    if (short === undefined) return;
    short.expectFailures();
    assert.equal(short.step("open files").state, "warn");
    assert.match(short.step("open files").found, /files=64/);
  },
);
