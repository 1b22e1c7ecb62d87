/**
 * What an operator's tools ask servers with: a connection, the subjects of the
 * configuration, and probes that are sealed where it says so.
 *
 * @module
 */
import { systemClock, wakefulClock } from "../base/clock.ts";
import {
  publishDenied,
  type Reason,
  RunError,
  subscribeDenied,
} from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import { Prober } from "../client/prober.ts";
import { RequestSubjects } from "../client/request_subjects.ts";
import { Sealer } from "../client/sealer.ts";
import type { Listen, Take } from "../client/trial.ts";
import type { ClientConfig, ServerConfig } from "../config/config.ts";
import { subjectsOf } from "../config/nats_section.ts";
import type { NatsBus } from "../nats/connection.ts";
import {
  makeToken,
  OPEN_TOKEN,
  parseId,
  PROBE_TOKEN,
  type Subjects,
} from "../wire/subjects.ts";
import { sealOf, tokenOf } from "./client_parts.ts";
import { type KeyTexts, readKeys } from "./key_files.ts";
import { random } from "./lifecycle.ts";
import { connectTool, type ToolCall } from "./tool.ts";

export { type Heard, serviceProblem } from "../client/prober.ts";

/** Asks servers on a connection. */
export interface Asker extends Disposable {
  /** The connection. */
  readonly bus: NatsBus;
  /** What asks. */
  readonly prober: Prober;
  /** The subjects of the configuration. */
  readonly subjects: Subjects;
  /** Token of the client that asks. */
  readonly token: string;
  /** What it seals with; undefined where nothing is sealed. */
  readonly keys: KeyTexts | undefined;
  /** Hands in what comes for opens that somebody else has asked for. */
  readonly listen: Listen;
  /** Where an open for a destination is asked for, one after the other; on the last one for a service it is only told why it gets none. */
  subjectsTo(destination: Destination): readonly string[];
  /** Why nobody answers there; which of the subjects NATS refuses `isDenied` says. */
  whyNobody(
    destination: Destination,
    isDenied: (subject: string) => boolean,
  ): Reason;
}

/** The same with a connection of its own, which ends with it. */
export type ToolProber = Omit<Asker, typeof Symbol.dispose> & AsyncDisposable;

/**
 * Connects as the configuration says, and listens for answers.
 *
 * @throws {UsageError | RunError} when that does not come about.
 */
export async function openProber(call: ToolCall): Promise<ToolProber> {
  const { config } = call;
  const isClient = config.role === "client";
  // A server's key is none that a client could ask with.
  const keys = isClient ? readKeys(config.security, new Map()) : undefined;
  const token = isClient ? tokenOf(config) : makeToken(random);
  await using cleanup = new AsyncDisposableStack();
  const bus = cleanup.use(await connectTool(call));
  const asker = cleanup.use(await askerOn(bus, { config, token, keys }));
  const owner = cleanup.move();
  return { ...asker, [Symbol.asyncDispose]: () => owner.disposeAsync() };
}

/**
 * Listens for answers on `bus`.
 *
 * @throws {RunError} when NATS does not let them be heard, or the connection is lost.
 */
export async function askerOn(
  bus: NatsBus,
  { config, token, keys }: {
    readonly config: ClientConfig | ServerConfig;
    /** Token of the client that asks. */
    readonly token: string;
    /** A client's. */
    readonly keys: KeyTexts | undefined;
  },
): Promise<Asker> {
  const subjects = subjectsOf(config.nats);
  const seal = keys && config.role === "client"
    ? sealOf(keys, config)
    : undefined;
  const sealer = seal && new Sealer({ seal, clock: systemClock, random });
  using cleanup = new DisposableStack();
  const prober = cleanup.use(
    new Prober({
      ...{ bus, subjects, token, sealer, random },
      clock: wakefulClock,
      alone: true,
    }),
  );
  // No more than that: another process may have the ID, and its tunnels.
  const heard = [PROBE_TOKEN, OPEN_TOKEN].map((server) =>
    subjects.data("client", `${token}.${server}.*`)
  );
  const others = new Set<Take>();
  for (const subject of heard) {
    cleanup.use(bus.subscribe(subject, (message) => {
      const id = parseId(subjects.idOf("client", message.subject) ?? "");
      if (id === undefined || prober.receive(id, message)) return;
      for (const take of others) take(id, message);
    }));
  }
  await bus.flush();
  const refused = bus.refusedSubjects.find((one) => heard.includes(one));
  if (refused !== undefined) {
    throw new RunError(
      `No answer can be heard: ${
        subscribeDenied(refused).text
      } ('permissions' prints what it has to allow)`,
    );
  }
  const requests = new RequestSubjects(subjects, token);
  const subjectsTo = (destination: Destination): readonly [
    string,
    ...string[],
  ] => requests.subjectsTo(destination, 0);
  const owner = cleanup.move();
  return {
    ...{ bus, prober, subjects, token, keys, subjectsTo },
    listen: (take) => {
      others.add(take);
      return { [Symbol.dispose]: () => void others.delete(take) };
    },
    whyNobody: (destination, isDenied) => {
      const asked = subjectsTo(destination);
      return asked.every(isDenied)
        ? publishDenied(asked[0])
        : requests.noServer(destination, isDenied);
    },
    [Symbol.dispose]: () => owner.dispose(),
  };
}
