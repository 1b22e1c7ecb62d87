/**
 * Runs a set-up of docs/security.md as it is printed: its files, its commands,
 * in their order, in a folder of its own. What it changes stands in the
 * document: names, addresses and ports.
 *
 * @module
 */
import assert from "node:assert/strict";
import { requireTool } from "../../tools/find_or_install.ts";
import { Folder } from "./folder.ts";
import { makeKeyUser } from "./nats_users.ts";
import { owned } from "./owned.ts";
import { type Process, run, spawn, type SpawnOptions } from "./processes.ts";
import { RawNats } from "./raw_nats.ts";
import { type Redis, startOwnRedis } from "./redis_server.ts";
import { baseEnvironment, ClientRole, PROJECT, Role } from "./roles.ts";

/** A set-up that runs. */
export interface PrintedSetup extends AsyncDisposable {
  /** Where its files are. */
  readonly folder: Folder;
  /** The broker's URL, for who speaks plain NATS. */
  readonly natsUrl: string;
  /** The target. */
  readonly redis: Redis;
  /** The server. */
  readonly server: Role;
  /** The client. */
  readonly client: ClientRole;
  /** A connection with the login of this name. */
  readonly connect: (login: string) => Promise<RawNats>;
  /** Starts one more client with a config file of the folder. */
  readonly startClient: (file: string) => Promise<ClientRole>;
}

/** A fenced block of the document. */
type Block =
  | { readonly type: "file"; readonly name: string; readonly text: string }
  | { readonly type: "commands"; readonly text: string };

/** Commands that go on until they are ended. */
const SERVICES = /^(nats-server|nats-proxy-server|nats-proxy-client) -/;

/** The section that another one says is as its own. */
const BROKER = "Set-up B";

const DOCUMENT = new URL("docs/security.md", PROJECT);

