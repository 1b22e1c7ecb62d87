/**
 * What a Debian package says of itself, and does when it comes and goes. Pure.
 *
 * @module
 */
import { ABOUT } from "../../lib/config/help.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import type { Entry, Release } from "./plan.ts";
import { programName } from "./targets.ts";

/** What is told of a package. */
export interface DebianFacts {
  readonly role: Role;
  /** The processor, as Debian calls it. */
  readonly architecture: string;
  readonly release: Release;
  /** What all its files take, in KiB. */
  readonly installedKiB: number;
}

/**
 * The oldest C library that Deno's own programs run with: what its release
 * binaries for Linux are built against.
 */
const LIBC = "libc6 (>= 2.27)";

/** The files of the package's control part. */
export function debianControl(facts: DebianFacts): readonly Entry[] {
  const { role } = facts;
  return [
    control("control", controlFile(facts)),
    control("postinst", POSTINST.replaceAll("UNIT", unitOf(role)), true),
    control("prerm", PRERM.replaceAll("UNIT", unitOf(role)), true),
    control("postrm", POSTRM, true),
  ];
}

function control(path: string, text: string, executable?: true): Entry {
  const source = { kind: "text", text } as const;
  return { path, source, ...(executable && { executable }) };
}

function unitOf(role: Role): string {
  return `${programName(role)}.service`;
}

function controlFile(
  { role, architecture, release, installedKiB }: DebianFacts,
): string {
  return [
    `Package: ${programName(role)}`,
    `Version: ${release.version}`,
    `Architecture: ${architecture}`,
    `Maintainer: tcp-sproxy <${release.homepage}>`,
    `Installed-Size: ${installedKiB}`,
    `Depends: ${LIBC}`,
    "Section: net",
    "Priority: optional",
    `Homepage: ${release.homepage}`,
    `Description: TCP connections through NATS: the ${role}`,
    ` ${ABOUT[role].summary}`,
    "",
  ].join("\n");
}

/** A new installation starts nothing, since it has no configuration; an upgrade goes on with the new program. */
const POSTINST = `#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  if [ -n "$2" ]; then systemctl try-restart UNIT; fi
fi
`;

const PRERM = `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl disable --now UNIT
fi
`;

const POSTRM = `#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
`;
