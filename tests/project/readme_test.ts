import assert from "node:assert/strict";
import { optionsOf } from "../../lib/config/options.ts";
import { withOptionTables } from "../../tools/update_readme.ts";
import denoJson from "../../deno.json" with { type: "json" };

const readme = await Deno.readTextFile(
  new URL("../../README.md", import.meta.url),
);

/** Without what the formatter adds to a table. */
function plain(markdown: string): string {
  return markdown.replaceAll(/-{2,}/g, "-").replaceAll(/\s+/g, " ");
}

Deno.test("README's tables are those of the options (tools/update_readme.ts makes them)", () => {
  const same = plain(readme) === plain(withOptionTables(readme));
  assert.ok(same, "run tools/update_readme.ts, then deno fmt README.md");
});

Deno.test("README links to files that exist", async () => {
  const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)/g)];
  assert.ok(links.length > 0);
  for (const [, path = ""] of links) {
    await Deno.stat(new URL(`../../${path}`, import.meta.url));
  }
});

Deno.test("docs name files that exist", async () => {
  const folders = ["", "tests/", "integration_tests/", "lib/"];
  const missing: string[] = [];
  let count = 0;
  for (
    const doc of ["architecture", "protocol", "reliability", "troubleshooting"]
  ) {
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
    const wanted = optionsOf(role).map(({ env }) => env);
    assert.deepEqual(
      listed.split(",").toSorted(),
      [...wanted, "HOME", "NO_COLOR"].toSorted(),
    );
  });
}
