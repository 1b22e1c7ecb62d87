/**
 * The client: `deno run -A client.ts --help`.
 *
 * @module
 */
import { main } from "./lib/process/main.ts";
import { runClient } from "./lib/process/run_client.ts";
import { TOOLS } from "./lib/tools/tools.ts";
import { inWorker, serveAsWorker } from "./lib/process/worker.ts";

if (inWorker()) await serveAsWorker("client", runClient);
else if (import.meta.main) {
  Deno.exit(await main("client", runClient, TOOLS));
}
