/** Who may have which service, and what its target may be. */
import assert from "node:assert/strict";
import {
  judgePath,
  judgeTarget,
  type TargetRules,
} from "../../lib/base/target_judge.ts";
import { parseTargetRule } from "../../lib/base/target_rules.ts";
import type { Service } from "../../lib/base/service.ts";
import { parseTarget } from "../../lib/base/target.ts";
import {
  ClientDirectory,
  type KnownClient,
  rulesForService,
  rulesOf,
} from "../../lib/server/clients.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { captureLog } from "../support/capture_log.ts";
import {
  CLIENT_SEAL,
  KEYS,
  knownClient,
  Pair,
  SERVER_SEAL,
} from "../support/shell_pair.ts";

const DB: Service = { name: "db", target: { host: "10.0.0.7", port: 5432 } };

function rules(allow: string, deny = ""): TargetRules {
  const parse = (text: string) =>
    text.split(" ").filter((word) => word !== "").map(parseTargetRule);
  const called = { allow: "--allow-target", deny: "--deny-target" };
  return { allow: parse(allow), deny: parse(deny), called };
}

/** Whether the service's target may be dialled at this address. */
function isOpen(
  service: Service,
  general: readonly TargetRules[],
  ip: string,
): boolean {
  const all = rulesForService(service, general);
  const { target } = service;
  return "path" in target
    ? judgePath(all, target.path) === undefined
    : "addresses" in judgeTarget(all, target, [ip]);
}

Deno.test("a service's target needs no rule that allows it, and heeds those that deny", () => {
  const named: Service = { name: "n", target: { host: "db.lan", port: 80 } };
  const unix: Service = { name: "u", target: { path: "/run/x" } };
  const metadata: Service = {
    name: "m",
    target: { host: "169.254.169.254", port: 80 },
  };
  const local: Service = { name: "l", target: { host: "localhost", port: 22 } };
  const cases: readonly (readonly [Service, TargetRules, string, boolean])[] = [
    [DB, rules(""), "10.0.0.7", true],
    [DB, rules("other:1"), "10.0.0.7", true],
    [DB, { ...rules(""), servicesOnly: true }, "10.0.0.7", true],
    [DB, rules("", "10.0.0.0/8:*"), "10.0.0.7", false],
    [DB, rules("*:*", "*:5432"), "10.0.0.7", false],
    [named, rules(""), "127.0.0.1", true],
    [named, rules(""), "169.254.169.254", true],
    [named, rules("", "169.254.0.0/16:*"), "169.254.169.254", false],
    [named, rules("", "db.lan:*"), "10.0.0.1", false],
    [metadata, rules(""), "169.254.169.254", true],
    [local, rules(""), "::1", true],
    [unix, rules(""), "", true],
    [unix, rules("", "unix:/run/x"), "", false],
  ];
  for (const [service, general, ip, open] of cases) {
    assert.equal(isOpen(service, [general], ip), open, service.name);
  }
  // And of all lists, that of a client too.
  assert.ok(!isOpen(DB, [rules(""), rules("a:1", "10.0.0.7:*")], "10.0.0.7"));
});

Deno.test("a client with services and no targets of its own reaches nothing else", () => {
  const general = rules("*:*");
  const target = { host: "8.8.8.8", port: 1 };
  const reaches = (entry: Parameters<typeof rulesOf>[0], all = general) =>
    "addresses" in judgeTarget(rulesOf(entry, all), target, ["8.8.8.8"]);
  const allow = [parseTargetRule("8.8.8.8:*")];
  assert.ok(reaches({ name: "a" }));
  assert.ok(!reaches({ name: "a", services: ["db"] }));
  assert.ok(!reaches({ name: "a", services: [] }));
  assert.ok(reaches({ name: "a", services: ["db"], allow }));
  // Where the server is for services alone, a client's own list says more.
  const closed = { ...rules(""), servicesOnly: true };
  assert.ok(!reaches({ name: "a" }, closed));
  assert.ok(reaches({ name: "a", allow }, closed));
});

