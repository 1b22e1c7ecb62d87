import assert from "node:assert/strict";
import { commandsOf } from "../../lib/config/commands.ts";
import { optionsOf } from "../../lib/config/options.ts";
import { withOptionTables } from "../../tools/update_readme.ts";
import denoJson from "../../deno.json" with { type: "json" };

const readme = await Deno.readTextFile(
  new URL("../../README.md", import.meta.url),
);

/** The documents whose words a test holds to what there is. */
const DOCS = [
  "architecture",
  "log",
  "metrics",
  "operations",
  "protocol",
  "releasing",
  "reliability",
  "security",
  "troubleshooting",
] as const;

/** The names by which links find the headings of a document, as GitHub makes them. */
function anchorsOf(markdown: string): Set<string> {
  const prose = markdown.replaceAll(/^```.*?^```$/gms, "");
  const titles = [...prose.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-")
  );
  return new Set(titles);
}

/** Without what the formatter adds to a table. */
function plain(markdown: string): string {
  return markdown.replaceAll(/-{2,}/g, "-").replaceAll(/\s+/g, " ");
}

Deno.test("README's tables are those of the options (tools/update_readme.ts makes them)", () => {
  const same = plain(readme) === plain(withOptionTables(readme));
  assert.ok(same, "run tools/update_readme.ts, then deno fmt README.md");
});

Deno.test("README and docs link to files and headings that exist", async () => {
  const files = ["README.md", ...DOCS.map((doc) => `docs/${doc}.md`)];
  const broken: string[] = [];
  let count = 0;
  for (const file of files) {
    const from = new URL(`../../${file}`, import.meta.url);
    const text = await Deno.readTextFile(from);
    const links = text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g);
    for (const [link, path = "", anchor] of links) {
      count++;
      const to = path === "" ? from : new URL(path, from);
      const target = await Deno.readTextFile(to).catch(() => undefined);
      if (target === undefined || anchor && !anchorsOf(target).has(anchor)) {
        broken.push(`${file}: ${link}`);
      }
    }
  }
  assert.ok(count > 60, `${count}`);
  assert.deepEqual(broken, []);
});

Deno.test("docs name files that exist", async () => {
  const folders = ["", "tests/", "integration_tests/", "lib/"];
  const missing: string[] = [];
  let count = 0;
  for (const doc of DOCS) {
    const text = await Deno.readTextFile(
      new URL(`../../docs/${doc}.md`, import.meta.url),
    );
    for (const [, path = ""] of text.matchAll(/`([\w/]+\.ts)`/g)) {
      count++;
      const found = await Promise.all(
        folders.map((folder) =>
          Deno.stat(new URL(`../../${folder}${path}`, import.meta.url))
            .then(() => true, () => false)
        ),
      );
      if (!found.includes(true)) missing.push(`docs/${doc}.md: ${path}`);
    }
  }
  assert.ok(count > 20);
  assert.deepEqual(missing, []);
});

for (const role of ["server", "client"] as const) {
  Deno.test(`deno task ${role} permits exactly the variables of the options`, () => {
    const [, listed = ""] = /--allow-env=(\S+)/.exec(denoJson.tasks[role]) ??
      [];
    const wanted = optionsOf(role).flatMap(({ env, aliases }) => [
      env,
      ...aliases,
    ]);
    assert.deepEqual(
      listed.split(",").toSorted(),
      [
        ...wanted,
        ...["HOME", "JOURNAL_STREAM", "NO_COLOR", "XDG_CONFIG_HOME"],
        ...["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"],
      ].toSorted(),
    );
  });
}

/** Flags in docs/operations.md of other programs than ours. */
const OTHERS_FLAGS: ReadonlySet<string> = new Set([
  ...["allow-env", "allow-net", "allow-read", "allow-sys", "allow-write"],
  ...["cached-only", "frozen", "no-prompt"], // deno
  ...["cap-drop", "read-only", "rm", "security-opt", "stop-timeout"], // docker
  ...["now", "sdnotify", "signal"], // systemctl, podman, nats-server
]);

Deno.test("docs/operations.md names flags that the programs have", async () => {
  const text = await Deno.readTextFile(
    new URL("../../docs/operations.md", import.meta.url),
  );
  const ours = new Set(
    (["server", "client"] as const).flatMap((role) =>
      [
        ...optionsOf(role),
        ...commandsOf(role).flatMap(({ tool }) => tool?.flags ?? []),
      ].map(({ flag }) => flag)
    ),
  );
  const named = new Set(
    [...text.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)].map(([, flag = ""]) =>
      flag
    ),
  );
  assert.ok(named.size > 20);
  const unknown = [...named].filter((flag) =>
    !ours.has(flag) && !OTHERS_FLAGS.has(flag) && flag !== "config"
  );
  assert.deepEqual(unknown, []);
  assert.deepEqual([...OTHERS_FLAGS].filter((flag) => !named.has(flag)), []);
});
