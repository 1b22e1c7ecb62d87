/** Networks as people write them, and who is in them. */
import assert from "node:assert/strict";
import { isInAny, parseNetwork } from "../../lib/base/network.ts";

Deno.test("isInAny() finds an address however it is written, and no other", () => {
  const table: [networks: string, host: string, isIn: boolean][] = [
    ["10.0.0.0/8", "10.1.2.3", true],
    ["10.0.0.0/8", "::ffff:10.1.2.3", true],
    ["10.0.0.0/8", "::ffff:a01:203", true],
    ["10.0.0.0/8", "11.1.2.3", false],
    ["10.0.0.0/8", "::10.1.2.3", false],
    ["::ffff:10.0.0.7", "10.0.0.7", true],
    ["192.168.1.7", "192.168.1.7", true],
    ["192.168.1.7", "192.168.1.8", false],
    ["0.0.0.0/0", "1.2.3.4", true],
    ["0.0.0.0/0", "::1", false],
    ["::/0", "::1", true],
    ["::/0", "1.2.3.4", false],
    ["fe80::/10", "fe80::1%eth0", true],
    ["fe80::1", "FE80:0::1%2", true],
    ["fe80::1", "fe80::2", false],
    ["10.0.0.0/8 fd00::/8", "fd00::1", true],
    ["", "10.0.0.1", false],
    ["0.0.0.0/0 ::/0", "localhost", false],
    ["0.0.0.0/0 ::/0", "", false],
  ];
  for (const [text, host, isIn] of table) {
    const networks = text.split(" ").filter((word) => word !== "")
      .map(parseNetwork);
    assert.equal(isInAny(networks, host), isIn, `${text} ${host}`);
  }
});