/** The blocks of the section whose title begins with `title`. */
async function blocksOf(title: string): Promise<Block[]> {
  const text = await Deno.readTextFile(DOCUMENT);
  const section = text.split(/^## /m).find((part) => part.startsWith(title));
  assert.ok(section, `${title}: no such section`);
  return [...section.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(
    ([, language, text = ""]): Block => {
      if (language === "bash") return { type: "commands", text };
      const name = /^# (\S+)\n/.exec(text)?.[1];
      assert.ok(name, `${title}: a file without a name:\n${text}`);
      return { type: "file", name, text };
    },
  );
}

/** The blocks of a set-up; those of the broker come first. */
async function setupOf(title: string): Promise<Block[]> {
  const blocks = await blocksOf(title);
  const isBroker = (block: Block): boolean =>
    block.type === "file" && block.name === "nats.conf";
  if (blocks.some(isBroker)) return blocks;
  const broker = await blocksOf(BROKER);
  const end = broker.findIndex(({ text }) => text.startsWith("nats-server "));
  return [...broker.slice(0, end + 1), ...blocks];
}

/**
 * Stands in for `nk`, a tool of NATS that no package has: gives out keys made
 * before, a line `SEED PUBLIC` each, and tells the public key of a seed.
 */
const NK = `
case "$*" in
"-gen user")
  head -n 1 "$NK_KEYS" | tee -a "$NK_KEYS.used" | cut -d " " -f 1
  sed -i 1d "$NK_KEYS" ;;
"-inkey "*" -pubout") grep "^$(cat "$2") " "$NK_KEYS.used" | cut -d " " -f 2 ;;
*) echo "nk $*: the stand-in does not know this" >&2; exit 1 ;;
esac`;

/** Keys that `nk` has to give out. */
const NK_KEYS = 8;

/** Makes the folder of the commands that the document uses, and gives the environment to run them in. */
async function makeCommands(
  folder: Folder,
): Promise<Readonly<Record<string, string>>> {
  const bin = folder.at("bin");
  await Deno.mkdir(bin);
  const script = async (name: string, text: string): Promise<void> => {
    await folder.write(`bin/${name}`, `#!/bin/sh\n${text}\n`);
    await Deno.chmod(folder.at(`bin/${name}`), 0o700);
  };
  for (const tool of ["nats-server", "openssl"]) {
    await Deno.symlink(await requireTool(tool), `${bin}/${tool}`);
  }
  const { tasks } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", PROJECT)),
  );
  for (const role of ["server", "client"]) {
    // What the binary may do, which cannot be made everywhere.
    const rights = String(tasks[`compile:${role}`]).split(" ")
      .filter((word) => /^--(no-prompt|allow-)/.test(word)).join(" ");
    const program = new URL(`${role}.ts`, PROJECT).pathname;
    await script(
      `nats-proxy-${role}`,
      `exec "${Deno.execPath()}" run ${rights} "${program}" "$@"`,
    );
  }
  await script("nk", NK.trim());
  const keys = Array.from({ length: NK_KEYS }, makeKeyUser);
  await folder.write(
    "nk-keys",
    keys.map(({ seed, id }) => `${seed} ${id}\n`).join(""),
  );
  const env = await baseEnvironment();
  return {
    ...env,
    HOME: folder.path,
    PATH: `${bin}:${env.PATH}`,
    NK_KEYS: folder.at("nk-keys"),
    LOG_FORMAT: "json",
    LOG_LEVEL: "debug",
  };
}

/** What a text of the document says with the names and ports of this run. */
function inPlace(
  text: string,
  { port, target }: { readonly port: number; readonly target: string },
): string {
  return text
    .replaceAll("nats.example.com:4222", `localhost:${port}`)
    .replaceAll("nats.example.com", "localhost")
    .replaceAll("0.0.0.0:4222", "127.0.0.1:-1")
    .replaceAll("10.7.0.20:6379", target)
    .replaceAll("10.7.0.0/16", "127.0.0.0/8")
    .replaceAll(/:(6380|8080)\b/g, ":0");
}

/** The processes of a set-up as they come up. */
class Running implements AsyncDisposable {
  port = -1;
  server: Role | undefined;
  client: ClientRole | undefined;
  readonly #processes = new AsyncDisposableStack();
  readonly #folder: Folder;
  readonly #env: Readonly<Record<string, string>>;

  constructor(folder: Folder, env: Readonly<Record<string, string>>) {
    this.#folder = folder;
    this.#env = env;
  }

  /** Runs commands to their end, or starts the one that is a service. */
  async run(text: string): Promise<void> {
    const name = SERVICES.exec(text)?.[1];
    if (name === "nats-server") {
      const line = await this.#spawn(text).waitForLine((line) =>
        line.includes("Listening for client connections on")
      );
      this.port = Number(/:(\d+)$/.exec(line)?.[1]);
    } else if (name === "nats-proxy-server") {
      this.server = new Role(this.#spawn(text));
      await this.server.entry(({ msg }) => msg === "ready");
    } else if (name === "nats-proxy-client") {
      this.client = await this.startClient(text);
    } else {
      const { status, output } = await run("sh", {
        ...this.#surroundings,
        args: ["-e", "-c", text],
      });
      assert.ok(status.success, `${text}\n${output}`);
    }
  }

  /** Starts a client by its command. */
  async startClient(command: string): Promise<ClientRole> {
    const process = this.#spawn(command);
    const { address } = await new Role(process).entry(({ msg }) =>
      msg === "listening"
    );
    return new ClientRole(process, String(address));
  }

  #spawn(command: string): Process {
    const process = spawn("sh", {
      ...this.#surroundings,
      name: command.split(" ")[0] ?? "",
      args: ["-c", `exec ${command}`],
    });
    return this.#processes.use(process);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#processes.disposeAsync();
  }

  get #surroundings(): Pick<SpawnOptions, "env" | "clearEnv" | "cwd"> {
    return { env: this.#env, clearEnv: true, cwd: this.#folder.path };
  }
}

/** Starts a set-up; with `operator`, the broker has a login of this name that may do everything in the account. */
export async function startPrinted(
  title: string,
  options: { readonly operator?: boolean } = {},
): Promise<PrintedSetup> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const redis = cleanup.use(await startOwnRedis());
  const operator = makeKeyUser();
  const env = await makeCommands(folder);
  const running = cleanup.use(new Running(folder, env));
  for (const block of await setupOf(title)) {
    const { port } = running;
    const text = inPlace(block.text, { port, target: redis.address });
    if (block.type === "commands") await running.run(text);
    else {
      await folder.write(
        block.name,
        options.operator
          ? text.replace("users: [", `$& { nkey: ${operator.id} }`)
          : text,
      );
    }
  }
  const { port, server, client } = running;
  assert.ok(server && client, `${title} starts no server, or no client`);
  const read = (name: string): Promise<string> =>
    Deno.readTextFile(folder.at(name));
  return owned(cleanup, {
    folder,
    redis,
    server,
    client,
    natsUrl: `nats://localhost:${port}`,
    connect: async (login: string) =>
      await RawNats.connect(`nats://localhost:${port}`, {
        ca: await read("ca.pem"),
        seed: login === "operator" ? operator.seed : await read(`${login}.nk`),
      }),
    startClient: (file: string) =>
      running.startClient(`nats-proxy-client --config ${file}`),
  });
}
