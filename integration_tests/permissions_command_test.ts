/** What `permissions` prints, given to a real nats-server: it is enough, and each line of it is needed. */
import assert from "node:assert/strict";
import { expectTunnel } from "./support/chaos_flow.ts";
import { examine } from "./support/doctor.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { makeKeyUser } from "./support/nats_users.ts";
import {
  ClientRole,
  launchRole,
  type RoleName,
  spawnRole,
  startServer,
} from "./support/roles.ts";
import { writeSecret } from "./support/sealed_stage.ts";
import { startEcho } from "./support/targets.ts";
import { soon, told, whenReady } from "./support/waits.ts";

/** What `permissions` of a role prints, with these flags. */
async function printed(
  role: RoleName,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  await using process = await spawnRole(role, {
    args: ["permissions", ...args],
    env,
  });
  const { code } = await soon("it ends", process.status);
  const text = process.lines.join("\n");
  assert.equal(code, 0, text);
  return text;
}

/** One account of the users of several. */
function joined(accounts: readonly string[]): string {
  const users = accounts.map((text) =>
    /users: \[\n(.*)\n {4}\]\n/s.exec(text)?.[1] ?? ""
  );
  return `accounts { TUNNELS { users: [\n${users.join("\n")}\n] } }`;
}

/** A line of what is printed that has a subject, and the subject. */
const SUBJECT_LINE = /^ +"(\S+)" #.*$/gm;

/** A login by an nkey in a file of the folder. */
async function nkeyLogin(
  folder: Folder,
  name: string,
): Promise<Readonly<Record<string, string>>> {
  const path = await writeSecret(folder, `${name}.nk`, makeKeyUser().seed);
  return { HOME: folder.path, NATS_NKEY: path };
}

/** The flags of forwards to these targets, each at any port. */
function forwardsTo(...targets: readonly string[]): readonly string[] {
  return targets.flatMap((target) => ["-L", `127.0.0.1:0:${target}`]);
}

integrationTest(
  "what permissions prints is enough for tunnels to targets, services and sites, and for doctor to be content",
  async () => {
    await using folder = await Folder.make();
    await using echo = startEcho();
    const targets = [echo.address, "svc:db", "svc:ssh@berlin"];
    const roles = {
      client: ["--client-id", "edge7", ...forwardsTo(...targets)],
      general: [
        ...["--service", `db=${echo.address}`, "--allow-target", "*:*"],
      ],
      berlin: ["--site", "berlin", "--service", `ssh=${echo.address}`],
    };
    const [client, general, berlin] = await Promise.all([
      nkeyLogin(folder, "client"),
      nkeyLogin(folder, "general"),
      nkeyLogin(folder, "berlin"),
    ]);
    const accounts = await Promise.all([
      printed("client", roles.client, client),
      printed("server", roles.general, general),
      printed("server", roles.berlin, berlin),
    ]);
    await using nats = await startNatsServer({ config: joined(accounts) });
    await using first = await startServer(nats.url, {
      env: general,
      args: roles.general,
    });
    await using second = await startServer(nats.url, {
      env: berlin,
      args: roles.berlin,
    });
    await using running = await launchRole("client", nats.url, {
      env: client,
      args: roles.client,
    });
    await whenReady(running, 200);
    const listening = await told(
      running,
      ({ msg, target }) => msg === "listening" && target !== "redis:6379",
      { count: 3 },
    );
    assert.equal(listening.length, 3);
    for (const { address } of listening) {
      await expectTunnel(new ClientRole(running.process, String(address)));
    }
    // Beside the client that runs, which is not disturbed.
    const at = ["--nats-url", nats.url];
    const [atClient, atServer] = await Promise.all([
      examine("client", [...at, ...roles.client], { env: client }),
      examine("server", [...at, ...roles.general], { env: general }),
    ]);
    atClient.expectWell();
    assert.match(atClient.step("client ID").found, /a process uses it now/);
    const opened = atClient.findings.filter(({ found }) =>
      found.startsWith("a tunnel was opened")
    );
    assert.equal(opened.length, 3, atClient.text);
    atServer.expectWell();
    for (const role of [first, second, running]) {
      const complaints = role.entries().filter(({ level, msg }) =>
        /warn|error/.test(level) && !/^open refused/.test(msg) &&
        !/dials any target/.test(msg)
      );
      assert.deepEqual(complaints.map(({ msg }) => msg), []);
    }
  },
);

integrationTest(
  "doctor names each line of what permissions prints, when it is taken away",
  async () => {
    await using folder = await Folder.make();
    const roles = {
      client: [
        ...["--client-id", "edge7"],
        ...forwardsTo("localhost:1", "svc:db", "localhost:1@berlin"),
      ],
      server: ["--service", "db=localhost:1", "--listen-addr", "off"],
    } as const;
    const cases: {
      readonly role: RoleName;
      readonly subject: string;
      readonly optional: boolean;
      readonly env: Readonly<Record<string, string>>;
      readonly account: string;
    }[] = [];
    for (const role of ["client", "server"] as const) {
      const sample = await printed(role, roles[role]);
      for (const [line, subject = ""] of sample.matchAll(SUBJECT_LINE)) {
        const user = makeKeyUser();
        const path = await writeSecret(
          folder,
          `${cases.length}.nk`,
          user.seed,
        );
        cases.push({
          ...{ role, subject, optional: line.includes("# optional: ") },
          ...{ env: { HOME: folder.path, NATS_NKEY: path } },
          account: sample.replace(line, '"elsewhere"')
            .replace(/nkey: \$\w+/, `nkey: ${user.id}`),
        });
      }
    }
    // Of them two and one are optional.
    assert.equal(cases.length, 8 + 7);
    await using nats = await startNatsServer({
      config: joined(cases.map(({ account }) => account)),
    });
    await Promise.all(cases.map(async ({ role, subject, optional, env }) => {
      const found = await examine(role, [
        ...["--nats-url", nats.url, "--timeout", "5s"],
        ...roles[role],
      ], { env });
      const missing = found.of("fail").filter(({ step }) =>
        step === "permission"
      );
      if (optional) {
        const told = found.findings.find(({ about }) =>
          about === "that are optional"
        );
        const verbs = `NATS refuses to (publish|subscribe) ${subject}, which `;
        const pattern = verbs.replaceAll(/[.*]/g, "\\$&");
        assert.match(told?.found ?? "", new RegExp(`^${pattern}`));
        assert.deepEqual(missing, []);
        return;
      }
      const abouts = missing.map(({ about }) => about);
      assert.equal(abouts.length, 1, `${subject}: ${found.text}`);
      assert.ok(abouts[0]?.endsWith(` ${subject}`), found.text);
    }));
  },
);
