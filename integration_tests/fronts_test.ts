/** SOCKS and HTTP proxy at a client, as curl and git use them, and as nobody should. */
import assert from "node:assert/strict";
import { freePort, parseAddress } from "./support/addresses.ts";
import { expectEcho, meetingOf, roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { byConnect, bySocks } from "./support/front_dial.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { needs } from "./support/optional_tools.ts";
import { owned } from "./support/owned.ts";
import { openFiles } from "./support/proc_stats.ts";
import { run } from "./support/processes.ts";
import {
  type ClientRole,
  type LogEntry,
  type Role,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho, startSink, type Target } from "./support/targets.ts";
import { dial, readExactly, readToEnd, writeAll } from "./support/transfer.ts";
import { filesAtMost } from "./support/waits.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A client whose front-ends listen. */
interface Stage extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly server: Role;
  readonly client: ClientRole;
  readonly echo: Target;
  readonly folder: Folder;
  /** `host:port` of the SOCKS port. */
  readonly socks: string;
  /** `host:port` of the HTTP proxy. */
  readonly http: string;
}

async function startStage(
  { clientArgs = [], serverArgs = [], env = {}, through = [] }: {
    readonly clientArgs?: readonly string[];
    readonly serverArgs?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly through?: readonly string[];
  } = {},
): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const echo = cleanup.use(startEcho());
  const nats = cleanup.use(await startNatsServer());
  const server = cleanup.use(await startServer(nats.url, { args: serverArgs }));
  const client = cleanup.use(
    await startClient(nats.url, {
      target: echo.address,
      env: { ...env, HOME: folder.path },
      through,
      args: ["-D", "127.0.0.1:0", "--http-proxy", "127.0.0.1:0", ...clientArgs],
    }),
  );
  const placeOf = async (kind: string): Promise<string> => {
    const { address } = await client.entry(({ msg, forward }) =>
      msg === "listening" && forward === kind
    );
    return String(address);
  };
  const socks = await placeOf("socks");
  const http = await placeOf("http-proxy");
  return owned(cleanup, { nats, server, client, echo, folder, socks, http });
}

/** Serves HTTP: says what it was asked, and how long the body was. */
function startWeb(): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { method, url, headers } = request;
      const { length } = await request.text();
      const names = [...headers.keys()].filter((name) =>
        /^(x-|proxy|keep|te)/.test(name)
      );
      return new Response(
        `${method} ${new URL(url).pathname} ${
          headers.get("host")
        } ${length} ${names}`,
      );
    },
  );
}

/** What curl says and ends with; its own environment names no proxy. */
async function curl(
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly output: string }> {
  const { status, output } = await run("curl", {
    env: { NO_PROXY: "", http_proxy: "", https_proxy: "", ALL_PROXY: "" },
    args: ["-sS", "--noproxy", "", "--max-time", "60", ...args],
  });
  return { code: status.code, output };
}

const WITH_CURL = await needs("curl");

/** How curl is told to go through each. */
function waysOf(
  { socks, http }: Pick<Stage, "socks" | "http">,
): readonly (readonly [name: string, ...args: string[]])[] {
  return [
    ["SOCKS5", "--socks5-hostname", socks],
    ["SOCKS5, addresses", "--socks5", socks],
    ["SOCKS4a", "--socks4a", socks],
    ["SOCKS4", "--socks4", socks],
    ["a page", "-x", `http://${http}`],
    ["CONNECT", "--proxytunnel", "-x", `http://${http}`],
    ["CONNECT of 1.0", "--proxytunnel", "--proxy1.0", http],
  ];
}

for (const workers of ["1", "2"]) {
  integrationTest(
    `curl fetches and posts through SOCKS5, 4 and 4a, CONNECT and plain HTTP: workers=${workers}`,
    async () => {
      await using stage = await startStage({
        clientArgs: ["--workers", workers],
      });
      await using web = startWeb();
      const { port } = web.addr;
      const body = await stage.folder.write("body", "x".repeat(500_000));
      for (const [name, ...way] of waysOf(stage)) {
        const got = await curl(...way, `http://localhost:${port}/a?b`);
        assert.match(
          got.output,
          new RegExp(`^GET /a localhost:${port} 0 $`),
          name,
        );
        // curl asks first whether it may send so much, and then sends it whole or in chunks.
        for (
          const header of ["Expect: 100-continue", "Transfer-Encoding: chunked"]
        ) {
          const posted = await curl(
            ...[
              ...way,
              "-H",
              header,
              "-H",
              "X-One: 1",
              "--data-binary",
              `@${body}`,
            ],
            `http://localhost:${port}/p`,
          );
          assert.equal(
            posted.output,
            `POST /p localhost:${port} 500000 x-one`,
            `${name}, ${header}`,
          );
        }
      }
      // Two requests on one connection to the proxy, as curl would have it.
      const two = await curl(
        ...["-x", `http://${stage.http}`],
        ...[`http://localhost:${port}/1`, `http://localhost:${port}/2`],
      );
      assert.equal(
        two.output,
        `GET /1 localhost:${port} 0 GET /2 localhost:${port} 0 `,
      );
      const { code } = await stage.client.process.stop();
      assert.equal(code, 0);
    },
    WITH_CURL,
  );
}

