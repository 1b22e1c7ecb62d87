/** What a release consists of, and what is said of it. */
import assert from "node:assert/strict";
import { Ajv } from "ajv";
import { unzipSync } from "fflate";
import { unpackTar } from "modern-tar";
import { changelogSection } from "../../tools/release/changelog.ts";
import { differences, embeddedFiles } from "../../tools/release/compile.ts";
import { manPage } from "../../tools/release/man.ts";
import { manifestsOf, sha256sums } from "../../tools/release/manifests.ts";
import { deb, gzip, tar, zip } from "../../tools/release/pack.ts";
import { archivesOf } from "../../tools/release/plan.ts";
import { sbom } from "../../tools/release/sbom.ts";
import { TARGETS } from "../../tools/release/targets.ts";
import { optionsOf } from "../../lib/config/options.ts";

const RELEASE = {
  version: "1.2.3",
  date: "2026-12-01",
  homepage: "https://example.com/sproxy",
  targets: TARGETS,
};

const SUMS = new Map(
  archivesOf(RELEASE).map(({ name }, index) => [
    name,
    String(index).padStart(64, "0"),
  ]),
);

Deno.test("a release has both programs for each target that deno compile has", async () => {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", "--target", "none", "x.ts"],
    env: { NO_COLOR: "1" },
  }).output();
  const said = new TextDecoder().decode(stdout) +
    new TextDecoder().decode(stderr);
  const [, listed = ""] = /possible values: ([^\n\]]+)/.exec(said) ?? [];
  assert.deepEqual(
    TARGETS.map(({ triple }) => triple).toSorted(),
    listed.split(", ").toSorted(),
  );
  const archives = archivesOf(RELEASE);
  assert.equal(archives.length, 2 * TARGETS.length + 4);
  assert.equal(new Set(archives.map(({ name }) => name)).size, archives.length);
  for (const { entries, format, target } of archives) {
    const paths = entries.map(({ path }) => path);
    assert.ok(
      paths.some((path) =>
        path.endsWith("LICENSE") || path.endsWith("copyright")
      ),
    );
    assert.equal(entries.filter(({ executable }) => executable).length, 1);
    assert.equal(paths.filter((path) => /\.1(\.gz)?$/.test(path)).length, 1);
    assert.equal(
      paths.some((path) => path.endsWith(".service")),
      target.triple.includes("linux"),
    );
    assert.equal(format === "zip", target.triple.includes("windows"));
  }
});

Deno.test("archives hold what they are given, and the same files are the same bytes", async () => {
  const bytes = new TextEncoder().encode("text");
  const files = [
    { path: "a/b/run", bytes, executable: true },
    { path: "a/text", bytes },
  ] as const;
  const make = [
    () => tar(files, "2026-12-01"),
    () => zip(files, "2026-12-01", 6),
    () => gzip(bytes),
    () => deb({ files, control: [files[1]], date: "2026-12-01", level: 6 }),
  ];
  for (const one of make) assert.deepEqual(await one(), await one());
  const unpacked = await unpackTar(await tar(files, "2026-12-01", "./"));
  assert.deepEqual(
    unpacked.map(({ header }) => [header.name, header.mode, header.uid]),
    [
      ["./", 0o755, 0],
      ["./a/", 0o755, 0],
      ["./a/b/", 0o755, 0],
      ["./a/b/run", 0o755, 0],
      ["./a/text", 0o644, 0],
    ],
  );
  const zipped = unzipSync(zip(files, "2026-12-01", 6));
  assert.deepEqual(Object.keys(zipped), ["a/b/run", "a/text"]);
  assert.deepEqual(zipped["a/text"], bytes);
});

