/**
 * Archives from files, byte for byte the same for the same files.
 *
 * @module
 */
import { promisify } from "node:util";
import { gzip as gzipWithCallback } from "node:zlib";
import { type Zippable, zipSync } from "fflate";
import { packTar } from "modern-tar";

/** A file that is packed. */
export interface Packed {
  /** Its path in the archive, without a slash at the start. */
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether it can be run. */
  readonly executable?: true;
}

const compress = promisify(gzipWithCallback);

/** What a file may be used for: by its owner, and by all others. */
function modeOf({ executable }: Packed): number {
  return executable ? 0o755 : 0o644;
}

/** How hard it is compressed: 1 is quick, 9 small. */
export type Level = 1 | 6 | 9;

/** `bytes`, compressed, without a time or name in it. */
export async function gzip(
  bytes: Uint8Array<ArrayBuffer>,
  level: Level = 9,
): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await compress(bytes, { level }));
}

/**
 * A tar of `files`, each of which is `date`'s and root's; with `root`, a path
 * such as `./`, before each, and all folders in it, as dpkg wants it.
 */
export async function tar(
  files: readonly Packed[],
  date: string,
  root?: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const common = {
    mtime: new Date(`${date}T00:00:00Z`),
    ...{ uid: 0, gid: 0, uname: "root", gname: "root" },
  };
  const folders = root === undefined ? [] : foldersOf(files);
  return await packTar([
    ...folders.map((folder) => ({
      header: {
        ...common,
        name: `${root}${folder}`,
        type: "directory" as const,
        size: 0,
        mode: 0o755,
      },
    })),
    ...files.map((file) => ({
      header: {
        ...common,
        name: `${root ?? ""}${file.path}`,
        type: "file" as const,
        size: file.bytes.length,
        mode: modeOf(file),
      },
      body: file.bytes,
    })),
  ]);
}

/** All folders that files are in, the outer before the inner, each with a slash; the first is the root, "". */
function foldersOf(files: readonly Packed[]): readonly string[] {
  const all = new Set([""]);
  for (const { path } of files) {
    const parts = path.split("/").slice(0, -1);
    for (const [index] of parts.entries()) {
      all.add(`${parts.slice(0, index + 1).join("/")}/`);
    }
  }
  return [...all].sort();
}

/** A zip of `files`, each of which is `date`'s. */
export function zip(
  files: readonly Packed[],
  date: string,
  level: Level,
): Uint8Array<ArrayBuffer> {
  const [year = 1980, month = 1, day = 1] = date.split("-").map(Number);
  // A zip has no time zone: written as the clock on the wall of whoever packs.
  const mtime = new Date(year, month - 1, day);
  const tree: Zippable = {};
  for (const file of files) {
    tree[file.path] = [file.bytes, {
      mtime,
      os: 3, // Unix, whose modes are in the upper half of the attributes
      attrs: (0o100000 | modeOf(file)) << 16,
    }];
  }
  // In this thread: fflate's workers take ten times as long for large files.
  return new Uint8Array(zipSync(tree, { level }));
}

/** A Debian package: an `ar` of its version, what the packager is told, and the files. */
export async function deb(
  { control, files, date, level }: {
    readonly control: readonly Packed[];
    readonly files: readonly Packed[];
    readonly date: string;
    readonly level: Level;
  },
): Promise<Uint8Array<ArrayBuffer>> {
  return ar([
    { path: "debian-binary", bytes: new TextEncoder().encode("2.0\n") },
    {
      path: "control.tar.gz",
      bytes: await gzip(await tar(control, date, "./")),
    },
    {
      path: "data.tar.gz",
      bytes: await gzip(await tar(files, date, "./"), level),
    },
  ], date);
}

/** An archive as `ar` makes it, of files with short names; see ar(5). */
function ar(
  files: readonly Packed[],
  date: string,
): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const seconds = Date.parse(`${date}T00:00:00Z`) / 1000;
  const parts = [encoder.encode("!<arch>\n")];
  for (const { path, bytes } of files) {
    const header = [
      path.padEnd(16),
      String(seconds).padEnd(12),
      "0".padEnd(6),
      "0".padEnd(6),
      "100644".padEnd(8),
      String(bytes.length).padEnd(10),
      "`\n",
    ].join("");
    parts.push(encoder.encode(header), bytes);
    // Each begins at an even byte.
    if (bytes.length % 2 === 1) parts.push(encoder.encode("\n"));
  }
  const whole = new Uint8Array(parts.reduce((sum, it) => sum + it.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
