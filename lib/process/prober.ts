/**
 * What an operator's tools ask servers with: a connection, the subjects of the
 * configuration, and probes that are sealed where it says so.
 *
 * @module
 */
import { systemClock, wakefulClock } from "../base/clock.ts";
import { RunError, subscribeDenied } from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import { Prober } from "../client/prober.ts";
import { RequestSubjects } from "../client/request_subjects.ts";
import { Sealer } from "../client/sealer.ts";
import type { NatsBus } from "../nats/connection.ts";
import {
  makeToken,
  OPEN_TOKEN,
  parseId,
  PROBE_TOKEN,
  Subjects,
} from "../wire/subjects.ts";
import { sealOf } from "./client_parts.ts";
import { readKeys } from "./key_files.ts";
import { random } from "./lifecycle.ts";
import { connectTool, type ToolCall } from "./tool.ts";

export { type Heard, serviceProblem } from "../client/prober.ts";

/** What a tool asks with; disposing of it ends the connection. */
export interface ToolProber extends AsyncDisposable {
  /** The connection. */
  readonly bus: NatsBus;
  /** What asks. */
  readonly prober: Prober;
  /** The subjects of the configuration. */
  readonly subjects: Subjects;
  /** Token of the client that asks. */
  readonly token: string;
  /** Where an open for a destination is asked for, one after the other; on the last one for a service it is only told why it gets none. */
  subjectsTo(destination: Destination): readonly string[];
  /** Why nobody answers there; which of the subjects NATS refuses `isDenied` says. */
  whyNobody(
    destination: Destination,
    isDenied: (subject: string) => boolean,
  ): string;
}

/**
 * Connects as the configuration says, and listens for answers.
 *
 * @throws {UsageError | RunError} when that does not come about.
 */
export async function openProber(call: ToolCall): Promise<ToolProber> {
  const { config } = call;
  const { requestSubject: request, dataPrefix: prefix } = config.nats;
  const subjects = new Subjects({ request, prefix });
  const token = config.role === "client" && config.client.id !== undefined
    ? config.client.id
    : makeToken(random);
  // A server's key is none that a client could ask with.
  const seal = config.role === "client"
    ? readKeys(config.security, new Map())
    : undefined;
  const keys = seal && config.role === "client"
    ? sealOf(seal, config)
    : undefined;
  await using cleanup = new AsyncDisposableStack();
  const bus = cleanup.use(await connectTool(call));
  const sealer = keys &&
    new Sealer({ seal: keys, clock: systemClock, random });
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
  for (const subject of heard) {
    bus.subscribe(subject, (message) => {
      const id = parseId(subjects.idOf("client", message.subject) ?? "");
      if (id !== undefined) prober.receive(id, message);
    });
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
  const owner = cleanup.move();
  return {
    ...{ bus, prober, subjects, token },
    subjectsTo: (destination) => requests.subjectsTo(destination, 0),
    whyNobody: (destination, isDenied) =>
      requests.noServer(destination, isDenied).text,
    [Symbol.asyncDispose]: () => owner.disposeAsync(),
  };
}
