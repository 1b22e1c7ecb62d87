/** What is no broker, or shows a certificate of another time, and what people are told to do. */
import assert from "node:assert/strict";
import type { NatsOptions } from "../lib/nats/options.ts";
import { CA, CLIENT, firstAttempt, tlsBlock } from "./support/broker_links.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { spawnRole } from "./support/roles.ts";

/** What the first attempt at this port says within a moment. */
async function told(
  { port, scheme = "nats" }: {
    readonly port: number;
    readonly scheme?: string;
  },
  options: Partial<NatsOptions> = {},
): Promise<string> {
  const url = `${scheme}://localhost:${port}`;
  const { reason, hint } = await firstAttempt(url, {
    dialTimeout: 300,
    ...options,
  });
  return `${reason}: ${hint}`;
}

/** Listens, and says `greeting` to whoever connects; nothing where there is none. */
function listen(greeting?: string): Disposable & { readonly port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open: Deno.Conn[] = [];
  void (async () => {
    for await (const conn of listener) {
      open.push(conn);
      if (greeting !== undefined) {
        await conn.write(new TextEncoder().encode(greeting));
      }
    }
  })();
  return {
    port: listener.addr.port,
    [Symbol.dispose]: () => {
      listener.close();
      for (const conn of open) conn.close();
    },
  };
}

integrationTest("what is no NATS server is said to be none", async () => {
  const notNats = /not a NATS server/;
  await using http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response("hello"),
  );
  const { port } = http.addr;
  assert.match(await told({ port }), notNats);
  assert.match(await told({ port }, { tls: { first: true } }), notNats);
  using silent = listen();
  assert.match(
    await told(silent),
    /^no answer within 0\.3 s: perhaps not a NATS server, .* --nats-tls-first, .* wss:\/\/; /,
  );
  using ssh = listen("SSH-2.0-OpenSSH_9.9\r\n");
  assert.match(await told(ssh), /SSH-2\.0.*: not a NATS server: check host/);
});

integrationTest(
  "a broker's port that speaks something else is told by what to write",
  async () => {
    await using nats = await startNatsServer({
      config:
        `${tlsBlock()}\nwebsocket { listen: "127.0.0.1:-1", no_tls: true }`,
    });
    assert.match(
      await told(nats, { tls: { first: true, ca: CA } }),
      /InvalidContentType: it speaks no TLS before its greeting: leave out --nats-tls-first/,
    );
    assert.match(
      await told({ port: nats.port, scheme: "wss" }, { tls: { ca: CA } }),
      /InvalidContentType: it speaks no TLS there: write ws:\/\//,
    );
  },
);

integrationTest(
  "certificates of another time are told by what is to be done",
  async () => {
    await using folder = await Folder.make();
    const make = async (
      name: string,
      from: string,
      to: string,
    ): Promise<string> => {
      await folder.write(
        "ca.cnf",
        [
          "[ca]",
          "default_ca=d",
          "[d]",
          `database=${folder.at("index")}`,
          `serial=${folder.at("serial")}`,
          `new_certs_dir=${folder.path}`,
          "default_md=sha256",
          "policy=p",
          "copy_extensions=copy",
          "[p]",
          "commonName=supplied",
          "",
        ].join("\n"),
      );
      await folder.write("index", "");
      await folder.write("serial", "01\n");
      const openssl = async (...args: readonly string[]): Promise<void> => {
        const { success, stderr } = await new Deno.Command("openssl", {
          args: [...args],
          stdout: "null",
          stderr: "piped",
        }).output();
        assert.ok(success, new TextDecoder().decode(stderr));
      };
      const key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
      ];
      await openssl(
        ...["req", "-x509", ...key, "-subj", "/CN=ca", "-days", "10"],
        ...["-keyout", folder.at("ca.key"), "-out", folder.at("ca.pem")],
      );
      await openssl(
        ...["req", ...key, "-subj", `/CN=${name}`],
        ...["-addext", "subjectAltName=DNS:localhost"],
        ...["-keyout", folder.at("key.pem"), "-out", folder.at("csr.pem")],
      );
      await openssl(
        ...["ca", "-batch", "-notext", "-config", folder.at("ca.cnf")],
        ...["-cert", folder.at("ca.pem"), "-keyfile", folder.at("ca.key")],
        ...["-in", folder.at("csr.pem"), "-out", folder.at("cert.pem")],
        ...["-startdate", from, "-enddate", to],
      );
      return `tls { cert_file: ${JSON.stringify(folder.at("cert.pem"))}
      key_file: ${JSON.stringify(folder.at("key.pem"))} }`;
    };
    for (
      const [from, to, wanted] of [
        [
          "20200101000000Z",
          "20200201000000Z",
          /expired: .*: have the broker's certificate renewed/,
        ],
        [
          "20400101000000Z",
          "20400201000000Z",
          /not valid yet: .*: the clock of this machine/,
        ],
      ] as const
    ) {
      const config = await make("broker", from, to);
      const ca = await Deno.readTextFile(folder.at("ca.pem"));
      await using nats = await startNatsServer({ config });
      assert.match(await told(nats, { tls: { ca } }), wanted);
      // node:tls has one word for that and for an unknown authority.
      assert.match(
        await told(nats, { tls: { ca, ...CLIENT } }),
        /another authority than .* --nats-tls-ca has, or it has expired$/,
      );
    }
  },
);

for (
  const [env, login, hint] of [
    [{}, "no login", /^it wants a login: give --nats-creds, .*NATS_TOKEN$/],
    [
      { NATS_USER: "bob", NATS_PASSWORD: "hunter2" },
      'user "bob" and a password',
      /^check the user and the password/,
    ],
    [{ NATS_TOKEN: "hunter2" }, "a token", /^check the token/],
  ] as const
) {
  integrationTest(`a login that is refused is named: ${login}`, async () => {
    await using nats = await startNatsServer({
      config: `authorization { user: "ann", password: "right" }`,
    });
    await using client = await spawnRole("client", {
      env,
      args: ["--nats-url", nats.url, "-L", "0:a:1", "--log-format", "json"],
    });
    assert.equal((await client.status).code, 1);
    const entries = client.lines.map((line) => JSON.parse(line));
    const attempt = entries.find(({ msg }) => msg === "cannot connect to NATS");
    assert.equal(attempt?.login, login);
    assert.match(attempt.hint, hint);
    const last = entries.at(-1);
    assert.deepEqual([last.level, last.exit_code], ["error", 1]);
    assert.ok(
      last.msg.includes(`refuses our login, ${login}: "Auth`),
      last.msg,
    );
    assert.ok(!client.lines.join("\n").includes("hunter2"));
  });
}
