/**
 * The server: `deno run -A server.ts --help`.
 *
 * @module
 */
import { main } from "./lib/process/main.ts";
import { runServer } from "./lib/process/run_server.ts";
import { TOOLS } from "./lib/tools/tools.ts";
import { inWorker, serveAsWorker } from "./lib/process/worker.ts";

if (inWorker()) await serveAsWorker("server", runServer);
else if (import.meta.main) {
  Deno.exit(await main("server", runServer, TOOLS));
}
