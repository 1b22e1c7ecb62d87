/** The files a login needs, on real ones that cannot be read. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/base/errors.ts";
import { openNats } from "../../lib/process/connect.ts";
import { parseRun } from "../support/option_values.ts";

/** What a role says that connects with the file at `path` for `flag`. */
async function refusal(flag: string, path: string): Promise<string> {
  const args = [`--${flag}=${path}`];
  if (flag === "nats-tls-key") {
    args.push("--nats-tls-cert=tests/testdata/tls/client.pem");
  }
  const { config } = parseRun("client", args);
  let message = "";
  await assert.rejects(
    openNats(config.nats, {
      name: "test",
      signal: AbortSignal.abort(new Error("it was read")),
      onSubscriptionError: () => {},
    }),
    (error: unknown) => {
      assert.ok(error instanceof UsageError, String(error));
      message = error.message;
      return true;
    },
  );
  const start = `Cannot read the file of --${flag}, "${path}": `;
  assert.ok(message.startsWith(start), message);
  return message.slice(start.length);
}

const FLAGS = ["nats-creds", "nats-nkey", "nats-tls-ca", "nats-tls-key"];

Deno.test("openNats() refuses files for the login that are none, by their flags", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const large = `${folder}/large`;
    await Deno.writeFile(large, new Uint8Array(1024 * 1024 + 1).fill(0x61));
    const binary = `${folder}/binary`;
    await Deno.writeFile(binary, new Uint8Array([0x61, 0xff]));
    for (const flag of FLAGS) {
      assert.equal(
        await refusal(flag, large),
        "it is larger than 1048576 bytes",
      );
      assert.match(await refusal(flag, folder), /directory/i);
      assert.match(await refusal(flag, `${folder}/none`), /no such file/i);
      assert.equal(await refusal(flag, binary), "it is not UTF-8 text");
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "openNats() says which permission a file for the login needs",
  permissions: { read: ["tests/testdata/tls/client.pem"] },
  async fn(): Promise<void> {
    for (const flag of FLAGS) {
      const path = "tests/testdata/nats/user.creds";
      assert.match(await refusal(flag, path), /--allow-read=tests\/testdata/);
    }
  },
});
