/** Traces as the runtime exports them, at a receiver: one for both ends of a tunnel. */
import assert from "node:assert/strict";
import { roundTrip } from "./support/chaos_flow.ts";
import { integrationTest } from "./support/integration_test.ts";
import { OtlpReceiver, type ReceivedSpan } from "./support/otlp_receiver.ts";
import { startClient, startServer } from "./support/roles.ts";
import { SealedStage } from "./support/sealed_stage.ts";
import { dial, readEnding } from "./support/transfer.ts";

for (const what of ["a tunnel", "a sealed tunnel", "a tunnel of workers"]) {
  integrationTest(
    `${what} is one trace, with its open at the client and its dial at the server`,
    async () => {
      await using receiver = new OtlpReceiver();
      await using stage = await SealedStage.start();
      const { url, echo, keys } = stage;
      const isSealed = what.includes("sealed");
      const both = what.includes("workers") ? ["--workers", "2"] : [];
      await using _server = await startServer(url, {
        env: { ...receiver.env("the-server"), HOME: stage.folder.path },
        args: [...both, ...(isSealed ? stage.serverFlags : [])],
      });
      await using client = await startClient(url, {
        target: echo.address,
        env: { ...receiver.env("the-client"), HOME: stage.folder.path },
        args: [
          ...both,
          ...(isSealed ? ["--secret-key", keys.client.path] : []),
          ...(isSealed ? ["--server-key", keys.server.publicKey] : []),
        ],
      });
      {
        using conn = await dial(client.endpoint);
        await roundTrip(conn);
      }
      const part = (service: string, name: string): Promise<ReceivedSpan> =>
        receiver.span(
          `${name} of ${service}`,
          (span) => span.service === service && span.name === name,
        );
      const [ours, open, theirs, dialled] = await Promise.all([
        part("the-client", "tunnel"),
        part("the-client", "open"),
        part("the-server", "tunnel"),
        part("the-server", "dial"),
      ]);
      const traces = new Set(
        [ours, open, theirs, dialled].map(({ traceId }) => traceId),
      );
      assert.equal(traces.size, 1);
      assert.deepEqual(
        [ours, open, theirs, dialled].map(({ kind, parentSpanId, failed }) => [
          kind,
          parentSpanId,
          failed,
        ]),
        [
          [3, "", false],
          [1, ours.spanId, false],
          [2, open.spanId, false],
          [1, theirs.spanId, false],
        ],
      );
      const [host, port] = echo.address.split(":");
      for (const { attributes } of [ours, theirs]) {
        assert.equal(attributes["server.address"], host);
        assert.equal(attributes["server.port"], port);
        assert.equal(attributes["messaging.system"], "nats");
        assert.ok(Number(attributes["sproxy.bytes.sent"]) > 0);
        assert.ok(Number(attributes["sproxy.bytes.received"]) > 0);
        assert.match(attributes["sproxy.tunnel.id"] ?? "", /^\S+\.\S+\.\S+$/);
      }
      assert.equal(
        theirs.attributes["client.port"],
        ours.attributes["client.port"],
      );
      assert.ok(ours.attributes["client.port"] !== undefined);
      assert.equal(dialled.attributes["network.peer.port"], port);
    },
  );
}

integrationTest(
  "a tunnel that comes to nothing is a trace that failed, with the reason, at both ends",
  async () => {
    await using receiver = new OtlpReceiver();
    await using stage = await SealedStage.start();
    const { url, echo } = stage;
    await using _server = await startServer(url, {
      env: receiver.env("the-server"),
      args: ["--deny-target", echo.address],
    });
    await using client = await startClient(url, {
      target: echo.address,
      env: receiver.env("the-client"),
    });
    using conn = await dial(client.endpoint);
    await readEnding(conn);
    for (const service of ["the-client", "the-server"]) {
      const span = await receiver.span(
        `tunnel of ${service}`,
        (span) => span.service === service && span.name === "tunnel",
      );
      assert.equal(span.failed, true);
      assert.equal(span.attributes["error.type"], "denied");
    }
  },
);
