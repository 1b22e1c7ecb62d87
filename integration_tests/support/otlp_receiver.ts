/**
 * A receiver of OpenTelemetry's protocol (OTLP over HTTP, JSON) that keeps the
 * spans that come.
 *
 * @module
 */
import { Changes } from "./changes.ts";
import { soon } from "./waits.ts";

/** A span as it came. */
export interface ReceivedSpan {
  /** The process that it came from (`service.name`). */
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for none. */
  readonly parentSpanId: string;
  /** 3 for a client's, 2 for a server's, 1 for what is within a process. */
  readonly kind: number;
  /** Whether it failed. */
  readonly failed: boolean;
  /** Its attributes; numbers as text. */
  readonly attributes: Readonly<Record<string, string>>;
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, string>>;
}

interface TraceBody {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly {
        readonly name: string;
        readonly traceId: string;
        readonly spanId: string;
        readonly parentSpanId?: string;
        readonly kind: number;
        readonly status?: { readonly code?: number };
        readonly attributes: readonly Attribute[];
      }[];
    }[];
  }[];
}

/** The status of a span that failed (OTLP, `STATUS_CODE_ERROR`). */
const FAILED = 2;

function textsOf(attributes: readonly Attribute[]): Record<string, string> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      String(Object.values(value)[0] ?? ""),
    ]),
  );
}

/** The receiver; disposal ends it. */
export class OtlpReceiver implements AsyncDisposable {
  /** The spans so far. */
  readonly spans: ReceivedSpan[] = [];
  readonly #changes = new Changes();
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => this.#receive(request),
  );

  /** What has a program of Deno send its spans here, as those of `service`. */
  env(service: string): Record<string, string> {
    return {
      OTEL_DENO: "true",
      OTEL_SERVICE_NAME: service,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${this.#server.addr.port}`,
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
  }

  /** Waits for a span like that. */
  async span(
    what: string,
    isIt: (span: ReceivedSpan) => boolean,
  ): Promise<ReceivedSpan> {
    let found: ReceivedSpan | undefined;
    await soon(
      what,
      this.#changes.until(() => (found = this.spans.find(isIt)) !== undefined),
    );
    if (found === undefined) throw new Error(`no ${what}`);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #receive(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const body: unknown = await request.json();
    if (pathname === "/v1/traces") {
      for (
        const { resource, scopeSpans } of (body as TraceBody).resourceSpans
      ) {
        const service = textsOf(resource.attributes)["service.name"] ?? "";
        for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
          const { name, traceId, spanId, parentSpanId = "", kind } = span;
          this.spans.push({
            ...{ service, name, traceId, spanId, parentSpanId, kind },
            failed: span.status?.code === FAILED,
            attributes: textsOf(span.attributes),
          });
        }
      }
      this.#changes.notify();
    }
    return Response.json({});
  }
}
