/** What people run over ssh, whose ProxyCommand is `-W`: git, scp and sftp, and what they are told when nothing is there. */
import assert from "node:assert/strict";
import { SshKit } from "../bench/ssh.ts";
import { freePort } from "./support/addresses.ts";
import { Folder } from "./support/folder.ts";
import { Installed, quoted, type Ran } from "./support/installed.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { locateAll, needs, SSH } from "./support/optional_tools.ts";
import { owned } from "./support/owned.ts";
import { type Role, startServer } from "./support/roles.ts";

const SSH_TOOLS = await locateAll(...SSH);

/** Bytes of the file that is copied: more than all windows on the way hold. */
const FILE_BYTES = 12_000_000;

/** A user with an `ssh` of his own that goes through the tunnel. */
interface Stage extends AsyncDisposable {
  readonly server: Role;
  readonly folder: Folder;
  /** The options of ssh, as words for a shell. */
  readonly options: string;
  /** Runs a line; it must end well. */
  readonly sh: (line: string) => Promise<string>;
  /** Runs a line, however it ends. */
  readonly attempt: (line: string) => Promise<Ran>;
}

async function startStage(): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await Folder.make());
  const nats = cleanup.use(await startNatsServer());
  const server = cleanup.use(await startServer(nats.url));
  const user = await Installed.at(folder, {
    NATS_URL: nats.url,
    GIT_CONFIG_NOSYSTEM: "1",
  });
  const kit = cleanup.use(await SshKit.make(SSH_TOOLS));
  assert.ok(kit !== undefined);
  const sshd = await kit.startSshd();
  cleanup.use(sshd.process);
  // The port as an option: scp and sftp call its flag -P.
  const options = [
    ...kit.clientArguments(sshd.endpoint).filter((word, at, all) =>
      word !== "-p" && all[at - 1] !== "-p"
    ),
    ...["-o", `Port=${sshd.endpoint.port}`],
    ...["-o", "ProxyCommand=nats-proxy-client -W %h:%p"],
  ].map(quoted).join(" ");
  const sh = async (line: string): Promise<string> => {
    const { code, output } = await user.sh(line);
    assert.equal(code, 0, `${line}: ${output}`);
    return output;
  };
  const attempt = (line: string): Promise<Ran> => user.sh(line);
  return owned(cleanup, { server, folder, options, sh, attempt });
}

const WITH_SSH = { ignore: SSH_TOOLS.size === 0 };

integrationTest(
  "git clones and pushes over ssh through -W",
  async () => {
    await using stage = await startStage();
    const { folder, options, sh } = stage;
    const noise = crypto.getRandomValues(new Uint8Array(65_536));
    await folder.write("noise", noise);
    const output = await sh(
      `set -e
       export GIT_SSH_COMMAND=${quoted(`ssh ${options}`)}
       git config --global user.name a; git config --global user.email a@b
       git init -q --bare there.git
       git clone -q "ssh://127.0.0.1$PWD/there.git" one 2>/dev/null
       for n in $(seq 30); do { cat noise; echo $n; } | openssl enc -aes-128-ctr -nosalt -k $n -pbkdf2 > one/$n; done
       git -C one add . && git -C one commit -qm all && git -C one push -q origin HEAD
       git clone -q "ssh://127.0.0.1$PWD/there.git" two
       git -C one rev-parse HEAD; git -C two rev-parse HEAD
       git -C two fsck --full 2>&1`,
    );
    const [sent, received, ...more] = output.split("\n");
    assert.match(sent ?? "", /^[0-9a-f]{40}$/);
    assert.equal(received, sent);
    assert.deepEqual(more, []);
  },
  await needs(...SSH, "git"),
);

integrationTest(
  "scp and sftp carry a file there and back through -W",
  async () => {
    await using stage = await startStage();
    const { folder, options, sh } = stage;
    const noise = crypto.getRandomValues(new Uint8Array(60_000));
    const whole = new Uint8Array(FILE_BYTES);
    for (let at = 0; at < whole.length; at += noise.length) {
      whole.set(noise, at);
    }
    await folder.write("file", whole);
    const output = await sh(
      `set -e
       scp -q ${options} file "127.0.0.1:$PWD/by-scp"
       scp -q ${options} "127.0.0.1:$PWD/by-scp" back
       printf 'put file %s\\nget %s by-sftp\\n' "$PWD/there" "$PWD/there" | sftp -q -b - ${options} 127.0.0.1 >/dev/null
       cat file | ssh ${options} 127.0.0.1 sha256sum
       for name in file by-scp back there by-sftp; do sha256sum < $name; done`,
    );
    const sums = output.split("\n");
    assert.equal(sums.length, 6, output);
    assert.equal(new Set(sums).size, 1, output);
  },
  WITH_SSH,
);

integrationTest(
  "ssh ends at once with 255 and our one line when -W gets no connection",
  async () => {
    await using stage = await startStage();
    const { server, options, attempt } = stage;
    const closed = freePort();
    const elsewhere = options.replace("%h:%p", `127.0.0.1:${closed}`);
    for (
      const [line, why] of [
        [`ssh ${elsewhere} 127.0.0.1 true`, /^error: .*\(refused\)$/],
        [
          `ssh ${options.replace("%h:%p", "nosuch.invalid:22")} 127.0.0.1 true`,
          /^error: .*\(no-such-host\)$/,
        ],
        [
          `ssh ${options.replace("-W", "--bogus -W")} 127.0.0.1 true`,
          /^error: Unknown flag "--bogus"/,
        ],
      ] as const
    ) await expectEnd(line, why);
    await server.process.kill();
    await expectEnd(
      `ssh ${options} 127.0.0.1 true`,
      /^error: .*no server listens on .*\(no-server\)$/,
    );

    async function expectEnd(line: string, why: RegExp): Promise<void> {
      const { code, output } = await attempt(line);
      assert.equal(code, 255, output);
      const [first = "", ...more] = output.trimEnd().split("\n");
      assert.match(first, why);
      for (const text of more) {
        assert.match(text, /^(kex_exchange_identification|Connection closed)/);
      }
    }
  },
  WITH_SSH,
);
