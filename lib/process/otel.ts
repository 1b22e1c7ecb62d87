/**
 * Tracing by the exporter of the runtime, which `OTEL_DENO=true` switches on
 * and `OTEL_EXPORTER_OTLP_ENDPOINT` and its like say where to.
 *
 * @module
 */
import type { Reason } from "../base/errors.ts";
import {
  type Attributes,
  formatTraceparent,
  parseTraceparent,
  type Span,
  type Tracing,
} from "../base/tracing.ts";
import { VERSION } from "../config/cli.ts";

type Api = typeof import("@opentelemetry/api");

/** Where the runtime leaves its exporter for OpenTelemetry's API when it is switched on. */
const RUNTIME = Symbol.for("opentelemetry.js.api.1");

/** What traces tunnels; undefined where the runtime exports nothing. */
export async function openTracing(): Promise<Tracing | undefined> {
  // Loaded only by who needs it: to most it would be a slower start.
  return RUNTIME in globalThis
    ? tracingBy(await import("@opentelemetry/api"))
    : undefined;
}

function tracingBy(api: Api): Tracing {
  const { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } = api;
  const tracer = trace.getTracer("tcp-sproxy", VERSION);
  type Raw = ReturnType<typeof tracer.startSpan>;
  const spanOf = (raw: Raw): Span => {
    const { traceId, spanId, traceFlags: flags } = raw.spanContext();
    return {
      traceparent: formatTraceparent({ traceId, spanId, flags }),
      child: (name) =>
        spanOf(tracer.startSpan(name, {}, trace.setSpan(ROOT_CONTEXT, raw))),
      end: (attributes?: Attributes, reason?: Reason) => {
        raw.setAttributes(attributes ?? {});
        if (reason !== undefined) {
          raw.setAttribute("error.type", reason.code);
          const message = reason.text;
          raw.setStatus({ code: SpanStatusCode.ERROR, message });
        }
        raw.end();
      },
    };
  };
  return {
    begin(name, { side, attributes, parent = "" }): Span {
      const known = parseTraceparent(parent);
      const within = known === undefined
        ? ROOT_CONTEXT
        : trace.setSpanContext(ROOT_CONTEXT, {
          traceId: known.traceId,
          spanId: known.spanId,
          traceFlags: known.flags,
          isRemote: true,
        });
      const kind = side === "client" ? SpanKind.CLIENT : SpanKind.SERVER;
      const all = { "messaging.system": "nats", ...attributes };
      return spanOf(tracer.startSpan(name, { kind, attributes: all }, within));
    },
  };
}
