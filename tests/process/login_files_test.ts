/** The files a login needs, on real ones, many of which cannot be used. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/base/errors.ts";
import { systemSources } from "../../lib/config/sources.ts";
import { authReader } from "../../lib/process/auth_reader.ts";
import { checkLogin, loginReader } from "../../lib/process/login_files.ts";
import { captureLog } from "../support/capture_log.ts";
import { parseRun, reveal } from "../support/option_values.ts";

const TLS = "tests/testdata/tls/";

/** Does `work` with a folder of its own. */
async function withFolder(
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What is said of the files that `args` name. */
async function problemsOf(args: readonly string[]): Promise<readonly string[]> {
  const { config } = parseRun("client", args);
  const read = await loginReader(config.nats, new Map());
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return error.problems;
  }
  return [];
}

/** What is said of the file at `path` for `flag`, all of whose companions are good. */
async function refusal(flag: string, path: string): Promise<string> {
  const args = [`--${flag}=${path}`];
  if (flag === "nats-tls-key") args.push(`--nats-tls-cert=${TLS}client.pem`);
  if (flag === "nats-tls-cert") args.push(`--nats-tls-key=${TLS}client.key`);
  const [problem = "", ...more] = await problemsOf(args);
  assert.deepEqual(more, []);
  const [, rest] = problem.split(`the file of --${flag}, "${path}": `);
  assert.ok(rest !== undefined, problem);
  return rest;
}

const FLAGS = [
  ...["nats-creds", "nats-nkey"],
  ...["nats-tls-ca", "nats-tls-cert", "nats-tls-key"],
];

Deno.test("loginReader() refuses files that cannot be read, by their flags", async () => {
  await withFolder(async (folder) => {
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
  });
});

Deno.test({
  name: "loginReader() says which permission a file for the login needs",
  permissions: { read: [`${TLS}client.pem`, `${TLS}client.key`] },
  async fn(): Promise<void> {
    for (const flag of FLAGS) {
      const path = "tests/testdata/nats/user.creds";
      assert.match(await refusal(flag, path), /--allow-read=tests\/testdata/);
    }
  },
});

