/**
 * What to do about an open that was refused, by its code: what
 * docs/troubleshooting.md says of it, in short.
 *
 * @module
 */
import type { ErrorCode, Reason } from "../base/errors.ts";
import { GRANT_HINT } from "../nats/hints.ts";

/** What to do, by the code. */
const BY_CODE: Readonly<Partial<Record<ErrorCode, string>>> = {
  refused: "start what is to listen there, or mend the address of the target",
  timeout:
    "look at the server's log, and for a firewall on the way to the target",
  "no-such-host":
    "mend the name of the target, or look it up on the server's machine (getent hosts NAME)",
  unreachable: "look for a route from the server's machine to the target",
  limit: "look at the server's limits (--max-tunnels, ulimit -n)",
  draining: "a server that is stopped takes no opens: start another, or wait",
  version: "start a version 2 server",
  "no-such-service":
    "offer it with --service NAME=TARGET at a server, or see its log for why its check fails",
};

/** What to do about `reason`. */
export function codeRemedy({ code, text }: Reason): string {
  if (code === "no-server") {
    return text.includes("right key")
      ? "compare --server-key with what 'key show' says of the server's key, and --psk at both ends"
      : "start a server; where one runs and its /ready says so, compare --nats-url, --request-subject, --site and the account at both ends, and see whether its broker is linked to this one (leaf nodes, gateways)";
  }
  if (code === "denied") {
    if (text.startsWith("NATS refuses")) {
      return GRANT_HINT;
    }
    return text.includes("knows no client with the key")
      ? "list this client's public key at the server (clients, --client-key)"
      : "let the server dial it: --allow-target, --deny-target, or its entry of this client (clients)";
  }
  if (code === "no-such-host" && text.includes("EAI_AGAIN")) {
    return "mend the resolver of the server's machine (/etc/resolv.conf, getent hosts NAME); the name may be right";
  }
  return BY_CODE[code] ?? "read the server's log of this moment";
}
