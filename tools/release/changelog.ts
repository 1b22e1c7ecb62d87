/**
 * What CHANGELOG.md says of one version, which is the text of its release. Pure.
 *
 * @module
 */

/** The section of a version. */
export interface Section {
  /** The day, such as `2026-12-01`; undefined for what is not released. */
  readonly date: string | undefined;
  /** What is in it, without its heading. */
  readonly text: string;
}

/** The heading of what has no version yet. */
const UNRELEASED = "Unreleased";

/**
 * The section of `version` (`## 1.2.3 - 2026-12-01`), or else, with
 * `orUnreleased`, that of what is to come.
 *
 * @throws {Error} when there is none, or nothing in it.
 */
export function changelogSection(
  changelog: string,
  version: string,
  { orUnreleased }: { readonly orUnreleased: boolean },
): Section {
  const sections = changelog.split(/^## /m).slice(1).map((part) => {
    const [heading = "", ...lines] = part.split("\n");
    const [name, date] = heading.trim().split(" - ");
    return { name, date, text: lines.join("\n").trim() };
  });
  const found = sections.find(({ name }) => name === version) ??
    (orUnreleased
      ? sections.find(({ name }) => name === UNRELEASED)
      : undefined);
  if (found === undefined || found.text === "") {
    throw new Error(
      `CHANGELOG.md says nothing of ${version}: rename "## ${UNRELEASED}" to "## ${version} - YYYY-MM-DD"`,
    );
  }
  if (found.name === version && !/^\d{4}-\d\d-\d\d$/.test(found.date ?? "")) {
    throw new Error(
      `CHANGELOG.md has no date for ${version}: its heading is to be "## ${version} - YYYY-MM-DD"`,
    );
  }
  return { date: found.date, text: found.text };
}
