/**
 * Opens a network of our own to measure in: a client, a broker and a server,
 * each in a network namespace, with long, lossy or narrow lines between them.
 *
 * @module
 */

import type { WaitOptions } from "../../integration_tests/support/changes.ts";
import { Process, run } from "../../integration_tests/support/processes.ts";
import { locate } from "../../tools/find_or_install.ts";
import type { Line } from "./pipe.ts";
import { DEVICE, type Made, MTU, NETWORK, type Wiring } from "./wiring.ts";

/** Who is in a namespace of its own, in the order of their addresses. */
const PLACES = ["client", "broker", "server"] as const;

/** A namespace of a lab. */
export type Place = (typeof PLACES)[number];

/**
 * The path between client and server. The broker stands in its middle: half of
 * everything is between the client and the broker, the other half between the
 * broker and the server.
 */
export interface Path {
  /** Round trip from client to server, in ms. */
  readonly rtt: number;
  /** The share of packets that are lost each way, 0 to 1. */
  readonly loss?: number;
  /** Bits a second, each way; default {@linkcode RATE}. */
  readonly rate?: number;
}

/**
 * Bits a second of a path unless told otherwise: a quick line, and few enough
 * that the packets, which one process carries, leave the others their time.
 */
export const RATE = 200e6;

/** What decides which packets are lost. */
const SEED = 14;

/** The queue before a line holds so many round trips of its rate, as routers are told to. */
const QUEUE_ROUND_TRIPS = 1;

/** And no less than so many ms. */
const MIN_QUEUE = 20;

/** Packets that a device holds before the router reads them. */
const DEVICE_QUEUE = 10_000;

/** How long the router may take to answer, in ms. */
const ANSWER_LIMIT = 10_000;

/** The programs that it takes, and the packages that have them. */
const PROGRAMS = ["ip", "nsenter"] as const;

/** Why there can be no lab here, in one line; undefined when there can. */
export async function whyNoLab(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "network namespaces are of Linux";
  if (Deno.uid() !== 0) return "network namespaces and TUN devices take root";
  for (const program of PROGRAMS) {
    if (await locate(program) === undefined) return `${program} is missing`;
  }
  try {
    await using _lab = await Lab.open({ rtt: 0 });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return undefined;
}

/** A network of our own; disposal ends it. What runs in it is to be ended before. */
export class Lab implements AsyncDisposable {
  readonly #router: Process;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #namespaces: Readonly<Record<Place, string>>;
  readonly #nsenter: string;

  private constructor(options: {
    readonly router: Process;
    readonly input: WritableStreamDefaultWriter<Uint8Array>;
    readonly namespaces: Readonly<Record<Place, string>>;
    readonly nsenter: string;
  }) {
    this.#router = options.router;
    this.#input = options.input;
    this.#namespaces = options.namespaces;
    this.#nsenter = options.nsenter;
  }

  /**
   * Opens one; packets pass when this resolves.
   *
   * @throws {Error} when the machine does not let us; {@linkcode whyNoLab} says so before.
   */
  static async open(path: Path, options: WaitOptions = {}): Promise<Lab> {
    const args = [
      ...["run", "--quiet", "-A"],
      new URL("router.ts", import.meta.url).pathname,
      JSON.stringify(wiringOf(path)),
    ];
    const child = new Deno.Command(Deno.execPath(), {
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    await using cleanup = new AsyncDisposableStack();
    const router = cleanup.use(new Process(child, "router", args.join(" ")));
    const input = child.stdin.getWriter();
    cleanup.defer(() => input.abort().catch(() => {}));
    const line = await answerOf(router, 0, options);
    const { namespaces: held }: Made = JSON.parse(line);
    const [client = "", broker = "", server = ""] = held.map((descriptor) =>
      `/proc/${router.pid}/fd/${descriptor}`
    );
    const lab = new Lab({
      router,
      input,
      namespaces: { client, broker, server },
      nsenter: await locate("nsenter") ?? "nsenter",
    });
    for (const place of PLACES) await lab.#setUp(place);
    cleanup.move();
    return lab;
  }

  /** The address of a place, for the others and for itself. */
  addressOf(place: Place): string {
    return `${NETWORK}.${PLACES.indexOf(place) + 1}`;
  }

  /** What runs a command at a place: the words before its own. */
  through(place: Place): readonly string[] {
    return [this.#nsenter, `--net=${this.#namespaces[place]}`];
  }

  /** From now on packets go as on `path`; what is under way arrives as before. */
  async change(path: Path, options: WaitOptions = {}): Promise<void> {
    const since = this.#router.mark();
    const text = `${JSON.stringify(wiringOf(path))}\n`;
    await this.#input.write(new TextEncoder().encode(text));
    await answerOf(this.#router, since, options);
  }

  /** Ends it, and its lines with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.abort().catch(() => {});
    await this.#router.kill();
  }

  /** Gives a place its addresses. */
  async #setUp(place: Place): Promise<void> {
    const commands = [
      "link set lo up",
      `address add ${this.addressOf(place)}/24 dev ${DEVICE}`,
      `link set ${DEVICE} mtu ${MTU} txqueuelen ${DEVICE_QUEUE} up`,
    ];
    const [nsenter = "", ...words] = this.through(place);
    for (const command of commands) {
      const { status, output } = await run(nsenter, {
        args: [...words, "ip", ...command.split(" ")],
      });
      if (!status.success) throw new Error(`ip ${command}: ${output}`);
    }
  }
}

/** The next line of JSON that the router writes. */
async function answerOf(
  router: Process,
  since: number,
  { signal }: WaitOptions,
): Promise<string> {
  const limit = AbortSignal.timeout(ANSWER_LIMIT);
  return await router.waitForLine((line) => line.startsWith("{"), {
    since,
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  });
}

function wiringOf({ rtt, loss = 0, rate = RATE }: Path): Wiring {
  const half: Line = {
    delay: rtt / 4, // half of the path, one way
    loss: loss / 2,
    rate,
    queue: Math.max(MIN_QUEUE, rtt * QUEUE_ROUND_TRIPS),
  };
  const none: Line = { delay: 0, loss: 0, queue: 0 };
  return { seed: SEED, lines: [half, none, half] };
}
