/** The manifests of deploy/kubernetes: their fields, and that they fit each other and the programs. */
import assert from "node:assert/strict";
import { loadAll } from "js-yaml";
import { optionsOf } from "../../lib/config/options.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";

const FOLDER = new URL("../../deploy/kubernetes/", import.meta.url);

/** Time that a process takes beyond its drain, in s: what its units and manifests give it. */
const STOP_MARGIN = 10;

/** Each manifest, the role in it, and the name of the secret that its head has made. */
const MANIFESTS = [
  { file: "gateway.yaml", role: "server" },
  { file: "sidecar.yaml", role: "client" },
] as const;

/** Fields that an object may have; a list is of objects of its one form, `true` is any value. */
type Form = { readonly [field: string]: Form | readonly [Form] | true };

const LABELS: Form = { matchLabels: true };
const META: Form = { name: true, namespace: true, labels: true };
const PEERS: readonly [Form] = [{
  namespaceSelector: LABELS,
  podSelector: LABELS,
}];
const PORTS: readonly [Form] = [{ protocol: true, port: true }];
const PROBE: Form = {
  httpGet: { path: true, port: true },
  periodSeconds: true,
  failureThreshold: true,
};
const CONTAINER: Form = {
  name: true,
  image: true,
  restartPolicy: true,
  args: true,
  env: [{ name: true, value: true }],
  ports: [{ name: true, containerPort: true }],
  livenessProbe: PROBE,
  readinessProbe: PROBE,
  startupProbe: PROBE,
  resources: {
    requests: { cpu: true, memory: true },
    limits: { cpu: true, memory: true },
  },
  securityContext: {
    allowPrivilegeEscalation: true,
    readOnlyRootFilesystem: true,
    capabilities: { drop: true },
  },
  volumeMounts: [{ name: true, mountPath: true, readOnly: true }],
};
const POD: Form = {
  automountServiceAccountToken: true,
  terminationGracePeriodSeconds: true,
  topologySpreadConstraints: [{
    maxSkew: true,
    topologyKey: true,
    whenUnsatisfiable: true,
    labelSelector: LABELS,
  }],
  securityContext: {
    runAsNonRoot: true,
    runAsUser: true,
    runAsGroup: true,
    fsGroup: true,
    seccompProfile: { type: true },
  },
  initContainers: [CONTAINER],
  containers: [CONTAINER],
  volumes: [{
    name: true,
    configMap: { name: true },
    secret: { secretName: true, defaultMode: true },
  }],
};

/** The kinds in use, as their API has them. */
const KINDS: Readonly<
  Record<string, { readonly api: string; readonly form: Form }>
> = {
  ConfigMap: { api: "v1", form: { data: true } },
  Deployment: {
    api: "apps/v1",
    form: {
      spec: {
        replicas: true,
        selector: LABELS,
        strategy: { rollingUpdate: { maxSurge: true, maxUnavailable: true } },
        template: { metadata: META, spec: POD },
      },
    },
  },
  PodDisruptionBudget: {
    api: "policy/v1",
    form: {
      spec: { maxUnavailable: true, minAvailable: true, selector: LABELS },
    },
  },
  NetworkPolicy: {
    api: "networking.k8s.io/v1",
    form: {
      spec: {
        podSelector: LABELS,
        policyTypes: true,
        ingress: [{ from: PEERS, ports: PORTS }],
        egress: [{ to: PEERS, ports: PORTS }],
      },
    },
  },
};

/** A part of a manifest. */
interface Part {
  readonly [field: string]: unknown;
}

function part(value: unknown): Part {
  assert.ok(typeof value === "object" && value !== null, String(value));
  return value as Part;
}

function parts(value: unknown): Part[] {
  assert.ok(Array.isArray(value), String(value));
  return value.map(part);
}

/** The part at a path of fields. */
function at(value: unknown, ...fields: readonly string[]): unknown {
  return fields.reduce((inner, field) => part(inner)[field], value);
}

/** Fields of `value` that its form has not. */
function strangers(value: unknown, form: Form, path: string): string[] {
  return Object.entries(part(value)).flatMap(([field, inner]) => {
    const expected = form[field];
    const here = `${path}.${field}`;
    if (expected === undefined) return [here];
    if (expected === true) return [];
    return "length" in expected
      ? parts(inner).flatMap((item) =>
        strangers(item, expected[0] as Form, here)
      )
      : strangers(inner, expected as Form, here);
  });
}

/** The documents of a manifest by their kinds. */
function manifestOf(text: string): (kind: string) => Part {
  const all = loadAll(text).map(part);
  assert.ok(new Set(all.map(({ kind }) => kind)).size === all.length);
  return (kind) => {
    const found = all.find((document) => document.kind === kind);
    assert.ok(found, kind);
    return found;
  };
}

