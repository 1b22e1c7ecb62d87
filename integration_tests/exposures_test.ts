/** What is said at the start of what stands open: once, and not once it is mended. */
import assert from "node:assert/strict";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { keyUsersConfig, makeKeyUser } from "./support/nats_users.ts";
import {
  launchRole,
  type Role,
  startClient,
  startServer,
} from "./support/roles.ts";

/** Far from here: nobody answers (RFC 5737). */
const FAR = "192.0.2.1";

/** Warnings of a role so far. */
function warnings(role: Role): string[] {
  return role.entries().filter(({ level }) => level === "warn")
    .map(({ msg, why, hint }) => `${msg}: ${why} (${hint})`);
}

/** Expects one such warning, or none. */
function expectOne(role: Role, what: RegExp, told: boolean): void {
  const found = warnings(role).filter((msg) => what.test(msg));
  assert.equal(found.length, told ? 1 : 0, warnings(role).join("\n"));
}

for (
  const [args, told] of [
    [["--listen-addr", "0.0.0.0:0"], true],
    [["--listen-addr", ":0"], true],
    [["--listen-addr", "0:0"], true], // what the system makes of it counts
    [["--listen-addr", ":0", "--workers", "2"], true],
    [["--listen-addr", ":0", "--allow-from", "10.0.0.0/8"], false],
    [["--listen-addr", "127.0.0.1:0"], false],
    [["--listen-addr", "localhost:0"], false],
  ] as const
) {
  integrationTest(
    `a client ${args} ${
      told ? "warns" : "does not warn"
    } that it listens on every interface`,
    async () => {
      await using nats = await startNatsServer();
      await using client = await startClient(nats.url, {
        target: "127.0.0.1:1",
        args,
      });
      expectOne(client, /^listens on every interface: /, told);
      assert.equal(warnings(client).length, told ? 1 : 0);
    },
  );
}

for (
  const [args, told] of [
    [[], true],
    [["--workers", "2"], true],
    [["--deny-target", "10.0.0.0/8:*"], true],
    [["--allow-target", "db:5432"], false],
  ] as const
) {
  integrationTest(
    `a server ${args} ${
      told ? "warns" : "does not warn"
    } that it dials any target`,
    async () => {
      await using nats = await startNatsServer();
      await using server = await launchRole("server", nats.url, { args });
      await server.entry(({ msg }) =>
        msg === (args[0] === "--workers" ? "workers started" : "ready")
      );
      expectOne(server, /^dials any target: /, told);
      assert.equal(warnings(server).length, told ? 1 : 0);
    },
  );
}

integrationTest(
  "a server says at each reload that opens it anew that it dials any target",
  async () => {
    await using nats = await startNatsServer();
    await using folder = await Folder.make();
    const closed = "server: { services: [db=127.0.0.1:1] }\n";
    const path = await folder.write("server.yaml", closed);
    await using server = await startServer(nats.url, {
      env: { HOME: folder.path },
      args: ["--config", path],
    });
    for (const round of [1, 2]) {
      for (const [text, change] of [["# none", "removed"], [closed, "added"]]) {
        await folder.write("server.yaml", text ?? "");
        const since = server.process.mark();
        server.process.signal("SIGHUP");
        await server.entry(
          (entry) => change !== undefined && entry[change] === "db",
          { since },
        );
      }
      const found = warnings(server).filter((msg) =>
        msg.startsWith("dials any target: ")
      );
      assert.equal(found.length, round);
    }
  },
);

for (
  const [url, told] of [
    [`nats://${FAR}:4222`, true],
    [`nats://127.0.0.1:1,${FAR}:4222`, true],
    [`tls://${FAR}:4222`, false],
    ["nats://127.0.0.1:1,localhost:1", false],
  ] as const
) {
  integrationTest(
    `a password for ${url} is ${told ? "" : "not "}said to go in the clear`,
    async () => {
      await using folder = await Folder.make();
      // A second warning, which comes after, tells that all are there.
      const config = await folder.write("c.yaml", "nats: { password: x }\n");
      await Deno.chmod(config, 0o644);
      await using server = await launchRole("server", url, {
        env: { HOME: folder.path, NATS_USER: "ann" },
        args: ["--config", config],
      });
      await server.entry(({ msg }) => msg.startsWith("secret file"));
      expectOne(server, /^password over nats:\/\/ in the clear/, told);
    },
  );
}

for (
  const [what, text, mode, told] of [
    ["a password", "nats: { user: ann, password: x }\n", 0o644, true],
    ["a password", "nats: { user: ann, password: x }\n", 0o600, false],
    ["credentials in the URL", "nats: { url: 'ann:x@HOST' }\n", 0o604, true],
    ["no secret", "log: { level: info }\n", 0o644, false],
  ] as const
) {
  integrationTest(
    `a config file with ${what} and mode ${mode.toString(8)} is ${
      told ? "" : "not "
    }said to be readable by others`,
    async () => {
      await using nats = await startNatsServer();
      await using folder = await Folder.make();
      const { host } = new URL(nats.url);
      const config = await folder.write("c.yaml", text.replace("HOST", host));
      await Deno.chmod(config, mode);
      const args = ["--config", config, "--allow-target", "db:1"];
      await using server = await startServer(nats.url, {
        env: { HOME: folder.path },
        args: text.includes("url") ? [...args, `--nats-url=${nats.url}`] : args,
      });
      expectOne(server, /^secret file readable by others: .*c\.yaml/, told);
    },
  );
}

for (const [mode, told] of [[0o644, true], [0o600, false]] as const) {
  integrationTest(
    `an nkey file with mode ${mode.toString(8)} is ${
      told ? "" : "not "
    }said to be readable by others`,
    async () => {
      const user = makeKeyUser();
      await using nats = await startNatsServer({
        config: keyUsersConfig(user),
      });
      await using folder = await Folder.make();
      const file = await folder.write("nkey", `${user.seed}\n`);
      await Deno.chmod(file, mode);
      await using server = await startServer(nats.url, {
        env: { HOME: folder.path },
        args: ["--nats-nkey", file],
      });
      expectOne(server, /^secret file readable by others: .*nkey/, told);
    },
  );
}
