/**
 * What a release has programs for.
 *
 * @module
 */
import type { Role } from "../../lib/wire/subjects.ts";

/** Both programs. */
export const ROLES: readonly Role[] = ["client", "server"];

/** A system that `deno compile` makes programs for. */
export interface Target {
  /** What `deno compile --target` takes. */
  readonly triple: string;
  /** How the names of files say it. */
  readonly name: string;
  /** The package that has Deno itself for it, to stand in for its runtime. */
  readonly runtime: string;
  /** How Debian calls the processor, where there is a package. */
  readonly debian?: string;
}

/** All that `deno compile` of the version in use has. */
export const TARGETS: readonly Target[] = [
  {
    triple: "x86_64-unknown-linux-gnu",
    name: "linux-x64",
    runtime: "@deno/linux-x64-glibc",
    debian: "amd64",
  },
  {
    triple: "aarch64-unknown-linux-gnu",
    name: "linux-arm64",
    runtime: "@deno/linux-arm64-glibc",
    debian: "arm64",
  },
  {
    triple: "x86_64-apple-darwin",
    name: "macos-x64",
    runtime: "@deno/darwin-x64",
  },
  {
    triple: "aarch64-apple-darwin",
    name: "macos-arm64",
    runtime: "@deno/darwin-arm64",
  },
  {
    triple: "x86_64-pc-windows-msvc",
    name: "windows-x64",
    runtime: "@deno/win32-x64",
  },
  {
    triple: "aarch64-pc-windows-msvc",
    name: "windows-arm64",
    runtime: "@deno/win32-arm64",
  },
];

/** Whether it is Windows, where programs and archives have other names. */
export function isWindows({ triple }: Target): boolean {
  return triple.includes("windows");
}

/** The program of `role` as it is called, without an extension. */
export function programName(role: Role): string {
  return `nats-proxy-${role}`;
}

/** The file that holds the program of `role` for `target`. */
export function binaryName(role: Role, target: Target): string {
  return `${programName(role)}${isWindows(target) ? ".exe" : ""}`;
}
