/**
 * Sends opens and frames as no client of ours would, and a stage with a fenced
 * neighbour to send them: what the documents promise is tried out with it.
 *
 * @module
 */

import { parseAddress } from "./addresses.ts";
import { roundTrip } from "./chaos_flow.ts";
import { metricValue } from "./chaos_stage.ts";
import { Changes } from "./changes.ts";
import { type NatsServer, startNatsServer } from "./nats_server.ts";
import {
  clientRules,
  loginAs,
  type Rules,
  rulesConfig,
  SERVER_RULES,
  urlAs,
} from "./nats_users.ts";
import { owned } from "./owned.ts";
import { cpuSeconds } from "./proc_stats.ts";
import { RawNats } from "./raw_nats.ts";
import {
  type ClientRole,
  type Role,
  startClient,
  startServer,
} from "./roles.ts";
import { startEcho, type Target } from "./targets.ts";
import { dial } from "./transfer.ts";

/** The body of a request: nothing. */
const EMPTY = `{"ID":"","Reply":"","Data":null,"Metadata":null}`;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** How an open is asked for. */
export interface AskOptions {
  /** `host:port` to be dialled. */
  readonly target: string;
  /** Who it says to come from; default who really asks. */
  readonly client?: string;
  /** The number of the tunnel; default the next. */
  readonly number?: number;
  /** Where it is asked for; default the subject of who asks. */
  readonly subject?: string;
  /** Where an answer is wanted. */
  readonly reply?: string;
  /** Leave out all that version 2 adds; default false. */
  readonly v1?: boolean;
  /** Credit for the server, in bytes; default 64 KiB. */
  readonly window?: number;
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The body; default one that says nothing. */
  readonly body?: string;
}

/** What a server says to an open. */
export interface Answer {
  /** Number of the open. */
  readonly number: number;
  /** The code of a refusal; undefined where the target is connected. */
  readonly code: string | undefined;
  /** Token of the server. */
  readonly server: string;
}

/** A client without manners. */
export class Hostile implements AsyncDisposable {
  /** Its connection. */
  readonly raw: RawNats;
  /** Its token. */
  readonly token: string;
  readonly #changes = new Changes();
  /** All that it was answered, but for notices. */
  readonly answers: Answer[] = [];
  #number = 0;

  private constructor(raw: RawNats, token: string) {
    this.raw = raw;
    this.token = token;
    // All of it, as a client does: else the broker says that nobody listens.
    raw.subscribe(`p.data.to_client.${token}.>`, (message) => {
      const { headers, subject, data } = message;
      if (!subject.includes(".open.")) return;
      if (headers["sproxy-status"] !== undefined) return;
      const { Metadata } = JSON.parse(decoder.decode(data));
      this.answers.push({
        number: parseInt(subject.split(".").pop() ?? "", 36),
        code: Metadata?.error ? headers["sproxy-code"] : undefined,
        server: headers["sproxy-server"] ?? "",
      });
      this.#changes.notify();
    });
  }

  /** Connects to a broker as it is said in the URL, and listens for answers to `token`. */
  static async connect(url: string, token: string): Promise<Hostile> {
    const hostile = new Hostile(await RawNats.connect(url), token);
    await hostile.raw.flush();
    return hostile;
  }

  /** Asks for a tunnel; returns its number. */
  ask(options: AskOptions): number {
    const {
      client = this.token,
      number = ++this.#number,
      v1 = false,
      subject = v1 ? "proxy.request" : `proxy.request.${this.token}`,
      reply,
      window = 64 * 1024,
      headers,
      body = EMPTY,
    } = options;
    const { hostname, port } = parseAddress(options.target);
    this.raw.publish(subject, body, {
      ...(reply === undefined ? {} : { reply }),
      headers: {
        remote_host: hostname,
        remote_port: String(port),
        ...(!v1 && {
          "sproxy-version": "2",
          "sproxy-client": client,
          "sproxy-tunnel": number.toString(36),
          "sproxy-window": String(window),
          "sproxy-codec": "binary",
        }),
        ...headers,
      },
    });
    return number;
  }

  /** Waits until there are `count` answers in all, and gives them. */
  async answered(count: number): Promise<readonly Answer[]> {
    return await this.#changes.until(() =>
      this.answers.length >= count && this.answers
    );
  }

  /** How many answers have this code; `undefined` for those that opened a tunnel. */
  count(code: string | undefined): number {
    return this.answers.filter((answer) => answer.code === code).length;
  }

  /** Asks for a tunnel and waits for the answer to that. */
  async open(options: AskOptions): Promise<Answer> {
    const number = this.ask(options);
    return await this.#changes.until(() =>
      this.answers.find((answer) => answer.number === number)
    );
  }

  /** Where frames for one of its tunnels go, or for one of `client`. */
  subjectOf({ server, number }: Answer, client: string = this.token): string {
    return `p.data.to_server.${client}.${server}.${number.toString(36)}`;
  }

  /** Ends its connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.raw.close();
  }
}

/** A frame of `type` with these numbers of so many bytes each, and what follows them. */
function frame(
  type: number,
  numbers: readonly (readonly [value: number, bytes: 2 | 4 | 8])[],
  { rest = new Uint8Array(0), flags = 0 }: {
    readonly rest?: Uint8Array;
    readonly flags?: number;
  } = {},
): Uint8Array {
  const bytes = new Uint8Array(
    2 + numbers.reduce((sum, [, size]) => sum + size, 0) + rest.length,
  );
  const view = new DataView(bytes.buffer);
  bytes[0] = type;
  bytes[1] = flags;
  let at = 2;
  for (const [value, size] of numbers) {
    if (size === 8) view.setBigUint64(at, BigInt(value));
    else if (size === 4) view.setUint32(at, value);
    else view.setUint16(at, value);
    at += size;
  }
  bytes.set(rest, at);
  return bytes;
}

