/**
 * Writes the tables of options in README.md anew from `lib/config/options.ts`:
 * `deno run -A tools/update_readme.ts`.
 *
 * @module
 */
import { optionsMarkdown } from "../lib/config/help.ts";

const README = new URL("../README.md", import.meta.url);

/** The README with the tables it should have. */
export function withOptionTables(readme: string): string {
  return readme.replaceAll(
    /(<!-- options: (server|client|both) -->)[^]*?(<!-- \/options -->)/g,
    (_, start: string, scope: "server" | "client" | "both", end: string) =>
      `${start}\n\n${optionsMarkdown(scope)}\n${end}`,
  );
}

if (import.meta.main) {
  const readme = await Deno.readTextFile(README);
  await Deno.writeTextFile(README, withOptionTables(readme));
}
