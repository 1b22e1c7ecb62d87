/** What both logs say of a tunnel's end: who decided, and why, true at either end. */
import assert from "node:assert/strict";
import { isErrorCode, type Reason, WIRE_CODES } from "../../lib/base/errors.ts";
import { CODEC_NAMES } from "../../lib/wire/codec.ts";
import { JsonMessage } from "../../lib/wire/json.ts";
import { encodeMessage } from "../../lib/wire/message.ts";
import type { Session } from "../../lib/session/session.ts";
import { localEnd, otherRole, type Role } from "../../lib/wire/subjects.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import type { PairOptions } from "../support/shell_pair.ts";
import { SessionBench } from "./session_bench.ts";

const ROLES = ["client", "server"] as const;

const SHUTDOWN = (role: Role): Reason => ({
  code: "shutdown",
  text: `the ${role} was stopped`,
});

/** A bench, and the role whose end of the tunnel something befalls. */
interface Scene {
  readonly bench: SessionBench;
  readonly role: Role;
}

/** How tunnels end, and what is told; undefined where an end cannot know. */
interface End {
  readonly options?: (role: Role) => PairOptions;
  readonly play: (scene: Scene) => Promise<void>;
  /** At the end that it befalls. */
  readonly here: (role: Role) => string;
  /** At the other. */
  readonly there: (role: Role) => string;
}

function sockets({ bench, role }: Scene): FakeSocket {
  return role === "client" ? bench.app : bench.target;
}

function sessionOf(bench: SessionBench, role: Role): Session {
  return role === "client"
    ? bench.client.ingress.session
    : bench.server.egress.session;
}

/** What `by` says that the other end has decided. */
const said = (code: string, text: string): string =>
  `${code} by peer: the other end says: ${text}`;

const NATIVE: Readonly<Record<string, End>> = {
  "both streams end": {
    play: async ({ bench }) => {
      bench.app.end();
      bench.target.end();
      await bench.wait(100);
    },
    here: () => "ok",
    there: () => "ok",
  },
  "the connection breaks": {
    play: async (scene) => {
      sockets(scene).reset("Connection reset by peer (os error 104)");
      await scene.bench.settle();
    },
    here: (role) =>
      `aborted by local: reading from ${
        localEnd(role)
      } failed: Connection reset by peer (os error 104)`,
    there: (role) =>
      said(
        "aborted",
        `reading from ${
          localEnd(role)
        } failed: Connection reset by peer (os error 104)`,
      ),
  },
  "it is idle": {
    options: (role) => ({ [role]: { idleTimeout: 20_000 } }),
    play: ({ bench }) => bench.wait(21_000),
    here: () => "idle by local: no byte moved for 20000 ms (--idle-timeout)",
    there: () => said("idle", "no byte moved for 20000 ms (--idle-timeout)"),
  },
  "it is half-closed": {
    options: (role) => ({ [role]: { halfCloseTimeout: 20_000 } }),
    play: async ({ bench }) => {
      bench.app.end();
      await bench.wait(21_000);
    },
    here: () =>
      "half-closed by local: one direction has ended and no byte moved for 20000 ms (--half-close-timeout)",
    there: () =>
      said(
        "half-closed",
        "one direction has ended and no byte moved for 20000 ms (--half-close-timeout)",
      ),
  },
  "the process is stopped": {
    play: async ({ bench, role }) => {
      sessionOf(bench, role).shutDown(SHUTDOWN(role));
      await bench.settle();
    },
    here: (role) => `shutdown by local: the ${role} was stopped`,
    there: (role) => said("shutdown", `the ${role} was stopped`),
  },
  "the process is stopped, and only its goodbye arrives": {
    play: async ({ bench, role }) => {
      bench.broker.filter = ({ subject }) => subject.endsWith(".0");
      sessionOf(bench, role).shutDown(SHUTDOWN(role));
      await bench.settle();
    },
    here: (role) => `shutdown by local: the ${role} was stopped`,
    there: (role) => said("shutdown", `the ${role} was stopped`),
  },
  "NATS is away from it for too long": {
    play: async ({ bench, role }) => {
      bench[role].bus.cut();
      await bench.wait(31_000);
      bench[role].bus.restore();
      await bench.wait(1_000);
    },
    here: () =>
      "nats-down by local: the link to NATS was down for 30000 ms (--resume-timeout)",
    there: (role) =>
      `peer-gone by local: the ${role} did not listen on NATS for 10000 ms (--peer-timeout)`,
  },
  "nothing is heard of it, and then it comes back": {
    play: async ({ bench, role }) => {
      bench.broker.filter = ({ from }) => from !== bench[role].bus;
      await bench.wait(31_000);
      bench.broker.filter = () => true;
      bench[role].bus.cut();
      bench[role].bus.restore();
      await bench.wait(1_000);
    },
    here: (role) =>
      said(
        "peer-gone",
        `nothing was heard of the ${role} for 30000 ms (--resume-timeout)`,
      ),
    there: (role) =>
      `peer-gone by local: nothing was heard of the ${role} for 30000 ms (--resume-timeout)`,
  },
  "it may not publish": {
    play: async ({ bench, role }) => {
      bench.broker.filter = ({ from }) => from !== bench[role].bus;
      bench[role].bus.deny(`p.data.to_${otherRole(role)}.${bench.id}`);
      await bench.settle();
      bench.broker.filter = () => true;
      bench[otherRole(role)].bus.cut();
      bench[otherRole(role)].bus.restore();
      await bench.settle();
    },
    here: (role) =>
      `denied by local: NATS refuses what is published to p.data.to_${
        otherRole(role)
      }.ID`,
    there: (role) =>
      said(
        "denied",
        `NATS refuses what is published to p.data.to_${otherRole(role)}.ID`,
      ),
  },
  "its peer lies": {
    play: ({ bench, role }) =>
      bench.forge(role, bench.id, {
        type: "ack",
        ack: 9,
        limit: 9,
        gap: false,
      }),
    here: () =>
      "protocol by local: peer acknowledged 9 bytes, but only 1 were sent",
    there: () =>
      said("protocol", "peer acknowledged 9 bytes, but only 1 were sent"),
  },
  "its process is another one": {
    play: async ({ bench, role }) => {
      const id = bench.id;
      await bench.forge(otherRole(role), id, {
        type: "reset",
        code: "unknown-tunnel",
        text: "no such tunnel is known",
      });
      await bench.wait(6 * 60_000);
    },
    here: () => said("unknown-tunnel", "no such tunnel is known"),
    there: () => said("unknown-tunnel", "no such tunnel is known"),
  },
};

