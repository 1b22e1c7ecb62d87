# The client alone: docker build -t tcp-sproxy-client -f deploy/docker/client.Dockerfile .
FROM denoland/deno:alpine-2.9.6

WORKDIR /app
COPY deno.json deno.lock ./
COPY client.ts ./
COPY lib ./lib
RUN deno cache --frozen client.ts

USER deno
STOPSIGNAL SIGTERM
ENTRYPOINT ["deno", "run", "--cached-only", "--no-prompt", "--allow-net", "--allow-sys=hostname,osUptime,uid", "--allow-read", "--allow-write", "--allow-env", "client.ts"]
