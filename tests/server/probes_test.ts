/** What a server says to those who probe it, and to whom it says nothing. */
import assert from "node:assert/strict";
import { type Heard, Prober } from "../../lib/client/prober.ts";
import { type ClientSeal, Sealer } from "../../lib/client/sealer.ts";
import { NO_PSK } from "../../lib/seal/open.ts";
import { ClientDirectory } from "../../lib/server/clients.ts";
import type { ServerSeal } from "../../lib/server/reception.ts";
import { encodeProbe } from "../../lib/wire/probe.ts";
import { parseId } from "../../lib/wire/subjects.ts";
import {
  CLIENT_SEAL,
  KEYS,
  knownClient,
  random,
  SERVER_SEAL,
  SUBJECTS,
} from "../support/shell_pair.ts";
import { EgressBench } from "./server_bench.ts";

const IDENTITY = {
  publicId: "abc0123456",
  version: "0.1.0",
  deno: "2.9.6",
  host: "edge-3",
  pid: 7,
  worker: 1,
};

const SERVICES = [
  { name: "db", target: { host: "db", port: 5 } },
  {
    name: "web",
    target: { host: "web", port: 80 },
    check: { period: 1_000, timeout: 500, failures: 1 },
  },
];

/** A server, and a client that probes it. */
class Bench extends EgressBench {
  readonly heard: Heard[] = [];
  readonly prober: Prober;

  constructor(
    options: ConstructorParameters<typeof EgressBench>[0] = {},
    { seal }: { readonly seal?: ClientSeal } = {},
  ) {
    super({ identity: IDENTITY, ...options });
    const { bus, clock } = this;
    this.prober = new Prober({
      ...{ bus, clock, random, subjects: SUBJECTS, token: "c" },
      sealer: seal && new Sealer({ seal, clock, random }),
    });
    bus.subscribe("p.data.to_client.c.>", (message) => {
      const id = parseId(SUBJECTS.idOf("client", message.subject) ?? "");
      if (id !== undefined) this.prober.receive(id, message);
    });
  }

  /** What is heard to a probe on this subject. */
  async probe(subject: string): Promise<readonly Heard[]> {
    const heard: Heard[] = [];
    using _asking = this.prober.ask(subject, (one) => void heard.push(one));
    await this.broker.settled();
    return heard;
  }

