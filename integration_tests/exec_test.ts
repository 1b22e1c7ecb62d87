/** `exec`: a command with forwards of its own, its exit code, signals and streams. */
import assert from "node:assert/strict";
import { formatAddress, freePort } from "./support/addresses.ts";
import { Folder } from "./support/folder.ts";
import { Installed } from "./support/installed.ts";
import { integrationTest } from "./support/integration_test.ts";
import { type NatsServer, startNatsServer } from "./support/nats_server.ts";
import { loginAs, rulesConfig } from "./support/nats_users.ts";
import { owned } from "./support/owned.ts";
import { startOwnRedis } from "./support/redis_server.ts";
import { type Role, startServer } from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { comes } from "./support/waits.ts";

/** A broker, a server, and the commands of a user whose environment knows the broker. */
interface Stage extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly server: Role;
  readonly user: Installed;
}

async function startStage(): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const nats = cleanup.use(await startNatsServer());
  const server = cleanup.use(await startServer(nats.url));
  const user = await Installed.at(folder, { NATS_URL: nats.url });
  return owned(cleanup, { nats, server, user });
}

integrationTest(
  "exec: redis-cli through {port}, its output and its exit code",
  async () => {
    await using stage = await startStage();
    await using redis = await startOwnRedis();
    const exec = `nats-proxy-client exec ${redis.address} --`;
    for (
      const [line, code, output] of [
        [`${exec} redis-cli -h {host} -p {port} SET key value`, 0, "OK"],
        [`echo GET key | ${exec} redis-cli -u redis://{addr}`, 0, "value"],
        [
          `${exec} sh -c 'redis-cli -p $SPROXY_PORT GET key; exit 7'`,
          7,
          "value",
        ],
        [`${exec} redis-cli -p {port} -x SET other </dev/null`, 0, "OK"],
        [
          `nats-proxy-client exec r=${redis.address} s=${redis.address} -- sh -c 'redis-cli -p {r.port} PING; redis-cli -p $SPROXY_S_PORT PING'`,
          0,
          "PONG\nPONG",
        ],
      ] as const
    ) assert.deepEqual(await stage.user.sh(line), { code, output }, line);
  },
);

integrationTest(
  "exec: what a command writes last arrives, though it has ended",
  async () => {
    await using stage = await startStage();
    await using redis = await startOwnRedis();
    const { code } = await stage.user.sh(
      `nats-proxy-client exec ${redis.address} -- bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; head -c 3000000 /dev/zero | tr "\\0" x >&3 & printf "SET late 1\\r\\n" >/dev/tcp/127.0.0.1/{port}; wait'`,
    );
    assert.equal(code, 0);
    await comes(async () => {
      const { output } = await stage.user.sh(
        `redis-cli -p ${redis.address.split(":")[1]} GET late`,
      );
      return output === "1" ? undefined : `redis has ${output}`;
    });
  },
);

integrationTest(
  "exec: several -L besides, all gone when the command has ended",
  async () => {
    await using stage = await startStage();
    await using echo = startEcho();
    const port = freePort();
    const talk = (at: string): string =>
      `exec 3<>/dev/tcp/127.0.0.1/${at}; printf "via ${at}\\n" >&3; head -n 1 <&3; exec 3>&-`;
    const script = `${talk("{port}")}; ${talk(String(port))}`;
    const { code, output } = await stage.user.sh(
      `nats-proxy-client exec ${echo.address} -L ${port}:${echo.address} -- bash -c '${script}'`,
    );
    assert.match(output, new RegExp(`^via \\d+\nvia ${port}$`));
    assert.equal(code, 0);
    using _free = Deno.listen({ hostname: "127.0.0.1", port });
  },
);

integrationTest(
  "exec: commands that fail, are killed, are not there or cannot be run: the codes of a shell",
  async () => {
    await using stage = await startStage();
    const exec = `nats-proxy-client exec 127.0.0.1:${freePort()} --`;
    for (
      const [line, code, output] of [
        [`${exec} false`, 1, /^$/],
        [`${exec} sh -c 'exit 255'`, 255, /^$/],
        [`${exec} sh -c 'kill -KILL $$'`, 137, /^$/],
        [`${exec} sh -c 'kill -TERM $$'`, 143, /^$/],
        [
          `${exec} nosuch-command`,
          127,
          /^error: exec: cannot run "nosuch-command": there is no such command$/,
        ],
        [
          `${exec} /etc/passwd`,
          126,
          /^error: exec: cannot run "\/etc\/passwd": .*Permission denied/,
        ],
        [
          `nats-proxy-client exec 127.0.0.1:1`,
          2,
          /^error: exec has no command after --: /,
        ],
      ] as const
    ) {
      const ran = await stage.user.sh(line);
      assert.equal(ran.code, code, `${line}: ${ran.output}`);
      assert.match(ran.output, output);
    }
  },
);

