import assert from "node:assert/strict";
import { peerWords, readPeers } from "../../bench/peers.ts";

Deno.test("readPeers() takes what the environment names", () => {
  assert.deepEqual(readPeers({}), {});
  assert.deepEqual(readPeers({ BENCH_CHISEL: "/opt/chisel" }), {
    chisel: "/opt/chisel",
  });
  const command = "socat -d {listen} {target}";
  assert.deepEqual(readPeers({ BENCH_PEER_COMMAND: command }), {
    peer: { name: "socat", command },
  });
  assert.deepEqual(
    readPeers({ BENCH_PEER_COMMAND: command, BENCH_PEER_NAME: "mine" }),
    { peer: { name: "mine", command } },
  );
});

Deno.test("readPeers() refuses a command that cannot be told where to listen and go", () => {
  for (
    const [command, missing] of [
      ["relay {target}", /has no \{listen\}/],
      ["relay {listen}", /has no \{target\}/],
    ] as const
  ) {
    assert.throws(() => readPeers({ BENCH_PEER_COMMAND: command }), missing);
  }
});

Deno.test("peerWords() puts addresses wherever they belong", () => {
  assert.deepEqual(
    peerWords(" relay  -l {listen} --to=tcp:{target}", {
      listen: "127.0.0.1:1",
      target: "127.0.0.1:2",
    }),
    ["relay", "-l", "127.0.0.1:1", "--to=tcp:127.0.0.1:2"],
  );
});
