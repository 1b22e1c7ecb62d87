/** Files of keys, the flags that name them, and the command that makes them. */
import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { expectTunnel } from "./support/chaos_flow.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";
import {
  baseEnvironment,
  PROJECT,
  type RoleName,
  spawnRole,
} from "./support/roles.ts";
import { makeKeys, SealedStage, writeSecret } from "./support/sealed_stage.ts";
import { soon } from "./support/waits.ts";

/** Runs a program with these flags until it ends by itself; its exit code and what it wrote. */
async function ended(
  role: RoleName,
  args: readonly string[],
  folder: Folder,
): Promise<{ readonly code: number; readonly text: string }> {
  await using process = await spawnRole(role, {
    args,
    env: { HOME: folder.path },
  });
  const { code } = await soon("it ends", process.status);
  return { code, text: process.lines.join("\n") };
}

integrationTest(
  "files of keys that others may read, or that hold something else, are refused with what to do, and nothing of them is shown",
  async () => {
    await using folder = await Folder.make();
    const { server, client, other } = await makeKeys(folder);
    const path = folder.at("tried.key");
    const others = ["--client-key", client.publicKey];
    const user = nkeys.createUser();
    const seed = (pair: { getSeed(): Uint8Array }): string =>
      new TextDecoder().decode(pair.getSeed());
    for (
      const [text, mode, says] of [
        [
          server.seed,
          0o644,
          `is open to others (mode 0644): run chmod 600 "${path}"`,
        ],
        [server.seed, 0o640, "is open to others (mode 0640)"],
        [server.seed, 0o602, "is open to others (mode 0602)"],
        [server.publicKey, 0o600, "it is a public key (X...) where"],
        [seed(user), 0o600, "it does not begin with SX"],
        [server.seed.slice(0, 50), 0o600, "it has 50 characters"],
        [`${server.seed.slice(0, -3)}AAA`, 0o600, "its check sum is wrong"],
        [server.seed.toLowerCase(), 0o600, "it does not begin with SX"],
        [`${server.seed}\n${other.seed}`, 0o600, "more than one secret key"],
        ["", 0o600, "it does not begin with SX"],
        [undefined, 0o600, "No such file"],
      ] as const
    ) {
      if (text === undefined) await Deno.remove(path);
      else {
        await folder.write("tried.key", text);
        await Deno.chmod(path, mode);
      }
      const args = ["--secret-key", path, ...others];
      const { code, text: told } = await ended("server", args, folder);
      assert.equal(code, 2, told);
      assert.ok(
        told.startsWith("error: ") && told.includes(says) &&
          told.includes(path) && told.split("\n").length === 1,
        told,
      );
      assert.ok(!told.includes(server.seed.slice(2, 20)), told);
    }
    const psk = await writeSecret(folder, "short", btoa("too short"));
    const { code, text } = await ended("server", [
      ...["--secret-key", server.path, ...others, "--psk", psk],
    ], folder);
    assert.equal(code, 2);
    assert.match(text, /--psk, ".*": it must hold 32 bytes in base 64/);
  },
);

integrationTest(
  "keys that do not go together are refused with what to add",
  async () => {
    await using folder = await Folder.make();
    const { server, client } = await makeKeys(folder);
    const secret = ["--secret-key", client.path];
    const theirs = ["--server-key", server.publicKey];
    for (
      const [role, args, says] of [
        ["client", secret, "give the server's public key with --server-key"],
        ["client", theirs, "give its file with --secret-key"],
        ["client", [...secret, ...theirs, "--codec", "json"], "are binary"],
        [
          "client",
          [...theirs, "--secret-key", `${client.path},b`],
          "only a server has two",
        ],
        [
          "client",
          [...secret, "--server-key", client.seed],
          "it is a secret seed (SX...)",
        ],
        [
          "client",
          ["--secret-key", client.seed, ...theirs],
          "it is the secret itself",
        ],
        ["server", secret, "give the clients' public keys with --client-key"],
        [
          "server",
          ["--client-key", client.publicKey],
          "give its file with --secret-key",
        ],
        [
          "server",
          [
            ...secret,
            "--client-key",
            client.publicKey,
            `--client-key=${client.publicKey}`,
          ],
          "is that of security.client_key",
        ],
        ["server", ["--psk", client.path], "security.psk is set, but"],
      ] as const
    ) {
      const { code, text } = await ended(role, args, folder);
      assert.equal(code, 2, text);
      assert.ok(text.startsWith("error: ") && text.includes(says), text);
      assert.ok(!text.includes(client.seed.slice(2, 20)), text);
    }
  },
);

