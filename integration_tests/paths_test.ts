/** Long paths between real processes: one that changes in mid session is noticed. */
import assert from "node:assert/strict";
import { Lab, whyNoLab } from "../bench/lab/lab.ts";
import { openLabWay } from "../bench/lab/ways.ts";
import { runLoad, startLoad, startTarget } from "../bench/generator.ts";
import { integrationTest } from "./support/integration_test.ts";
import { Role } from "./support/roles.ts";

const why = await whyNoLab();
if (why !== undefined) {
  // deno-lint-ignore no-console -- the test runner shows it
  console.warn(`tests of long paths are ignored: ${why}`);
}

/** Connections before the path changes: its round trip is known then. */
const CONNECTIONS = 5;

integrationTest(
  "a path that becomes longer or shorter in mid session is noticed within ten round trips",
  async () => {
    await using lab = await Lab.open({ rtt: 20 });
    const [near, far] = [lab.through("client"), lab.through("server")];
    await using target = await startTarget({ through: far });
    await using way = await openLabWay("tunnel", {
      lab,
      target: target.endpoint,
      roleArgs: ["--log-level", "debug"],
    });
    const { client } = way.processes;
    assert.ok(client);
    const role = new Role(client);
    await runLoad(
      { do: "first-byte", to: way.endpoint, count: CONNECTIONS },
      { through: near },
    );
    // Round trips of an application all the time.
    const load = startLoad(
      { do: "ping-pong", to: way.endpoint, bytes: 64, seconds: 60 },
      { through: near },
    ).catch(() => undefined); // it is ended with the lab
    const notices = async (rtt: number, word: string): Promise<void> => {
      const since = client.mark();
      await lab.change({ rtt });
      const changedAt = performance.now();
      await role.entry(
        ({ msg, ms }) =>
          msg === `the way to a peer is ${word} now` &&
          Math.abs(Number(ms) - rtt) < 30,
        { since },
      );
      const took = performance.now() - changedAt;
      // Of the longer of both paths: what was under way takes that.
      assert.ok(took < 10 * 200, `${word} after ${took} ms`);
    };
    let opened = 0;
    await role.entry(({ msg }) =>
      msg === "tunnel open" && ++opened === CONNECTIONS + 1
    );
    await notices(200, "longer");
    await notices(20, "shorter");
    await way[Symbol.asyncDispose]();
    await load;
  },
  { ignore: why !== undefined },
);
