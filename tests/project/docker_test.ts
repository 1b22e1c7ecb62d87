import assert from "node:assert/strict";
import { load } from "js-yaml";

const PROJECT = new URL("../../", import.meta.url);

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, PROJECT));
}

/** The instructions of a Dockerfile, continued lines joined. */
function instructions(dockerfile: string): (readonly [string, string])[] {
  return dockerfile.replaceAll(/\\\n\s*/g, "").split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, name = "", rest = ""] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
      return [name, rest] as const;
    });
}

const dockerfiles = [
  "Dockerfile",
  "deploy/docker/client.Dockerfile",
  "integration_tests/build/Dockerfile",
];

for (const path of dockerfiles) {
  Deno.test(`${path} has only known instructions and copies what exists`, async () => {
    const known = new Set(
      "FROM LABEL WORKDIR COPY RUN USER EXPOSE HEALTHCHECK CMD ENTRYPOINT STOPSIGNAL"
        .split(" "),
    );
    for (const [name, rest] of instructions(await read(path))) {
      assert.ok(known.has(name), `unknown instruction "${name}"`);
      const json = /(\[.*\])$/.exec(rest)?.[1];
      if (name === "CMD" || name === "ENTRYPOINT") JSON.parse(json ?? "");
      if (name !== "COPY") continue;
      const words = rest.split(/\s+/);
      // What another stage has made is no file of the project.
      if (words[0]?.startsWith("--from=")) continue;
      for (const source of words.slice(0, -1)) {
        await Deno.stat(new URL(source, PROJECT));
      }
    }
  });

  Deno.test(`${path} does not run as root and pins the runtime`, async () => {
    const all = instructions(await read(path));
    assert.equal(all[0]?.[0], "FROM");
    for (const [name, image] of all) {
      if (name !== "FROM") continue;
      assert.match(
        image,
        /^(--platform=\$BUILDPLATFORM )?denoland\/deno:[a-z]*-?\d+\.\d+\.\d+( AS \w+)?$/,
      );
    }
    assert.equal(all.findLast(([name]) => name === "USER")?.[1], "deno");
  });
}

Deno.test("the images of the two roles give the permissions that binaries have", async () => {
  const { tasks } = JSON.parse(await read("deno.json"));
  const permissions = (words: readonly string[]): string[] =>
    words.filter((word) => /^--(allow|no-prompt)/.test(word)).toSorted();
  for (
    const [path, role] of [
      ["Dockerfile", "server"],
      ["deploy/docker/client.Dockerfile", "client"],
    ] as const
  ) {
    const all = instructions(await read(path));
    const start: unknown = JSON.parse(
      all.find(([name]) => name === "ENTRYPOINT")?.[1] ?? "",
    );
    assert.ok(Array.isArray(start));
    assert.equal(start.at(-1), `${role}.ts`);
    // Nothing in an image is to be run by exec.
    const compiled = String(tasks[`compile:${role}`]).split(" ")
      .filter((word) => word !== "--allow-run");
    assert.deepEqual(permissions(start), permissions(compiled), path);
  }
});

for (
  const [path, role] of [
    ["Dockerfile", "server"],
    ["deploy/docker/client.Dockerfile", "client"],
  ] as const
) {
  Deno.test(`${path}'s health check asks /health of the ${role} it starts, by its flags`, async () => {
    const all = instructions(await read(path));
    const check = all.find(([name]) => name === "HEALTHCHECK")?.[1] ?? "";
    const command: unknown = JSON.parse(/CMD (\[.*\])$/.exec(check)?.[1] ?? "");
    assert.ok(Array.isArray(command));
    assert.deepEqual(command.slice(-4), [
      ...["tools/healthcheck.ts", "--like", "1", role],
    ]);
  });
}

Deno.test({
  name: "tools/healthcheck.ts finds out the flags of a process",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    // A process with the command line of a server whose status is off.
    await using process = new Deno.Command("sh", {
      args: ["-c", "cat; :", "server.ts", "--listen-addr", "off"],
      stdin: "piped",
      stdout: "null",
    }).spawn();
    const check = async (): Promise<number> => {
      const { code } = await new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "--no-prompt", "-A"],
          new URL("tools/healthcheck.ts", PROJECT).pathname,
          ...["--like", String(process.pid), "server"],
        ],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).output();
      return code;
    };
    assert.equal(await check(), 0);
    await process.stdin.close();
  },
});

Deno.test("tools/healthcheck.ts says whether /health answers", async () => {
  const run = async (
    address: string,
    args: readonly string[] = [],
  ): Promise<number> => {
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--allow-net",
        "--allow-read",
        "--allow-env",
        new URL("tools/healthcheck.ts", PROJECT).pathname,
        ...args,
      ],
      env: { LISTEN_ADDR: address },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return code;
  };
  let port: number;
  {
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      ({ url }) =>
        new Response(null, { status: url.endsWith("/health") ? 200 : 500 }),
    );
    port = server.addr.port;
    assert.equal(await run(`:${port}`), 0);
    assert.equal(await run("off", ["--listen-addr", `:${port}`]), 0);
    const status = ["client", "--status-addr", `127.0.0.1:${port}`];
    assert.equal(await run("", status), 0);
    const directory = await Deno.makeTempDir();
    try {
      const file = `${directory}/server.yaml`;
      await Deno.writeTextFile(file, `server:\n  listen_addr: ":${port}"\n`);
      assert.equal(await run("", ["--config", file]), 0);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }
  assert.equal(await run("off"), 0, "there is nobody to ask");
  assert.equal(await run("nonsense"), 2);
  assert.equal(await run(`127.0.0.1:${port}`), 1);
});

Deno.test("docker-compose.yml runs NATS, Redis, both roles and a test runner", async () => {
  const compose: unknown = load(
    await read("integration_tests/docker-compose.yml"),
  );
  assert.ok(typeof compose === "object" && compose !== null);
  assert.ok("services" in compose);
  const { services } = compose;
  assert.ok(typeof services === "object" && services !== null);
  assert.deepEqual(Object.keys(services).toSorted(), [
    "nats",
    "proxy-client",
    "proxy-server",
    "redis",
    "test-runner",
  ]);
  for (const service of Object.values(services)) {
    // Every path a command names is one of the project's.
    for (const word of String(service.command ?? "").split(" ")) {
      if (/\.ts$/.test(word)) await Deno.stat(new URL(word, PROJECT));
    }
    if (service.build === undefined) continue;
    const { context, dockerfile } = service.build;
    const folder = new URL(`integration_tests/${context}/`, PROJECT);
    await Deno.stat(new URL(dockerfile, folder));
  }
});