integrationTest(
  "with a login, curl gets through by it alone, and SOCKS4 not at all",
  async () => {
    await using stage = await startStage({
      clientArgs: ["--socks-user", "ann"],
      env: { SOCKS_PASSWORD: "hunter:2" },
    });
    const { socks, http, client } = stage;
    await using web = startWeb();
    const page = `http://localhost:${web.addr.port}/`;
    const cases: readonly (readonly [
      args: readonly string[],
      code: number,
      output: RegExp,
    ])[] = [
      [["--socks5-hostname", socks, "-U", "ann:hunter:2"], 0, /^GET/],
      [
        ["--socks5-hostname", socks, "-U", "ann:hunter"],
        97,
        /User was rejected/,
      ],
      [["--socks5-hostname", socks], 97, /No authentication method/],
      [["--socks4a", socks, "-U", "ann:hunter:2"], 97, /request rejected/],
      [["-x", http, "-U", "ann:hunter:2"], 0, /^GET/],
      [["-x", http, "-U", "ann:hunter:2", "--proxy-anyauth"], 0, /^GET/],
      [["-x", http, "-p", "-U", "ann:hunter:2"], 0, /^GET/],
      [["-x", http, "-p", "-U", "bob:hunter:2"], 56, /response 407/],
      [
        ["-x", http],
        0,
        /^tcp-sproxy: the proxy asks for a user and a password/,
      ],
    ];
    for (const [args, code, output] of cases) {
      const got = await curl(...args, page);
      assert.match(got.output, output, args.join(" "));
      assert.equal(got.code, code, args.join(" "));
    }
    const { output } = await curl(
      "-x",
      http,
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
      page,
    );
    assert.equal(output, "407");
    await client.entry(({ msg, why }) =>
      msg === "a request at a front-end is not served" &&
      why === "wrong user or password"
    );
    assert.doesNotMatch(client.process.lines.join("\n"), /hunter/);
  },
  WITH_CURL,
);

integrationTest(
  "curl is told the real reason: refused, no such host, denied, silent, no server",
  async () => {
    await using stage = await startStage({
      clientArgs: ["--open-timeout", "2s"],
      serverArgs: ["--deny-target", "denied.example:*"],
    });
    const { socks, http, server } = stage;
    const told = async (
      target: string,
    ): Promise<readonly [socks: string, connect: string, page: string]> => {
      const url = `http://${target}/`;
      const { output } = await curl("--socks5-hostname", socks, url);
      const codeOf = async (name: string, ...args: string[]): Promise<string> =>
        (await curl(
          ...["-x", http, ...args, "-o", "/dev/null", "-w", `%{${name}}`, url],
        )).output.replace(/^curl: .*$/m, "").trim();
      return [
        /\((\d+)\)$/m.exec(output)?.[1] ?? output,
        await codeOf("http_connect", "--proxytunnel"),
        await codeOf("http_code"),
      ];
    };
    const closed = `localhost:${freePort()}`;
    assert.deepEqual(await told(closed), ["5", "502", "502"]);
    assert.deepEqual(await told("nowhere.invalid"), ["4", "404", "502"]);
    assert.deepEqual(await told("denied.example"), ["2", "403", "403"]);
    const { output } = await curl("-x", http, `http://${closed}/`);
    assert.match(
      output,
      /^tcp-sproxy: localhost:\d+ is not reached: Dial 127.0.0.1:\d+: connection refused \(refused\)$/,
    );
    server.process.pause();
    assert.deepEqual(await told(closed), ["6", "504", "504"]);
    await server.process.kill();
    assert.deepEqual(await told(closed), ["1", "503", "503"]);
  },
  WITH_CURL,
);