/** Frames, as docs/protocol.md has them. */
export const frames = {
  /** DATA at `offset`. */
  data: (offset: number, payload: Uint8Array): Uint8Array =>
    frame(1, [[offset, 8], [0, 8], [1 << 20, 8]], { rest: payload }),
  /** ACK of nothing. */
  ack: (): Uint8Array => frame(2, [[0, 8], [0, 8]]),
  /** RESET `aborted`. */
  reset: (): Uint8Array =>
    frame(4, [[12, 2]], { rest: encoder.encode("so there") }),
  /** PING, which may say that its sender was away. */
  ping: ({ resumed } = { resumed: false }): Uint8Array =>
    frame(5, [[1, 4], [0, 8], [0, 8], [0, 8]], { flags: Number(resumed) }),
} as const;

/** A metric of a role; of those samples that have `label`. */
export async function metric(
  role: Role,
  name: string,
  label = "",
): Promise<number> {
  const { text } = await role.status("/metrics");
  return metricValue(text, name, label);
}

/** CPU seconds that a role uses while `work` is done, and until it has answered for it. */
export async function cpuOf(
  role: Role,
  work: () => Promise<unknown>,
): Promise<number> {
  const { pid } = role.process;
  const before = await cpuSeconds(pid);
  await work();
  return await cpuSeconds(pid) - before;
}

/** A broker, both roles, and who means them harm. */
export interface HostileStage extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly server: Role;
  /** A client that does as it should, with the token `honest`. */
  readonly honest: ClientRole;
  /** Its neighbour. */
  readonly evil: Hostile;
  /** Sees and may do everything. */
  readonly admin: RawNats;
  /** The target of the honest client. */
  readonly echo: Target;
  /** A new tunnel of the honest client works; returns how long that took, in ms. */
  serves(): Promise<number>;
}

/** What a hostile stage is made of. */
export interface HostileOptions {
  /** What the accounts may do; `open`: there are none. Default as the documents say. */
  readonly accounts?: "open" | Readonly<Record<string, Rules>>;
  /** Further lines of the broker's configuration. */
  readonly config?: string;
  /** Further flags of the server. */
  readonly serverArgs?: readonly string[];
  /** Further flags of the honest client. */
  readonly honestArgs?: readonly string[];
}

/** The accounts of the documents. */
export const DOCUMENTED: Readonly<Record<string, Rules>> = {
  server: SERVER_RULES,
  honest: clientRules("honest"),
  evil: clientRules("evil"),
};

/** Starts all of it; the honest client serves when this resolves. */
export async function startHostile(
  options: HostileOptions = {},
): Promise<HostileStage> {
  const { accounts = DOCUMENTED, config = "", serverArgs, honestArgs } =
    options;
  const fenced = accounts !== "open";
  await using cleanup = new AsyncDisposableStack();
  const nats = cleanup.use(
    await startNatsServer({
      config: (fenced ? rulesConfig({ ...accounts, admin: {} }) : "") +
        `\n${config}`,
    }),
  );
  const env = (user: string): Readonly<Record<string, string>> =>
    fenced ? loginAs(user) : {};
  const url = (user: string): string =>
    fenced ? urlAs(user, nats.url) : nats.url;
  const echo = cleanup.use(startEcho());
  const server = cleanup.use(
    await startServer(nats.url, {
      env: env("server"),
      args: serverArgs ?? [],
    }),
  );
  const honest = cleanup.use(
    await startClient(nats.url, {
      env: env("honest"),
      target: echo.address,
      args: [
        ...["--client-id", "honest", "--status-addr", "127.0.0.1:0"],
        ...honestArgs ?? [],
      ],
    }),
  );
  const evil = cleanup.use(await Hostile.connect(url("evil"), "evil"));
  const admin = cleanup.use(await RawNats.connect(url("admin")));
  const serves = async (): Promise<number> => {
    const started = performance.now();
    using conn = await dial(honest.endpoint);
    await roundTrip(conn);
    return performance.now() - started;
  };
  await serves();
  return owned(cleanup, { nats, server, honest, evil, admin, echo, serves });
}
