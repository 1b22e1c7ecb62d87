/**
 * A worker whose role fails in the way that the worker's name says.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { serveAsWorker } from "../../lib/process/worker.ts";

function fail(): never {
  throw new TypeError("out of luck");
}

await serveAsWorker("server", async () => {
  if (self.name === "role") fail();
  if (self.name === "timer") setTimeout(fail);
  if (self.name === "promise") void Promise.resolve().then(fail);
  await new Promise(() => {});
});
