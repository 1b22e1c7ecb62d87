/**
 * A directory that a test has for itself.
 *
 * @module
 */

/** A directory of its own for a test; made a role's HOME, it may be read by it. */
export class Folder implements AsyncDisposable {
  /** Its path. */
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes one. */
  static async make(): Promise<Folder> {
    return new Folder(await Deno.makeTempDir({ prefix: "test-" }));
  }

  /** The path of a file in it. */
  at(name: string): string {
    return `${this.path}/${name}`;
  }

  /** Writes a file in place, as an editor or `cp` does. */
  async write(name: string, text: string | Uint8Array): Promise<string> {
    await (typeof text === "string"
      ? Deno.writeTextFile(this.at(name), text)
      : Deno.writeFile(this.at(name), text));
    return this.at(name);
  }

  /** Puts a file in another's place in one step, as a secrets manager does. */
  async replace(name: string, text: string): Promise<void> {
    await Deno.rename(await this.write(`${name}.new`, text), this.at(name));
  }

  /** Removes it with all its files. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}
