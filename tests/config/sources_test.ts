import assert from "node:assert/strict";
import { systemSources } from "../../lib/config/sources.ts";

Deno.test("systemSources() reads files, and tells absent ones from unreadable ones", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { readTextFile } = systemSources();
    const path = `${folder}/a.yaml`;
    await Deno.writeTextFile(path, "größe: 1");
    assert.equal(readTextFile(path), "größe: 1");
    assert.equal(readTextFile(`${folder}/none`), undefined);
    assert.equal(readTextFile(`${path}/below-a-file`), undefined);
    assert.throws(() => readTextFile(folder), /directory/i);
    await Deno.writeFile(path, new Uint8Array([0x61, 0xff, 0x62]));
    assert.throws(() => readTextFile(path), /it is not UTF-8 text$/);
    await Deno.writeFile(path, new Uint8Array(1024 * 1024).fill(0x61));
    assert.equal(readTextFile(path)?.length, 1024 * 1024);
    await Deno.writeFile(path, new Uint8Array(1024 * 1024 + 1));
    assert.throws(() => readTextFile(path), /it is larger than 1048576 bytes$/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("systemSources() with files reads each once, so that all workers have the same", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [path, later] = [`${folder}/a.yaml`, `${folder}/b.yaml`];
    await Deno.writeTextFile(path, "one");
    const files = new Map<string, string | undefined>();
    const sources = systemSources(files);
    assert.equal(sources.readTextFile(path), "one");
    assert.equal(sources.readTextFile(later), undefined);
    await Deno.writeTextFile(path, "two");
    await Deno.writeTextFile(later, "new");
    const inWorker = systemSources(structuredClone(files));
    for (const each of [sources, inWorker]) {
      assert.equal(each.readTextFile(path), "one");
      assert.equal(each.readTextFile(later), undefined);
    }
    assert.equal(systemSources().readTextFile(path), "two");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("systemSources() names the script where there is no binary", () => {
  assert.equal(systemSources().program, undefined);
});
