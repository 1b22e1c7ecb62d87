/**
 * The token that lets others than this machine see the status page, as its file
 * said at the start, or at the last reload.
 *
 * @module
 */
import type { Secret } from "../base/credentials.ts";
import type { ConfigByRole } from "../config/config.ts";
import type { Role } from "../wire/subjects.ts";
import { readStatusToken } from "./key_files.ts";
import type { Pipes } from "./login_files.ts";
import type { Prepared, Reloaded, ReloadPart } from "./reload.ts";

/** The token, where there is one. */
export class StatusToken implements ReloadPart {
  /** The token that counts now; undefined for none. */
  current: Secret | undefined;
  readonly #pipes: Pipes;
  readonly #isUsed: boolean;

  /**
   * Reads it, unless no status is served.
   *
   * @throws {UsageError} naming the file when it cannot be read or used.
   */
  constructor({ status }: ConfigByRole[Role], { pipes, isUsed }: {
    readonly pipes: Pipes;
    readonly isUsed: boolean;
  }) {
    this.#pipes = pipes;
    this.#isUsed = isUsed;
    if (isUsed) this.current = readStatusToken(status, pipes);
  }

  /** Reads it anew. @throws {UsageError} as there. */
  prepare({ config: { status } }: Reloaded): Prepared {
    const next = this.#isUsed
      ? readStatusToken(status, this.#pipes)
      : undefined;
    return { commit: () => void (this.current = next) };
  }
}
