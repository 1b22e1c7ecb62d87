/**
 * Tries a pair of programs on the system that it runs on, as a user would:
 * versions, `check`, and bytes through a tunnel with workers on.
 *
 *     smoke.ts [--nats-server=PATH] [--redis-server=PATH] FOLDER
 *
 * FOLDER has `nats-proxy-client` and `nats-proxy-server`, on Windows with
 * `.exe`. Uses nothing that Windows and macOS have not.
 *
 * @module
 */
import { createHash } from "node:crypto";
import denoJson from "../../deno.json" with { type: "json" };
import { messageOf, RunError } from "../../lib/base/errors.ts";
import type { Role } from "../../lib/wire/subjects.ts";

/** How the programs are started, and what they are tried with. */
export interface SmokeOptions {
  /** The command of each role, before its own arguments. */
  readonly commands: Readonly<Record<Role, readonly string[]>>;
  /** The command of nats-server. */
  readonly natsServer: string;
  /** The command of redis-server; without it Redis is left out. */
  readonly redisServer?: string | undefined;
  /** Told of each step that went well. */
  readonly say: (line: string) => void;
}

/** Connections at once. */
const CONNECTIONS = 8;

/** What goes through each and back, in bytes: several windows' worth. */
const SIZE = 4 * 1024 * 1024;

/** Threads of each role. */
const WORKERS = 2;

/** A start on a slow machine, or a transfer there, takes less, in ms. */
const LIMIT_MS = 60_000;

/**
 * Tries them.
 *
 * @throws {RunError} saying what did not work.
 */
export async function smoke(options: SmokeOptions): Promise<void> {
  const { commands, natsServer, redisServer, say } = options;
  for (const role of ["client", "server"] as const) {
    const version = await output([...commands[role], "--version"]);
    expect(
      version.startsWith(`tcp-sproxy ${role} ${denoJson.version} `),
      `${role} --version says ${JSON.stringify(version)}`,
    );
    await output([
      ...commands[role],
      "check",
      "--nats-url",
      "nats://nats:4222",
    ]);
    say(`${version.trim()}; check: exit code 0`);
  }
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(
    new Child("nats-server", [natsServer, "-a", "127.0.0.1", "-p", "-1"]),
  );
  const natsPort =
    (await nats.match(/client connections on 127\.0\.0\.1:(\d+)/))
      .at(1);
  using echo = startEcho();
  const redisPort = redisServer === undefined ? undefined : freePort();
  if (redisServer !== undefined) {
    const redis = stack.use(
      new Child("redis-server", [
        ...[redisServer, "--port", `${redisPort}`, "--bind", "127.0.0.1"],
        ...["--save", "", "--appendonly", "no"],
      ]),
    );
    await redis.match(/Ready to accept connections/);
  }
  const common = [
    ...["--nats-url", `nats://127.0.0.1:${natsPort}`],
    ...["--workers", String(WORKERS), "--log-format", "json"],
  ];
  const server = stack.use(
    new Child("server", [
      ...[...commands.server, ...common, "--listen-addr", "127.0.0.1:0"],
    ]),
  );
  const status = (await server.match(/"status listening".*"address":"([^"]+)"/))
    .at(1);
  await server.match(/"msg":"ready"/);
  const client = stack.use(
    new Child("client", [
      ...[...commands.client, ...common],
      ...["-L", `127.0.0.1:0:127.0.0.1:${echo.port}`],
    ]),
  );
  const listening = /"msg":"listening".*"address":"127\.0\.0\.1:(\d+)"/;
  const port = Number((await client.match(listening)).at(1));
  await client.match(/"workers started"/);
  await Promise.all(
    Array.from({ length: CONNECTIONS }, (_, seed) => roundTrip(port, seed + 1)),
  );
  say(
    `${CONNECTIONS} connections at once, ${
      SIZE / 1024 / 1024
    } MiB each way, ${WORKERS} workers at each end: the same bytes`,
  );
  using answer = Deno.createHttpClient({});
  const health = await fetch(`http://${status}/health`, { client: answer });
  await health.body?.cancel();
  expect(health.status === 200, `/health answers ${health.status}`);
  say("/health: 200");
  if (redisPort !== undefined) {
    const said = await output([
      ...[...commands.client, "exec", `127.0.0.1:${redisPort}`],
      ...["--nats-url", `nats://127.0.0.1:${natsPort}`, "-q", "--"],
      ...[Deno.execPath(), "eval", "--no-lock", PING, "{port}"],
    ]);
    expect(said.includes("+PONG"), `Redis says ${JSON.stringify(said)}`);
    say("exec, and Redis through it: PONG");
  }
  for (const role of [client, server]) {
    const how = await role.stop();
    say(`${role.name}: told to stop, ${how}`);
  }
}

/** What asks a Redis whether it is there: a program of Deno, for the shell that Windows has not. */
const PING =
  "const c = await Deno.connect({ hostname: '127.0.0.1', port: +Deno.args[0] });" +
  "await c.write(new TextEncoder().encode('PING\\r\\n'));" +
  "const b = new Uint8Array(16); const n = await c.read(b);" +
  "console.log(new TextDecoder().decode(b.subarray(0, n))); c.close();";

/** A process that is ended with this one, and what it writes. */
class Child implements AsyncDisposable {
  readonly name: string;
  readonly #process: Deno.ChildProcess;
  readonly #output: Promise<unknown>;
  #said = "";
  #check = (): void => {};

