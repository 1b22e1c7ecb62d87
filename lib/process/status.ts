/**
 * The status of a process over HTTP: `/health` (it is up), `/ready` (it can
 * do its work), `/metrics`, and for those who may see who talks to whom the
 * page, `/snapshot.json`, and `/events`, which goes on.
 *
 * @module
 */

import { getLogger } from "@logtape/logtape";
import { type Address, formatAddress, parseAddress } from "../base/address.ts";
import { BufferPool } from "../base/buffer_pool.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import type { Secret } from "../base/credentials.ts";
import { Throttle } from "../base/throttle.ts";
import { listenFor, type WhereToListen } from "../net/listen.ts";
import type { LastError, Snapshot } from "../status/snapshot.ts";
import { Followers } from "./followers.ts";
import { type HttpRequest, type HttpResponse, serveHttp } from "./http.ts";
import type { Metric } from "./metric.ts";
import { formatMetrics, PAGE_TYPES, pageFormatFor } from "./metrics_page.ts";
import { challenge, policyFor, PRIVATE } from "./status_headers.ts";
import { objection, type Refused, type Shown } from "./status_access.ts";

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
  /** Since when that is so, in ms since 1970. */
  readonly since?: number | undefined;
  /** What went wrong last, also where it is over; undefined where nothing did. */
  readonly lastError?: LastError | undefined;
  /** What else `/ready` tells. */
  readonly details?: Partial<WorkerNumbers> & Readonly<Record<string, unknown>>;
  /** How often a worker has failed; 0 by default. */
  readonly workerFailures?: number;
  /** Tunnels open now. */
  readonly tunnels?: number;
  /** The brokers that it is connected to. */
  readonly brokers?: readonly string[];
  /** Why a service manager had better start it anew; undefined while it lives. */
  readonly hung?: string | undefined;
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
  /** The process at this moment, closer. */
  readonly look: () => Promise<Snapshot>;
  /** The token that shows who may look, where there is one now. */
  readonly token: () => Secret | undefined;
  /** Connections at once. */
  readonly maxConnections: number;
  /** Where the time comes from; default the system's. */
  readonly clock?: Clock;
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
  const { address, hosts, flag, maxConnections, clock = systemClock } = options;
  const log = getLogger(["sproxy", "status"]);
  const acceptErrors = new Throttle(ACCEPT_ERROR_MS);
  const listener = listenFor(address, {
    hosts,
    what: `serve the status on ${flag}`,
    hint: "choose another, or off",
    pool: new BufferPool(),
    clock,
    onAcceptError: (why) => {
      const count = acceptErrors.note(clock.now());
      if (count === undefined) return;
      log.warn("cannot accept a connection", {
        why,
        count,
        address: formatAddress(address),
      });
    },
  });
  const followers = new Followers({
    clock,
    look: options.look,
    onError: (error) => log.error("status failed", { error }),
  });
  const context = { ...options, own: address.host, followers };
  const serving = serveHttp(listener, {
    clock,
    maxConnections,
    answer: (request) => respond(request, context),
    refuse: (status) =>
      json(status, {
        status: status === 503 ? "too many follow already" : "bad request",
      }),
  });
  return {
    address: parseAddress(listener.address),
    async [Symbol.asyncDispose](): Promise<void> {
      listener[Symbol.dispose]();
      await serving;
    },
  };
}

/** What answers are made of. */
interface Context extends Pick<StatusOptions, "read" | "look" | "token"> {
  /** The host that the listener was given. */
  readonly own: string;
  /** Those who follow. */
  readonly followers: Followers;
}

/** The answer to one request. */
async function respond(
  request: HttpRequest,
  context: Context,
): Promise<HttpResponse> {
  const { method, path } = request;
  const page = PAGES.get(path);
  if (page === undefined) return json(404, { status: "not found" });
  if (method !== "GET" && method !== "HEAD") {
    const headers = { allow: "GET, HEAD" };
    return { ...json(405, { status: "method not allowed" }), headers };
  }
  const { own } = context;
  const why = (): ReturnType<typeof objection> =>
    objection(page.shown, request, { own, token: context.token() });
  const refused = why();
  if (refused !== undefined) return refusal(refused);
  try {
    return await page.answer(context, {
      request,
      mayStill: () => why() === undefined,
    });
  } catch (error) {
    getLogger(["sproxy", "status"]).error("status failed", { error });
    return json(500, { status: "error" });
  }
}

/** What a path serves, and to whom. */
interface Page {
  readonly shown: Shown;
  readonly answer: (context: Context, asked: {
    readonly request: HttpRequest;
    /** Whether whoever asked may see it now. */
    readonly mayStill: () => boolean;
  }) => HttpResponse | Promise<HttpResponse>;
}

/** What each path serves. */
const PAGES: ReadonlyMap<string, Page> = new Map<string, Page>([
  ["/health", {
    shown: "anybody",
    answer: () => json(200, { status: "ok" }),
  }],
  ["/ready", {
    shown: "anybody",
    answer: ({ read }) => {
      const status = read();
      return json(
        status.notReadyReason === undefined ? 200 : 503,
        { ...readinessOf(status), details: status.details },
      );
    },
  }],
  ["/metrics", {
    shown: "numbers",
    answer: ({ read }, { request: { headers } }) => {
      const format = pageFormatFor(headers.get("accept"));
      return {
        status: 200,
        type: PAGE_TYPES[format],
        body: formatMetrics(read().metrics, format),
      };
    },
  }],
  ["/", {
    shown: "details",
    answer: async ({ look }) => {
      const { page } = await loadPage();
      const nonce = crypto.getRandomValues(new Uint8Array(16)).toHex();
      return {
        status: 200,
        type: "text/html; charset=utf-8",
        body: page(await look(), nonce),
        headers: { ...PRIVATE, "content-security-policy": policyFor(nonce) },
      };
    },
  }],
  ["/snapshot.json", {
    shown: "details",
    answer: async ({ look }) => ({
      ...json(200, await look()),
      headers: PRIVATE,
    }),
  }],
  ["/events", {
    shown: "details",
    answer: async ({ followers }, { request: { query }, mayStill: may }) => {
      // One object for all who ask for the same: written once for all of them.
      const form = new URLSearchParams(query).get("view") === "page"
        ? (await loadPage()).partsAsJson
        : JSON.stringify;
      return {
        status: 200,
        type: "text/event-stream",
        body: "retry: 2000\n\n",
        headers: { ...PRIVATE, "x-accel-buffering": "no" },
        follow: (stream) => followers.add(stream, { form, may }),
      };
    },
  }],
]);

/** The page is loaded for the first who looks. */
function loadPage(): Promise<typeof import("../status/page.ts")> {
  return import("../status/page.ts");
}

/** What `/ready` says of a process, or of a worker of one. */
export function readinessOf(
  { notReadyReason: reason, since, lastError }: Omit<Status, "metrics">,
): Readonly<Record<string, string | undefined>> {
  return {
    status: reason === undefined ? "ready" : "not ready",
    reason,
    since: since === undefined ? undefined : new Date(since).toISOString(),
    last_error: lastError?.text,
    last_error_at: lastError && new Date(lastError.at).toISOString(),
  };
}

/** The answer to who may not see something. */
function refusal({ status, reason }: Refused): HttpResponse {
  if (status === 403) return json(status, { status: "forbidden", reason });
  return {
    ...json(status, { status: "unauthorized", reason }),
    headers: challenge,
  };
}

/** A response with `value` as JSON. */
function json(status: number, value: unknown): HttpResponse {
  const body = JSON.stringify(value) + "\n";
  return { status, type: "application/json", body };
}