/** What the log says of how tunnels ended at the end of `role`. */
function told(
  log: ReturnType<typeof captureLog>,
  bench: SessionBench,
  socket: FakeSocket,
): string {
  const lines = log.records.filter(({ rawMessage, properties }) =>
    rawMessage === "tunnel closed" && properties.peer === socket.remote
  );
  assert.equal(lines.length, 1);
  const { reason, by, why } = lines[0]?.properties ?? {};
  const text = by === undefined ? reason : `${reason} by ${by}: ${why}`;
  return String(text).replaceAll(bench.id, "ID");
}

for (const [what, { options, play, here, there }] of Object.entries(NATIVE)) {
  for (const role of ROLES) {
    for (const codec of CODEC_NAMES) {
      Deno.test(`Session says at both ends how a tunnel ended: ${what}, ${role}, ${codec}`, async () => {
        using log = captureLog();
        const { client, server } = options?.(role) ?? {};
        using bench = await SessionBench.start({
          client: { codec, ...client },
          ...(server && { server }),
        });
        await play({ bench, role });
        const ends = { client: bench.app, server: bench.target };
        assert.equal(told(log, bench, ends[role]), here(role));
        const other = ends[otherRole(role)];
        assert.equal(told(log, bench, other), there(role));
      });
    }
  }
}

for (const role of ROLES) {
  Deno.test(`Session of a ${role} says of every code in a RESET that the other end said it`, async () => {
    for (const code of Object.keys(WIRE_CODES).filter(isErrorCode)) {
      using log = captureLog();
      using bench = await SessionBench.start();
      const reset = { type: "reset", code, text: "its words" } as const;
      await bench.forge(role, bench.id, reset);
      const { app, target } = bench;
      assert.equal(
        told(log, bench, role === "client" ? app : target),
        code === "ok"
          ? "protocol by local: reset frame with the code of a clean end"
          : said(code, "its words"),
      );
    }
  });
}