Deno.test("manual pages have every option, in lines that roff takes", () => {
  for (const role of ["client", "server"] as const) {
    const page = manPage(role, RELEASE);
    assert.match(page, /^\.Dd December 1, 2026$/m);
    for (const { key, flag } of optionsOf(role)) {
      assert.ok(
        page.includes(
          `key ${key.replaceAll("-", "\\-")}`.split(" ").at(-1) ?? "",
        ),
        key,
      );
      if (flag !== undefined) {
        assert.ok(page.includes(`Fl \\-${flag.replaceAll("-", "\\-")}`), flag);
      }
    }
    // Whatever begins with a point is a macro that there is.
    const macros = new Set(
      "Dd Dt Os Sh Ss Nm Nd Op Cm Li Pp Bl It El Pa Ev Bd Ed Xr".split(" "),
    );
    for (const [, macro = ""] of page.matchAll(/^\.(\w+)/gm)) {
      assert.ok(macros.has(macro), macro);
    }
    assert.doesNotMatch(page, /^'/m);
  }
});

Deno.test("manifests name each file of their systems with its checksum", () => {
  const manifests = manifestsOf(RELEASE, SUMS);
  const all = manifests.map(({ text }) => text).join("\n");
  for (const { name, format } of archivesOf(RELEASE)) {
    if (format === "deb") continue;
    assert.ok(all.includes(`/v1.2.3/${name}"`), name);
    assert.ok(all.includes(SUMS.get(name) ?? "none"), name);
  }
  const scoop = manifests.find(({ name }) =>
    name.endsWith("client.scoop.json")
  );
  const { architecture, bin } = JSON.parse(scoop?.text ?? "");
  assert.deepEqual(Object.keys(architecture), ["64bit", "arm64"]);
  assert.equal(bin, "nats-proxy-client.exe");
  assert.throws(() => manifestsOf(RELEASE, new Map()), /No checksum/);
  assert.equal(sha256sums(new Map([["b", "2"], ["a", "1"]])), "1  a\n2  b\n");
});

Deno.test("the SBOM is CycloneDX by its own schema", async () => {
  const folder = new URL(
    ".",
    import.meta.resolve("@cyclonedx/cyclonedx-library/package.json"),
  );
  const read = async (name: string): Promise<Record<string, unknown>> =>
    JSON.parse(
      await Deno.readTextFile(
        new URL(`res/schema/${name}.SNAPSHOT.schema.json`, folder),
      ),
    );
  const ajv = new Ajv({ strict: false, validateFormats: false });
  for (const name of ["spdx", "jsf-0.82", "cryptography-defs"]) {
    ajv.addSchema(
      await read(name),
      `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`,
    );
  }
  const validate = ajv.compile(await read("bom-1.6"));
  const part = {
    ...{ name: "@a/b", version: "1.0.0", license: "MIT", needs: [] },
    integrity: `sha512-${btoa("x".repeat(64))}`,
    direct: true,
  };
  const whole = { ...RELEASE, deno: "2.9.6", parts: [part] };
  assert.ok(validate(JSON.parse(sbom(whole))), JSON.stringify(validate.errors));
  const wrong = { ...JSON.parse(sbom(whole)), bomFormat: "other" };
  assert.ok(!validate(wrong));
  assert.match(sbom(whole), /pkg:npm\/%40a\/b@1\.0\.0/);
});

Deno.test("the text of a release is the section of its version, which has a date", () => {
  const text =
    "# C\n\n## Unreleased\n\n- next\n\n## 1.0.0 - 2026-01-02\n\n- this\n\n## 0.9.0\n\n- old\n";
  const of = (version: string, orUnreleased = false): unknown =>
    changelogSection(text, version, { orUnreleased });
  assert.deepEqual(of("1.0.0"), { date: "2026-01-02", text: "- this" });
  assert.deepEqual(of("2.0.0", true), { date: undefined, text: "- next" });
  assert.throws(() => of("2.0.0"), /says nothing of 2\.0\.0/);
  assert.throws(() => of("0.9.0"), /no date for 0\.9\.0/);
});

Deno.test("what is embedded is read from the tree, and compared", () => {
  const said = [
    "Embedded Files",
    "",
    "program",
    "├─┬ .deno_compile_node_modules (6.15MB - 5.87MB unique)",
    "│ └─┬ localhost (6.15MB)",
    "│   ├─┬ @x (1B)",
    "│   │ └── y/* (1.14MB - 1.14MB unique)",
    "│   └── z/1.0.0/* (1MB)",
    "├── deno.json (5KB)",
    "├─┬ lib (3MB)",
    "│ ├── base/* (1KB)",
    "│ └─┬ net (1KB)",
    "│   └── a.ts (1KB)",
    "└── server.ts (1.13KB)",
    "",
    "Files: 9.42MB",
  ].join("\n");
  const embedded = embeddedFiles(said);
  const place = ".deno_compile_node_modules/localhost";
  assert.deepEqual(embedded, [
    `${place}/@x/y/*`,
    `${place}/z/1.0.0/*`,
    "deno.json",
    "lib/base/*",
    "lib/net/a.ts",
    "server.ts",
  ]);
  const named = (name: string, version: string) => ({
    ...{ name, version, needs: [], direct: true, folder: "" },
  });
  const modules = ["lib/base/b.ts", "lib/net/a.ts", "server.ts"];
  const packages = [named("@x/y", "2.0.0"), named("z", "1.0.0")];
  assert.deepEqual(differences({ modules, packages }, embedded), {
    missing: [],
    strange: [],
  });
  assert.deepEqual(
    differences({
      modules: ["lib/net/c.ts", "server.ts"],
      packages: [named("z", "1.0.1")],
    }, embedded),
    {
      missing: ["lib/net/c.ts", "z/1.0.1/"],
      strange: [
        "lib/base/*",
        "lib/net/a.ts",
        ...["@x/y/*", "z/1.0.0/*"],
      ],
    },
  );
});
