/**
 * Measures long paths: what gets through, and how soon the first byte is there,
 * where a round trip takes long, packets are lost or the line is narrow.
 *
 * @module
 */

import type { Endpoint } from "../integration_tests/support/addresses.ts";
import {
  type Bench,
  type Group,
  inTurn,
  openEach,
  type OpenWays,
} from "./bench.ts";
import { iperf, startIperf } from "./bulk.ts";
import { runLoad, startTarget } from "./generator.ts";
import { Lab, RATE, whyNoLab } from "./lab/lab.ts";
import type { PathName } from "./lab/path_names.ts";
import { LAB_WAYS, openLabWay } from "./lab/ways.ts";
import { median, type Reach } from "./measure.ts";

/** Bulk: streams, and from where. */
const LOADS = [
  { what: "up", streams: 1, direction: "up" },
  { what: "down", streams: 1, direction: "down" },
  { what: "8 streams down", streams: 8, direction: "down" },
] as const;

/** How long a run takes, in seconds: at 200 ms the start of TCP takes two of them. */
const SECONDS = 6;

/** Connections whose first bytes are awaited, one after the other. */
const CONNECTIONS = 7;

/** Each path takes a minute a round: no more of them than this. */
const MAX_ROUNDS = 3;

/** What bulk has to reach. */
const BULK: readonly Reach[] = [{ way: "tunnel", of: "ratio", atLeast: 0.95 }];

/** An open and its answer, a byte and its echo: two round trips, and the work at both ends. */
const FIRST_BYTE: readonly Reach[] = [
  { way: "tunnel", of: "value", atMost: 2.5 },
];

/** Figures of long paths. */
export const paths: Group = {
  name: "paths",
  title: "Long paths",
  method:
    `client, broker and server each in a network namespace, joined by TUN devices and a process that delays, loses (seeded) and bounds packets (\`bench/lab\`); the broker stands in the middle of the path, which ssh takes as a whole; ${
      RATE / 1e6
    } Mbit/s unless said otherwise, a queue of one round trip; \`iperf3 -t ${SECONDS}\`; first byte: median of ${CONNECTIONS} connections one after the other, open and one byte echoed, in round trips of the path`,
  run: async (bench) => {
    const why = await whyNoLab();
    if (why !== undefined) {
      bench.skip("long paths", why);
      return;
    }
    for (const path of bench.paths) await measure(bench, path);
  },
};

/** Measures one path, in a lab of its own: what the kernel has learnt of another is not there. */
async function measure(
  bench: Bench,
  { title, path }: PathName,
): Promise<void> {
  const { signal } = bench;
  const command = bench.tools.get("iperf3");
  if (command === undefined) {
    bench.skip("bulk on long paths", "iperf3 is missing");
  }
  await using lab = await Lab.open(path, { signal });
  const [near, far] = [lab.through("client"), lab.through("server")];
  await using target = await startTarget({ through: far, signal });
  const openTo = (target: Endpoint): Promise<OpenWays> =>
    openEach(
      bench,
      LAB_WAYS,
      (name) => openLabWay(name, { ...bench, lab, target }),
    );
  await using echoes = await openTo(target.endpoint);
  await inTurn(bench, echoes.list, {
    what: `first byte, ${title}`,
    atMost: MAX_ROUNDS,
    measure: async ({ endpoint: to }) => {
      const { times } = await runLoad(
        { do: "first-byte", to, count: CONNECTIONS },
        { through: near, signal },
      );
      const value = (median(times) ?? NaN) / path.rtt;
      const figure = {
        title: `first byte, ${title}`,
        unit: "round trips",
        reach: FIRST_BYTE,
      };
      return [{ figure, value }];
    },
  });
  await echoes[Symbol.asyncDispose]();
  if (command === undefined) return;
  const { process: server, endpoint } = await startIperf(bench, command, far);
  await using _server = server;
  await using ways = await openTo(endpoint);
  for (const { what, ...load } of LOADS) {
    const figure = {
      title: `${what}, ${title}`,
      unit: "Mbit/s",
      reach: BULK,
    };
    await inTurn(bench, ways.list, {
      what: figure.title,
      atMost: MAX_ROUNDS,
      measure: async (way) => {
        const { bitsPerSecond } = await iperf(bench, way, {
          ...{ ...load, command, server, through: near },
          seconds: SECONDS,
        });
        return [{ figure, value: bitsPerSecond / 1e6 }];
      },
    });
  }
}
