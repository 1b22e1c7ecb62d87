/** Which subjects are tried for a permission: each is covered by its pattern, and used by nobody. */
import assert from "node:assert/strict";
import { permissionsOf } from "../../lib/config/permissions.ts";
import {
  mustBeAllowed,
  mustBeRefused,
  type PermissionTrial,
} from "../../lib/tools/permission_trials.ts";
import {
  firstToolNumber,
  isToolNumber,
  parseId,
  type Role,
} from "../../lib/wire/subjects.ts";
import { fakeSources, parseRun } from "../support/option_values.ts";
import { random, SUBJECTS } from "../support/shell_pair.ts";

const TOKENS = {
  subjects: SUBJECTS,
  token: "edge7",
  nobody: "nobody",
  number: firstToolNumber(random),
};

/** Whether NATS takes `subject` for covered by `pattern`. */
function covers(pattern: string, subject: string): boolean {
  const expression = pattern.replaceAll(".", "\\.").replaceAll("*", "[^.]+")
    .replace(/>$/, ".+");
  return new RegExp(`^${expression}$`).test(subject);
}

function trialsOf(
  role: Role,
  ...args: readonly string[]
): readonly PermissionTrial[] {
  const { config } = parseRun(role, args, fakeSources({}));
  return mustBeAllowed(role, permissionsOf(config), TOKENS);
}

Deno.test("what must be allowed: a subject below each permission, without wildcards where it is published to", () => {
  for (
    const trials of [
      trialsOf("client", "--client-id", "edge7", "-L", "1:svc:db@x"),
      trialsOf("client"),
      trialsOf("server", "--service", "db=h:1"),
      trialsOf("server", "--site", "x"),
    ]
  ) {
    assert.ok(trials.length >= 3);
    for (const { verb, subject, pattern } of trials) {
      assert.ok(covers(pattern, subject), `${pattern} ${subject}`);
      if (verb === "publish") assert.doesNotMatch(subject, /[*>]/);
    }
  }
});

Deno.test("what must be allowed: who holds the ID is not asked, and a client that has it passes the trial over", () => {
  const hold = trialsOf("client", "--client-id", "edge7")
    .find(({ pattern }) => pattern.endsWith(".hold.>"));
  const id = parseId(SUBJECTS.idOf("client", hold?.subject ?? "") ?? "");
  assert.ok(id !== undefined && isToolNumber(id.number), hold?.subject);
});

Deno.test("what may be allowed: where probes are answered, under a number of nobody's", () => {
  for (const args of [["--client-id", "edge7"], []]) {
    const trials = trialsOf("client", ...args);
    const optional = trials.filter((one) => one.optional === true);
    assert.equal(optional.length, 2);
    const { subject = "" } = optional[1] ?? {};
    const id = parseId(SUBJECTS.idOf("client", subject) ?? "");
    assert.ok(id !== undefined && isToolNumber(id.number), subject);
  }
});

Deno.test("what must be allowed: a server's one subscription below all of its data", () => {
  const subscribed = trialsOf("server").filter(({ verb }) =>
    verb === "subscribe"
  );
  assert.deepEqual(subscribed.map(({ subject }) => subject), [
    ...["proxy.request", "proxy.request.*", "p.data.to_server.*.edge7.>"],
    "proxy.request.probe.*",
  ]);
});

Deno.test("what must be refused is nothing that the role needs", () => {
  for (const role of ["client", "server"] as const) {
    const args = role === "client" ? ["--client-id", "edge7"] : [];
    const { config } = parseRun(role, args, fakeSources({}));
    const { publish, subscribe } = permissionsOf(config);
    const refused = mustBeRefused(role, TOKENS);
    assert.ok(refused.length >= 2);
    for (const { verb, subject } of refused) {
      const granted = verb === "publish" ? publish : subscribe;
      const hit = granted.find((one) => covers(one.subject, subject));
      assert.equal(hit, undefined, `${role} ${verb} ${subject}`);
    }
  }
});