integrationTest(
  "exec: without NATS in time, or a place to listen at, the command is not started, exit code 1",
  async () => {
    await using stage = await startStage();
    const taken = freePort();
    using _taken = Deno.listen({ hostname: "127.0.0.1", port: taken });
    for (
      const [args, last] of [
        [`-L ${taken}:a:1`, /^error: Cannot listen on --forward localhost:/],
        [
          "--nats-url nats://127.0.0.1:1 --nats-connect-timeout 200ms",
          /^error: Could not connect to NATS within 0\.2 s/,
        ],
      ] as const
    ) {
      const { code, output } = await stage.user.sh(
        `nats-proxy-client exec a:1 ${args} -- echo started`,
      );
      assert.equal(code, 1);
      assert.ok(!output.includes("started"), output);
      assert.match(output.split("\n").at(-1) ?? "", last);
    }
  },
);

integrationTest(
  "exec: where NATS refuses a subscription the command is not started, exit code 1",
  async () => {
    await using folder = await Folder.make();
    await using nats = await startNatsServer({
      config: rulesConfig({ client: { subscribe: ["elsewhere"] } }),
    });
    const user = await Installed.at(folder, {
      NATS_URL: nats.url,
      ...loginAs("client"),
    });
    const { code, output } = await user.sh(
      "nats-proxy-client exec a:1 -- echo started",
    );
    assert.equal(code, 1);
    assert.match(
      output.split("\n").at(-1) ?? "",
      /^error: NATS refuses the subscription to p\.data\.to_client\./,
    );
  },
);

integrationTest(
  "exec: without the permission to run commands nothing is begun, exit code 2",
  async () => {
    await using stage = await startStage();
    const { code, output } = await stage.user.sh(
      `sed 's/ .--allow-run. / /' "$(command -v nats-proxy-client)" > narrow && sh narrow exec a:1 -- echo started`,
    );
    assert.equal(code, 2);
    assert.match(
      output,
      /^error: exec: no permission to run "echo" \(Deno gives it with --allow-run, which 'deno task exec' has\)/,
    );
  },
);

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  integrationTest(
    `exec: ${signal} is the command's, which may take its time`,
    async () => {
      await using stage = await startStage();
      await using echo = startEcho();
      const name = signal.slice(3);
      const script = `trap 'echo got ${name}; exit 5' ${name}
exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'still\\n' >&3; head -n 1 <&3
while :; do sleep 0.05; done`;
      await using process = stage.user.spawnClient(
        ...["exec", echo.address, "--", "bash", "-c", script],
      );
      await process.waitForLine((line) => line === "still");
      process.signal(signal);
      await process.waitForLine((line) => line === `got ${name}`);
      assert.equal((await process.status).code, 5);
      assert.deepEqual(process.lines, ["still", `got ${name}`]);
    },
  );
}

integrationTest(
  "exec: a signal before the command is started ends the start, with the code of the signal",
  async () => {
    await using stage = await startStage();
    await stage.nats.kill();
    await using process = stage.user.spawnClient(
      ...["exec", "a:1", "--", "echo", "started"],
    );
    await process.waitForLine((line) => line.includes("cannot connect"));
    process.signal("SIGTERM");
    assert.equal((await process.status).code, 143);
    assert.ok(!process.lines.includes("started"));
  },
);

integrationTest(
  "exec: a broker that is killed and started again is a pause for the command",
  async () => {
    await using stage = await startStage();
    await using echo = startEcho();
    const script =
      `exec 3<>/dev/tcp/127.0.0.1/{port}; for n in 1 2; do echo line $n >&3; head -n 1 <&3; done`;
    await using process = stage.user.spawnClient(
      ...["exec", formatAddress(echo.endpoint), "--", "bash", "-c"],
      `${script.replace("head", "[ $n = 1 ] || sleep 1; head")}`,
    );
    await process.waitForLine((line) => line === "line 1");
    await stage.nats.kill();
    await stage.nats.restart();
    assert.equal((await process.status).code, 0);
    assert.ok(process.lines.includes("line 2"));
  },
);

integrationTest(
  "exec: a command that ignores SIGTERM goes on, and so does its forward, until it ends by itself or is killed",
  async () => {
    await using stage = await startStage();
    await using echo = startEcho();
    const script = `trap '' TERM INT HUP
exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'begun\\n' >&3; head -n 1 <&3
until [ -e go ]; do sleep 0.05; done
printf 'still\\n' >&3; head -n 1 <&3; exit 3`;
    await using process = stage.user.spawnClient(
      ...["exec", echo.address, "--", "bash", "-c", script],
    );
    await process.waitForLine((line) => line === "begun");
    for (const signal of ["SIGTERM", "SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.signal(signal);
    }
    assert.equal((await stage.user.sh("touch go")).code, 0);
    assert.equal((await process.status).code, 3);
    assert.deepEqual(process.lines, ["begun", "still"]);
  },
);
