/** Chromium through SOCKS and the HTTP proxy, at a page whose name the server alone knows. */
import assert from "node:assert/strict";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { locateAll } from "./support/optional_tools.ts";
import { owned } from "./support/owned.ts";
import { run, spawn } from "./support/processes.ts";
import { type ClientRole, startClient, startServer } from "./support/roles.ts";
import { hostsFile, UNSHARE, withHosts } from "./support/surroundings.ts";
import { soon } from "./support/waits.ts";

/** Large, and so not installed for tests: they run where there is one. */
const CHROMIUM = (await locateAll("chromium")).get("chromium");

/** A name that the server's hosts file alone has. */
const HOST = "page.internal";

/** Bytes of each file that the page fetches, and how many at once. */
const FILE_BYTES = 3_000_000;
const FILES = 8;

/** Fetches files at once, sends one back, talks over a WebSocket, and tells what came of it. */
const PAGE = `<!doctype html><title>page</title><script>
const told = async () => {
  const files = await Promise.all(Array.from({ length: ${FILES} },
    async (_, n) => (await (await fetch("/file?" + n)).blob()).size));
  const body = new Uint8Array(${FILE_BYTES}).fill(7);
  const posted = await (await fetch("/length", { method: "POST", body })).text();
  const socket = new WebSocket("ws://" + location.host + "/echo");
  const said = await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send("over the socket");
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = () => reject("the WebSocket failed");
  });
  return { files, posted, said };
};
told().catch(String).then((result) =>
  fetch("/told", { method: "POST", body: JSON.stringify(result) }));
</script>`;

/** What the page has told. */
interface Site extends AsyncDisposable {
  readonly port: number;
  readonly told: Promise<unknown>;
}

function startSite(): Site {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      switch (pathname) {
        case "/":
          return new Response(PAGE, {
            headers: { "content-type": "text/html" },
          });
        case "/file":
          return new Response(new Uint8Array(FILE_BYTES));
        case "/length":
          return new Response(String((await request.bytes()).length));
        case "/echo": {
          const { socket, response } = Deno.upgradeWebSocket(request);
          socket.onmessage = ({ data }) => socket.send(data);
          return response;
        }
        case "/told":
          resolve(await request.json());
          return new Response("");
        default:
          return new Response("", { status: 404 });
      }
    },
  );
  return {
    port: server.addr.port,
    told: promise,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** A client with both front-ends, and a folder for the browser's files. */
interface Stage extends AsyncDisposable {
  readonly client: ClientRole;
  readonly folder: Folder;
  readonly proxies: readonly string[];
}

async function startStage(): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const nats = cleanup.use(await startNatsServer());
  const hosts = await hostsFile(cleanup, `127.0.0.1 ${HOST}`);
  cleanup.use(await startServer(nats.url, { through: withHosts(hosts) }));
  const client = cleanup.use(
    await startClient(nats.url, {
      target: "127.0.0.1:1",
      args: ["-D", "127.0.0.1:0", "--http-proxy", "127.0.0.1:0"],
    }),
  );
  const placeOf = async (kind: string): Promise<string> => {
    const { address } = await client.entry(({ msg, forward }) =>
      msg === "listening" && forward === kind
    );
    return String(address);
  };
  const proxies = [
    `socks5://${await placeOf("socks")}`,
    `http://${await placeOf("http-proxy")}`,
  ];
  return owned(cleanup, { client, folder, proxies });
}

/** How Chromium is started that goes through `proxy` for everything. */
function argumentsFor(profile: string, proxy: string): string[] {
  return [
    ...["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"],
    ...["--disable-background-networking", "--disable-component-update"],
    `--user-data-dir=${profile}`,
    `--proxy-server=${proxy}`,
    "--proxy-bypass-list=<-loopback>",
  ];
}

const WITH_CHROMIUM = {
  ignore: CHROMIUM === undefined || UNSHARE === undefined,
};

for (const [at, kind] of ["SOCKS", "the HTTP proxy"].entries()) {
  integrationTest(
    `Chromium through ${kind} loads a page whose name the server alone knows, its files, and a WebSocket`,
    async () => {
      await using stage = await startStage();
      await using site = startSite();
      const { folder, proxies } = stage;
      await using browser = spawn(CHROMIUM ?? "chromium", {
        args: [
          ...argumentsFor(folder.at("profile"), proxies[at] ?? ""),
          // A browser that is done goes on; a page behind this port is fetched.
          ...["--remote-debugging-port=0", `http://${HOST}:${site.port}/`],
        ],
        env: { HOME: folder.path },
      });
      const told = await soon(
        "the page is loaded",
        Promise.race([site.told, browser.status]),
      );
      assert.deepEqual(told, {
        files: Array(FILES).fill(FILE_BYTES),
        posted: String(FILE_BYTES),
        said: "over the socket",
      });
    },
    WITH_CHROMIUM,
  );
}

integrationTest(
  "Chromium shows what the HTTP proxy says of a name that nobody knows, and its own page for SOCKS",
  async () => {
    await using stage = await startStage();
    const { folder, proxies } = stage;
    for (
      const [at, shown] of [
        /ERR_SOCKS_CONNECTION_FAILED/,
        /tcp-sproxy: nosuch\.internal:80 is not reached: .*\(no-such-host\)/,
      ].entries()
    ) {
      const { output } = await run(CHROMIUM ?? "chromium", {
        args: [
          ...argumentsFor(folder.at(`profile-${at}`), proxies[at] ?? ""),
          ...["--dump-dom", "http://nosuch.internal/"],
        ],
        env: { HOME: folder.path },
      });
      assert.match(output, shown);
    }
  },
  WITH_CHROMIUM,
);
