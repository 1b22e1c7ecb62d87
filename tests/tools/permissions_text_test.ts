/** Grants as text: nats-server's, nsc's and JSON, whatever the names are. */
import assert from "node:assert/strict";
import type { Login } from "../../lib/tools/permissions_text.ts";
import {
  renderAccounts,
  renderJson,
  renderNsc,
} from "../../lib/tools/permissions_text.ts";

const LOGIN: Login = {
  name: "edge-7",
  publish: [{ subject: "a.edge-7", why: "asks" }, {
    subject: "it's.>",
    why: "sends",
  }],
  subscribe: [
    { subject: "b.>", why: "hears" },
    { subject: "c", why: "tells", optional: true },
  ],
  notes: ["mind this"],
};

Deno.test("permissions as nats-server's text: the login as far as it is known, else a variable to be filled in", () => {
  const text = renderAccounts([LOGIN], "ACC");
  assert.ok(text.startsWith("# mind this\naccounts {\n  ACC {"), text);
  assert.match(text, /\{ nkey: \$edge_7, permissions: \{/);
  assert.match(text, /"a\.edge-7" # asks\n +"it's\.>" # sends\n/);
  assert.match(text, /"c" # optional: tells\n/);
  const known = renderAccounts([
    { ...LOGIN, known: { kind: "nkey", nkey: "UABC" } },
  ], "ACC");
  assert.match(known, /\{ nkey: UABC,/);
  assert.ok(!known.includes("define it"), known);
  const user = renderAccounts([
    { ...LOGIN, known: { kind: "password", user: 'a "b"' } },
  ], "ACC");
  assert.match(user, /\{ user: "a \\"b\\"", password: \$edge_7_password,/);
});

Deno.test("permissions as commands of nsc: each word is one to a shell", async () => {
  const text = renderNsc([LOGIN], "ACC");
  const script = `nsc() { for a in "$@"; do printf '%s\\n' "$a"; done; }
${text}`;
  const { stdout, code } = await new Deno.Command("sh", {
    args: ["-c", script],
  }).output();
  assert.equal(code, 0);
  assert.match(text, /^# c is optional: tells$/m);
  assert.deepEqual(new TextDecoder().decode(stdout).trim().split("\n"), [
    ...["add", "user", "--account", "ACC", "--name", "edge-7"],
    ...["--allow-pub", "a.edge-7,it's.>", "--allow-sub", "b.>,c"],
    ...["generate", "creds", "--account", "ACC", "--name", "edge-7"],
    ...["--output-file", "edge-7.creds"],
  ]);
});

Deno.test("permissions as JSON: no word of the login", () => {
  const known = { kind: "password", user: "u" } as const;
  const { account, users } = JSON.parse(renderJson([{ ...LOGIN, known }], "A"));
  assert.equal(account, "A");
  assert.deepEqual(users, [JSON.parse(JSON.stringify(LOGIN))]);
});
