/**
 * Asks a Redis behind NATS whether it is there, from one's own program:
 *
 *     deno run --allow-net --allow-read --allow-sys=hostname --allow-env \
 *       examples/redis_ping.ts nats://127.0.0.1:4222 127.0.0.1:6379
 *
 * @module
 */
import { openTunnel } from "../mod.ts";

const [nats = "nats://127.0.0.1:4222", target = "127.0.0.1:6379"] = Deno.args;

await using tunnel = await openTunnel({ nats, target });
const writer = tunnel.writable.getWriter();
await writer.write(new TextEncoder().encode("PING\r\nQUIT\r\n"));
await writer.close();
for await (
  const text of tunnel.readable.pipeThrough(
    new TextDecoderStream() as TransformStream<Uint8Array, string>,
  )
) {
  // deno-lint-ignore no-console -- what the example prints
  console.log(text.trim());
}
await tunnel.closed;
