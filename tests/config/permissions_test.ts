/** What a configuration has to be allowed: the lists of docs/protocol.md and docs/security.md, and what options change of them. */
import assert from "node:assert/strict";
import {
  counterpartsOf,
  type Grant,
  permissionsOf,
} from "../../lib/config/permissions.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";

type Lists = readonly [
  publish: readonly string[],
  subscribe: readonly string[],
];

/** What is needed, or what tunnels do without. */
function lists({ publish, subscribe }: Grant, optional?: true): Lists {
  const subjects = (of: Grant["publish"]): readonly string[] =>
    of.filter((one) => one.optional === optional)
      .map(({ subject }) => subject);
  return [subjects(publish), subjects(subscribe)];
}

/** What the process of a command line needs. */
function needs(role: Role, ...args: readonly string[]): Grant {
  const { config } = parseRun(role, args, fakeSources({}));
  return permissionsOf(config, 3);
}

const CLIENT: Lists = [
  [
    "proxy.request.edge7",
    "p.data.to_server.edge7.>",
    "p.data.to_client.edge7.hold.>",
  ],
  ["p.data.to_client.edge7.>"],
];

const SERVER: Lists = [
  ["p.data.to_client.>", "_INBOX.>"],
  ["proxy.request", "proxy.request.*", "p.data.to_server.>"],
];

Deno.test("permissions of a server: services, a site, version 1, other subjects", () => {
  const table: readonly (readonly [args: readonly string[], wanted: Lists])[] =
    [
      [[], SERVER],
      [["--refuse-v1"], [["p.data.to_client.>"], SERVER[1]]],
      [["--inbox-prefix", "_IN.x"], [
        ["p.data.to_client.>", "_IN.x.>"],
        SERVER[1],
      ]],
      [["--service", "db=h:1", "--service", "web=h:2"], [SERVER[0], [
        ...["proxy.request", "proxy.request.*"],
        ...["proxy.request.svc.db.*", "proxy.request.svc.web.*"],
        "p.data.to_server.>",
      ]]],
      // Of version 1 clients it hears nothing, and so answers none.
      [["--site", "berlin", "--service", "db=h:1"], [["p.data.to_client.>"], [
        ...["proxy.request.at.berlin.*", "proxy.request.at.berlin.svc.db.*"],
        "p.data.to_server.>",
      ]]],
      [["--request-subject", "r", "--data-prefix", "d.x", "--refuse-v1"], [
        ["d.x.to_client.>"],
        ["r", "r.*", "d.x.to_server.>"],
      ]],
    ];
  for (const [args, wanted] of table) {
    const grant = needs("server", ...args);
    assert.deepEqual(lists(grant), wanted, args.join(" "));
    assert.deepEqual(grant.notes, []);
  }
});

Deno.test("permissions of a client with an ID: targets, services, sites and workers, and nothing for what it does not ask", () => {
  const [, ...rest] = CLIENT[0];
  const asks = (...subjects: readonly string[]): Lists => [
    [...subjects, ...rest],
    CLIENT[1],
  ];
  const table: readonly (readonly [args: readonly string[], wanted: Lists])[] =
    [
      [[], CLIENT],
      [["-L", "1:db:5432", "-L", "2:web:80"], CLIENT],
      [["-D", "1080"], CLIENT],
      [["-L", "1:svc:db"], asks("proxy.request.svc.db.edge7")],
      [["-L", "1:unix:/run/x"], CLIENT],
      [["-W", "svc:db@berlin"], asks("proxy.request.at.berlin.svc.db.edge7")],
      [["-D", "1080@berlin"], asks("proxy.request.at.berlin.edge7")],
      [
        ["-L", "1:h:1", "-L", "2:svc:db", "-L", "3:svc:db"],
        asks("proxy.request.edge7", "proxy.request.svc.db.edge7"),
      ],
      [["--workers", "2", "-L", "1:svc:db"], [
        [
          ...["proxy.request.svc.db.edge7-1", "proxy.request.svc.db.edge7-2"],
          ...["p.data.to_server.edge7-1.>", "p.data.to_server.edge7-2.>"],
          "p.data.to_client.edge7-1.hold.>",
          "p.data.to_client.edge7-2.hold.>",
        ],
        ["p.data.to_client.edge7-1.>", "p.data.to_client.edge7-2.>"],
      ]],
    ];
  for (const [args, wanted] of table) {
    const grant = needs("client", "--client-id", "edge7", ...args);
    assert.deepEqual(lists(grant), wanted, args.join(" "));
    assert.equal(grant.name, "edge7");
    assert.match(grant.notes.join(), /servers of version 1 are not reached/);
  }
  const auto = needs("client", "--client-id", "edge7", "--workers", "auto");
  assert.equal(auto.subscribe.length, 3);
  const refusing = needs("client", "--client-id", "edge7", "--refuse-v1");
  assert.deepEqual(refusing.notes, []);
});

