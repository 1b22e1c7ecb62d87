/**
 * The server: `deno run -A server.ts --help`.
 *
 * @module
 */
import { main } from "./lib/main.ts";
import { runServer } from "./lib/role_server.ts";

if (import.meta.main) Deno.exit(await main("server", runServer));
