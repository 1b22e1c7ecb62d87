/** What people and supervisors do to a process: signals other than those that stop it, and terminals that close. */
import assert from "node:assert/strict";
import { freePort } from "./support/addresses.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { startStage } from "./support/chaos_stage.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { keyUsersConfig, makeKeyUser } from "./support/nats_users.ts";
import { needs } from "./support/optional_tools.ts";
import { listeningPorts } from "./support/proc_stats.ts";
import { spawn } from "./support/processes.ts";
import {
  launchRole,
  PROJECT,
  type Role,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";
import { comes, soon, told } from "./support/waits.ts";

const ROLES = ["client", "server"] as const;

/** Where Deno opens its debugger, and where we listen for a second so that it cannot. */
const DEBUGGER_PORT = 9229;

/** What Deno says when it opens its debugger, or tries to; here mostly in vain. */
const OPENS = /Debugger listening on|Failed to start inspector server/;

for (const name of ROLES) {
  for (const workers of ["1", "2"]) {
    integrationTest(
      `SIGUSR1 leaves no debugger open in a ${name} of ${workers} worker(s), and its tunnels go on`,
      async () => {
        await using stage = await startStage({ args: ["--workers", workers] });
        const { process } = stage.role(name);
        using conn = await dial(stage.endpoint);
        await roundTrip(conn);
        const isOpen = async (): Promise<boolean> =>
          (await listeningPorts(process.pid)).includes(DEBUGGER_PORT);
        for (let i = 0; i < 2; i++) {
          const mark = process.mark();
          // Deno begins to listen for it half a second after its start.
          await comes(async () => {
            process.signal("SIGUSR1");
            const lines = process.linesSince(mark).join("\n");
            await roundTrip(conn);
            return OPENS.test(lines)
              ? undefined
              : "Deno did not try to open its debugger";
          });
          await comes(async () =>
            await isOpen() ? "the debugger stays open" : undefined
          );
          await told(
            stage.role(name),
            ({ msg, level }) => level === "warn" && msg.startsWith("SIGUSR1"),
            { since: mark },
          );
          await roundTrip(conn);
        }
      },
    );
  }
}

/** What a role says of the files for its login at a SIGHUP. */
const LOGIN = /^SIGHUP: (?:the )?files for the login/;

/** It: one line, of which no second comes before another signal's. */
async function hangUp(role: Role): Promise<{ level: string; text: string }> {
  const since = role.process.mark();
  role.process.signal("SIGHUP");
  const { msg, level, why } = await soon(
    "it says what it does",
    role.entry(({ msg }) => LOGIN.test(msg), { since }),
  );
  return { level, text: `${msg} ${why ?? ""}` };
}

const CA = new URL("../tests/testdata/tls/ca.pem", import.meta.url);

for (const name of ROLES) {
  for (const workers of ["1", "2"]) {
    integrationTest(
      `SIGHUP to a ${name} of ${workers} worker(s) says at once which file cannot be used, and its tunnels go on`,
      async () => {
        await using folder = await Folder.make();
        const user = makeKeyUser();
        const creds = await folder.write("creds", user.creds);
        await using nats = await startNatsServer({
          config: keyUsersConfig(user),
        });
        await using echo = startEcho();
        const options = (role: string): Parameters<typeof startServer>[1] => ({
          env: { HOME: folder.path },
          args: [
            "--nats-creds",
            creds,
            "--workers",
            role === name ? workers : "1",
          ],
        });
        await using server = await startServer(nats.url, options("server"));
        await using client = await startClient(nats.url, {
          ...options("client"),
          target: echo.address,
        });
        const role = name === "client" ? client : server;
        using conn = await dial(client.endpoint);
        await roundTrip(conn);
        // One that starts late reads the file, too.
        if (workers !== "1") {
          await role.entry(({ msg }) => msg === "workers started");
        }
        const mark = role.process.mark();
        const good = await hangUp(role);
        assert.equal(good.level, "info", good.text);
        for (
          const [text, problem] of [
            [undefined, /no such file/i],
            ["", /malformed/],
            [user.creds.slice(0, 300), /malformed/],
          ] as const
        ) {
          if (text === undefined) await Deno.remove(creds);
          else await folder.write("creds", text);
          const bad = await hangUp(role);
          assert.equal(bad.level, "error", bad.text);
          assert.match(bad.text, problem);
          assert.ok(bad.text.includes(creds), bad.text);
          assert.ok(!bad.text.includes(user.seed), bad.text);
          await roundTrip(conn);
        }
        await folder.write("creds", user.creds);
        assert.deepEqual(await hangUp(role), good);
        // Once for each signal, however many workers there are.
        const said = role.entries(mark)
          .filter(({ msg }) => LOGIN.test(msg));
        assert.equal(said.length, 5, JSON.stringify(said));
        await roundTrip(conn);
      },
    );
  }
}

integrationTest(
  "SIGHUP names the file of certificates that cannot be used",
  async () => {
    await using folder = await Folder.make();
    await using nats = await startNatsServer();
    const ca = await folder.write("ca.pem", await Deno.readTextFile(CA));
    // It never connects: this broker speaks no TLS.
    await using server = await launchRole("server", nats.url, {
      env: { HOME: folder.path },
      args: ["--nats-tls-ca", ca],
    });
    assert.equal((await hangUp(server)).level, "info");
    await folder.write("ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    const { level, text } = await hangUp(server);
    assert.equal(level, "error", text);
    assert.ok(text.includes(`--nats-tls-ca, "${ca}"`), text);
  },
);

integrationTest(
  "a client whose terminal is closed drains: open tunnels end when they are done, and then it does",
  async () => {
    await using stage = await startStage();
    await using folder = await Folder.make();
    const port = freePort();
    const [log, pid] = [folder.at("log"), folder.at("pid")];
    const command = [
      ...[Deno.execPath(), "run", "-A", new URL("client.ts", PROJECT).pathname],
      ...["--nats-url", stage.nats.url, "--remote-addr", stage.echo.address],
      ...["--listen-addr", `127.0.0.1:${port}`, "--log-format", "json"],
    ].map((word) => `'${word}'`).join(" ");
    await using terminal = spawn("script", {
      args: [
        "-qec",
        `echo $$ > ${pid}; exec ${command} 2> ${log}`,
        "/dev/null",
      ],
    });
    const read = async (): Promise<string> =>
      await Deno.readTextFile(log).catch(() => "");
    await comes(async () =>
      (await read()).includes(`"listening"`) ? undefined : "it does not listen"
    );
    const client = Number(await Deno.readTextFile(pid));
    using _end = { [Symbol.dispose]: () => killStranger(client) };
    using conn = await dial({ hostname: "127.0.0.1", port });
    await roundTrip(conn);
    await terminal.kill();
    await comes(async () => {
      const text = await read();
      return text.includes(`"draining"`) ? undefined : `no drain in: ${text}`;
    }, 4_000);
    await soon("the open tunnel goes on", roundTrip(conn));
    conn.close();
    await comes(async () => {
      const text = await read();
      return text.includes(`"stopped"`)
        ? undefined
        : `it does not end: ${text}`;
    });
  },
  await needs("script"),
);

/** Ends a process that is not our child, if it still runs. */
function killStranger(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
