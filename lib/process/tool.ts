/**
 * What one of an operator's tools is to the programs: a command that is done
 * once, with the configuration of a role, and says by its exit code how it went.
 *
 * @module
 */
import type { ConfigByRole } from "../config/config.ts";
import type { Notice } from "../config/problems.ts";
import type { NatsBus } from "../nats/connection.ts";
import { Reserve, systemDescriptors } from "../net/descriptors.ts";
import type { Role } from "../wire/subjects.ts";
import { connectionName, openNats } from "./connect.ts";
import { LINK_RESERVE } from "./descriptors.ts";

/** What a tool is told. */
export interface ToolCall {
  /** The program it was called of. */
  readonly role: Role;
  /** The word it was called by. */
  readonly word: string;
  /** The words behind that. */
  readonly words: readonly string[];
  /** Its own flags, with their values; "true" for one that stands alone. */
  readonly flags: ReadonlyMap<string, string>;
  /** The configuration. */
  readonly config: ConfigByRole[Role];
  /** The config file that was read, if there was one. */
  readonly configFile: string | undefined;
  /** The files that hold secrets, the config file perhaps among them. */
  readonly secretFiles: readonly string[];
  /** What a person should know of the configuration; the log has been told. */
  readonly notices: readonly Notice[];
  /** Aborts when a signal says that it is to end. */
  readonly signal: AbortSignal;
  /**
   * Writes to standard output, as it is.
   *
   * @throws {RunError} when that takes no more.
   */
  print(text: string): void;
}

/**
 * Does the work of a tool, and resolves to the exit code: 0 where all is well,
 * 1 where something is not.
 *
 * @throws {UsageError} when its words or flags are wrong.
 * @throws {RunError} when it cannot do its work.
 */
export type Tool = (call: ToolCall) => Promise<number>;

/** Longest wait for a broker, in ms: somebody looks on, and is told of each failed attempt. */
const MAX_CONNECT_MS = 10_000;

/** Tools by their words; each is loaded when it is called. */
export type Tools = ReadonlyMap<string, () => Promise<Tool>>;

/**
 * Connects a tool to NATS as the configuration says.
 *
 * @throws {UsageError | RunError} when that does not come about.
 */
export async function connectTool(
  { role, word, config: { nats }, signal }: ToolCall,
  onSubscriptionError: (subject: string, reason: string) => void = () => {},
): Promise<NatsBus> {
  const connectTimeout = Math.min(nats.connectTimeout, MAX_CONNECT_MS);
  return await openNats({ ...nats, connectTimeout }, {
    name: nats.name ?? connectionName(role, word),
    signal,
    pipes: new Map(),
    readAuth: () => nats.auth,
    reserve: new Reserve(LINK_RESERVE, systemDescriptors()),
    onSubscriptionError,
  });
}
