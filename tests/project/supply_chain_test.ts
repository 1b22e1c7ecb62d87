/** What the project is built with is named so exactly that nobody can put another thing in its place. */
import assert from "node:assert/strict";
import { load } from "js-yaml";

const PROJECT = new URL("../../", import.meta.url);

/** An action by the hash of its commit, with the version it had for people. */
const PINNED = /^\s*- uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/;

/** Where the version of Deno stands: what comes before it. */
const DENO_VERSIONS: Readonly<Record<string, RegExp>> = {
  "README.md": /npx -y deno(@\S+)?/g,
  ".ci/run": /npx -y deno(@\S+)?/g,
  ".github/workflows/release.yml": /deno-version: (\S+)/g,
  "Dockerfile": /FROM denoland\/deno:alpine-(\S+)/g,
  "integration_tests/build/Dockerfile": /FROM denoland\/deno:alpine-(\S+)/g,
};

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, PROJECT));
}

async function workflows(): Promise<readonly string[]> {
  const names: string[] = [];
  for await (
    const { name } of Deno.readDir(new URL(".github/workflows", PROJECT))
  ) {
    names.push(`.github/workflows/${name}`);
  }
  assert.ok(names.length >= 2);
  return names;
}

/** What a workflow may do, by itself and in each of its jobs. */
interface Workflow {
  readonly permissions: unknown;
  readonly jobs: Readonly<Record<string, { readonly permissions?: unknown }>>;
}

Deno.test("every action is pinned by the hash of its commit", async () => {
  for (const path of await workflows()) {
    const uses = (await read(path)).split("\n").filter((line) =>
      line.includes("uses:")
    );
    assert.ok(uses.length > 0, path);
    for (const line of uses) assert.match(line, PINNED, `${path}: ${line}`);
  }
});

Deno.test("an action has one hash wherever it is used", async () => {
  const hashes = new Map<string, string>();
  for (const path of await workflows()) {
    for (
      const [, action = "", hash = ""] of (await read(path)).matchAll(
        /uses: (\S+)@(\S+)/g,
      )
    ) assert.equal(hashes.getOrInsert(action, hash), hash, action);
  }
});

Deno.test("a workflow may do nothing by itself but read; only what publishes may write contents", async () => {
  for (const path of await workflows()) {
    const { permissions, jobs } = load(await read(path)) as Workflow;
    assert.ok(
      [JSON.stringify({}), JSON.stringify({ contents: "read" })]
        .includes(JSON.stringify(permissions)),
      `${path}: ${JSON.stringify(permissions)}`,
    );
    for (const [name, job] of Object.entries(jobs)) {
      const writes = JSON.stringify(job.permissions ?? {})
        .includes(`"contents":"write"`);
      assert.equal(writes, name === "publish", `${path}: ${name}`);
    }
  }
});

Deno.test("the job that may release runs nothing of the project's", async () => {
  const { jobs } = load(await read(".github/workflows/release.yml")) as {
    jobs: Record<string, { steps: { uses?: string; run?: string }[] }>;
  };
  const steps = jobs.publish?.steps ?? [];
  assert.ok(steps.length > 0);
  for (const { uses = "", run = "" } of steps) {
    assert.ok(!uses.includes("checkout"), uses);
    assert.doesNotMatch(run, /\b(deno|npx|node)\b/, run);
  }
});

Deno.test("one version of Deno is named everywhere", async () => {
  const found = new Map<string, string[]>();
  for (const [path, pattern] of Object.entries(DENO_VERSIONS)) {
    const versions = [...(await read(path)).matchAll(pattern)]
      .map((match) => (match[1] ?? "none").replace(/^@/, ""));
    assert.ok(versions.length > 0, path);
    for (const version of versions) {
      found.set(version, [...found.get(version) ?? [], path]);
    }
  }
  assert.equal(found.size, 1, JSON.stringify([...found]));
  const [version = ""] = found.keys();
  assert.match(version, /^\d+\.\d+\.\d+$/);
});