/** A sealed pair whose client may have what `entry` says; it asks for `db`. */
function pairWith(
  entry: Partial<KnownClient>,
  remote = "10.0.0.7:5432",
): { pair: Pair; connect: () => Promise<FakeSocket> } {
  const pair = new Pair({
    client: { seal: CLIENT_SEAL },
    server: {
      services: [DB],
      seal: sealOf(entry),
      dial: () => Promise.resolve(new FakeSocket(remote)),
    },
  });
  return {
    pair,
    async connect(): Promise<FakeSocket> {
      const app = new FakeSocket();
      const target = { service: "db" };
      pair.client.ingress.open({ socket: app, target });
      await pair.settle();
      return app;
    },
  };
}

function sealOf(entry: Partial<KnownClient>): typeof SERVER_SEAL {
  const client = { ...knownClient("edge", KEYS.client.publicKey), ...entry };
  return { ...SERVER_SEAL, clients: new ClientDirectory([client]) };
}

Deno.test("a sealed client has the services that its entry names", async () => {
  using log = captureLog();
  for (
    const [services, opened] of [
      [undefined, 1],
      [["db"], 1],
      [["web"], 0],
      [[], 0],
    ] as const
  ) {
    const { pair, connect } = pairWith({ services });
    using _ = pair;
    await connect();
    assert.equal(pair.server.egress.session.size, opened, String(services));
  }
  const told = log.records.filter(({ properties }) =>
    properties.reason === "denied"
  ).map(({ properties }) => String(properties.text ?? properties.why));
  assert.ok(told.length > 0);
});

Deno.test("a reload ends the tunnels to services that a client may not have any more", async () => {
  const { pair, connect } = pairWith({ services: ["db", "web"] });
  using _ = pair;
  await connect();
  const { egress } = pair.server;
  assert.equal(egress.session.size, 1);
  egress.reload(sealOf({ services: ["db"] }));
  await pair.settle();
  assert.equal(egress.session.size, 1);
  // What is offered no more is not for that closed to those who may have it.
  egress.setServices([]);
  egress.reload(sealOf({ services: ["db"] }));
  await pair.settle();
  assert.equal(egress.session.size, 1);
  egress.reload(sealOf({ services: ["web"] }));
  await pair.wait(1_000);
  assert.equal(egress.session.size, 0);
});

Deno.test("a reload ends the tunnels to services whose target a client is denied now", async () => {
  const { pair, connect } = pairWith({});
  using _ = pair;
  await connect();
  const { egress } = pair.server;
  egress.reload(sealOf({ targets: [rules("", "10.0.0.0/8:1-1024")] }));
  await pair.settle();
  assert.equal(egress.session.size, 1);
  egress.reload(sealOf({ targets: [rules("", "10.0.0.0/8:*")] }));
  await pair.wait(1_000);
  assert.equal(egress.session.size, 0);
});

Deno.test("a tunnel to a service that leads elsewhere now is judged by where it was dialled", async () => {
  for (
    const [remote, now, deny, open] of [
      ["10.0.0.7:5432", "10.0.0.8:5432", "", 1],
      ["10.0.0.7:5432", "10.0.0.8:5432", "10.0.0.8:*", 1],
      ["10.0.0.7:5432", "10.0.0.8:5432", "10.0.0.7:*", 0],
      ["10.0.0.7:5432", "10.0.0.7:5433", "*:5433", 1],
      ["10.0.0.7:5432", "10.0.0.7:5433", "*:5432", 0],
      ["10.0.0.7:5432", "db.lan:5432", "", 1],
      ["10.0.0.7:5432", "db.lan:5432", "db.lan:*", 0],
      ["10.0.0.7:5432", "db.lan:5432", "10.0.0.7:*", 0],
      ["10.0.0.7:5432", "unix:/run/db", "", 1],
      ["10.0.0.7:5432", "unix:/run/db", "10.0.0.7:*", 0],
      ["unix:/run/db", "10.0.0.8:5432", "", 1],
      ["unix:/run/db", "10.0.0.8:5432", "10.0.0.8:*", 1],
      ["unix:/run/db", "10.0.0.8:5432", "unix:/run/db", 0],
    ] as const
  ) {
    const { pair, connect } = pairWith({}, remote);
    using _ = pair;
    await connect();
    const { egress } = pair.server;
    const target = parseTarget(now);
    assert.ok(!("service" in target));
    egress.setServices([{ ...DB, target }]);
    egress.reload(sealOf({ targets: [rules("", deny)] }));
    await pair.wait(1_000);
    const about = `${remote}, now ${now}, deny=${deny}`;
    assert.equal(egress.session.size, open, about);
  }
});
