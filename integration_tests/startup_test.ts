/** Start-up over a link that breaks at every stage of it. */
import assert from "node:assert/strict";
import { parseAddress } from "./support/addresses.ts";
import { startFaultRelay } from "./support/fault_relay.ts";
import { integrationTest } from "./support/integration_test.ts";
import { startNatsServer } from "./support/nats_server.ts";
import { startServer } from "./support/roles.ts";

/**
 * Bytes from the server to the broker after which the link is cut: in CONNECT,
 * in its PING, and in and between the subscriptions and the PINGs after them.
 */
const CUTS = [50, 230, 270, 300, 340, 380, 420];

integrationTest(
  "start-up: a link that breaks anywhere before readiness is only a delay",
  async () => {
    await using nats = await startNatsServer();
    for (const bytes of CUTS) {
      await using relay = startFaultRelay(parseAddress(new URL(nats.url).host));
      relay.cutAfter(bytes, { direction: "up" });
      await using server = await startServer(relay.url);
      assert.equal((await server.process.stop()).code, 0, `cut after ${bytes}`);
      const text = server.process.lines.join("\n");
      assert.doesNotMatch(text, /internal error/, `cut after ${bytes}`);
    }
  },
);

integrationTest(
  "start-up: a broker that takes too small messages is named, exit code 1",
  async () => {
    await using nats = await startNatsServer({ maxPayload: 128 });
    await assert.rejects(
      startServer(nats.url, { args: ["--nats-connect-timeout", "1s"] }),
      /max_payload of 128 bytes/,
    );
  },
);
