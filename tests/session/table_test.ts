import assert from "node:assert/strict";
import fc from "fast-check";
import { TunnelTable } from "../../lib/session/table.ts";
import type { Tunnel } from "../../lib/session/tunnel.ts";

const encoder = new TextEncoder();

type Addressed = Pick<Tunnel, "number" | "inbound">;

/** The tunnel of `subject`, in a message as it comes: bytes. */
function find(
  table: TunnelTable<Addressed>,
  subject: string,
): Addressed | undefined {
  return table.find(encoder.encode(subject));
}

function make(client: string, number: number): Addressed {
  const id = `${client}.server.${number.toString(36)}`;
  return { number, inbound: `p.data.to_server.${id}` };
}

Deno.test("TunnelTable.find() tells tunnels of the same number apart", () => {
  const table = new TunnelTable();
  const [one, two] = [make("one", 7), make("two", 7)];
  table.add(one);
  table.add(two);
  assert.equal(table.size, 2);
  assert.equal(find(table, one.inbound), one);
  assert.equal(find(table, two.inbound), two);
  assert.equal(find(table, make("three", 7).inbound), undefined);
  assert.ok(table.remove(one));
  assert.equal(find(table, one.inbound), undefined);
  assert.equal(find(table, two.inbound), two);
  assert.equal(table.size, 1);
});

Deno.test("TunnelTable.find() takes no subject for another", () => {
  const table = new TunnelTable();
  const tunnel = make("one", 36);
  table.add(tunnel);
  const subjects = [
    "",
    ".",
    "10",
    "one.server.10",
    "p.data.to_server.one.server.010",
    "p.data.to_server.one.server.10.10",
    "p.data.to_server.one.server.10.",
    "p.data.to_server.one.server.",
    "p.data.to_server.one.server.1",
    "p.data.to_server.one.Server.10",
    "p.data.to_client.one.server.10",
    "p.data.to_server.one.server.1O",
    `p.data.to_server.one.server.${"z".repeat(40)}`,
  ];
  for (const subject of subjects) {
    assert.equal(find(table, subject), undefined, subject);
  }
  assert.equal(find(table, tunnel.inbound), tunnel);
});

Deno.test("TunnelTable.remove() says whether the tunnel was there", () => {
  const table = new TunnelTable();
  const tunnel = make("one", 1);
  assert.equal(table.remove(tunnel), false);
  table.add(tunnel);
  assert.equal(table.remove(make("one", 1)), false);
  assert.equal(table.remove(tunnel), true);
  assert.equal(table.remove(tunnel), false);
  assert.equal(table.size, 0);
});

Deno.test("TunnelTable lets tunnels be removed while it is iterated", () => {
  const table = new TunnelTable();
  const tunnels = [1, 2, 2, 3, 3, 3].map((n, i) => make(`client${i}`, n));
  for (const tunnel of tunnels) table.add(tunnel);
  const seen: unknown[] = [];
  for (const tunnel of table) {
    seen.push(tunnel);
    table.remove(tunnel);
  }
  assert.deepEqual(new Set(seen), new Set(tunnels));
  assert.equal(seen.length, tunnels.length);
  assert.equal(table.size, 0);
});

Deno.test("TunnelTable holds what was added and not removed", () => {
  const step = fc.record({
    add: fc.boolean(),
    client: fc.constantFrom("a", "b"),
    number: fc.constantFrom(1, 2, 35, 36, 2 ** 48, Number.MAX_SAFE_INTEGER),
  });
  fc.assert(fc.property(fc.array(step), (steps) => {
    const table = new TunnelTable();
    const model = new Map<string, Addressed>();
    for (const { add, client, number } of steps) {
      const key = `${client}.${number}`;
      const known = model.get(key);
      if (add && known === undefined) {
        const tunnel = make(client, number);
        table.add(tunnel);
        model.set(key, tunnel);
      } else if (!add) {
        const removed = table.remove(known ?? make(client, number));
        assert.equal(removed, model.delete(key));
      }
      assert.equal(table.size, model.size);
      assert.equal(
        find(table, make(client, number).inbound),
        model.get(key),
      );
    }
    assert.deepEqual(new Set(table), new Set(model.values()));
  }));
});
