# The client alone: docker build -t tcp-sproxy-client -f deploy/docker/client.Dockerfile .
# What is loaded is the same for all processors: fetched on the one that builds.
FROM --platform=$BUILDPLATFORM denoland/deno:alpine-2.9.6 AS modules

WORKDIR /app
COPY deno.json deno.lock ./
COPY client.ts ./
COPY lib ./lib
COPY tools/healthcheck.ts ./tools/
RUN deno cache --frozen client.ts tools/healthcheck.ts

FROM denoland/deno:alpine-2.9.6

LABEL org.opencontainers.image.title="tcp-sproxy client" org.opencontainers.image.description="TCP connections through NATS: the client" org.opencontainers.image.licenses="MIT"
WORKDIR /app
COPY --from=modules --chown=deno:deno /deno-dir /deno-dir
COPY --from=modules /app /app

USER deno
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["deno", "run", "--cached-only", "--no-prompt", "-A", "tools/healthcheck.ts", "--like", "1", "client"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["deno", "run", "--cached-only", "--no-prompt", "--allow-net", "--allow-sys=hostname,osUptime,uid", "--allow-read", "--allow-write", "--allow-env", "client.ts"]
