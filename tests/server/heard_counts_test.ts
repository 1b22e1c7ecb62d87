/** What a server counts on each subject where it hears opens. */
import assert from "node:assert/strict";
import { TunnelError } from "../../lib/base/errors.ts";
import { captureLog } from "../support/capture_log.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import { Pair } from "../support/shell_pair.ts";

Deno.test("opens are counted where they came, refusals as errors, with the time to the answer", async () => {
  using _log = captureLog();
  let clock: Pair["clock"] | undefined = undefined;
  using pair = new Pair({
    server: {
      services: [{ name: "db", target: { host: "db", port: 5432 } }],
      dial: async (target) => {
        await clock?.advance(250);
        if ("host" in target && target.host === "db") {
          return new FakeSocket("db:5432");
        }
        throw new TunnelError("refused", "nobody there");
      },
    },
  });
  clock = pair.clock;
  const { ingress } = pair.client;
  const open = async (
    target: Parameters<typeof ingress.open>[0]["target"],
  ): Promise<void> => {
    ingress.open({ socket: new FakeSocket("app:1"), target });
    await pair.settle();
  };
  await open({ service: "db" });
  await open({ host: "other", port: 1 });
  const counts = pair.server.egress.endpoints.map(
    ({ name, subject, counter, service }) => [
      ...[name, subject, counter.requests, counter.errors, counter.lastError],
      ...[counter.averageTime, service?.opened],
    ],
  );
  assert.deepEqual(counts, [
    ["open", "proxy.request.*", 1, 1, "refused", 250_000_000, undefined],
    ["open-any", "proxy.request", 0, 0, "", 0, undefined],
    ["svc-db", "proxy.request.svc.db.*", 1, 0, "", 250_000_000, 1],
  ]);
});
