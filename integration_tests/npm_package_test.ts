/** The packages for npm: what a user installs, in a home that has nothing. */
import assert from "node:assert/strict";
import { makeNpmPackages } from "../tools/release/npm.ts";
import { run } from "../tools/release/runtimes.ts";
import { smoke } from "../tools/release/smoke.ts";
import { requireTool } from "../tools/find_or_install.ts";
import { Folder } from "./support/folder.ts";
import { integrationTest } from "./support/integration_test.ts";

integrationTest(
  "both programs run from their packed tarballs, with workers, Redis through them",
  async () => {
    await using folder = await Folder.make();
    const out = folder.at("packages");
    const packages = await makeNpmPackages({
      version: "0.1.0",
      homepage: "https://example.com/sproxy",
      out,
    });
    assert.equal(packages.length, 2);
    const home = folder.at("home");
    await Deno.mkdir(home);
    const env = { HOME: home, npm_config_cache: `${home}/cache` };
    await Deno.writeTextFile(`${home}/package.json`, "{}");
    await run(
      "npm",
      ["install", "--no-audit", "--no-fund", ...packages],
      home,
      env,
    );
    const help = await run("npx", ["nats-proxy-client", "--help"], home, env);
    assert.match(help, /^Usage: nats-proxy-client /);
    const said: string[] = [];
    await smoke({
      commands: {
        client: [`${home}/node_modules/.bin/nats-proxy-client`],
        server: [`${home}/node_modules/.bin/nats-proxy-server`],
      },
      natsServer: await requireTool("nats-server"),
      redisServer: await requireTool("redis-server"),
      say: (line) => said.push(line),
    });
    assert.ok(said.some((line) => line.includes("PONG")), said.join("\n"));
    assert.ok(said.includes("server: told to stop, exit code 0"));
  },
);