Deno.test("loginReader() refuses files that are not what they are for, and shows nothing of them", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/file`;
    const pem = await Deno.readTextFile(`${TLS}client.pem`);
    const key = await Deno.readTextFile(`${TLS}client.key`);
    const half = (text: string): string => text.slice(0, text.length / 2);
    const spoilt = (text: string): string =>
      text.replace(/(-----\n)[^-]{40}/, "$1AAAA");
    for (
      const [flag, text, problem] of [
        ["nats-tls-ca", "", /^it holds no certificate/],
        ["nats-tls-ca", key, /^it holds no certificate/],
        ["nats-tls-ca", half(pem), /^a certificate in it is cut off$/],
        ["nats-tls-ca", pem + half(pem), /^a certificate in it is cut off$/],
        ["nats-tls-ca", half(pem) + pem, /^a certificate in it is cut off$/],
        ["nats-tls-ca", spoilt(pem), /^its certificate is malformed$/],
        ["nats-tls-cert", "", /^it holds no certificate/],
        ["nats-tls-cert", half(pem), /^a certificate in it is cut off$/],
        ["nats-tls-key", "", /^it holds no private key/],
        ["nats-tls-key", pem, /^it holds no private key/],
        ["nats-tls-key", half(key), /^it holds no private key/],
        ["nats-tls-key", spoilt(key), /^its private key is malformed$/],
        [
          "nats-tls-key",
          key.replaceAll(" PRIVATE", " ENCRYPTED PRIVATE"),
          /^its private key is encrypted/,
        ],
        [
          "nats-tls-key",
          await Deno.readTextFile(`${TLS}next-client.key`),
          /^it is not the key of the certificate in "tests.*client\.pem"$/,
        ],
      ] as const
    ) {
      await Deno.writeTextFile(path, text);
      const told = await refusal(flag, path);
      assert.match(told, problem);
    }
    for (const flag of ["nats-creds", "nats-nkey"]) {
      await Deno.writeTextFile(path, "SUhunter2");
      const [told = "", ...more] = await problemsOf([`--${flag}=${path}`]);
      assert.match(told, /malformed/);
      assert.ok(told.includes(path) && !told.includes("hunter2"), told);
      assert.deepEqual(more, []);
    }
  });
});

Deno.test("loginReader() names all files that cannot be used", async () => {
  const problems = await problemsOf([
    "--nats-creds=none.creds",
    `--nats-tls-ca=${TLS}client.key`,
    "--nats-tls-cert=none.pem",
    `--nats-tls-key=${TLS}client.pem`,
  ]);
  assert.deepEqual(
    problems.map((text) => /--[a-z-]+/.exec(text)?.[0]),
    ["--nats-creds", "--nats-tls-cert", "--nats-tls-ca", "--nats-tls-key"],
  );
});

Deno.test("loginReader() takes a chain, a list of authorities and text beside them, whatever the line ends", async () => {
  await withFolder(async (folder) => {
    const [ca, cert, key] = await Promise.all(
      ["ca.pem", "client.pem", "client.key"].map((name) =>
        Deno.readTextFile(TLS + name)
      ),
    );
    const text = `\uFEFFof the client\n${cert}${key}of the authority\n${ca}`
      .replaceAll("\n", "\r\n");
    await Deno.writeTextFile(`${folder}/all`, text);
    const { config } = parseRun("client", [
      ...["ca", "cert", "key"].map((of) => `--nats-tls-${of}=${folder}/all`),
    ]);
    const read = (await loginReader(config.nats, new Map()))();
    const plain = text.slice(1).replaceAll("\r\n", "\n");
    assert.deepEqual(reveal(read.tls), {
      first: false,
      ca: plain,
      identity: { cert: plain, key: plain },
    });
  });
});

Deno.test({
  name: "loginReader() reads a pipe once, and then has its text",
  ignore: Deno.build.os === "windows",
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const pipe = `${folder}/pipe`;
      await new Deno.Command("mkfifo", { args: [pipe] }).output();
      const { config } = parseRun("client", [`--nats-tls-ca=${pipe}`]);
      const pipes = new Map<string, string>();
      const read = await loginReader(config.nats, pipes);
      const ca = await Deno.readTextFile(`${TLS}ca.pem`);
      // It waits until there is somebody who reads, and then ends.
      const writer = new Deno.Command("sh", {
        args: ["-c", `cat ${TLS}ca.pem > ${pipe}`],
      }).spawn();
      assert.equal(read().tls?.ca, ca);
      assert.equal(read().tls?.ca, ca);
      const other = await loginReader(config.nats, pipes);
      assert.equal(other().tls?.ca, ca);
      await writer.status;
    });
  },
});

Deno.test({
  name: "authReader() waits for nobody to write where the config file was",
  ignore: Deno.build.os === "windows",
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const path = `${folder}/c.yaml`;
      await Deno.writeTextFile(path, "nats: { user: ann, password: x }\n");
      const args = ["--config", path];
      const files = new Map();
      const command = parseRun("client", args, systemSources(files));
      const read = authReader("client", { args, files, command });
      assert.equal(read().kind, "password");
      await Deno.remove(path);
      await new Deno.Command("mkfifo", { args: [path] }).output();
      assert.throws(read, /c\.yaml: it is a pipe now, and was none before/);
    });
  },
});

Deno.test("checkLogin() says on one line whether the files can be used", async () => {
  await withFolder(async (folder) => {
    const ca = `${folder}/ca.pem`;
    await Deno.copyFile(`${TLS}ca.pem`, ca);
    const args = [
      `--nats-tls-ca=${ca}`,
      "--nats-creds=tests/testdata/nats/user.creds",
    ];
    const { config } = parseRun("client", args);
    const read = await loginReader(config.nats, new Map());
    using log = captureLog();
    checkLogin(config.nats, read);
    await Deno.remove(ca);
    checkLogin(config.nats, read);
    const [good, bad, ...more] = log.records;
    assert.deepEqual(more, []);
    assert.equal(good?.level, "info");
    assert.equal(
      good?.properties.files,
      `tests/testdata/nats/user.creds, ${ca}`,
    );
    assert.equal(bad?.level, "error");
    assert.ok(String(bad?.properties.why).includes(`--nats-tls-ca, "${ca}"`));
  });
  const { config } = parseRun("client", []);
  const read = await loginReader(config.nats, new Map());
  using log = captureLog();
  checkLogin(config.nats, read);
  checkLogin(config.nats, read, { cause: "watch" });
  assert.deepEqual(
    log.records.map(({ level, rawMessage }) => [level, rawMessage]),
    ["SIGHUP", "watch"].map((cause) => [
      "info",
      `${cause}: there are no files for the login to read`,
    ]),
  );
});