Deno.test("permissions of a client without an ID are those of all clients, and say so", () => {
  const all = ["p.data.to_client.>"];
  const v2 = needs("client", "--refuse-v1");
  assert.deepEqual(lists(v2), [
    ["proxy.request.*", "p.data.to_server.>"],
    all,
  ]);
  // Servers of version 1 hear nothing else.
  assert.deepEqual(lists(needs("client")), [
    ["proxy.request.*", "proxy.request", "p.data.to_server.>"],
    all,
  ]);
  assert.deepEqual(lists(needs("client", "-L", "1:svc:db@x")), [
    ["proxy.request.at.x.svc.db.*", "p.data.to_server.>"],
    all,
  ]);
  assert.match(v2.notes.join(), /give it an ID/);
});

Deno.test("what tools take beside: for ls at both ends, for traces at a client's own answers", () => {
  const server = needs("server", "--site", "x", "--request-subject", "r");
  assert.deepEqual(lists(server, true), [[], ["r.probe.*"]]);
  const of = (...args: readonly string[]): Lists =>
    lists(needs("client", ...args), true);
  assert.deepEqual(of("--client-id", "edge7", "-L", "1:svc:db@x"), [
    ["proxy.request.probe.edge7", "p.data.to_client.edge7.probe.*"],
    [],
  ]);
  assert.deepEqual(of("--client-id", "e", "--workers", "2")[0], [
    ...["proxy.request.probe.e-1", "proxy.request.probe.e-2"],
    ...["p.data.to_client.e-1.probe.*", "p.data.to_client.e-2.probe.*"],
  ]);
  assert.deepEqual(of()[0], [
    ...["proxy.request.probe.*", "p.data.to_client.*.probe.*"],
  ]);
});

Deno.test("the fences of docs/security.md are what permissions prints, in its order", async () => {
  const guide = await Deno.readTextFile(
    new URL("../../docs/security.md", import.meta.url),
  );
  const wanted = new Map([
    ["server", needs("server", "--refuse-v1")],
    ...["edge7", "edge8"].map((id) =>
      [id, needs("client", "--client-id", id, "--refuse-v1")] as const
    ),
  ]);
  for (const [name, { publish, subscribe }] of wanted) {
    const text = guide.split(`{ nkey: $${name}, permissions: {`)[1]
      ?.split("} }")[0] ?? "";
    const [published, subscribed] = text.split("subscribe:")
      .map((part) => [...part.matchAll(/"(.+?)"/g)].map(([, one]) => one));
    assert.deepEqual(published, publish.map(({ subject }) => subject));
    assert.deepEqual(subscribed, subscribe.map(({ subject }) => subject));
  }
});

Deno.test("permissions of the other end: a server for each site of a client, clients by their IDs", () => {
  const client = parseRun("client", [
    ...["-L", "1:h:1", "-L", "2:svc:db", "-L", "3:svc:ssh@berlin"],
    "--refuse-v1",
  ], fakeSources({}));
  const servers = counterpartsOf(client.config);
  assert.deepEqual(servers.map(({ name }) => name), [
    "server",
    "server-berlin",
  ]);
  assert.deepEqual(servers.map((one) => lists(one)), [
    [["p.data.to_client.>"], [
      ...["proxy.request", "proxy.request.*", "proxy.request.svc.db.*"],
      "p.data.to_server.>",
    ]],
    [["p.data.to_client.>"], [
      ...["proxy.request.at.berlin.*", "proxy.request.at.berlin.svc.ssh.*"],
      "p.data.to_server.>",
    ]],
  ]);
  const of = (...args: readonly string[]): readonly Grant[] =>
    counterpartsOf(
      parseRun("server", args, fakeSources({})).config,
      ["edge7", "edge8"],
    );
  assert.deepEqual(lists(of()[0] ?? assert.fail()), CLIENT);
  assert.deepEqual(of().map(({ name }) => name), ["edge7", "edge8"]);
  // With services alone nothing else may be asked for.
  assert.deepEqual(
    of("--service", "db=h:1")[0]?.publish[0]?.subject,
    "proxy.request.svc.db.edge7",
  );
  assert.deepEqual(
    of("--service", "db=h:1", "--allow-target", "*:*", "--site", "x")[0]
      ?.publish.slice(0, 2).map(({ subject }) => subject),
    ["proxy.request.at.x.edge7", "proxy.request.at.x.svc.db.edge7"],
  );
});

Deno.test("permissions of what is asked for beside tunnels: control, a service of NATS, a record", () => {
  const [publish, subscribe] = SERVER;
  assert.deepEqual(lists(needs("server", "--control")), [publish, [
    ...subscribe,
    ...["$SRV.>", "proxy.request.ctl.>"],
  ]]);
  assert.deepEqual(
    lists(needs("server", "--control", "--refuse-v1"))[0],
    publish,
  );
  assert.deepEqual(lists(needs("server", "--audit-subject", "a.b")), [
    [...publish, "a.b.*"],
    subscribe,
  ]);
  const [asks, hears] = CLIENT;
  const seen = needs("client", "--client-id", "edge7", "--nats-service");
  assert.deepEqual(lists(seen), [[...asks, "_INBOX.>"], [...hears, "$SRV.>"]]);
});
