/**
 * The client: `deno run -A client.ts --help`.
 *
 * @module
 */
import { main } from "./lib/main.ts";
import { runClient } from "./lib/role_client.ts";

if (import.meta.main) Deno.exit(await main("client", runClient));
