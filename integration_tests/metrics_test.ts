/** Metrics of real processes: the reference, promtool, and a Prometheus that scrapes them. */
import assert from "node:assert/strict";
import type { MetricSpec } from "../lib/process/metric.ts";
import { METRICS } from "../lib/process/metric_table.ts";
import { readAlerts } from "../tools/update_metrics.ts";
import { metricValue } from "./support/chaos_stage.ts";
import { integrationTest } from "./support/integration_test.ts";
import { findOptional, PROMETHEUS } from "./support/optional_tools.ts";
import { owned } from "./support/owned.ts";
import { spawn } from "./support/processes.ts";
import { Prometheus, promtool } from "./support/prometheus.ts";
import {
  baseEnvironment,
  ClientRole,
  PROJECT,
  type Role,
} from "./support/roles.ts";
import { SealedStage } from "./support/sealed_stage.ts";
import { dial, readEnding, readExactly, writeAll } from "./support/transfer.ts";
import { comes, soon } from "./support/waits.ts";

const SPECS: Readonly<Record<string, MetricSpec>> = METRICS;

const tools = await findOptional(...PROMETHEUS);

/** Open files of the server; few enough that it finds out. */
const OPEN_FILES = 512;

/** Both roles, with everything that is counted. */
interface Counted extends AsyncDisposable {
  readonly stage: SealedStage;
  readonly server: Role;
  readonly client: ClientRole;
  /** Where the client's second way in listens, which leads to a service that nobody offers. */
  readonly refused: { readonly hostname: string; readonly port: number };
}

/** A server of two workers that knows its client and has a service, and that client, with every permission. */
async function startCounted(): Promise<Counted> {
  await using cleanup = new AsyncDisposableStack();
  const stage = cleanup.use(await SealedStage.start());
  const { keys, url } = stage;
  const config = await stage.writeClients([
    { name: "edge", keys: [keys.client.publicKey] },
  ]);
  const server = cleanup.use(
    await stage.server([
      ...["--config", config, "--secret-key", keys.server.path],
      ...["--service", `echo=${stage.echo.address}`, "--workers", "2"],
    ], ["prlimit", `--nofile=${OPEN_FILES}`]),
  );
  const process = spawn(Deno.execPath(), {
    name: "client",
    args: [
      ...["run", "-A", new URL("client.ts", PROJECT).pathname],
      ...["--nats-url", url, "--status-addr", "127.0.0.1:0"],
      ...["--secret-key", keys.client.path],
      ...["--server-key", keys.server.publicKey, "--log-format", "json"],
      ...["-L", "127.0.0.1:0:svc:echo", "-L", "127.0.0.1:0:svc:nothing"],
    ],
    env: await baseEnvironment(),
    clearEnv: true,
    cwd: stage.folder.path,
  });
  const at = async (target: string): Promise<ClientRole> => {
    const { address } = await new ClientRole(process, "").entry((entry) =>
      entry.msg === "listening" && entry.target === target
    );
    return new ClientRole(process, String(address));
  };
  const client = cleanup.use(await at("svc:echo"));
  const { endpoint: refused } = await at("svc:nothing");
  return owned(cleanup, { stage, server, client, refused });
}

/** Connects `count` times one after the other, and has four bytes echoed each time. */
async function echo({ client }: Counted, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    using conn = await dial(client.endpoint);
    await writeAll(conn, new TextEncoder().encode("ping"));
    await soon("it is echoed", readExactly(conn, 4));
  }
}

async function pageOf(role: Role): Promise<string> {
  const { status, text } = await role.status("/metrics");
  assert.equal(status, 200);
  return text;
}

/** The names of the metrics of a page, by its TYPE lines. */
function namesOf(page: string): string[] {
  return [...page.matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name);
}

