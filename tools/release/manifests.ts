/**
 * What package managers are told of a release: where each file is, and its
 * checksum. Pure.
 *
 * @module
 */
import { ABOUT } from "../../lib/config/help.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import { archiveFormat, archiveStem, type Release } from "./plan.ts";
import {
  binaryName,
  isWindows,
  programName,
  ROLES,
  type Target,
} from "./targets.ts";

/** A text to be written beside the archives. */
export interface Manifest {
  readonly name: string;
  readonly text: string;
}

/** SHA-256 of files, in hexadecimal, by their names. */
export type Checksums = ReadonlyMap<string, string>;

/** What `sha256sum --check` reads. */
export function sha256sums(sums: Checksums): string {
  return [...sums].toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([name, sum]) => `${sum}  ${name}\n`).join("");
}

/** The manifests of each role: of Homebrew where it has its systems, of Scoop where there is Windows. */
export function manifestsOf(
  release: Release,
  sums: Checksums,
): readonly Manifest[] {
  return ROLES.flatMap((role) => {
    const files = release.targets.map((target) => fileOf(role, target));
    const brewed = files.filter(({ target }) => !isWindows(target));
    const scooped = files.filter(({ target }) => isWindows(target));
    return [
      ...(brewed.length === 0 ? [] : [homebrew(role, release, brewed)]),
      ...(scooped.length === 0 ? [] : [scoop(role, release, scooped)]),
    ];
  });

  function fileOf(role: Role, target: Target): File {
    const { version, homepage } = release;
    const stem = archiveStem(role, target, version);
    const name = `${stem}.${archiveFormat(target)}`;
    const sum = sums.get(name);
    if (sum === undefined) throw new Error(`No checksum of ${name}`);
    const url = `${homepage}/releases/download/v${version}/${name}`;
    return { target, stem, url, sum };
  }
}

/** An archive, as it can be had. */
interface File {
  readonly target: Target;
  readonly stem: string;
  readonly url: string;
  readonly sum: string;
}

/** How Homebrew calls systems and processors. */
const BREW = [
  { block: "on_macos", system: "macos" },
  { block: "on_linux", system: "linux" },
] as const;

function homebrew(
  role: Role,
  { version, homepage }: Release,
  files: readonly File[],
): Manifest {
  const program = programName(role);
  const systems = BREW.flatMap(({ block, system }) => {
    const own = files.filter(({ target }) => target.name.startsWith(system));
    if (own.length === 0) return [];
    return [
      `  ${block} do`,
      ...own.flatMap(({ target, url, sum }) => [
        `    ${target.name.endsWith("arm64") ? "on_arm" : "on_intel"} do`,
        `      url "${url}"`,
        `      sha256 "${sum}"`,
        "    end",
      ]),
      "  end",
      "",
    ];
  });
  const lines = [
    `class ${className(program)} < Formula`,
    `  desc "TCP connections through NATS: the ${role}"`,
    `  homepage "${homepage}"`,
    `  version "${version}"`,
    '  license "MIT"',
    "",
    ...systems,
    "  def install",
    `    bin.install "${program}"`,
    `    man1.install "man/${program}.1"`,
    `    bash_completion.install "completions/${program}"`,
    `    zsh_completion.install "completions/_${program}"`,
    `    fish_completion.install "completions/${program}.fish"`,
    "  end",
    "",
    "  test do",
    `    assert_match version.to_s, shell_output("#{bin}/${program} --version")`,
    "  end",
    "end",
  ];
  return {
    name: `${program}.rb`,
    text: lines.map((line) => `${line}\n`).join(""),
  };
}

/** `nats-proxy-client` as a class of Ruby. */
function className(program: string): string {
  return program.replaceAll(
    /(?:^|-)([a-z])/g,
    (_, letter: string) => letter.toUpperCase(),
  );
}

function scoop(
  role: Role,
  { version, homepage }: Release,
  files: readonly File[],
): Manifest {
  const bits = ({ target }: File): string =>
    target.name.endsWith("arm64") ? "arm64" : "64bit";
  const manifest = {
    version,
    description: ABOUT[role].summary,
    homepage,
    license: "MIT",
    architecture: Object.fromEntries(
      files.map((file) => [bits(file), {
        url: file.url,
        hash: file.sum,
        extract_dir: file.stem,
      }]),
    ),
    bin: files.slice(0, 1).map(({ target }) => binaryName(role, target)).join(),
    checkver: "github",
    autoupdate: {
      architecture: Object.fromEntries(
        files.map((file) => [bits(file), {
          url: file.url.replaceAll(version, "$version"),
          extract_dir: file.stem.replaceAll(version, "$version"),
        }]),
      ),
      hash: { url: "$baseurl/SHA256SUMS" },
    },
  };
  return {
    name: `${programName(role)}.scoop.json`,
    text: `${JSON.stringify(manifest, undefined, 2)}\n`,
  };
}
