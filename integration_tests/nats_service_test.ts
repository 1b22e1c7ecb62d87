/** Both programs as services of NATS: seen, controlled, and on the record. */
import assert from "node:assert/strict";
import { checkMicro, type MicroAnswer } from "../tests/support/micro_schema.ts";
import { roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import {
  clientRules,
  loginAs,
  rulesConfig,
  SERVER_RULES,
  urlAs,
} from "./support/nats_users.ts";
import { locateAll } from "./support/optional_tools.ts";
import { run } from "./support/processes.ts";
import { RawNats } from "./support/raw_nats.ts";
import {
  type ClientRole,
  Role,
  spawnRole,
  startClient,
  startServer,
} from "./support/roles.ts";
import { startEcho } from "./support/targets.ts";
import { dial, readToEnd } from "./support/transfer.ts";
import { comes, soon, told } from "./support/waits.ts";

type Json = Readonly<Record<string, unknown>>;

const decoder = new TextDecoder();

/** What `count` instances answer. */
async function askAll(
  raw: RawNats,
  verb: "PING" | "INFO" | "STATS",
  count: number,
  of = "",
): Promise<readonly MicroAnswer[]> {
  const answers: MicroAnswer[] = [];
  const inbox = `_INBOX.${crypto.randomUUID()}`;
  using _inbox = raw.subscribe(inbox, ({ data, status }) => {
    if (status === 0) answers.push(checkMicro(verb, decoder.decode(data)));
  });
  raw.publish(`$SRV.${verb}${of}`, "", { reply: inbox });
  await comes(() =>
    Promise.resolve(
      answers.length >= count ? undefined : `${answers.length} of ${count}`,
    )
  );
  await raw.flush();
  assert.equal(answers.length, count);
  return answers.toSorted((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);
}

function keyOf({ metadata: { role = "", worker = "" } }: MicroAnswer): string {
  return role + worker;
}

/** Runs a command of the client's program; what it printed, its JSON, and its exit code. */
async function tool(
  natsUrl: string,
  ...args: readonly string[]
): Promise<
  {
    readonly code: number;
    readonly output: string;
    readonly json: readonly Json[];
  }
> {
  const process = await spawnRole("client", {
    args: [...args, "--nats-url", natsUrl],
  });
  const { code } = await soon(args.join(" "), process.status);
  const { lines } = process;
  const json = lines.find((line) => line.startsWith("["));
  return { code, output: lines.join("\n"), json: JSON.parse(json ?? "[]") };
}

/** Starts a client with two forwards, and gives where they listen. */
async function startForwards(
  natsUrl: string,
  ...args: readonly string[]
): Promise<readonly [Role, number, number]> {
  const role = new Role(
    await spawnRole("client", {
      args: [...args, "--nats-url", natsUrl, "--log-format", "json"],
    }),
  );
  const ports: number[] = [];
  await role.entry(({ msg, address }) => {
    if (msg === "listening") {
      ports.push(Number(String(address).split(":").at(-1)));
    }
    return ports.length === 2;
  });
  const [one = 0, other = 0] = ports;
  return [role, one, other];
}

integrationTest(
  "each instance is a service of NATS; an operator sees tunnels, ends one, drains a process; all of it is on the record",
  async () => {
    await using nats = await startNatsServer({ config: "jetstream {}" });
    await using raw = await RawNats.connect(nats.url);
    const api = async (verb: string, body: Json): Promise<Json> => {
      const { data } = await raw.request(
        `$JS.API.STREAM.${verb}`,
        JSON.stringify(body),
      );
      return JSON.parse(decoder.decode(data));
    };
    await api("CREATE.AUDIT", {
      name: "AUDIT",
      subjects: ["audit.tunnels.>"],
      storage: "memory",
    });
    await using echo = startEcho();
    const record = ["--audit-subject", "audit.tunnels"];
    await using server = await startServer(nats.url, {
      // deno-fmt-ignore
      args: [
        "--workers", "2", "--control", "--service", `echo=${echo.address}`,
        "--allow-target", "127.0.0.1:1", ...record,
      ],
    });
    // deno-fmt-ignore
    const [client, good, bad] = await startForwards(
      nats.url, "--control", "-L", "127.0.0.1:0:svc:echo",
      "-L", "127.0.0.1:0:127.0.0.1:1", ...record,
    );
    await using _client = client;

    const found = await askAll(raw, "PING", 3);
    assert.deepEqual(
      found.map(({ metadata: { role, worker, pid } }) => [
        ...[role, worker, pid],
      ]),
      [
        ["client", undefined, String(client.process.pid)],
        ["server", "1", String(server.process.pid)],
        ["server", "2", String(server.process.pid)],
      ],
    );
    const [clientId, first] = found.map(({ id }) => id);
    assert.deepEqual(await askAll(raw, "PING", 1, `.tcp-sproxy.${first}`), [
      found[1],
    ]);
    const [, info] = await askAll(raw, "INFO", 3, ".tcp-sproxy");
    assert.deepEqual(
      info?.endpoints.map(({ name, subject, queue_group }) => [
        ...[name, subject, queue_group],
      ]),
      [
        ["open", "proxy.request.*", "tcp-sproxy"],
        ["open-any", "proxy.request", "tcp-sproxy"],
        ["svc-echo", "proxy.request.svc.echo.*", "tcp-sproxy"],
        ...["status", "tunnels", "kill", "drain"].map((verb) => [
          ...[verb, `proxy.request.ctl.${first}.${verb}`, ""],
        ]),
      ],
    );

    using conn = await dial({ hostname: "127.0.0.1", port: good });
    await soon("the tunnel works", roundTrip(conn));
    using refused = await dial({ hostname: "127.0.0.1", port: bad });
    await soon("a refused one ends", readToEnd(refused).catch(() => {}));
    const stats = await askAll(raw, "STATS", 3);
    const counted = (name: string): readonly (readonly number[])[] =>
      stats.flatMap(({ endpoints }) => endpoints).filter((one) =>
        one.name === name
      ).map((one) => [one.num_requests, one.num_errors]);
    assert.deepEqual(counted("svc-echo").toSorted(), [[0, 0], [1, 0]]);
    // Whoever was asked refused: both workers, but for one open in 64, as the client knows neither.
    const opens = counted("open").map(String).toSorted();
    assert.equal(opens.at(-1), "1,1");
    assert.ok(["0,0", "1,1"].includes(opens[0] ?? ""), opens.join(" "));
    assert.ok(!JSON.stringify([stats, info]).includes(echo.address));

    const shown = await tool(nats.url, "status");
    assert.equal(shown.code, 0, shown.output);
    assert.match(shown.output, /^ID +ROLE +WHERE .* STATE$/m);
    assert.equal(shown.output.match(/ ready$/gm)?.length, 3, shown.output);
    const listed = await tool(nats.url, "tunnels", "--json");
    const [mine, ...others] = listed.json.flatMap(({ tunnels }) =>
      tunnels as readonly Json[]
    );
    assert.deepEqual([mine?.target, mine?.sent, others.length], [
      ...["svc:echo", mine?.received, 1],
    ]);
    assert.equal(others[0]?.service, "echo");
    const id = String(mine?.id);

    const killed = await tool(nats.url, "kill", "a.b.1", id);
    assert.equal(killed.code, 1, killed.output);
    assert.match(killed.output, /no tunnel "a\.b\.1" is open at 3 instances/);
    assert.ok(killed.output.includes(`ended ${id} to svc:echo at `));
    await soon("the connection ends", readToEnd(conn).catch(() => {}));
    const end = await client.entry(({ msg, id: of }) =>
      msg === "tunnel closed" && of === id
    );
    assert.deepEqual([end.reason, end.why], ["denied", "ended by an operator"]);
    const asked = await client.entry(({ msg }) =>
      msg === "an operator ends a tunnel"
    );
    assert.match(String(asked.by), /pid \d+/);
    const far = await server.entry(({ msg, id: of }) =>
      msg === "tunnel closed" && of === id
    );
    assert.equal(far.why, "the other end says: ended by an operator");

    const which = await tool(nats.url, "drain");
    assert.equal(which.code, 2);
    assert.match(which.output, /say which to drain with --id, or --all: .*, /);
    // What any member of NATS can do that may publish there.
    const answer = await raw.request(`proxy.request.ctl.${clientId}.kill`, "7");
    assert.equal(answer.headers["Nats-Service-Error-Code"], "400");
    const drained = await tool(nats.url, "drain", "--id", first ?? "");
    assert.match(drained.output, /: drains, with \d tunnels open/);
    // One worker was asked, and the process as a whole ends.
    const { code } = await soon("the server ends", server.process.status);
    assert.equal(code, 0);

    const events: Json[] = [];
    for (let seq = 1;; seq++) {
      const { message } = await api("MSG.GET.AUDIT", { seq });
      if (message === undefined) break;
      const { subject, data } = message as Record<string, string>;
      const bytes = Uint8Array.fromBase64(data ?? "");
      events.push({ subject, ...JSON.parse(decoder.decode(bytes)) });
    }
    const told = events.map((event) =>
      [event.role, event.type, event.target, event.reason].join(" ")
    );
    const type = "io.tcp-sproxy.audit.v1";
    assert.deepEqual(told.toSorted(), [
      `client ${type}.end svc:echo denied`,
      `client ${type}.open svc:echo `,
      `client ${type}.refused 127.0.0.1:1 refused`,
      `server ${type}.end svc:echo denied`,
      `server ${type}.open svc:echo `,
      `server ${type}.refused 127.0.0.1:1 refused`,
      `server ${type}.refused 127.0.0.1:1 refused`,
    ]);
    for (const { subject, type, timestamp, instance } of events) {
      assert.equal(subject, `audit.tunnels.${String(type).split(".").at(-1)}`);
      assert.ok(Math.abs(Date.parse(String(timestamp)) - Date.now()) < 120_000);
      assert.ok(found.some(({ id }) => id === instance));
    }
  },
);

integrationTest(
  "a broker that lets nobody be a service is no harm: one line, ready, and tunnels work; an operator needs permissions, and no client has them",
  async () => {
    const operator = {
      publish: ["$SRV.>", "proxy.request.ctl.>"],
      subscribe: ["_INBOX.>"],
    };
    await using nats = await startNatsServer({
      config: rulesConfig({
        server: SERVER_RULES,
        seen: {
          publish: SERVER_RULES.publish,
          subscribe: [
            ...SERVER_RULES.subscribe,
            ...["$SRV.>", "proxy.request.ctl.>"],
          ],
        },
        client: clientRules("edge7"),
        operator,
      }),
    });
    await using echo = startEcho();
    await using server = await startServer(nats.url, {
      env: loginAs("server"),
      args: ["--control"],
    });
    await using client: ClientRole = await startClient(nats.url, {
      env: loginAs("client"),
      target: echo.address,
      args: ["--client-id", "edge7"],
    });
    using conn = await dial(client.endpoint);
    await soon("the tunnel works", roundTrip(conn));
    assert.equal((await server.status("/ready")).status, 200);
    await using raw = await RawNats.connect(urlAs("operator", nats.url));
    const nobody = await raw.request("$SRV.PING", "");
    assert.equal(nobody.status, 503);
    const lines = await told(
      server,
      ({ msg }) => msg.startsWith("NATS refuses"),
      { count: 2 },
    );
    assert.deepEqual(
      lines.map(({ level, msg }) => [level, msg.slice(0, 50)]).toSorted(),
      [
        ["info", "NATS refuses to have this process seen as a servic"],
        ["warn", "NATS refuses to have this process controlled (--co"],
      ],
    );

    await using _seen = await startServer(nats.url, {
      env: loginAs("seen"),
      args: ["--control"],
    });
    const found = await askAll(raw, "PING", 1);
    const seen = await tool(urlAs("operator", nats.url), "status", "--json");
    assert.equal(seen.json[0]?.id, found[0]?.id);
    // A client may ask nobody, and drain nobody.
    const refused = await tool(urlAs("client", nats.url), "drain");
    assert.equal(refused.code, 1);
    assert.match(refused.output, /NATS does not let this login (publish|subs)/);
    await using edge = await RawNats.connect(urlAs("client", nats.url));
    edge.publish(`proxy.request.ctl.${found[0]?.id}.drain`, "{}");
    await edge.flush();
    assert.match(edge.errors.join(), /Permissions Violation for Publish/);
  },
);

const cli = (await locateAll("nats")).get("nats");

integrationTest(
  "the nats command lists it, shows it, and asks its endpoints",
  async () => {
    assert.ok(cli !== undefined);
    await using nats = await startNatsServer();
    await using _server = await startServer(nats.url, { args: ["--control"] });
    const nats_ = async (...args: readonly string[]): Promise<string> => {
      const { status, output } = await run(cli, {
        args: ["--server", nats.url, "--no-context", ...args],
      });
      assert.equal(status.code, 0, output);
      return output;
    };
    assert.match(await nats_("service", "ls"), /tcp-sproxy +│ \d+\.\d+\.\d+/);
    assert.match(await nats_("service", "stats", "tcp-sproxy"), /open-any/);
    const info = await nats_("service", "info", "tcp-sproxy");
    assert.match(info, /proxy\.request\.ctl\.\w+\.kill/);
    const [subject = ""] = /proxy\.request\.ctl\.\w+\.status/.exec(info) ?? [];
    assert.match(await nats_("request", subject, "{}"), /"state":"ready"/);
  },
  { ignore: cli === undefined },
);