integrationTest(
  "metrics: pages of both roles have what the reference has, and nothing else; workers are added up",
  async () => {
    await using counted = await startCounted();
    const { server, client, refused } = counted;
    await echo(counted, 6);
    using conn = await dial(refused);
    await soon("it is refused", readEnding(conn));
    // Workers tell now and then.
    await comes(async () => {
      const page = await pageOf(server);
      const ended = metricValue(page, "sproxy_tunnels_closed_total", "ok");
      return ended === 6 ? undefined : `${ended} tunnels have ended`;
    });
    const pages = {
      server: await pageOf(server),
      client: await pageOf(client),
    };
    for (const [role, page] of Object.entries(pages)) {
      const names = namesOf(page);
      assert.deepEqual(names, [...new Set(names)]);
      const unknown = names.filter((name) => !Object.hasOwn(SPECS, name));
      assert.deepEqual(unknown, [], role);
      const foreign = names.filter((name) =>
        (SPECS[name]?.role ?? role) !== role
      );
      assert.deepEqual(foreign, [], role);
    }
    const seen = new Set(Object.values(pages).flatMap(namesOf));
    assert.deepEqual(Object.keys(METRICS).filter((it) => !seen.has(it)), []);

    const at = (
      role: keyof typeof pages,
      name: string,
      labels = "",
    ): number => metricValue(pages[role], name, labels);
    const forward = `forward="${client.address}"`;
    assert.equal(
      at("client", "sproxy_forward_tunnels_opened_total", forward),
      6,
    );
    assert.equal(
      at("client", "sproxy_forward_opens_refused_total", `:${refused.port}"`),
      1,
    );
    for (const [kind, name] of [["service", "echo"], ["client", "edge"]]) {
      const label = `${kind}="${name}"`;
      assert.equal(
        at("server", `sproxy_${kind}_tunnels_opened_total`, label),
        6,
      );
      assert.equal(
        at("server", `sproxy_${kind}_bytes_total`, `${label},direction="sent"`),
        24,
      );
    }
    assert.equal(at("server", "sproxy_dial_duration_seconds_count", "ok"), 6);
    assert.equal(at("client", "sproxy_open_duration_seconds_count", "ok"), 6);
    assert.equal(at("server", "sproxy_tunnel_duration_seconds_count"), 6);
    assert.equal(at("server", "sproxy_workers_ready"), 2);
    assert.equal(at("server", "process_max_fds"), OPEN_FILES);
    assert.ok(at("client", "process_open_fds") > 5);
    // One of the process, and not one for each worker.
    assert.equal(at("server", "sproxy_build_info", 'role="server"'), 1);
  },
);

/** Expects that promtool has nothing to say against the alerts, and the pages of these roles. */
async function checkByPromtool(roles: readonly Role[]): Promise<void> {
  const command = tools?.get("promtool") ?? "";
  for (
    const args of [
      ["check", "rules", "deploy/prometheus/alerts.yml"],
      ["test", "rules", "deploy/prometheus/alerts_test.yml"],
    ]
  ) {
    const { code, output } = await promtool(command, args);
    assert.equal(code, 0, output);
    assert.match(output, /SUCCESS/);
  }
  for (const role of roles) {
    const page = await pageOf(role);
    const checked = await promtool(command, ["check", "metrics"], page);
    assert.deepEqual(checked, { code: 0, output: "" });
  }
}

integrationTest(
  "metrics: promtool has nothing against alerts and pages; Prometheus scrapes both roles, and answers each query of the dashboard and the alerts",
  async () => {
    await using counted = await startCounted();
    const { server, client, stage } = counted;
    await echo(counted, 3);
    await using prometheus = await Prometheus.start(
      tools?.get("prometheus") ?? "",
      stage.folder,
      [server, client],
    );
    // It begins to scrape five seconds after its start.
    await checkByPromtool([server, client]);
    const value = async (expr: string): Promise<number> => {
      const [series] = await prometheus.query(expr);
      return Number(series?.value[1]);
    };
    await comes(async () => {
      const opened = await value(
        'sum(sproxy_tunnels_opened_total * on (instance) group_left (role) sproxy_build_info{role="client"})',
      );
      const rules = await prometheus.rules();
      // Rates take two scrapes.
      const known = await value("count(rate(process_cpu_seconds_total[10s]))");
      const ready = rules.every(({ health }) => health !== "unknown");
      return opened === 3 && known === 2 && ready
        ? undefined
        : `${opened} tunnels of ${known} processes are known, rules ${ready}`;
    });
    assert.deepEqual(await prometheus.scrapeErrors(), []);
    const faults = (await prometheus.rules())
      .filter(({ health }) => health !== "ok")
      .map(({ name, lastError }) => `${name}: ${lastError}`);
    assert.deepEqual(faults, []);
    const firing = await prometheus.query("ALERTS");
    assert.deepEqual(firing.map(({ metric }) => metric.alertname), []);
    assert.equal(
      (await prometheus.rules()).length,
      (await readAlerts()).length,
    );

    const text = await Deno.readTextFile(
      new URL("deploy/grafana/tcp-sproxy.json", PROJECT),
    );
    const dashboard: {
      readonly panels: readonly {
        readonly targets?: readonly { readonly expr: string }[];
      }[];
    } = JSON.parse(text);
    const queries = dashboard.panels.flatMap(({ targets = [] }) =>
      targets.map(({ expr }) =>
        expr.replaceAll("$__rate_interval", "10s")
          .replaceAll(/\$(job|role|instance)\b/g, ".*")
      )
    );
    assert.ok(queries.length > 50);
    const empty: string[] = [];
    for (const expr of queries) {
      const found = await prometheus.query(expr);
      if (found.length === 0) empty.push(expr);
    }
    // But for those that show what is above a bound, and nothing is.
    assert.deepEqual(empty.filter((expr) => !/ [<>] /.test(expr)), []);
  },
  { ignore: tools === undefined },
);
