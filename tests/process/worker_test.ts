/** A worker's own side, in a real thread. */
import assert from "node:assert/strict";
import { share } from "../../lib/process/worker.ts";
import type {
  FromWorker,
  ToWorker,
} from "../../lib/process/worker_messages.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";

/** What a worker says first whose role fails where `place` says. */
async function failureOf(
  place: string,
  start: Partial<Extract<ToWorker, { type: "start" }>> = {},
): Promise<FromWorker> {
  const url = new URL("../support/faulty_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module", name: place });
  const { promise, resolve } = Promise.withResolvers<FromWorker>();
  worker.addEventListener("message", ({ data }) => resolve(data));
  const message: ToWorker = {
    type: "start",
    args: [],
    files: new Map(),
    pipes: new Map(),
    keys: undefined,
    index: 1,
    count: 2,
    places: undefined,
    reload: undefined,
    tunnelsByDescriptors: undefined,
    maxStrangers: undefined,
    ...start,
  };
  worker.postMessage(message);
  try {
    return await promise;
  } finally {
    worker.terminate();
  }
}

for (const place of ["role", "timer", "promise"]) {
  Deno.test(`a worker says where a fault was thrown: ${place}`, async () => {
    const message = await failureOf(place);
    assert.ok(message.type === "failed");
    assert.equal(message.kind, "internal");
    assert.equal(message.text, "out of luck");
    assert.match(message.stack ?? "", /^TypeError: .*\n.*faulty_worker\.ts/);
  });
}

Deno.test("a worker reads no file again that the main thread has read", async () => {
  const path = "no-such-directory/config.yaml";
  const message = await failureOf("none", {
    args: ["--config", path],
    files: new Map([[path, "nats:\n  uri: there\n"]]),
  });
  assert.ok(message.type === "failed");
  assert.equal(message.kind, "usage");
  assert.match(message.text, /nats\.uri/);
});

Deno.test("workers share out the limits of a server and of each of its clients", () => {
  const key = "XDHI2OWRZS3DH3D3ODAXQFFFY5XM2AUWQUCQ2NCHIW5ALBYOLB6VSWAL";
  const file = "server.json";
  const entry = { name: "a", keys: [key], max_tunnels: 9, max_opening: 3 };
  const { config } = parseRun(
    "server",
    [
      ...["--config", file, "--secret-key", "server.key"],
      ...["--max-tunnels-per-client", "100", "--max-open-rate", "50"],
    ],
    fakeSources({
      files: { [file]: JSON.stringify({ clients: [{ ...entry, rate: 1 }] }) },
    }),
  );
  const { server, clients } = share(config, { index: 1, count: 4 });
  assert.equal(server.maxTunnelsPerClient, 25);
  assert.equal(server.maxOpenRate, 13);
  const limits = { maxTunnels: 3, maxOpening: 1, rate: 1 };
  assert.deepEqual(clients, [{ name: "a", keys: [key], ...limits }]);
});