integrationTest(
  "key generate and key show make keys that both programs, and tunnels, can use",
  async () => {
    await using stage = await SealedStage.start();
    const { folder } = stage;
    const env = { ...await baseEnvironment(), HOME: folder.path };
    const key = async (
      role: RoleName,
      ...args: readonly string[]
    ): Promise<
      { readonly code: number; readonly output: string; readonly error: string }
    > => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          new URL(`${role}.ts`, PROJECT).pathname,
          "key",
          ...args,
        ],
        env,
        clearEnv: true,
        cwd: folder.path,
        stdin: "null",
      }).output();
      const [output, error] = [stdout, stderr].map((bytes) =>
        new TextDecoder().decode(bytes)
      );
      return { code, output: output ?? "", error: error ?? "" };
    };
    const paths = new Map<RoleName, string>();
    for (const role of ["server", "client"] as const) {
      const made = await key(role, "generate", "--out", `made-${role}.key`);
      assert.equal(made.code, 0, made.error);
      assert.match(made.output, /^X[A-Z2-7]{55}\n$/);
      const path = folder.at(`made-${role}.key`);
      paths.set(role, path);
      assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
      assert.ok(made.error.includes(`made-${role}.key`), made.error);
      const text = await Deno.readTextFile(path);
      assert.ok(!`${made.output}${made.error}`.includes(text.slice(-20)));
      // Never over one that exists.
      const again = await key(role, "generate", `--out=made-${role}.key`);
      assert.equal(again.code, 2);
      assert.match(again.error, /^error: --out: ".*" exists/);
      assert.equal(await Deno.readTextFile(path), text);
      assert.deepEqual(await key(role, "show", `made-${role}.key`), {
        code: 0,
        output: made.output,
        error: "",
      });
    }
    const both = await key(
      "server",
      "show",
      "made-server.key",
      "made-client.key",
    );
    const [theirs = "", ours = ""] = both.output.split("\n");
    // Without --out the secret goes to standard output, and nothing else.
    const printed = await key("client", "generate");
    const seed = printed.output.split("\n")
      .find((line) => line.startsWith("SX")) ?? "";
    const pair = nkeys.fromCurveSeed(new TextEncoder().encode(seed));
    assert.equal(printed.error, `Public key: ${pair.getPublicKey()}\n`);
    await folder.write("open.key", printed.output);
    await Deno.chmod(folder.at("open.key"), 0o644);
    const open = await key("client", "show", "open.key");
    assert.deepEqual([open.code, open.output], [2, ""]);
    assert.match(open.error, /chmod 600/);
    const psk = await key("server", "psk", "--out", "made.psk");
    assert.deepEqual([psk.code, psk.output], [0, ""]);
    for (
      const [args, says] of [
        [["shwo"], /^error: Unknown command "key shwo"/],
        [[], /^error: key is followed by generate, psk, show/],
        [["show"], /^error: key show needs the path/],
        [["generate", "extra"], /^error: Unexpected argument "extra"/],
      ] as const
    ) {
      const wrong = await key("client", ...args);
      assert.equal(wrong.code, 2);
      assert.match(wrong.error, says);
    }

    await using _server = await stage.server([
      ...["--secret-key", paths.get("server") ?? "", "--client-key", ours],
      ...["--psk", folder.at("made.psk")],
    ]);
    await using client = await stage.plainClient([
      ...["--secret-key", paths.get("client") ?? "", "--server-key", theirs],
      ...["--psk", folder.at("made.psk")],
    ]);
    await expectTunnel(client);
  },
);
