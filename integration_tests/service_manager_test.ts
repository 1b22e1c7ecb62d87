/** What a service manager such as systemd hears of both roles, over their lives. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { Installed } from "./support/installed.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { launchRole } from "./support/roles.ts";
import { Manager } from "./support/service_manager.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";
import { parseAddress } from "./support/addresses.ts";

/** Within what time a manager wants to hear that a service lives, in ms. */
const WATCHDOG_MS = 2_000;

/** A name that no other test's manager has. */
function abstractName(): string {
  return `@tcp-sproxy-test-${crypto.randomUUID()}`;
}

integrationTest(
  "service manager: ready when it works, what goes on, reloads, a broker that goes, and the end",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const folder = cleanup.use(await Folder.make());
    const nats = cleanup.use(await startNatsServer());
    const echo = cleanup.use(startEcho());
    // A file, as systemd's own, and a name that is none, as in containers.
    const ofServer = cleanup.use(
      new Manager(folder.at("notify"), WATCHDOG_MS),
    );
    const ofClient = cleanup.use(new Manager(abstractName(), WATCHDOG_MS));

    const config = await folder.write(
      "server.yaml",
      "log: { level: info }\n",
    );
    const server = cleanup.use(
      await launchRole("server", nats.url, {
        args: ["--workers", "2", "--config", config],
        env: { ...ofServer.env, HOME: folder.path },
      }),
    );
    const to = nats.url.replace(/^nats:\/\//, "");
    const first = await ofServer.says(/^READY=1$/m);
    assert.match(first, new RegExp(`STATUS=connected to ${to}; 0 tunnels`));
    assert.equal((await server.status("/ready")).status, 200);

    // No broker, no readiness; what it waits for is told.
    await nats.kill();
    await ofServer.says(/^STATUS=not ready: not connected to NATS; 0 tunnels/m);
    const client = cleanup.use(
      await launchRole("client", nats.url, {
        args: ["--remote-addr", echo.address],
        env: ofClient.env,
      }),
    );
    await ofClient.says(/^STATUS=starting: not connected to NATS; 0 tunnels/m);
    assert.ok(!ofClient.heard.some((message) => message.includes("READY=1")));
    const away = ofServer.mark();
    await nats.restart();
    await ofServer.says(/^STATUS=connected/, away);
    await ofClient.says(/^READY=1$/m);
    const { address } = await client.entry(({ msg }) => msg === "listening");
    using conn = await dial(parseAddress(String(address)));
    await roundTrip(conn);
    for (const manager of [ofServer, ofClient]) {
      await manager.says(
        new RegExp(`STATUS=connected to ${to}; 1 tunnel open`),
      );
      const mark = manager.mark();
      await manager.says(/^WATCHDOG=1$/, mark);
    }

    let mark = ofServer.mark();
    server.process.signal("SIGHUP");
    const reloading = await ofServer.says(/^RELOADING=1$/m, mark);
    const [, usec] = /^MONOTONIC_USEC=(\d+)$/m.exec(reloading) ?? [];
    // Not before it was asked, in whatever part of a second that was.
    assert.ok(Number(usec) / 1e6 >= Math.floor(Deno.osUptime()) - 5, usec);
    assert.doesNotMatch(await ofServer.says(/^READY=1$/m, mark), /changed/);
    await folder.write("server.yaml", "log: { level: loud }\n");
    mark = ofServer.mark();
    server.process.signal("SIGHUP");
    await ofServer.says(
      /^READY=1\nSTATUS=connected.*the last reload changed nothing, see the log$/,
      mark,
    );

    for (
      const [role, manager] of [[client, ofClient], [server, ofServer]] as const
    ) {
      mark = manager.mark();
      role.process.signal("SIGTERM");
      await manager.says(
        /^STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000\nSTATUS=stopping; /,
        mark,
      );
      if (role === client) conn[Symbol.dispose]();
      assert.equal((await role.process.status).code, 0);
    }
  },
);

integrationTest(
  "service manager: exec tells it, its command does not, and -W speaks for nobody",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const folder = cleanup.use(await Folder.make());
    const nats = cleanup.use(await startNatsServer());
    const manager = cleanup.use(new Manager(abstractName(), WATCHDOG_MS));
    const echo = cleanup.use(startEcho());
    cleanup.use(await launchRole("server", nats.url));
    const user = await Installed.at(folder, {
      ...manager.env,
      NATS_URL: nats.url,
    });
    assert.equal(
      (await user.sh(`true | nats-proxy-client -W ${echo.address}`)).code,
      0,
    );
    assert.deepEqual(manager.heard, []);
    const { code, output } = await user.sh(
      `nats-proxy-client exec -q ${echo.address} -- sh -c 'echo "socket=$NOTIFY_SOCKET watchdog=$WATCHDOG_USEC port=$SPROXY_PORT"'`,
    );
    assert.match(output, /^socket= watchdog= port=\d+$/m);
    assert.equal(code, 0);
    await manager.says(/^READY=1$/m);
    await manager.says(/^STOPPING=1$/m);
  },
);

integrationTest(
  "service manager: one that cannot be told is a warning, and the role works",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const nats = cleanup.use(await startNatsServer());
    for (
      const [socket, why] of [
        ["/nowhere/notify", /--allow-(read|write)/],
        [abstractName(), /refused/i],
      ] as const
    ) {
      const server = cleanup.use(
        await launchRole("server", nats.url, {
          env: { NOTIFY_SOCKET: socket },
        }),
      );
      const warning = await server.entry(({ msg }) =>
        msg === "the service manager cannot be told how the process is"
      );
      assert.equal(warning.socket, socket);
      assert.match(String(warning.why), why);
      await server.entry(({ msg }) => msg === "ready");
    }
  },
);
