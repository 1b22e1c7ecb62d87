/**
 * The health check of a container: asks `/health` at the address given, or
 * where `LISTEN_ADDR` (default `:8080`) says that the server serves it. Exit
 * code 0 when it answers 200, 1 otherwise.
 *
 * @module
 */
import { parseAddress } from "../lib/base/address.ts";

const { host, port } = parseAddress(
  Deno.args[0] ?? (Deno.env.get("LISTEN_ADDR") || ":8080"),
  { allowEmptyHost: true },
);
const anywhere = host === "" || host === "0.0.0.0" || host === "::";
const name = anywhere ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
try {
  const response = await fetch(`http://${name}:${port}/health`);
  await response.body?.cancel();
  Deno.exit(response.ok ? 0 : 1);
} catch {
  // Nobody listens: that is the answer.
  Deno.exit(1);
}