integrationTest(
  "git clones through SOCKS and the HTTP proxy",
  async () => {
    await using stage = await startStage();
    const { folder, socks, http } = stage;
    const git = async (...args: readonly string[]): Promise<void> => {
      const { status, output } = await run("git", {
        args,
        cwd: folder.path,
        env: { HOME: folder.path, GIT_CONFIG_NOSYSTEM: "1", NO_PROXY: "" },
      });
      assert.equal(status.code, 0, output);
    };
    const source = folder.at("source");
    await git("init", "-q", source);
    await Deno.writeTextFile(`${source}/file`, "x".repeat(100_000));
    await git("-C", source, "add", "file");
    await git(
      ...["-C", source, "-c", "user.name=a", "-c", "user.email=a@b"],
      ...["commit", "-qm", "one"],
    );
    await git("clone", "-q", "--bare", source, folder.at("a.git"));
    await git("-C", folder.at("a.git"), "update-server-info");
    await using web = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      async (request) => {
        const { pathname } = new URL(request.url);
        try {
          return new Response(
            await Deno.readFile(folder.at(pathname.slice(1))),
          );
        } catch (error) {
          if (!(error instanceof Deno.errors.NotFound)) throw error;
          return new Response("", { status: 404 });
        }
      },
    );
    const url = `http://localhost:${web.addr.port}/a.git`;
    for (
      const [name, proxy] of [
        ["by-socks", `socks5h://${socks}`],
        ["by-http", `http://${http}`],
      ] as const
    ) {
      await git(
        "-c",
        `http.proxy=${proxy}`,
        "clone",
        "-q",
        url,
        folder.at(name),
      );
      const text = await Deno.readTextFile(folder.at(`${name}/file`));
      assert.equal(text.length, 100_000);
    }
  },
  await needs("git"),
);

integrationTest(
  "what is said right after the request is not lost, and each direction ends on its own",
  async () => {
    await using stage = await startStage();
    const { socks, http } = stage;
    await using sink = startSink(encoder.encode("all there"));
    for (const length of [1, 16 * 1024, 2_000_000]) {
      const early = new Uint8Array(length).fill(7);
      for (
        const [front, open] of [[socks, bySocks], [http, byConnect]] as const
      ) {
        using conn = await open(front, sink.address, early.subarray(0, 30_000));
        await writeAll(conn, early.subarray(30_000));
        await conn.closeWrite();
        assert.equal(decoder.decode(await readToEnd(conn)), "all there");
      }
    }
    assert.deepEqual(
      sink.digests.map(({ bytes }) => bytes),
      [1, 1, 16 * 1024, 16 * 1024, 2_000_000, 2_000_000],
    );
    // A target that speaks first is heard after the answer, not in it.
    await using banner = startEcho({ banner: encoder.encode("SSH-2.0-x\r\n") });
    for (
      const [front, open] of [[socks, bySocks], [http, byConnect]] as const
    ) {
      using conn = await open(front, banner.address);
      const first = await readExactly(conn, 11);
      assert.equal(decoder.decode(first), "SSH-2.0-x\r\n");
      await roundTrip(conn);
    }
  },
);

integrationTest(
  "two hundred connections at once, half by SOCKS and half by CONNECT, and nothing is left of them",
  async () => {
    await using stage = await startStage();
    const { socks, http, echo, client } = stage;
    {
      using conn = await bySocks(socks, echo.address);
      await roundTrip(conn);
    }
    await echo.whenOpenAtMost(0);
    const files = await openFiles(client.process.pid);
    await Promise.all(
      Array.from({ length: 200 }, async (_, at) => {
        const [front, open] = at % 2 === 0
          ? [socks, bySocks] as const
          : [http, byConnect] as const;
        using conn = await open(front, echo.address);
        await expectEcho(conn, { seed: at, size: 50_000 });
      }),
    );
    assert.equal(echo.accepted, 201);
    await filesAtMost(client, files);
  },
);

integrationTest(
  "a restart of the broker in the middle costs no byte by SOCKS and CONNECT",
  async () => {
    await using stage = await startStage();
    const { nats, socks, http, echo } = stage;
    const { meanwhile, met } = meetingOf(2);
    const flow = async (conn: Deno.TcpConn, seed: number): Promise<void> => {
      using _conn = conn;
      await expectEcho(conn, { seed, size: 24_000_000, meanwhile });
    };
    await Promise.all([
      met.then(async () => {
        await nats.kill();
        await nats.restart();
      }),
      bySocks(socks, echo.address).then((conn) => flow(conn, 1)),
      byConnect(http, echo.address).then((conn) => flow(conn, 2)),
    ]);
  },
);

