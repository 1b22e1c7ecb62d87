# The server alone.
FROM denoland/deno:alpine-2.9.6

WORKDIR /app
COPY deno.json deno.lock ./
COPY server.ts ./
COPY lib ./lib
COPY tools/healthcheck.ts ./tools/
RUN deno cache --frozen server.ts tools/healthcheck.ts

USER deno
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["deno", "run", "--cached-only", "--no-prompt", "--allow-net", "--allow-read", "--allow-env", "tools/healthcheck.ts"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["deno", "run", "--cached-only", "--no-prompt", "--allow-net", "--allow-sys=hostname,osUptime,uid", "--allow-read", "--allow-write", "--allow-env", "server.ts"]
