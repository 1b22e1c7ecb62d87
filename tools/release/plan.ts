/**
 * What a release consists of: every archive and package, and what is in it.
 * Pure: the bytes of files are read by whoever packs.
 *
 * @module
 */
import { renderCompletion } from "../../lib/config/completion.ts";
import { type Shell, SHELLS } from "../../lib/config/commands.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { debianControl } from "./debian.ts";
import { manPage } from "./man.ts";
import {
  binaryName,
  isWindows,
  programName,
  ROLES,
  type Target,
} from "./targets.ts";

/** Where the bytes of a file come from. */
export type Source =
  /** The program of a role for a target. */
  | { readonly kind: "binary"; readonly role: Role; readonly target: Target }
  /** A file of the project; `edit` makes of its text what is packed. */
  | {
    readonly kind: "project";
    readonly path: string;
    readonly edit?: (text: string) => string;
  }
  /** The text itself, to be compressed first where that is customary. */
  | { readonly kind: "text"; readonly text: string; readonly gzip?: true };

/** A file in an archive. */
export interface Entry {
  /** Its path there, without a slash at the start. */
  readonly path: string;
  readonly source: Source;
  /** Whether it can be run. */
  readonly executable?: true;
}

/** One file of a release that holds others. */
export interface Archive {
  /** Its name. */
  readonly name: string;
  readonly format: "tar.gz" | "zip" | "deb";
  readonly role: Role;
  readonly target: Target;
  readonly entries: readonly Entry[];
  /** In a Debian package what the packager is told, by names. */
  readonly control?: (installedKiB: number) => readonly Entry[];
}

/** What is released. */
export interface Release {
  /** Such as `1.2.3`. */
  readonly version: string;
  /** The day, such as `2026-12-01`: of files, too, so that the same source makes the same bytes. */
  readonly date: string;
  /** Where the project is, such as `https://github.com/owner/name`. */
  readonly homepage: string;
  readonly targets: readonly Target[];
}

/** All archives of `release`, in the order of the page. */
export function archivesOf(release: Release): readonly Archive[] {
  return release.targets.flatMap((target) =>
    ROLES.flatMap((role) => [
      archiveOf(role, target, release),
      ...(target.debian === undefined
        ? []
        : [debianOf(role, target, target.debian, release)]),
    ])
  );
}

/** The name of an archive without its extension, which is also its folder. */
export function archiveStem(
  role: Role,
  target: Target,
  version: string,
): string {
  return `${programName(role)}-${version}-${target.name}`;
}

/** How archives for `target` end. */
export function archiveFormat(target: Target): "tar.gz" | "zip" {
  return isWindows(target) ? "zip" : "tar.gz";
}

function archiveOf(role: Role, target: Target, release: Release): Archive {
  const stem = archiveStem(role, target, release.version);
  const format = archiveFormat(target);
  const program = programName(role);
  const isLinux = target.triple.includes("linux");
  const file = (path: string, source: Source): Entry => ({
    path: `${stem}/${path}`,
    source,
  });
  return {
    name: `${stem}.${format}`,
    ...{ format, role, target },
    entries: [
      {
        path: `${stem}/${binaryName(role, target)}`,
        source: { kind: "binary", role, target },
        executable: true,
      },
      file("LICENSE", { kind: "project", path: "LICENSE" }),
      file(`man/${program}.1`, {
        kind: "text",
        text: manPage(role, release),
      }),
      ...SHELLS.map((shell) =>
        file(`completions/${completionName(shell, program)}`, {
          kind: "text",
          text: renderCompletion(shell, role, program),
        })
      ),
      ...(isLinux
        ? [file(`systemd/${program}.service`, {
          kind: "project",
          path: `deploy/systemd/${program}.service`,
        })]
        : []),
    ],
  };
}

/** What the file is called in which `shell` finds the completion of `program`. */
function completionName(shell: Shell, program: string): string {
  return {
    bash: program,
    zsh: `_${program}`,
    fish: `${program}.fish`,
  }[shell];
}

/** Where Debian has the completions of each shell. */
const DEBIAN_COMPLETIONS: Readonly<Record<Shell, string>> = {
  bash: "usr/share/bash-completion/completions",
  zsh: "usr/share/zsh/vendor-completions",
  fish: "usr/share/fish/vendor_completions.d",
};

function debianOf(
  role: Role,
  target: Target,
  architecture: string,
  release: Release,
): Archive {
  const { version } = release;
  const program = programName(role);
  const text = (path: string, text: string, gzip?: true): Entry => ({
    path,
    source: { kind: "text", text, ...(gzip && { gzip }) },
  });
  return {
    name: `${program}_${version}_${architecture}.deb`,
    format: "deb",
    ...{ role, target },
    control: (installedKiB) =>
      debianControl({ role, architecture, release, installedKiB }),
    entries: [
      {
        path: `usr/bin/${program}`,
        source: { kind: "binary", role, target },
        executable: true,
      },
      {
        path: `usr/lib/systemd/system/${program}.service`,
        source: {
          kind: "project",
          path: `deploy/systemd/${program}.service`,
          edit: (unit) => unit.replaceAll("/usr/local/bin/", "/usr/bin/"),
        },
      },
      text(`usr/share/man/man1/${program}.1.gz`, manPage(role, release), true),
      ...SHELLS.map((shell) =>
        text(
          `${DEBIAN_COMPLETIONS[shell]}/${completionName(shell, program)}`,
          renderCompletion(shell, role, program),
        )
      ),
      {
        path: `usr/share/doc/${program}/copyright`,
        source: { kind: "project", path: "LICENSE" },
      },
    ],
  };
}