/** How a tunnel with a version 1 peer ends: nothing is said there, so all is decided here. */
const V1: Readonly<
  Record<
    string,
    readonly [
      play: (bench: V1Bench) => Promise<void>,
      client: string,
      server: string,
    ]
  >
> = {
  "the connection breaks": [
    async (bench) => {
      bench.socket.reset("it broke");
      await bench.settle();
    },
    "aborted by local: reading from the application failed: it broke",
    "aborted by local: reading from the target failed: it broke",
  ],
  "the process is stopped": [
    async (bench) => {
      sessionOf(bench, bench.role).shutDown(SHUTDOWN(bench.role));
      await bench.settle();
    },
    "shutdown by local: the client was stopped",
    "shutdown by local: the server was stopped",
  ],
  "the link is lost": [
    async (bench) => {
      bench[bench.role].bus.cut();
      await bench.settle();
    },
    "nats-down by local: NATS was away, and a version 1 peer cannot resume",
    "nats-down by local: NATS was away, and a version 1 peer cannot resume",
  ],
  "the peer never listens": [
    async (bench) => {
      bench.peer[Symbol.dispose]();
      await bench.wait(11_000);
    },
    "timeout by local: the version 1 server did not listen within 10000 ms (--open-timeout); it may have failed to dial",
    "timeout by local: the version 1 client did not listen within 10000 ms (--dial-timeout)",
  ],
  "the peer no longer listens": [
    async (bench) => {
      await bench.wait(1_000);
      bench.peer[Symbol.dispose]();
      await bench.wait(10_000);
    },
    "peer-gone by local: the version 1 server no longer listens",
    "peer-gone by local: the version 1 client no longer listens",
  ],
  "it is idle": [
    (bench) => bench.wait(61_000),
    "idle by local: no byte moved for 60000 ms (--idle-timeout)",
    "idle by local: no byte moved for 60000 ms (--idle-timeout)",
  ],
  "the peer answers with an error": [
    async (bench) => {
      await bench.say(null, { error: "true" });
    },
    "protocol by local: the version 1 server answered data with an error, so bytes are lost",
    "protocol by local: the version 1 client answered data with an error, so bytes are lost",
  ],
  "the peer sends too much": [
    async (bench) => {
      bench.socket.stall();
      for (let i = 0; i < 5; i++) await bench.say(new Uint8Array(600_000), {});
    },
    "limit by local: the version 1 server, which knows no flow control, sent faster than the application reads: BYTES bytes wait",
    "limit by local: the version 1 client, which knows no flow control, sent faster than the target reads: BYTES bytes wait",
  ],
  "the peer closes": [
    async (bench) => {
      await bench.say(null, { type: "close" });
      bench.socket.end();
      await bench.settle();
    },
    "ok",
    "ok",
  ],
};

/** A version 1 peer of a session of ours. */
class V1Bench extends SessionBench {
  readonly role: Role;
  readonly socket = new FakeSocket("application:2");
  readonly peer: Disposable;

  constructor(role: Role) {
    super({ [role]: { idleTimeout: 60_000, memoryBudget: 1 << 20 } });
    this.role = role;
    this.id = role === "client" ? "66840b31340ea8b4" : "old.server1.7";
    const subject = `p.data.to_${otherRole(role)}.${this.id}`;
    this.peer = this.third.subscribe(subject, () => {});
    sessionOf(this, role).addV1({
      id: this.id,
      number: 7,
      socket: this.socket,
      target: "db:5",
      rate: 1 << 20,
      listenTimeout: 10_000,
    });
  }

  /** The peer sends a message. */
  async say(
    data: Uint8Array | null,
    metadata: Readonly<Record<string, string>>,
  ): Promise<void> {
    const message = encodeMessage({ id: this.id, reply: "", data, metadata });
    await this.forge(this.role, this.id, new JsonMessage(message));
  }
}

for (const [what, [play, client, server]] of Object.entries(V1)) {
  for (const role of ROLES) {
    Deno.test(`Session says how a version 1 tunnel ended: ${what}, ${role}`, async () => {
      using log = captureLog();
      using bench = new V1Bench(role);
      await play(bench);
      const expected = role === "client" ? client : server;
      assert.equal(
        told(log, bench, bench.socket).replace(/\d+ bytes/, "BYTES bytes"),
        expected,
      );
    });
  }
}
