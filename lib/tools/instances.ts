/**
 * Which instances an operator means, and asking each of them something.
 *
 * @module
 */
import { parse, recordOf } from "../base/foreign_json.ts";
import { RunError, UsageError } from "../base/errors.ts";
import { joined, quote } from "../base/text.ts";
import { parseDuration } from "../base/units.ts";
import { connectTool, type ToolCall } from "../process/tool.ts";
import { subjectsOf } from "../config/nats_section.ts";
import type { NatsBus } from "../nats/connection.ts";
import { controlType, type ControlVerb, errorOn } from "../wire/control.ts";
import {
  type FoundInstance,
  readInfo,
  SERVICE_NAME,
  serviceSubject,
} from "../wire/micro.ts";
import type { Subjects } from "../wire/subjects.ts";
import { ask, type AskAnswer, type AskOptions } from "./ask.ts";

/** How long instances may take to answer unless a flag says otherwise: slow ones, at the other end of the world. */
const DEFAULT_WAIT_MS = 2_000;

/** Most names in a message. */
const MAX_NAMES = 10;

/** Why there is no answer of an instance that was found. */
const NO_ANSWER = "it did not answer in time";

/** What an instance answered: an object, or why there is none. */
export type InstanceAnswer =
  | Readonly<Record<string, unknown>>
  | { readonly failed: string };

/** The instances that answer and let themselves be controlled. */
export class Operator implements AsyncDisposable {
  readonly #bus: NatsBus;
  readonly #subjects: Subjects;
  readonly #options: AskOptions;

  private constructor(bus: NatsBus, subjects: Subjects, options: AskOptions) {
    this.#bus = bus;
    this.#subjects = subjects;
    this.#options = options;
  }

  /**
   * Connects as the configuration says.
   *
   * @throws {UsageError | RunError} when that does not come about.
   */
  static async connect(call: ToolCall): Promise<Operator> {
    const { config: { nats }, flags, signal } = call;
    const wait = waitOf(flags.get("timeout"));
    const { inboxPrefix } = nats;
    const bus = await connectTool(call);
    const options = { inboxPrefix, wait, signal };
    return new Operator(bus, subjectsOf(nats), options);
  }

  /**
   * Those that `--id` names, by its beginning; without it all.
   *
   * @throws {RunError} when there is none.
   */
  async find({ flags }: ToolCall): Promise<readonly FoundInstance[]> {
    const answers = await ask(
      this.#bus,
      serviceSubject("INFO", SERVICE_NAME),
      {},
      this.#options,
    );
    const all = answers.flatMap(({ text }) => readInfo(text) ?? []);
    const controlled = all.filter(({ id, subjects }) =>
      subjects.includes(this.#subjects.control(id, "status"))
    );
    const wanted = flags.get("id") ?? "";
    const found = controlled.filter(({ id }) => id.startsWith(wanted));
    if (found.length > 0) return found.toSorted(inOrder);
    throw new RunError(
      controlled.length > 0
        ? `no instance has the ID ${quote(wanted)}; there are: ${
          joined(controlled.map(({ id }) => id), MAX_NAMES)
        }`
        : all.length > 0
        ? `${all.length} instances answer, and none of them with --control and this request subject`
        : `no instance answers on ${
          serviceSubject("INFO", SERVICE_NAME)
        }: they need --control, and the permission to subscribe there`,
    );
  }

  /** Asks one of them. */
  async ask(
    { id }: Pick<FoundInstance, "id">,
    verb: ControlVerb,
    body: object = {},
  ): Promise<InstanceAnswer> {
    const subject = this.#subjects.control(id, verb);
    const read = ({ text }: AskAnswer): ReturnType<typeof recordOf> => {
      const record = recordOf(parse(text));
      return record?.type === controlType(verb) ? record : undefined;
    };
    const [answer] = await ask(this.#bus, subject, body, {
      ...this.#options,
      enough: 1,
      isAnswer: (answer) => read(answer) !== undefined,
    });
    if (answer === undefined) return { failed: NO_ANSWER };
    const error = errorOn(answer.header);
    return error === undefined
      ? read(answer) ?? { failed: NO_ANSWER }
      : { failed: error.text };
  }

  /** Leaves NATS. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#bus.close();
  }
}

/** Whether it is why there is no answer. */
export function isFailure(
  answer: InstanceAnswer,
): answer is { readonly failed: string } {
  return typeof answer.failed === "string" && Object.keys(answer).length === 1;
}

/**
 * The instance that `--id` has chosen of `found`, or with `--all` one of each
 * process: what ends something is done to nobody who was not named.
 *
 * @throws {UsageError} when neither is given.
 */
export function oneOf(
  found: readonly FoundInstance[],
  { flags, word }: ToolCall,
): readonly FoundInstance[] {
  const all = flags.has("all");
  if (all && flags.has("id")) {
    throw new UsageError("--id and --all do not go together");
  }
  const processes = Map.groupBy(found, processOf);
  // Of workers of one process each speaks for all.
  const firsts = [...processes.values()].flatMap(([first]) => first ?? []);
  if (all || flags.has("id")) return firsts;
  throw new UsageError(
    `say which to ${word} with --id, or --all: ${
      joined(firsts.map(nameOf), MAX_NAMES)
    }`,
  );
}

/** What people call an instance: its ID, role and place. */
export function nameOf({ id, metadata }: FoundInstance): string {
  return `${id} ${metadata.role ?? "?"}@${placeOf(metadata)}`;
}

/** Where an instance runs. */
export function placeOf(
  { host = "?", pid = "?", worker }: FoundInstance["metadata"],
): string {
  return `${host}/${pid}${worker === undefined ? "" : `/${worker}`}`;
}

function processOf({ metadata: { role, host, pid } }: FoundInstance): string {
  return JSON.stringify([role, host, pid]);
}

function inOrder(one: FoundInstance, other: FoundInstance): number {
  return nameKey(one) < nameKey(other) ? -1 : 1;
}

function nameKey({ id, metadata }: FoundInstance): string {
  return [metadata.role, metadata.host, metadata.pid, metadata.worker, id]
    .join("\0");
}

function waitOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_WAIT_MS;
  try {
    const wait = parseDuration(text);
    if (wait > 0) return wait;
  } catch (error) {
    throw new UsageError(
      `--timeout: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  throw new UsageError(`--timeout: ${quote(text)} is no time to wait`);
}
