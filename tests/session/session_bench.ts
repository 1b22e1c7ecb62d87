/** A pair with one tunnel, on a broker that a test can disturb. */
import type { Encodable } from "../../lib/base/encodable.ts";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { binaryCodec } from "../../lib/wire/binary.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { parseId } from "../../lib/wire/subjects.ts";
import { FakeSocket } from "../support/fake_socket.ts";
import type { MemoryBus } from "../support/memory_bus.ts";
import { Pair, type PairOptions } from "../support/shell_pair.ts";

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes that say where they are, so that a shift is seen. */
export function pattern(length: number): Uint8Array {
  return new Uint8Array(length).map((_, at) => at * 31 + (at >> 8) * 7 & 0xff);
}

/** A pair with one tunnel, and a third connection for the test to speak on. */
export class SessionBench extends Pair {
  readonly third: MemoryBus = this.broker.connect();
  /** ID of the tunnel. */
  id = "";
  app: FakeSocket = new FakeSocket();
  target: FakeSocket = new FakeSocket();

  static async start(options: PairOptions = {}): Promise<SessionBench> {
    const bench = new SessionBench(options);
    const ids = new Set<string>();
    bench.broker.filter = ({ subject }) => {
      const id = subject.split(".").slice(3, 6).join(".");
      if (id.startsWith("client1.server1.")) ids.add(id);
      return true;
    };
    const { app, target } = await bench.open();
    app.send("a");
    target.send("b");
    await bench.settle();
    bench.app = app;
    bench.target = target;
    bench.id = [...ids].find((id) => !id.endsWith(".0")) ?? "";
    assert.ok(parseId(bench.id), "the tunnel's ID was not seen");
    bench.broker.filter = () => true;
    return bench;
  }

  /** Publishes to the server, or the client, as a third party could. */
  async forge(
    to: "server" | "client",
    id: string,
    message: Encodable | Frame,
  ): Promise<void> {
    const encoded = "type" in message
      ? binaryCodec.encode(id, message)
      : message;
    this.third.publish(`p.data.to_${to}.${id}`, encoded);
    await this.settle();
  }

  /** The frames that `act` makes the server send to connection `id`. */
  async answers(id: string, act: () => Promise<void>): Promise<Frame[]> {
    const frames: Frame[] = [];
    using _listening = this.third.subscribe(
      `p.data.to_client.${id}`,
      ({ data }) => {
        const frame = binaryCodec.decode(data);
        if (frame) frames.push(frame);
      },
    );
    await act();
    await this.settle();
    return frames;
  }

  /** Cuts the link of `bus` when `count` more messages went, whoever sent them. */
  cutAfter(count: number, bus: MemoryBus): void {
    let left = count;
    this.broker.filter = () => {
      if (--left === 0) queueMicrotask(() => bus.cut());
      return true;
    };
  }

  /** Whether bytes still go both ways, unharmed. */
  async assertWell(): Promise<void> {
    const [up, down] = [this.target.text, this.app.text];
    this.app.send("ping");
    this.target.send("pong");
    await this.settle();
    assert.equal(this.target.text, up + "ping");
    assert.equal(this.app.text, down + "pong");
  }

  /** Lets time pass until both have all bytes and both ends. */
  async finish(bytes: Uint8Array, limit = 120_000): Promise<void> {
    this.app.end();
    this.target.end();
    for (
      let ms = 0;
      ms < limit && !(this.app.closed && this.target.closed);
      ms += 100
    ) {
      await this.wait(100);
    }
    const up = this.target.bytes.subarray(1);
    const down = this.app.bytes.subarray(1);
    assert.equal(up.length, bytes.length);
    assert.equal(hash(up), hash(bytes));
    assert.equal(hash(down), hash(bytes));
    assert.ok(this.app.ended && this.target.ended);
  }
}
