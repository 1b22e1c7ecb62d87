/** Refusals of one open: when another server is asked, and how often, by what is known of those there are. */
import assert from "node:assert/strict";
import { AnsweringServers } from "../../lib/client/answering_servers.ts";
import { type AfterRefusal, Refusals } from "../../lib/client/refusals.ts";
import { randomFrom } from "../support/simulation_parts.ts";

const SUBJECT = "proxy.request.c";

/** Servers of one queue group, and a client that asks them. */
class Group {
  readonly known = new AnsweringServers();

  /** `server` answers some open on `subject`. */
  answer(server: string, subject = SUBJECT): void {
    this.known.note({
      type: "refused",
      server,
      reason: { code: "denied", text: "no" },
    }, subject);
  }

  /** What is to be done when `server` refuses an open , or says that it has. */
  refuse(
    open: Refusals,
    server: string,
  ): AfterRefusal["next"] | undefined {
    if (open.servers.includes(server)) {
      return open.noteAgain(this.known.on(SUBJECT))?.next;
    }
    this.answer(server);
    const reason = { code: "denied", text: "no" } as const;
    return open.note({ reason, server }, this.known.on(SUBJECT)).next;
  }

  /** How often `server` gets an open again that it has refused. */
  again(open: Refusals, server: string): number {
    for (let times = 1; times < 100; times++) {
      if (this.refuse(open, server) !== "another") return times;
    }
    throw new Error("It is asked for ever");
  }
}

Deno.test("Refusals asks six times again where no other server is known", () => {
  const group = new Group();
  const open = new Refusals();
  assert.equal(group.refuse(open, "a"), "another");
  assert.equal(group.again(open, "a"), 6);
});

Deno.test("Refusals asks more often while a server is known that has not refused the open", () => {
  const group = new Group();
  const open = new Refusals();
  for (const server of ["c", "a", "b"]) group.answer(server);
  assert.equal(group.refuse(open, "a"), "another");
  assert.equal(group.refuse(open, "b"), "another");
  for (let times = 1; times < 24; times++) {
    const server = times % 2 === 0 ? "a" : "b";
    assert.equal(group.refuse(open, server), "another", `after ${times}`);
  }
  assert.equal(group.refuse(open, "b"), "none");
  // When the third has refused it, too, none is left that is known.
  const next = new Refusals();
  for (const server of ["a", "b", "c"]) {
    assert.equal(group.refuse(next, server), "another");
  }
  assert.equal(group.again(next, "a"), 6);
});

Deno.test("Refusals does not go on for a server that is known from another subject only", () => {
  const group = new Group();
  group.answer("b", "proxy.request.svc.db.c");
  const open = new Refusals();
  assert.equal(group.refuse(open, "a"), "another");
  assert.equal(group.again(open, "a"), 6);
});

Deno.test("Refusals does not go on for a server that has given none of the last 32 answers", () => {
  for (const [since, times] of [[31, 24], [32, 6]] as const) {
    const group = new Group();
    group.answer("gone");
    // Of others in turn, so that none seems to be alone; the open adds two.
    for (let i = 2; i < since; i++) group.answer(String(i % 2));
    const open = new Refusals();
    for (const server of ["0", "1"]) group.refuse(open, server);
    assert.equal(group.again(open, "0"), times, `${since} answers later`);
  }
});

Deno.test("Refusals asks no other where one alone has answered for long", () => {
  const group = new Group();
  group.answer("b");
  for (let i = 0; i < 15; i++) group.answer("a");
  assert.equal(group.refuse(new Refusals(), "a"), "none");
});

for (const count of [2, 3, 4]) {
  Deno.test(`an open gets to the one of ${count} servers that may serve it, whichever is picked, once that is known`, () => {
    const group = new Group();
    const random = randomFrom(count);
    const pick = (): string => String(Math.floor(random() * count));
    for (let i = 0; i < 20; i++) group.answer(pick());
    let missed = 0;
    const opens = 2_000;
    for (let i = 0; i < opens; i++) {
      const open = new Refusals();
      let next: string | undefined = "another";
      let server = pick();
      while (next === "another" && server !== "0") {
        next = group.refuse(open, server);
        server = pick();
      }
      if (next !== "another") missed++;
      else group.answer("0");
    }
    // Of four servers one in 750; with six tries one in 20 would be.
    assert.ok(missed <= opens / 200, `${missed} of ${opens}`);
  });
}
