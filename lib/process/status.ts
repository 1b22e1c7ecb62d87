/**
 * The status of a process over HTTP: `/health` (it is up), `/ready` (it can
 * do its work) and `/metrics`.
 *
 * @module
 */

import { getLogger } from "@logtape/logtape";
import { type Address, parseAddress, parseIp } from "../base/address.ts";
import { BufferPool } from "../base/buffer_pool.ts";
import { systemClock } from "../base/clock.ts";
import { isLocalhost } from "../base/special_addresses.ts";
import { Throttle } from "../base/throttle.ts";
import { listenFor, type WhereToListen } from "../net/listen.ts";
import { type HttpRequest, type HttpResponse, serveHttp } from "./http.ts";
import type { Metric } from "./metric.ts";
import { formatMetrics, PAGE_TYPES, pageFormatFor } from "./metrics_page.ts";

/** How many workers a process has. */
export interface WorkerNumbers {
  /** All of them. */
  readonly workers: number;
  /** Those that can do their work now. */
  readonly ready: number;
}

/** What a process, or a worker of one, says of itself. */
export interface Status {
  /** Why it cannot do its work now; undefined when it can. */
  readonly notReadyReason: string | undefined;
  /** What else `/ready` tells. */
  readonly details?: WorkerNumbers;
  /** How often a worker has failed; 0 by default. */
  readonly workerFailures?: number;
  /** Its metrics as they are now. */
  readonly metrics: readonly Metric[];
}

/** What {@linkcode serveStatus} is told. */
export interface StatusOptions extends WhereToListen {
  /** Where to listen: an empty host is every interface, port 0 any free one. */
  readonly address: Address;
  /** The flag the address came from, for the message when it fails. */
  readonly flag: string;
  /** The status at this moment. */
  readonly read: () => Status;
  /** Connections at once. */
  readonly maxConnections: number;
}

/** A listener that serves the status; disposal ends it. */
export interface StatusServer extends AsyncDisposable {
  /** Where it listens, with the port it really has. */
  readonly address: Address;
}

/** Time between two lines about accepts that fail, in ms. */
const ACCEPT_ERROR_MS = 10_000;

/**
 * Serves the status.
 *
 * @throws {RunError} naming flag and address when it cannot listen there.
 */
export function serveStatus(options: StatusOptions): StatusServer {
  const { address, hosts, flag, read, maxConnections } = options;
  const log = getLogger(["sproxy", "status"]);
  const acceptErrors = new Throttle(ACCEPT_ERROR_MS);
  const listener = listenFor(address, {
    hosts,
    what: `serve the status on ${flag}`,
    hint: "choose another, or off",
    pool: new BufferPool(),
    clock: systemClock,
    onAcceptError: (why) => {
      const count = acceptErrors.note(systemClock.now());
      if (count === undefined) return;
      log.warn("cannot accept a connection", { why, count });
    },
  });
  const serving = serveHttp(listener, {
    clock: systemClock,
    maxConnections,
    answer: (request) => respond(request, { read, own: address.host }),
    refuse: (status) => json(status, { status: "bad request" }),
  });
  return {
    address: parseAddress(listener.address),
    async [Symbol.asyncDispose](): Promise<void> {
      listener[Symbol.dispose]();
      await serving;
    },
  };
}

/** The answer to one request. */
function respond(
  request: HttpRequest,
  { read, own }: {
    readonly read: () => Status;
    /** The host that the listener was given. */
    readonly own: string;
  },
): HttpResponse {
  const { method, path } = request;
  const page = PAGES.get(path);
  if (page === undefined) return json(404, { status: "not found" });
  if (method !== "GET" && method !== "HEAD") {
    const allow = "GET, HEAD";
    return { ...json(405, { status: "method not allowed" }), allow };
  }
  if (!OPEN_PAGES.has(path) && isForeign(request, own)) {
    return json(403, { status: "forbidden", reason: FOREIGN });
  }
  try {
    return page(read, request);
  } catch (error) {
    getLogger(["sproxy", "status"]).error("status failed", { error });
    return json(500, { status: "error" });
  }
}

/** Answers a request with the status of the process. */
type Page = (read: () => Status, request: HttpRequest) => HttpResponse;

/** What each path serves. */
const PAGES: ReadonlyMap<string, Page> = new Map<string, Page>([
  ["/health", () => json(200, { status: "ok" })],
  ["/ready", (read) => {
    const { notReadyReason: reason, details } = read();
    return reason === undefined
      ? json(200, { status: "ready", details })
      : json(503, { status: "not ready", reason, details });
  }],
  [
    "/metrics",
    (read, { headers }) => {
      const format = pageFormatFor(headers.get("accept"));
      return {
        status: 200,
        type: PAGE_TYPES[format],
        body: formatMetrics(read().metrics, format),
      };
    },
  ],
]);

/** What anybody may know, under whatever name the asker knows this machine. */
const OPEN_PAGES: ReadonlySet<string> = new Set(["/health", "/ready"]);

/** Why a page is refused to a browser. */
const FOREIGN =
  "a browser is answered only at an IP address, localhost or a name without a dot, since any other name may be that of a page which has it point here (DNS rebinding)";

/**
 * Headers that tell a browser from a scraper: it sends the first with every
 * request, and no page can keep it from doing so.
 */
const OF_BROWSERS = ["accept-language", "origin", "sec-fetch-site"] as const;

/**
 * Whether a page of somebody else's may be what asks: in a browser its own
 * name, which it has point at this machine, makes us a part of it. Scrapers
 * may use any name: they run no pages.
 */
function isForeign({ host = "", headers }: HttpRequest, own: string): boolean {
  if (!OF_BROWSERS.some((name) => headers.has(name))) return false;
  const [, bracketed] = /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(host) ?? [];
  const name = bracketed?.replace(/^\[(.*)\]$/, "$1") ?? "";
  const known = host === "" || parseIp(name) !== undefined ||
    isLocalhost(name) || /^[^.]+$/.test(name) ||
    name.toLowerCase() === own.toLowerCase();
  return !known;
}

/** A response with `value` as JSON. */
function json(status: number, value: unknown): HttpResponse {
  const body = JSON.stringify(value) + "\n";
  return { status, type: "application/json", body };
}
