/** The log of real processes: for the journal, for programs from the first line on, and through an outage. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { run } from "./support/processes.ts";
import { spawnRole, startTunnel } from "./support/roles.ts";
import { dial } from "./support/transfer.ts";

integrationTest(
  "a role whose standard error is the journal has priorities and no time, with several workers, too, and one that was led elsewhere has not",
  async () => {
    await using folder = await Folder.make();
    const path = folder.at("journal");
    /** What a client writes there that is told of such a journal. */
    const written = async (stream: string): Promise<string[]> => {
      // As systemd does: the file is there first, and the variable names it.
      await using client = await spawnRole("client", {
        through: [
          "sh",
          "-c",
          `exec 2>"$0"; JOURNAL_STREAM=${stream} exec "$@"`,
          path,
        ],
        args: [
          ...["--nats-url", "127.0.0.1:1", "--nats-connect-timeout", "500ms"],
          ...["-L", "0:a:1", "--workers", "2"],
        ],
      });
      assert.equal((await client.status).code, 1);
      return (await Deno.readTextFile(path)).trimEnd().split("\n");
    };
    const lines = await written("$(stat -Lc %d:%i /dev/fd/2)");
    for (const line of lines) assert.match(line, /^<[346]>[a-z]/);
    const [start] = lines.filter((line) => line.includes("starts"));
    assert.match(start ?? "", /^<6>tcp-sproxy client starts version=\S+ deno=/);
    assert.match(
      start ?? "",
      / serves="localhost:0 to a:1" to="this machine" /,
    );
    const failed = lines.filter((line) => line.includes("cannot connect"));
    assert.match(
      failed[0] ?? "",
      /^<4>cannot connect to NATS server=127\.0\.0\.1:1 .* hint="no broker listens there: .*" failures=1 worker=1$/,
    );
    // The other attempts are one line, with their count.
    assert.equal(failed.length, 2, failed.join("\n"));
    assert.match(failed[1] ?? "", / count=\d+ failures=\d+ worker=1$/);
    assert.match(lines.at(-1) ?? "", /^<3>error: Could not connect to NATS/);

    const elsewhere = await written("1:1");
    for (const line of elsewhere.slice(0, -1)) {
      assert.match(line, /^\d{4}-\d\d-\d\dT\S+Z (INFO |WARN ) \S/);
    }
    assert.match(elsewhere.at(-1) ?? "", /^error: /);
  },
);

integrationTest(
  "with LOG_FORMAT=json each line of a wrong configuration is JSON, with fields",
  async () => {
    const { status, output } = await run(Deno.execPath(), {
      args: [
        ...["run", "-A", "client.ts", "--log-level", "loud", "--nope"],
        ...["--idle-timeout", "5"],
      ],
      cwd: new URL("../", import.meta.url).pathname,
      env: { LOG_FORMAT: "json" },
    });
    assert.equal(status.code, 2);
    const entries = output.trimEnd().split("\n").map((line) =>
      JSON.parse(line)
    );
    assert.equal(entries.length, 3);
    for (const { level, msg, time, exit_code } of entries) {
      assert.deepEqual([level, exit_code], ["error", 2]);
      assert.ok(typeof msg === "string" && Number.isFinite(Date.parse(time)));
    }
    assert.deepEqual(
      entries.map(({ option, value }) => `${option} ${value}`).sort(),
      ["--idle-timeout 5", "--log-level loud", "undefined undefined"],
    );
    assert.match(entries.at(-1).hint, /^run 'client\.ts --help' for usage$/);
  },
);

integrationTest(
  "an outage of NATS is a few lines: lost, why not yet, and again, with how long it was and what went on",
  async () => {
    await using nats = await startNatsServer();
    await using tunnel = await startTunnel({ nats });
    using conn = await dial(tunnel.endpoint);
    await roundTrip(conn);
    await tunnel.client.entry(({ msg }) => msg === "tunnel open");
    const mark = tunnel.client.process.mark();
    await nats.kill();
    await tunnel.client.entry(({ msg }) => msg === "cannot connect to NATS", {
      since: mark,
    });
    await nats.restart();
    const again = await tunnel.client.entry(
      ({ msg }) => msg === "connected to NATS again",
      { since: mark },
    );
    assert.equal(again.tunnels, 1);
    assert.ok(Number(again.ms) > 0 && Number(again.failures) > 0);
    const entries = tunnel.client.entries(mark);
    const [lost] = entries;
    assert.deepEqual(
      [lost?.msg, lost?.level, lost?.tunnels],
      ["connection to NATS lost", "warn", 1],
    );
    const failed = entries.filter(({ msg }) =>
      msg === "cannot connect to NATS"
    );
    assert.ok(failed.length <= 4, JSON.stringify(failed));
    const times = failed.reduce(
      (sum, { count }) => sum + Number(count ?? 1),
      0,
    );
    assert.equal(times, again.failures);
    await roundTrip(conn);
  },
);