  override [Symbol.dispose](): void {
    this.prober[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

Deno.test("a server answers probes where opens go, and where all are asked, with what it is and does", async () => {
  using bench = new Bench({ services: SERVICES });
  await bench.wait(61_000);
  await bench.ask(7);
  for (
    const subject of [
      ...["proxy.request.c", "proxy.request", "proxy.request.probe.c"],
      "proxy.request.svc.db.c",
    ]
  ) {
    const [heard, ...others] = await bench.probe(subject);
    assert.deepEqual(others, []);
    const { publicId: id, ...identity } = IDENTITY;
    assert.ok(heard?.type === "report", `${subject}: ${heard?.type}`);
    assert.deepEqual(JSON.parse(JSON.stringify(heard.report)), {
      id,
      sealed: false,
      facts: {
        ...identity,
        protocols: [2, 1],
        up: 61_000,
        time: bench.clock.wallTime(),
        tunnels: 1,
        opening: 0,
        limit: 10_000,
        services: [{ name: "db", up: true }, { name: "web", up: true }],
        more: 0,
        state: "ready",
      },
    });
  }
  // It is no open: nothing was dialled, and none is counted.
  const { counters } = bench.server.egress.session;
  assert.equal(bench.dialled.filter(({ host }) => host === "db").length, 1);
  assert.deepEqual([...counters.refusedByCode], []);
  assert.equal(counters.malformed, 0);
});

Deno.test("the public ID is not the token of connection IDs", async () => {
  using bench = new Bench();
  const seen: string[] = [];
  bench.broker.filter = ({ subject, headers, data }) => {
    const text = new TextDecoder().decode(data);
    const { Data } = text.startsWith("{") ? JSON.parse(text) : { Data: null };
    seen.push(`${subject} ${JSON.stringify(headers)} ${atob(Data ?? "")}`);
    return true;
  };
  await bench.probe("proxy.request.probe.c");
  assert.equal(seen.length, 2);
  assert.match(seen[1] ?? "", /abc0123456/);
  assert.doesNotMatch(seen.join(), /server1/);
});

Deno.test("a service that is out of order says why, and answers nobody on its own subject", async () => {
  using bench = new Bench({
    services: SERVICES,
    dial: ({ ...target }) =>
      Promise.reject(new Error(`${JSON.stringify(target)} is down`)),
  });
  await bench.wait(10);
  const [heard] = await bench.probe("proxy.request.probe.c");
  assert.ok(heard?.type === "report");
  const [, web] = heard.report.facts?.services ?? [];
  assert.deepEqual([web?.name, web?.up], ["web", false]);
  assert.match(web?.why ?? "", /is down/);
  const nobody = await bench.probe("proxy.request.svc.web.c");
  assert.deepEqual(nobody.map(({ type }) => type), ["nobody"]);
});

Deno.test("a server that is about to stop is listed, and asked for opens no more", async () => {
  using bench = new Bench();
  await bench.server.egress.drain();
  const [heard] = await bench.probe("proxy.request.probe.c");
  assert.ok(heard?.type === "report");
  assert.equal(heard.report.facts?.state, "draining");
  const nobody = await bench.probe("proxy.request.c");
  assert.deepEqual(nobody.map(({ type }) => type), ["nobody"]);
});

Deno.test("a probe in another's name, or of another data prefix, is not answered", async () => {
  using bench = new Bench();
  let answers = 0;
  bench.bus.subscribe("*.data.to_client.>", () => void answers++);
  const { headers, body } = encodeProbe({ client: "other", number: 5 });
  const reply = "p.data.to_client.other.probe.5";
  for (const subject of ["proxy.request.c", "proxy.request.probe.c"]) {
    await bench.send(headers, body, { subject, reply });
  }
  await bench.send(headers, body, {
    subject: "proxy.request.other",
    reply: "q.data.to_client.other.probe.5",
  });
  assert.equal(answers, 0);
  await bench.send(headers, body, { subject: "proxy.request.other", reply });
  assert.equal(answers, 1);
});

Deno.test("one sender gets a hundred answers a second, and another is answered beside", async () => {
  using bench = new Bench();
  let answers = 0;
  bench.bus.subscribe("p.data.to_client.*.probe.*", () => void answers++);
  const probe = async (client: string, count: number): Promise<number> => {
    const before = answers;
    for (let number = 1; number <= count; number++) {
      const { headers, body } = encodeProbe({ client, number });
      await bench.send(headers, body, {
        subject: `proxy.request.probe.${client}`,
        reply: SUBJECTS.probeAnswerTo(client, number),
      });
    }
    return answers - before;
  };
  assert.equal(await probe("flood", 300), 100);
  assert.equal(await probe("quiet", 3), 3);
  await bench.wait(1_000);
  assert.equal(await probe("flood", 300), 100);
});

/** A server that knows `edge`, which may have the service `db` alone. */
const KNOWN: ServerSeal = {
  ...SERVER_SEAL,
  clients: new ClientDirectory([
    { ...knownClient("edge", KEYS.client.publicKey), services: ["db"] },
  ]),
};

Deno.test("a server that takes sealed opens only says no more than that to who has no key", async () => {
  using bench = new Bench({ seal: KNOWN, services: SERVICES });
  for (const subject of ["proxy.request.c", "proxy.request.probe.c"]) {
    const [heard] = await bench.probe(subject);
    assert.ok(heard?.type === "report");
    assert.deepEqual(heard.report, { id: "abc0123456", sealed: true });
  }
});

Deno.test("under a seal a known client hears all that it may know, and nobody else anything", async () => {
  using bench = new Bench({ seal: KNOWN, services: SERVICES }, {
    seal: CLIENT_SEAL,
  });
  const seen: string[] = [];
  bench.broker.filter = ({ data }) => {
    const text = new TextDecoder("latin1").decode(data);
    seen.push(text.startsWith("{") ? atob(JSON.parse(text).Data ?? "") : text);
    return true;
  };
  const [heard] = await bench.probe("proxy.request.probe.c");
  assert.ok(heard?.type === "report" && heard.report.sealed);
  assert.deepEqual(
    heard.report.facts?.services.map(({ name }) => name),
    ["db"],
  );
  assert.deepEqual(heard.report.facts?.protocols, [2]);
  assert.doesNotMatch(seen.join(), /edge-3|"db"|2\.9\.6/);
});

Deno.test("a client whose key nobody knows is refused, and one that has another server's key believes nothing", async () => {
  const unknown = { ...CLIENT_SEAL, key: KEYS.otherClient };
  using bench = new Bench({ seal: KNOWN }, { seal: unknown });
  const [refused] = await bench.probe("proxy.request.c");
  assert.ok(refused?.type === "refused");
  assert.match(refused.reason.text, /knows no client with the key/);
  using other = new Bench({ seal: KNOWN }, {
    seal: { ...CLIENT_SEAL, serverKeys: [KEYS.nextServer.publicKey] },
  });
  const [foreign] = await other.probe("proxy.request.c");
  assert.ok(foreign?.type === "foreign");
  assert.match(foreign.what, /another key/);
  // And an unsealed answer is not believed by who seals.
  using plain = new Bench({}, { seal: CLIENT_SEAL });
  const [unsealed] = await plain.probe("proxy.request.c");
  assert.ok(unsealed?.type === "foreign");
});

Deno.test("clocks that are apart are told, and the probe goes once more by the server's", async () => {
  using bench = new Bench({ seal: KNOWN }, { seal: CLIENT_SEAL });
  const { clock } = bench;
  const honest = clock.wallTime.bind(clock);
  let asked = 0;
  // The client's clock is that of its sealer, which is asked first.
  clock.wallTime = () => honest() - (asked++ === 0 ? 600_000 : 0);
  const heard = await bench.probe("proxy.request.c");
  assert.deepEqual(heard.map(({ type }) => type), ["report"]);
});

Deno.test("what is asked of all is sealed for each key that servers may have", async () => {
  using bench = new Bench(
    { seal: { ...KNOWN, keys: [KEYS.nextServer], psk: NO_PSK } },
    {
      seal: {
        ...CLIENT_SEAL,
        serverKeys: [KEYS.server.publicKey, KEYS.nextServer.publicKey],
      },
    },
  );
  const heard: string[] = [];
  using _asking = bench.prober.askAll(
    "proxy.request.probe.c",
    ({ type }) => void heard.push(type),
  );
  await bench.broker.settled();
  assert.deepEqual(heard.toSorted(), ["foreign", "report"]);
});

Deno.test("a sealed open that is passed off as a probe is not answered, and a probe as an open is refused", async () => {
  using bench = new Bench({ seal: KNOWN }, { seal: CLIENT_SEAL });
  let strip = true;
  bench.broker.filter = (message) => {
    if (!strip || !message.subject.startsWith("proxy.")) return true;
    strip = false;
    const headers = message.headers.filter(([name]) => name !== "sproxy-probe");
    bench.broker.route({ ...message, headers });
    return false;
  };
  await bench.probe("proxy.request.c");
  assert.deepEqual(bench.take(), ["sealed"]);
  assert.equal(bench.dialled.length, 0);
});