const isRefused = ({ msg }: LogEntry): boolean =>
  msg === "a request at a front-end is not served";

integrationTest(
  "three hundred that say half a request keep nobody out, and are gone after ten seconds; garbage is a line of the log",
  async () => {
    await using stage = await startStage();
    const { socks, http, echo, client } = stage;
    const files = await openFiles(client.process.pid);
    await using strangers = new AsyncDisposableStack();
    const halves: Deno.TcpConn[] = [];
    for (let at = 0; at < 300; at++) {
      const conn = await dial(parseAddress(at % 2 === 0 ? socks : http));
      strangers.use(conn);
      halves.push(conn);
      await writeAll(
        conn,
        at % 2 === 0 ? Uint8Array.of(5) : encoder.encode("GET http://a/ HT"),
      );
    }
    for (
      const [front, open] of [[socks, bySocks], [http, byConnect]] as const
    ) {
      using conn = await open(front, echo.address);
      await roundTrip(conn);
    }
    // The oldest went to make room, the rest when their time was up.
    await Promise.all(halves.map(readToEnd));
    await client.entry((entry) =>
      isRefused(entry) && /^256 conn/.test(String(entry.why))
    );
    await filesAtMost(client, files);
    for (
      const [front, said, answer] of [
        [socks, "GET / HTTP/1.1\r\n\r\n", /^$/],
        [http, "\x05\x01\0", /^$/],
        [http, "GET / HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 400 /],
        [
          http,
          `GET http://a/ HTTP/1.1\r\nA: ${"x".repeat(20_000)}`,
          /^HTTP\/1\.1 431 /,
        ],
        [socks, `\x04\x01\0\x50\x01\x02\x03\x04${"u".repeat(20_000)}`, /^$/],
      ] as const
    ) {
      using conn = await dial(parseAddress(front));
      await writeAll(conn, encoder.encode(said));
      assert.match(decoder.decode(await readToEnd(conn)), answer);
    }
    await filesAtMost(client, files);
    // Who is still half way is no reason to stay.
    strangers.use(await dial(parseAddress(socks)));
    const { code } = await client.process.stop();
    assert.equal(code, 0);
  },
);

integrationTest(
  "with few open files, strangers at a front-end take none from tunnels and NATS",
  async () => {
    await using stage = await startStage({
      through: ["prlimit", "--nofile=64"],
    });
    const { socks, client, echo, nats } = stage;
    await using strangers = new AsyncDisposableStack();
    for (let at = 0; at < 100; at++) {
      strangers.use(await dial(parseAddress(socks)));
    }
    using conn = await bySocks(socks, echo.address);
    await roundTrip(conn);
    await nats.kill();
    await nats.restart();
    await roundTrip(conn);
    using forward = await dial(client.endpoint);
    await roundTrip(forward);
  },
  await needs("prlimit"),
);

integrationTest(
  "--allow-from is for front-ends, too, which also listen at Unix sockets; and beyond this machine they say so",
  async () => {
    await using stage = await startStage({
      clientArgs: ["--allow-from", "127.0.0.2", "-D", "~/socks.sock"],
    });
    const { socks, http, echo, folder, client } = stage;
    for (const front of [socks, http]) {
      using conn = await dial(parseAddress(front));
      assert.equal(await conn.read(new Uint8Array(1)), null);
    }
    using conn = await Deno.connect({
      transport: "unix",
      path: folder.at("socks.sock"),
    });
    const { hostname, port } = echo.endpoint;
    await writeAll(
      conn,
      Uint8Array.of(
        4,
        1,
        port >> 8,
        port & 255,
        ...hostname.split(".").map(Number),
        0,
      ),
    );
    assert.deepEqual([...await readExactly(conn, 8)], [
      0,
      0x5a,
      0,
      0,
      0,
      0,
      0,
      0,
    ]);
    await roundTrip(conn);
    assert.equal(echo.accepted, 1);
    assert.ok(!client.entries().some(isOpen));
    await using other = await startClient(stage.nats.url, {
      target: echo.address,
      args: ["-D", "0.0.0.0:0"],
    });
    await other.entry(isOpen);
  },
);

function isOpen({ msg }: LogEntry): boolean {
  return msg.startsWith("--socks or --http-proxy stands open beyond");
}
