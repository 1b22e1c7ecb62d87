/**
 * A client and a server on one broker in memory, with sockets made by hand
 * and time that stands still: the whole shell without the world.
 *
 * @module
 */
import type { SocketListener } from "../../lib/net/socket.ts";
import { Egress, type EgressOptions } from "../../lib/server/server.ts";
import { Ingress, type IngressOptions } from "../../lib/client/client.ts";
import type { ClientSeal } from "../../lib/client/sealer.ts";
import { formatPublicKey, keyPairOf } from "../../lib/seal/keys.ts";
import { NO_PSK } from "../../lib/seal/open.ts";
import { ClientDirectory, type KnownClient } from "../../lib/server/clients.ts";
import type { TargetRules } from "../../lib/base/target_judge.ts";
import type { ServerSeal } from "../../lib/server/reception.ts";
import { Subjects } from "../../lib/wire/subjects.ts";
import { FakeClock } from "./fake_clock.ts";
import { FakeListener, FakeSocket } from "./fake_socket.ts";
import { MemoryBroker, type MemoryBus } from "./memory_bus.ts";

export const SUBJECTS = new Subjects({
  request: "proxy.request",
  prefix: "p.data",
});

/** Options of either role that tests rarely care about. */
const COMMON = {
  subjects: SUBJECTS,
  times: { pingInterval: 2_000, peerTimeout: 10_000, resumeTimeout: 30_000 },
  maxWindow: 1 << 20,
  memoryBudget: 1 << 22,
  idleTimeout: 0,
  halfCloseTimeout: 30 * 60_000,
  maxTunnels: 10_000,
  maxOpening: 1_000,
  refuseV1: false,
  v1Rate: 1 << 24,
} as const;

/** Keys of processes in tests. */
export const KEYS = {
  client: keyPairOf(new Uint8Array(32).fill(11)),
  otherClient: keyPairOf(new Uint8Array(32).fill(12)),
  server: keyPairOf(new Uint8Array(32).fill(13)),
  nextServer: keyPairOf(new Uint8Array(32).fill(14)),
} as const;

/** A client that a server knows, which may reach what `rules` let it: all unless told otherwise. */
export function knownClient(
  name: string,
  publicKey: Uint8Array,
  rules: Partial<TargetRules> = {},
): KnownClient {
  return {
    name,
    keys: [formatPublicKey(publicKey)],
    targets: [{
      allow: [],
      deny: [],
      called: { allow: `clients: ${name}`, deny: `clients: ${name}` },
      ...rules,
    }],
  };
}

/** The clients that a server knows in tests. */
const DIRECTORY = new ClientDirectory([
  knownClient("edge", KEYS.client.publicKey),
]);

/** Where the connections of a client go. */
export const TARGET = { host: "target", port: 5 };

/** What seals the tunnels of a client. */
export const CLIENT_SEAL: ClientSeal = {
  key: KEYS.client,
  psk: NO_PSK,
  serverKeys: [KEYS.server.publicKey],
};

/** What seals the tunnels of a server. */
export const SERVER_SEAL: ServerSeal = {
  keys: [KEYS.server],
  psk: NO_PSK,
  clients: DIRECTORY,
};

let seed = 1;

/** "Random" bytes that differ from call to call and not from run to run. */
export function random(bytes: Uint8Array): Uint8Array {
  return bytes.map(() => (seed = (seed * 48_271) % 0x7fff_ffff) & 0xff);
}

/** Opens a tunnel to the target for each connection, until the listener is disposed. */
export async function serveAll(
  listener: SocketListener,
  ingress: Ingress,
): Promise<void> {
  for await (const socket of listener.accept()) {
    ingress.open({ socket, target: TARGET });
  }
}

/** An ingress with its listener. */
export class TestClient implements Disposable {
  readonly ingress: Ingress;
  readonly bus: MemoryBus;
  readonly token: string;
  readonly listener = new FakeListener();
  readonly serving: Promise<void>;

  constructor(
    broker: MemoryBroker,
    clock: FakeClock,
    options: Partial<IngressOptions> = {},
  ) {
    this.bus = broker.connect();
    this.token = options.token ?? "client1";
    this.ingress = new Ingress({
      ...COMMON,
      bus: this.bus,
      clock,
      token: this.token,
      codec: "binary",
      openTimeout: 15_000,
      random,
      ...options,
    });
    this.serving = serveAll(this.listener, this.ingress);
  }

  [Symbol.dispose](): void {
    this.listener[Symbol.dispose]();
    this.ingress[Symbol.dispose]();
  }
}

/** An egress with the targets it dialled. */
export class TestServer implements Disposable {
  readonly egress: Egress;
  readonly bus: MemoryBus;
  readonly token: string;
  /** Sockets of the targets, in the order in which they were dialled. */
  readonly targets: FakeSocket[] = [];

  constructor(
    broker: MemoryBroker,
    clock: FakeClock,
    options: Partial<EgressOptions> = {},
  ) {
    this.bus = broker.connect();
    this.token = options.token ?? "server1";
    this.egress = new Egress({
      ...COMMON,
      bus: this.bus,
      clock,
      token: this.token,
      inboxPrefix: "_INBOX",
      queueGroup: "tcp-sproxy",
      maxTunnelsPerClient: 10_000,
      maxOpenRate: 1_000_000,
      listenTimeout: 10_000,
      random,
      dial: () => {
        const socket = new FakeSocket(`target:${this.targets.length}`);
        this.targets.push(socket);
        return Promise.resolve(socket);
      },
      ...options,
    });
  }

  [Symbol.dispose](): void {
    this.egress[Symbol.dispose]();
  }
}

/** Options of a {@linkcode Pair}. */
export interface PairOptions {
  readonly client?: Partial<IngressOptions>;
  readonly server?: Partial<EgressOptions>;
}

/** A client and a server. */
export class Pair implements Disposable {
  readonly clock = new FakeClock();
  readonly broker = new MemoryBroker();
  readonly server: TestServer;
  readonly client: TestClient;

  constructor(options: PairOptions = {}) {
    this.server = new TestServer(this.broker, this.clock, options.server);
    this.client = new TestClient(this.broker, this.clock, options.client);
  }

  /** Lets everything happen that follows without time passing. */
  settle(): Promise<void> {
    return this.broker.settled();
  }

  /** Lets time pass, and everything happen that follows. */
  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms, () => this.broker.settled());
  }

  /** An open tunnel: the application's socket and the target's. */
  async open(): Promise<{ app: FakeSocket; target: FakeSocket }> {
    const app = this.client.listener.connect();
    const before = this.server.targets.length;
    await this.settle();
    const target = this.server.targets[before];
    if (target === undefined) throw new Error("the open came to nothing");
    return { app, target };
  }

  /** Tunnels open at the client and at the server. */
  get sizes(): readonly [client: number, server: number] {
    return [
      this.client.ingress.session.size,
      this.server.egress.session.size,
    ];
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.server[Symbol.dispose]();
  }
}
