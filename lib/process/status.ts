/**
 * The status of a process over HTTP: `/health` (it is up), `/ready` (it can
 * do its work) and `/metrics`.
 *
 * @module
 */

import { getLogger } from "@logtape/logtape";
import { type Address, formatAddress } from "../base/address.ts";
import { messageOf, RunError } from "../base/errors.ts";
import { formatMetrics, type Metric, METRICS_CONTENT_TYPE } from "./metrics.ts";

/** What a process, or a worker of one, says of itself. */
export interface Status {
  /** Why it cannot do its work now; undefined when it can. */
  readonly notReadyReason: string | undefined;
  /** What else `/ready` tells. */
  readonly details?: Readonly<Record<string, number>>;
  /** Its metrics as they are now. */
  readonly metrics: readonly Metric[];
}

/** What {@linkcode serveStatus} is told. */
export interface StatusOptions {
  /** Where to listen: an empty host is every interface, port 0 any free one. */
  readonly address: Address;
  /** The flag the address came from, for the message when it fails. */
  readonly flag: string;
  /** The status at this moment. */
  readonly read: () => Status;
}

/** A listener that serves the status; disposal ends it. */
export interface StatusServer extends AsyncDisposable {
  /** Where it listens, with the port it really has. */
  readonly address: Address;
}

/**
 * Serves the status.
 *
 * @throws {RunError} naming flag and address when it cannot listen there.
 */
export function serveStatus(options: StatusOptions): StatusServer {
  const { address, flag, read } = options;
  const controller = new AbortController();
  let server: HttpServer;
  try {
    server = listen(address, {
      signal: controller.signal,
      onListen: () => {},
      handler: (request) => respond(request, read),
    });
  } catch (cause) {
    const why = cause instanceof Deno.errors.AddrInUse
      ? "the port is in use; choose another, or off"
      : messageOf(cause);
    throw new RunError(
      `Cannot serve the status on ${flag} ${formatAddress(address)}: ${why}`,
      { cause },
    );
  }
  const { hostname: host, port } = server.addr;
  return {
    address: { host, port },
    async [Symbol.asyncDispose](): Promise<void> {
      // Aborting cuts off a reader that has stopped; shutdown() would wait for
      // it for ever, and then crash when aborted (Deno 2.9.6).
      controller.abort();
      await server.finished;
    },
  };
}

type HttpServer = Deno.HttpServer<Deno.NetAddr>;

/** Listens at the address, for an empty host on IPv6 and IPv4 if it can. */
function listen(
  { host, port }: Address,
  options: Deno.ServeInit<Deno.NetAddr> & Deno.ServeTcpOptions,
): HttpServer {
  const serve = (hostname: string): HttpServer =>
    Deno.serve({ ...options, hostname, port });
  if (host !== "") return serve(host);
  const net = { name: "net", host: `[::]:${port}` } as const;
  if (Deno.permissions.querySync(net).state === "granted") {
    try {
      return serve("::");
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) throw error;
      // Whatever else is wrong will be wrong with IPv4 too, or does not matter.
    }
  }
  return serve("0.0.0.0");
}

/** The answer to one request. */
function respond(request: Request, read: () => Status): Response {
  const { method, url } = request;
  const parsed = URL.parse(url); // null for a Host header that is none
  if (parsed === null) return json(400, { status: "bad request" });
  const page = PAGES.get(parsed.pathname);
  if (page === undefined) return json(404, { status: "not found" });
  if (method !== "GET" && method !== "HEAD") {
    const refusal = json(405, { status: "method not allowed" });
    refusal.headers.set("allow", "GET, HEAD");
    return refusal;
  }
  try {
    return page(read);
  } catch (error) {
    getLogger(["sproxy", "status"]).error("status failed", { error });
    return json(500, { status: "error" });
  }
}

/** What each path serves. */
const PAGES: ReadonlyMap<string, (read: () => Status) => Response> = new Map([
  ["/health", () => json(200, { status: "ok" })],
  ["/ready", (read: () => Status) => {
    const { notReadyReason: reason, details } = read();
    return reason === undefined
      ? json(200, { status: "ready", details })
      : json(503, { status: "not ready", reason, details });
  }],
  [
    "/metrics",
    (read: () => Status) =>
      page(200, formatMetrics(read().metrics), METRICS_CONTENT_TYPE),
  ],
]);

/** A response with `value` as JSON. */
function json(status: number, value: unknown): Response {
  return page(status, JSON.stringify(value) + "\n", "application/json");
}

/** A response that no cache keeps. */
function page(status: number, body: string, type: string): Response {
  return new Response(body, {
    status,
    headers: { "content-type": type, "cache-control": "no-store" },
  });
}
