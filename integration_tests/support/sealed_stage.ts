/**
 * What tests of sealed tunnels have in common: a broker, keys in files, and a
 * target that echoes; the roles are started as each test needs them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { Folder } from "./folder.ts";
import { startNatsServer } from "./nats_server.ts";
import {
  type ClientRole,
  type LogEntry,
  type Role,
  startClient,
  startServer,
} from "./roles.ts";
import { startEcho, type Target } from "./targets.ts";
import { dial, readEnding } from "./transfer.ts";
import { soon } from "./waits.ts";

/** A key in a file. */
export interface KeyFile {
  /** Where its seed is. */
  readonly path: string;
  /** The seed. */
  readonly seed: string;
  /** The public key, `X...`. */
  readonly publicKey: string;
}

/** The keys of a stage. */
export interface Keys {
  /** The server's. */
  readonly server: KeyFile;
  /** The client's. */
  readonly client: KeyFile;
  /** One that nobody knows, or has yet. */
  readonly other: KeyFile;
  /** Where a psk is. */
  readonly psk: string;
}

/** An entry of the list `clients`. */
export interface Entry {
  readonly name: string;
  readonly keys: readonly string[];
  readonly [key: string]: unknown;
}

/** How a client of a stage differs from the one that its server knows. */
export interface SealedClientOptions {
  /** Its key. */
  readonly key?: KeyFile;
  /** The keys that it takes servers to have. */
  readonly serverKeys?: readonly KeyFile[];
  /** Where it leads to; default the target that echoes. */
  readonly target?: string;
  /** Further flags. */
  readonly args?: readonly string[];
}

/** All of it. */
export class SealedStage implements AsyncDisposable {
  /** The broker's URL. */
  readonly url: string;
  /** Where the files are. */
  readonly folder: Folder;
  /** The keys. */
  readonly keys: Keys;
  /** The target. */
  readonly echo: Target;
  readonly #cleanup: AsyncDisposableStack;

  private constructor(
    parts: Pick<SealedStage, "url" | "folder" | "keys" | "echo">,
    cleanup: AsyncDisposableStack,
  ) {
    const { url, folder, keys, echo } = parts;
    this.url = url;
    this.folder = folder;
    this.keys = keys;
    this.echo = echo;
    this.#cleanup = cleanup;
  }

  /** Starts one. */
  static async start(): Promise<SealedStage> {
    await using cleanup = new AsyncDisposableStack();
    const folder = cleanup.use(await Folder.make());
    const { url } = cleanup.use(await startNatsServer());
    const echo = cleanup.use(startEcho());
    const keys = await makeKeys(folder);
    return new SealedStage({ url, folder, keys, echo }, cleanup.move());
  }

  /** The flags of a server that knows the client. */
  get serverFlags(): readonly string[] {
    const { server, client } = this.keys;
    return ["--secret-key", server.path, "--client-key", client.publicKey];
  }

  /** Starts a server with these flags, which may read the folder. */
  async server(
    args: readonly string[] = this.serverFlags,
    through: readonly string[] = [],
  ): Promise<Role> {
    const env = { HOME: this.folder.path };
    return await startServer(this.url, { env, args, through });
  }

  /** Starts a client with keys. */
  async client(options: SealedClientOptions = {}): Promise<ClientRole> {
    const {
      key = this.keys.client,
      serverKeys = [this.keys.server],
      args = [],
      ...rest
    } = options;
    const publicKeys = serverKeys.map(({ publicKey }) => publicKey).join(",");
    return await this.plainClient([
      ...["--secret-key", key.path, "--server-key", publicKeys],
      ...args,
    ], rest);
  }

  /** Starts a client with these flags alone. */
  async plainClient(
    args: readonly string[],
    { target = this.echo.address }: Pick<SealedClientOptions, "target"> = {},
  ): Promise<ClientRole> {
    const env = { HOME: this.folder.path };
    return await startClient(this.url, { env, target, args });
  }

  /** Writes the config file of a server that knows these clients; gives its path. */
  async writeClients(
    clients: readonly Entry[],
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<string> {
    const text = JSON.stringify({ clients, ...more });
    await this.folder.replace("server.json", text);
    return this.folder.at("server.json");
  }

  /** Ends all but the roles. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}

/** Sends SIGHUP, and waits for the line that says what of keys and clients came of it. */
export async function hangUp(role: Role): Promise<LogEntry> {
  const since = role.process.mark();
  role.process.signal("SIGHUP");
  return await soon(
    "it says what was read",
    role.entry(
      ({ msg }) =>
        msg.startsWith("SIGHUP: keys and clients were") ||
        msg.startsWith("SIGHUP: the configuration or a key"),
      { since },
    ),
  );
}

/** Expects that a connection gets no tunnel; what the client says of it. */
export async function refusal(client: ClientRole): Promise<string> {
  const since = client.process.mark();
  using conn = await dial(client.endpoint);
  assert.deepEqual(await soon("it ends", readEnding(conn)), {
    ending: "eof",
    bytes: 0,
  });
  const entry = await client.entry(({ msg }) => msg === "open failed", {
    since,
  });
  return `${entry.reason}: ${entry.why}`;
}

/** Makes the keys of a stage. */
export async function makeKeys(folder: Folder): Promise<Keys> {
  return {
    server: await makeKey(folder, "server.key"),
    client: await makeKey(folder, "client.key"),
    other: await makeKey(folder, "other.key"),
    psk: await writeSecret(folder, "psk", `${makePsk()}\n`),
  };
}

/** Makes a psk, as it is written. */
export function makePsk(): string {
  return crypto.getRandomValues(new Uint8Array(32)).toBase64();
}

/** Makes a key in a file that only its owner may read. */
export async function makeKey(folder: Folder, name: string): Promise<KeyFile> {
  const pair = nkeys.createCurve();
  const seed = new TextDecoder().decode(pair.getSeed());
  const path = await writeSecret(folder, name, `${seed}\n`);
  return { path, seed, publicKey: pair.getPublicKey() };
}

/** Puts a secret into a file in one step, new or in another's place. */
export async function writeSecret(
  folder: Folder,
  name: string,
  text: string,
): Promise<string> {
  const path = await folder.write(`${name}.new`, text);
  await Deno.chmod(path, 0o600);
  await Deno.rename(path, folder.at(name));
  return folder.at(name);
}
