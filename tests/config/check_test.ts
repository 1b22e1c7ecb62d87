/** What `check` shows of a configuration. */
import assert from "node:assert/strict";
import { parseCommandLine } from "../../lib/config/cli.ts";
import { optionsOf } from "../../lib/config/options.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import {
  fakeSources,
  HIDDEN,
  PUBLIC_KEYS,
  ROLES,
} from "../support/option_values.ts";

/** The lines that `check` prints, each in its columns. */
function rowsOf(
  role: Role,
  args: readonly string[],
  sources: Parameters<typeof fakeSources>[0] = {},
): { readonly head: string; readonly rows: readonly (readonly string[])[] } {
  const result = parseCommandLine(
    role,
    ["check", ...args],
    fakeSources(sources),
  );
  assert.ok(result.kind === "check");
  assert.ok(!result.text.includes(HIDDEN), result.text);
  const [head = "", ...lines] = result.text.trimEnd().split("\n");
  return { head, rows: lines.map((line) => line.split(/ {2,}/)) };
}

for (const role of ROLES) {
  Deno.test(`${role}: check shows each option, with its default where nothing is given`, () => {
    const { head, rows } = rowsOf(role, []);
    assert.equal(
      head,
      `# ${role}: the configuration is in order (config file: none)`,
    );
    const shown = new Map(rows.map(([key = "", ...rest]) => [key, rest]));
    for (const { key, default: text = "", secret } of optionsOf(role)) {
      if (
        /^client\.(forwards|socks|http_proxy|listen_addr|remote_addr)$/.test(
          key,
        )
      ) continue;
      const value = text === "" || secret === true ? "-" : text;
      assert.deepEqual(shown.get(key), [value, "default"], key);
    }
    assert.deepEqual(
      shown.get("forward"),
      role === "client" ? ["0.0.0.0:8082 to redis:6379", "default"] : undefined,
    );
  });
}

Deno.test("check shows first what was given, where, and no secret", () => {
  const path = "./.nats-proxy-client.yaml";
  const { head, rows } = rowsOf("client", ["--idle-timeout", "5m", "-q"], {
    env: { NATS_TOKEN: HIDDEN, WINDOW: "1", TUNNEL_WINDOW: "1MiB" },
    files: {
      [path]: `client:
  forwards: ["8080:web:80", {name: db, listen: ./db.sock, target: db:5432}]
  remote_addr: a:1
tunnel: { window: 2MiB }
`,
    },
  });
  assert.ok(head.endsWith(`(config file: ${path})`));
  assert.deepEqual(rows.slice(0, 8).map((row) => row.join(" | ")), [
    `forward | 0.0.0.0:8082 to a:1 | client.remote_addr in ${path}`,
    `forward | localhost:8080 to web:80 | client.forwards in ${path}`,
    `forward db | unix:./db.sock to db:5432 | client.forwards in ${path}`,
    "nats.token | *** | environment variable NATS_TOKEN",
    "tunnel.idle_timeout | 5m | --idle-timeout",
    "tunnel.window | 1MiB | environment variable TUNNEL_WINDOW",
    "log.level | warn | --log-level",
    "client.socks_user | - | default",
  ]);
  const url = rowsOf("client", [], {
    env: { NATS_URL: `nats://u:${HIDDEN}@a` },
  });
  assert.ok(
    url.rows.some(([key, value]) =>
      key === "nats.url" && value === "nats://***@a"
    ),
  );
});

Deno.test("check shows front-ends among the forwards, and a context as where a value is from", () => {
  const { rows } = rowsOf("client", ["-D", "1080", "--context", "edge"], {
    env: { HTTP_PROXY_LISTEN: "3128@berlin", HOME: "/h" },
    files: {
      "/h/.config/nats/context/edge.json": JSON.stringify({
        url: "nats://a",
        token: HIDDEN,
      }),
    },
  });
  const shown = rows.map((row) => row.join(" | "));
  assert.deepEqual(shown.slice(0, 2), [
    "socks | localhost:1080 | --socks",
    "http-proxy | localhost:3128@berlin | environment variable HTTP_PROXY_LISTEN",
  ]);
  for (const key of ["nats.url | nats://a", "nats.token | ***"]) {
    const line = shown.find((line) => line.startsWith(key));
    assert.match(line ?? "", /context "?edge/, shown.join("\n"));
  }
});

Deno.test("check shows the clients of a server", () => {
  const { rows } = rowsOf("server", ["--secret-key", "s.key"], {
    files: {
      "./.nats-proxy-server.yaml": `clients:
  - { name: edge7, keys: [${PUBLIC_KEYS[0]}, ${
        PUBLIC_KEYS[1]
      }], allow: ["db:1"], deny: ["*:2"] }
`,
    },
  });
  assert.ok(
    rows.some((row) =>
      row.join(" | ") ===
        'clients edge7 | 2 keys; allow db:1; deny *:2 | clients[0] ("edge7") in ./.nats-proxy-server.yaml'
    ),
    rows.join("\n"),
  );
});

Deno.test("check shows where the one connection of -W goes", () => {
  const { rows } = rowsOf("client", ["-W", "svc:db@berlin"], {
    env: { FORWARD: "1:a:1", LISTEN_ADDR: ":1" },
  });
  assert.deepEqual(rows[0], ["stdio", "svc:db@berlin", "--stdio"]);
  assert.ok(!rows.some(([key]) => key === "forward"));
});

Deno.test("check tells all that is wrong, as a start does", () => {
  assert.throws(
    () =>
      parseCommandLine(
        "client",
        ["check", "--bogus", "--window", "x"],
        fakeSources({ env: { LOG_LEVEL: "loud" } }),
      ),
    /"--bogus".*--window.*LOG_LEVEL/,
  );
});
