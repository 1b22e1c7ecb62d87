/** The units of deploy/systemd, as systemd itself judges them, and as the roles need them. */
import assert from "node:assert/strict";
import { parseAddress } from "./support/addresses.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { needs } from "./support/optional_tools.ts";
import { run } from "./support/processes.ts";
import { launchRole, PROJECT, type RoleName } from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial } from "./support/transfer.ts";
import { comes } from "./support/waits.ts";

const ROLES = ["server", "client"] as const;

/** The most that `systemd-analyze security` may find exposed, in tenths: what takes no network is 0, a plain service 96. */
const MOST_EXPOSED = 15;

/** The text of a role's unit. */
async function unitOf(role: RoleName): Promise<string> {
  return await Deno.readTextFile(
    new URL(`deploy/systemd/nats-proxy-${role}.service`, PROJECT),
  );
}

integrationTest(
  "systemd: verifies both units, with and without secrets, and finds little exposed",
  async () => {
    await using folder = await Folder.make();
    for (const role of ROLES) {
      const unit = await unitOf(role);
      const secret = unit.replaceAll(
        /^#(?=(LoadCredential|Environment)=)/gm,
        "",
      );
      assert.notEqual(secret, unit);
      for (const text of [unit, secret]) {
        const path = await folder.write(
          `nats-proxy-${role}.service`,
          // It looks whether the program is there.
          text.replaceAll(`/usr/local/bin/nats-proxy-${role}`, "/bin/true"),
        );
        const verified = await run("systemd-analyze", {
          args: ["verify", "--man=no", "--recursive-errors=no", path],
        });
        assert.equal(verified.output, "");
        assert.equal(verified.status.code, 0);
        const judged = await run("systemd-analyze", {
          args: [
            ...["security", "--offline=yes", "--no-pager"],
            ...[`--threshold=${MOST_EXPOSED}`, path],
          ],
        });
        assert.equal(judged.status.code, 0, judged.output);
      }
    }
  },
  await needs("systemd-analyze"),
);

/**
 * System calls that Deno can do without: V8 asks for keys of memory pages, and
 * its cache of modules, which binaries have not, is root's where root runs it.
 */
const DISPENSABLE = ["pkey_alloc", "fchown"];

/** The sets of system calls that systemd knows, each with all that it comes to. */
async function systemCallSets(): Promise<(name: string) => Set<string>> {
  const { output } = await run("systemd-analyze", {
    args: ["syscall-filter", "--no-pager"],
    env: { SYSTEMD_COLORS: "0" },
  });
  const sets = new Map<string, string[]>();
  let members: string[] = [];
  for (const line of output.split("\n")) {
    const name = line.trim();
    if (line.startsWith("@")) sets.set(name, members = []);
    else if (/^@?[\w-]+$/.test(name)) members.push(name);
  }
  const all = (name: string): Set<string> =>
    new Set(
      (sets.get(name) ?? []).flatMap((member) =>
        member.startsWith("@") ? [...all(member)] : [member]
      ),
    );
  return all;
}

/** The system calls that lines `SystemCallFilter=` allow. */
async function allowedCalls(unit: string): Promise<Set<string>> {
  const all = await systemCallSets();
  // What no filter takes away.
  let allowed = all("@default");
  for (
    const [, not, names = ""] of unit.matchAll(/^SystemCallFilter=(~?)(.*)$/gm)
  ) {
    const calls = new Set(names.split(" ").flatMap((name) => [...all(name)]));
    allowed = not === "" ? allowed.union(calls) : allowed.difference(calls);
  }
  return allowed.union(all("@default"));
}

/** The names in a table of `strace -c`. */
function callsIn(table: string): string[] {
  return [...table.matchAll(/^ *[\d.]+ +[\d.]+ +\d+ +\d+ (?:[ \d]*) (\w+)$/gm)]
    .flatMap(([, name = "total"]) => name === "total" ? [] : name);
}

integrationTest(
  "systemd: the units allow the system calls that the roles make",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const folder = cleanup.use(await Folder.make());
    const nats = cleanup.use(await startNatsServer());
    const echo = cleanup.use(startEcho());
    const config = await folder.write("server.yaml", "log: { level: info }\n");
    const trace = (role: RoleName): string => folder.at(`${role}.calls`);
    const start = async (role: RoleName, ...args: string[]) =>
      cleanup.use(
        await launchRole(role, nats.url, {
          args,
          env: { HOME: folder.path },
          // -D: the role is our child, and strace looks on.
          through: ["strace", "-D", "-f", "-c", "-o", trace(role)],
        }),
      );
    const server = await start(
      "server",
      ...["--workers", "2", "--config", config, "--watch-config"],
    );
    await server.entry(({ msg }) => msg === "workers started");
    const client = await start(
      "client",
      ...["--remote-addr", echo.address.replace("127.0.0.1", "localhost")],
    );
    const { address } = await client.entry(({ msg }) => msg === "listening");
    using conn = await dial(parseAddress(String(address)));
    await roundTrip(conn);
    conn[Symbol.dispose]();
    for (const role of ROLES) {
      const { process } = role === "server" ? server : client;
      process.signal("SIGHUP");
      await process.waitForLine((line) => line.includes("has not changed"));
      process.signal("SIGTERM");
      assert.equal((await process.status).code, 0);
      let calls: string[] = [];
      await comes(async () => {
        calls = callsIn(await Deno.readTextFile(trace(role)));
        return calls.length > 20
          ? undefined
          : "strace has not written its table";
      });
      assert.ok(calls.includes("epoll_ctl"), calls.join(" "));
      const allowed = await allowedCalls(await unitOf(role));
      assert.ok(!allowed.has("mount") && !allowed.has("setpriority"));
      assert.deepEqual(
        calls.filter((it) => !allowed.has(it) && !DISPENSABLE.includes(it)),
        [],
      );
    }
  },
  await needs("systemd-analyze", "strace"),
);
