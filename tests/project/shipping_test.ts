/** What users install from: the chart, the compose file, and the package. */
import assert from "node:assert/strict";
import { Ajv } from "ajv";
import { load } from "js-yaml";
import { optionsOf } from "../../lib/config/options.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";
import denoJson from "../../deno.json" with { type: "json" };

const PROJECT = new URL("../../", import.meta.url);
const CHART = new URL("deploy/helm/tcp-sproxy/", PROJECT);

interface Part {
  readonly [field: string]: unknown;
}

function part(value: unknown): Part {
  assert.ok(typeof value === "object" && value !== null, String(value));
  return value as Part;
}

async function read(path: string, base: URL = PROJECT): Promise<string> {
  return await Deno.readTextFile(new URL(path, base));
}

Deno.test("the chart's values are those of its schema, which refuses others", async () => {
  const schema = JSON.parse(await read("values.schema.json", CHART));
  const values = part(load(await read("values.yaml", CHART)));
  const validate = new Ajv({ allErrors: true }).compile(schema);
  assert.ok(validate(values), JSON.stringify(validate.errors));
  assert.deepEqual(
    Object.keys(values).filter((key) => !(key in schema.properties)),
    [],
  );
  for (
    const wrong of [
      { role: "both" },
      { replica: 2 },
      { ports: { "Not a name": 1 } },
      { config: { nats: {} } },
    ]
  ) assert.ok(!validate({ ...values, ...wrong }), JSON.stringify(wrong));
});

Deno.test("the chart's templates use values that there are, and close what they open", async () => {
  const values = part(load(await read("values.yaml", CHART)));
  let count = 0;
  for await (const { name } of Deno.readDir(new URL("templates/", CHART))) {
    const text = await read(`templates/${name}`, CHART);
    for (const [, path = ""] of text.matchAll(/\.Values\.([\w.]+)/g)) {
      count++;
      let at: unknown = values;
      for (const key of path.split(".")) {
        assert.ok(key in part(at), `${name}: .Values.${path}`);
        at = part(at)[key];
      }
    }
    const opened = text.match(/\{\{-? *(if|range|with|define) /g) ?? [];
    const closed = text.match(/\{\{-? *end *-?\}\}/g) ?? [];
    assert.equal(opened.length, closed.length, name);
  }
  assert.ok(count > 20);
});

Deno.test("chart, package and program have one version", async () => {
  const chart = part(load(await read("Chart.yaml", CHART)));
  assert.equal(chart.version, denoJson.version);
  assert.equal(chart.appVersion, denoJson.version);
});

Deno.test("the compose file's roles take their variables, and run with little", async () => {
  const { services } = part(load(await read("deploy/compose/compose.yaml")));
  for (const role of ["server", "client"] as const) {
    const service = part(part(services)[role]);
    const env = part(service.environment) as Record<string, string>;
    const names = optionsOf(role).map((option) => option.env);
    assert.deepEqual(Object.keys(env).filter((it) => !names.includes(it)), []);
    parseRun(role, [], fakeSources({ env }));
    assert.equal(service.read_only, true);
    assert.deepEqual(service.cap_drop, ["ALL"]);
    const { context, dockerfile } = part(service.build);
    const folder = new URL(`deploy/compose/${context}/`, PROJECT);
    await Deno.stat(new URL(String(dockerfile), folder));
  }
});

Deno.test("the package exports files that there are, and publishes what they need", async () => {
  for (const path of Object.values(denoJson.exports)) {
    await Deno.stat(new URL(path, PROJECT));
    assert.ok(denoJson.publish.include.includes(path.slice(2)));
  }
  for (const path of denoJson.publish.include) {
    await Deno.stat(new URL(path, PROJECT));
  }
});