  constructor(name: string, [command = "", ...args]: readonly string[]) {
    this.name = name;
    this.#process = new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#output = Promise.all([
      this.#read(this.#process.stdout),
      this.#read(this.#process.stderr),
    ]);
  }

  /** What `pattern` finds in all that it says, now or soon. */
  async match(pattern: RegExp): Promise<RegExpExecArray> {
    const { promise, resolve } = Promise.withResolvers<RegExpExecArray>();
    const check = (): void => {
      const found = pattern.exec(this.#said);
      if (found !== null) resolve(found);
    };
    this.#check = check;
    check();
    const ended = this.#output.then(() => {
      throw new RunError(`${this.name} ended. It said:\n${this.#said}`);
    });
    return await inTime(
      Promise.race([promise, ended]),
      () => `${this.name} does not say ${pattern}, but:\n${this.#said}`,
    );
  }

  /** Tells it to end in order, where the system has a word for that; how it did. */
  async stop(): Promise<string> {
    this.#process.kill();
    const { code, signal, success } = await inTime(
      this.#process.status,
      () => `${this.name} does not end. It said:\n${this.#said}`,
    );
    // Windows knows only to kill.
    if (Deno.build.os === "windows") return "killed";
    expect(success, `${this.name} ended with ${signal ?? code}`);
    return `exit code ${code}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch (error) {
      // It has ended.
      if (!(error instanceof TypeError)) throw error;
    }
    await this.#process.status;
    await this.#output;
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      this.#said += decoder.decode(chunk, { stream: true });
      this.#check();
    }
  }
}

/** What a command prints. */
async function output(
  [command = "", ...args]: readonly string[],
): Promise<string> {
  const { success, code, stdout, stderr } = await new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  const said = decoder.decode(stdout);
  expect(
    success,
    `${command} ${args.join(" ")} ended with exit code ${code}: ${said}${
      decoder.decode(stderr)
    }`,
  );
  return said;
}

/** A target that sends back all it is sent. */
function startEcho(): Disposable & { readonly port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serve = async (): Promise<void> => {
    for await (const connection of listener) {
      sendBack(connection).catch(() => {
        // The other end says what is wrong.
      }).finally(() => connection.close());
    }
  };
  serve();
  const { port } = listener.addr;
  return { port, [Symbol.dispose]: () => listener.close() };
}

async function sendBack(connection: Deno.Conn): Promise<void> {
  for await (const chunk of chunksOf(connection)) {
    await writeAll(connection, chunk);
  }
  await connection.closeWrite();
}

/** What comes from a connection: its own streams close both ways at once. */
async function* chunksOf(
  connection: Deno.Conn,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const count = await connection.read(buffer);
    if (count === null) return;
    yield buffer.subarray(0, count);
  }
}

async function writeAll(
  connection: Deno.Conn,
  bytes: Uint8Array,
): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await connection.write(bytes.subarray(at));
  }
}

/** Sends bytes that tell of each other, and expects them back. */
async function roundTrip(port: number, seed: number): Promise<void> {
  const sent = new Uint8Array(SIZE);
  const words = new Uint32Array(sent.buffer);
  for (let word = seed, at = 0; at < words.length; at++) {
    word = Math.imul(word, 1664525) + 1013904223 >>> 0;
    words[at] = word;
  }
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const back = createHash("sha256");
  const read = async (): Promise<void> => {
    for await (const chunk of chunksOf(connection)) back.update(chunk);
  };
  const write = async (): Promise<void> => {
    await writeAll(connection, sent);
    await connection.closeWrite();
  };
  await inTime(
    Promise.all([read(), write()]),
    () => `connection ${seed} does not get its bytes back`,
  );
  const wanted = createHash("sha256").update(sent).digest("hex");
  expect(
    back.digest("hex") === wanted,
    `connection ${seed} got other bytes back than it sent`,
  );
}

/** A port that nobody listens at. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** What `promise` comes to, unless it takes too long. */
async function inTime<T>(
  promise: Promise<T>,
  describe: () => string,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new RunError(describe())),
    LIMIT_MS,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function expect(condition: boolean, otherwise: string): void {
  if (!condition) throw new RunError(otherwise);
}

/** The value of `--name=value` among `args`. */
function flag(args: readonly string[], name: string): string | undefined {
  const start = `--${name}=`;
  return args.find((arg) => arg.startsWith(start))?.slice(start.length);
}

async function main(args: readonly string[]): Promise<number> {
  const folder = args.find((arg) => !arg.startsWith("--"));
  if (folder === undefined) {
    // deno-lint-ignore no-console -- the output of the tool
    console.error("error: smoke.ts takes the folder that has the programs");
    return 2;
  }
  const end = Deno.build.os === "windows" ? ".exe" : "";
  try {
    await smoke({
      commands: {
        client: [`${folder}/nats-proxy-client${end}`],
        server: [`${folder}/nats-proxy-server${end}`],
      },
      natsServer: flag(args, "nats-server") ?? "nats-server",
      redisServer: flag(args, "redis-server"),
      // deno-lint-ignore no-console -- the output of the tool
      say: (line) => console.log(line),
    });
    return 0;
  } catch (error) {
    // deno-lint-ignore no-console -- the output of the tool
    console.error(`error: ${messageOf(error)}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