for (const { file, role } of MANIFESTS) {
  const text = await Deno.readTextFile(new URL(file, FOLDER));
  const document = manifestOf(text);
  const pod = at(document("Deployment"), "spec", "template", "spec");
  const all = [
    ...parts(part(pod).initContainers ?? []),
    ...parts(part(pod).containers),
  ];
  const ours = all.find(({ image }) => String(image).startsWith("tcp-sproxy-"));
  assert.ok(ours, file);

  Deno.test(`${file}: each document has a kind, its API, a name, and fields of that kind alone`, () => {
    for (const one of loadAll(text).map(part)) {
      const { apiVersion, kind, metadata, ...rest } = one;
      const known = KINDS[String(kind)];
      assert.ok(known, `${kind}`);
      assert.equal(apiVersion, known.api, `${kind}`);
      assert.deepEqual(strangers(metadata, META, `${kind}.metadata`), []);
      assert.match(String(at(metadata, "name")), /^[a-z][a-z0-9-]{0,62}$/);
      assert.deepEqual(strangers(rest, known.form, String(kind)), []);
    }
  });

  Deno.test(`${file}: selectors find the pods, and what is mounted is there`, () => {
    const labels = at(
      document("Deployment"),
      "spec",
      "template",
      "metadata",
      "labels",
    );
    for (
      const selector of [
        at(document("Deployment"), "spec", "selector"),
        at(document("PodDisruptionBudget"), "spec", "selector"),
        at(document("NetworkPolicy"), "spec", "podSelector"),
      ]
    ) assert.deepEqual(at(selector, "matchLabels"), labels);
    const volumes = new Map(
      parts(at(pod, "volumes")).map((volume) => [volume.name, volume]),
    );
    for (const { volumeMounts = [] } of all) {
      for (const { name, readOnly } of parts(volumeMounts)) {
        assert.ok(volumes.has(name), String(name));
        assert.equal(readOnly, true);
      }
    }
    for (const { configMap, secret } of volumes.values()) {
      if (configMap !== undefined) {
        assert.equal(
          at(configMap, "name"),
          at(document("ConfigMap"), "metadata", "name"),
        );
      }
      if (secret === undefined) continue;
      // Made by hand: secrets are in no repository.
      const name = at(secret, "secretName");
      assert.ok(
        text.includes(`create secret generic ${name} --from-file=nats.creds`),
      );
      // Octal is another number in each version of YAML.
      assert.equal(at(secret, "defaultMode"), 0o440);
    }
  });

  Deno.test(`${file}: the role takes its arguments, variables and configuration`, () => {
    const args = ours.args as string[];
    const env = Object.fromEntries(
      parts(ours.env).map(({ name, value }) => [String(name), String(value)]),
    );
    const names = optionsOf(role).map((option) => option.env);
    assert.deepEqual(Object.keys(env).filter((it) => !names.includes(it)), []);
    const files = Object.fromEntries(
      parts(ours.volumeMounts).flatMap(({ name, mountPath }) => {
        const volume = parts(at(pod, "volumes")).find((it) => it.name === name);
        if (volume?.configMap === undefined) {
          return [[`${mountPath}/nats.creds`, ""]];
        }
        const data = part(at(document("ConfigMap"), "data"));
        return Object.entries(data).map(([file, text]) => [
          `${mountPath}/${file}`,
          String(text),
        ]);
      }),
    );
    const { config, configFile } = parseRun(
      role,
      args,
      fakeSources({ env, files }),
    );
    assert.ok(configFile !== undefined && configFile in files);
    assert.ok(
      config.nats.auth.kind === "creds" && `${config.nats.auth.file}` in files,
    );
    assert.ok(config.watchConfig);

    const status = config.role === "server"
      ? config.server.listenAddr
      : config.client.statusAddr;
    assert.ok(status && status.host === "", "probes come from elsewhere");
    const [port, ...more] = parts(ours.ports);
    assert.deepEqual(more, []);
    assert.equal(port?.containerPort, status.port);
    const probes = Object.entries(ours).filter(([field]) =>
      field.endsWith("Probe")
    );
    assert.ok(probes.length >= 2);
    for (const [field, probe] of probes) {
      assert.deepEqual(at(probe, "httpGet"), {
        // A start waits for the process, traffic for what it can do.
        path: field === "readinessProbe" ? "/ready" : "/health",
        port: port.name,
      });
    }
    const grace = Number(at(pod, "terminationGracePeriodSeconds"));
    assert.ok(grace >= config.tunnel.drainTimeout / 1000 + STOP_MARGIN);
  });

  Deno.test(`${file}: pods are restricted, as Kubernetes's own standard has it`, () => {
    assert.deepEqual(at(pod, "securityContext"), {
      ...{
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        fsGroup: 1000,
      },
      seccompProfile: { type: "RuntimeDefault" },
    });
    assert.equal(at(pod, "automountServiceAccountToken"), false);
    for (const { name, securityContext } of all) {
      assert.deepEqual(securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      }, String(name));
    }
  });
}

Deno.test("the reader of manifests finds a field that there is not", () => {
  const pod = {
    containers: [{ name: "a", livenesProbe: {} }],
    hostNetwork: true,
  };
  assert.deepEqual(strangers(pod, POD, "pod"), [
    "pod.containers.livenesProbe",
    "pod.hostNetwork",
  ]);
});
