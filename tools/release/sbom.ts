/**
 * What the programs are made of, as CycloneDX has it. Pure.
 *
 * @module
 */

/** A package in the programs. */
export interface Part {
  readonly name: string;
  readonly version: string;
  /** Its checksum as the lock file has it: `sha512-…` in base64. */
  readonly integrity: string;
  /** What it says of its licence, as an SPDX expression. */
  readonly license: string | undefined;
  /** `name@version` of what it needs. */
  readonly needs: readonly string[];
  /** Whether the programs import it themselves. */
  readonly direct: boolean;
}

/** What is put together. */
export interface Whole {
  readonly version: string;
  readonly homepage: string;
  /** The version of Deno, which is in each binary. */
  readonly deno: string;
  readonly parts: readonly Part[];
}

/** The document, as text. It has no time and no serial number: the same parts are the same text. */
export function sbom({ version, homepage, deno, parts }: Whole): string {
  const root = `tcp-sproxy@${version}`;
  const runtime = `deno@${deno}`;
  const document = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": root,
        name: "tcp-sproxy",
        version,
        licenses: [{ license: { id: "MIT" } }],
        externalReferences: [{ type: "website", url: homepage }],
      },
    },
    components: [
      {
        type: "platform",
        "bom-ref": runtime,
        name: "deno",
        version: deno,
        purl: `pkg:github/denoland/deno@v${deno}`,
        licenses: [{ license: { id: "MIT" } }],
      },
      ...parts.map((part) => ({
        type: "library",
        "bom-ref": refOf(part),
        name: part.name,
        version: part.version,
        purl: `pkg:npm/${part.name.replace("@", "%40")}@${part.version}`,
        hashes: [hashOf(part.integrity)],
        ...(part.license !== undefined &&
          { licenses: [{ expression: part.license }] }),
      })),
    ],
    dependencies: [
      {
        ref: root,
        dependsOn: [
          runtime,
          ...parts.filter(({ direct }) => direct).map(refOf),
        ],
      },
      { ref: runtime },
      ...parts.map((part) => ({ ref: refOf(part), dependsOn: part.needs })),
    ],
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function refOf({ name, version }: Part): string {
  return `${name}@${version}`;
}

/** `sha512-BASE64` as CycloneDX has it. */
function hashOf(
  integrity: string,
): { readonly alg: string; readonly content: string } {
  const [, bits = "", base64 = ""] = /^sha(\d+)-(.+)$/.exec(integrity) ?? [];
  const content = Uint8Array.fromBase64(base64).toHex();
  return { alg: bits === "1" ? "SHA-1" : `SHA-${bits}`, content };
}
