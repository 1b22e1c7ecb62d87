/**
 * Makes the keys of sealed tunnels and the files that hold them, and starts
 * roles that have them.
 *
 * @module
 */
import { nkeys } from "@nats-io/nats-core";
import type { Folder } from "./folder.ts";
import {
  type ClientRole,
  type Role,
  startClient,
  startServer,
} from "./roles.ts";

/** A key in a file. */
export interface KeyFile {
  /** Where its seed is. */
  readonly path: string;
  /** The seed. */
  readonly seed: string;
  /** The public key, `X...`. */
  readonly publicKey: string;
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

/** An entry of the list `clients`. */
export interface Entry {
  readonly name: string;
  readonly keys: readonly string[];
  readonly [key: string]: unknown;
}

/** Writes the config file of a server that knows these clients. */
export async function writeClients(
  folder: Folder,
  clients: readonly Entry[],
  more: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  await folder.replace("server.json", JSON.stringify({ clients, ...more }));
  return folder.at("server.json");
}

/** How a role is started that has keys in a folder. */
export interface SealedRole {
  /** The broker's URL. */
  readonly url: string;
  /** Where the files are. */
  readonly folder: Folder;
  /** Further flags. */
  readonly args?: readonly string[];
}

/** Starts a server with these flags beside what it needs to read the folder. */
export async function startSealedServer(
  { url, folder, args = [] }: SealedRole,
): Promise<Role> {
  return await startServer(url, { env: { HOME: folder.path }, args });
}

/** Starts a client with `key`, which knows the server by these public keys. */
export async function startSealedClient(
  options: SealedRole & {
    readonly key: KeyFile;
    readonly serverKeys: readonly string[];
    readonly target: string;
  },
): Promise<ClientRole> {
  const { url, folder, key, serverKeys, target, args = [] } = options;
  return await startClient(url, {
    env: { HOME: folder.path },
    target,
    args: [
      ...["--secret-key", key.path, "--server-key", serverKeys.join(",")],
      ...args,
    ],
  });
}
