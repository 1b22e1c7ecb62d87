/**
 * Whether standard error is the journal of systemd, as a service finds out:
 * JOURNAL_STREAM names the device and inode of the stream that it was given
 * (systemd.exec(5)). What it inherited and then led elsewhere is another one.
 *
 * @module
 */

/** Which file something is. */
interface FileIdentity {
  readonly dev: number | bigint;
  readonly ino: number | bigint;
}

/**
 * Whether the stream that `variable` names is the one that `identify` finds;
 * never where it names none, or it cannot be found out.
 */
export function isStreamOf(
  variable: string | undefined,
  identify: () => FileIdentity,
): boolean {
  const [, dev, ino] = /^(\d+):(\d+)$/.exec(variable ?? "") ?? [];
  if (dev === undefined || ino === undefined) return false;
  try {
    const found = identify();
    return BigInt(found.dev) === BigInt(dev) &&
      BigInt(found.ino) === BigInt(ino);
  } catch {
    // Without standard error nothing is read there, by the journal or else.
    return false;
  }
}

/** Whether the journal reads standard error; `env` reads the environment. */
export async function isJournal(
  env: (name: string) => string | undefined,
): Promise<boolean> {
  const variable = env("JOURNAL_STREAM");
  if (variable === undefined || variable === "") return false;
  // Only then: it takes a while to load.
  const { fstatSync } = await import("node:fs");
  return isStreamOf(variable, () => fstatSync(2, { bigint: true }));
}
