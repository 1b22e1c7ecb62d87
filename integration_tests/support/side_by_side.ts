/**
 * Runs parts of a test side by side: those that wait for a time limit of the
 * roles wait for it together.
 *
 * @module
 */

/**
 * Runs all parts at once, and waits for the end of each, whatever becomes of
 * the others.
 *
 * @throws {AggregateError} with what the failed ones threw, and their names.
 */
export async function sideBySide(
  parts: Readonly<Record<string, () => Promise<void>>>,
): Promise<void> {
  const failed: string[] = [];
  const errors: unknown[] = [];
  const one = async (name: string, part: () => Promise<void>) => {
    try {
      await part();
    } catch (error) {
      failed.push(name);
      errors.push(error);
    }
  };
  await Promise.all(
    Object.entries(parts).map(([name, part]) => one(name, part)),
  );
  if (errors.length > 0) {
    throw new AggregateError(errors, `failed: ${failed.join("; ")}`);
  }
}
