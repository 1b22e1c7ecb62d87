/** Where an open goes is asked as opens are: one subject after the other, and not for ever. */
import assert from "node:assert/strict";
import type { OnHeard } from "../../lib/client/prober.ts";
import { RequestSubjects } from "../../lib/client/request_subjects.ts";
import { askOne } from "../../lib/tools/probing.ts";
import { SUBJECTS } from "../support/shell_pair.ts";

type Answer =
  | { readonly type: "old" | "v1" | "nobody" }
  | { readonly type: "foreign"; readonly what: string };

/** Asks for a destination where subjects answer so; those that are not named are silent. */
async function outcome(
  destination: Parameters<typeof askOne>[1],
  answers: Readonly<Record<string, Answer>>,
): Promise<readonly [what: unknown, asked: readonly string[]]> {
  const requests = new RequestSubjects(SUBJECTS, "edge7");
  const asked: string[] = [];
  const told = await askOne(
    {
      bus: { connected: true },
      prober: {
        ask: (subject: string, onHeard: OnHeard) => {
          asked.push(subject);
          const answer = answers[subject];
          if (answer !== undefined) onHeard({ ...answer, ms: 1 });
          return { tryNextKey: () => {}, [Symbol.dispose]: () => {} };
        },
      },
      subjectsTo: (it) => requests.subjectsTo(it, 0),
      whyNobody: (it, isDenied) => requests.noServer(it, isDenied),
    } as Parameters<typeof askOne>[0],
    destination,
    {
      timeout: 5,
      signal: new AbortController().signal,
    },
  );
  const what = told?.type === "lost" ? told.reason.text : told?.heard.type;
  return [what, asked];
}

const ANY = { target: { host: "h", port: 1 } };
const OWN = "proxy.request.edge7";

Deno.test("an answer on a client's own subject is enough", async () => {
  assert.deepEqual(await outcome(ANY, { [OWN]: { type: "old" } }), [
    "old",
    [OWN],
  ]);
});

Deno.test("who listens on it and is no server does not hide one on the next: a monitor", async () => {
  const asked = [OWN, "proxy.request"];
  assert.deepEqual(
    await outcome(ANY, { "proxy.request": { type: "v1" } }),
    ["v1", asked],
  );
  const [silent] = await outcome(ANY, {
    "proxy.request": { type: "nobody" },
  });
  assert.match(String(silent), /^whoever listens on proxy\.request\.edge7 is/);
});

Deno.test("nobody anywhere is what an open would say", async () => {
  const nobody: Answer = { type: "nobody" };
  const [why] = await outcome(ANY, { [OWN]: nobody, "proxy.request": nobody });
  assert.match(String(why), /^no server listens on proxy\.request; start one/);
});

Deno.test("of a service the general subject only tells why", async () => {
  const [why] = await outcome({ target: { service: "db" } }, {
    "proxy.request.svc.db.edge7": { type: "nobody" },
    [OWN]: { type: "old" },
  });
  assert.equal(why, 'no server offers the service "db"');
});

Deno.test("what is not to be believed is told where nothing else comes", async () => {
  const foreign: Answer = { type: "foreign", what: "a forged answer" };
  const [why] = await outcome(ANY, { [OWN]: foreign });
  assert.equal(why, "a forged answer");
});
