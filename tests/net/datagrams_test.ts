/** Datagrams to sockets of the system: files and abstract names. */
import assert from "node:assert/strict";
import { DatagramSender } from "../../lib/net/datagrams.ts";

Deno.test({
  name:
    "DatagramSender: each text is one datagram, to a file or an abstract name",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      for (const path of [`${folder}/socket`, `\0${crypto.randomUUID()}`]) {
        using cleanup = new DisposableStack();
        const heard = Deno.listenDatagram({ transport: "unixpacket", path });
        cleanup.defer(() => heard.close());
        using sender = new DatagramSender(path);
        for (const text of ["READY=1\nSTATUS=größe", "WATCHDOG=1"]) {
          await sender.send(text);
          const [bytes] = await heard.receive();
          assert.equal(new TextDecoder().decode(bytes), text);
        }
      }
      using sender = new DatagramSender(`${folder}/gone`);
      await assert.rejects(sender.send("READY=1"), Deno.errors.NotFound);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
