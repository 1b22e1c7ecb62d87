/** A client and a server that do not have the same data prefix. */
import assert from "node:assert/strict";
import { Subjects } from "../../lib/wire/subjects.ts";
import { captureLog } from "../support/capture_log.ts";
import { Pair, SUBJECTS, TestServer } from "../support/shell_pair.ts";

const OTHER = { request: SUBJECTS.request, prefix: "other.data" };

/** The subjects of a server of a version that answers where it is told to, and does not look. */
class OldSubjects extends Subjects {
  override answerTo(client: string, number: number): string {
    return new Subjects(OTHER).answerTo(client, number);
  }

  override prefixProblem(): undefined {
    return undefined;
  }
}

Deno.test("a server dials for no client with another data prefix, and its log says which they have", async () => {
  using log = captureLog();
  using pair = new Pair({ client: { subjects: new Subjects(OTHER) } });
  const app = pair.client.listener.connect();
  await pair.wait(13_500);
  assert.ok(app.closed);
  assert.deepEqual(pair.server.targets, []);
  assert.deepEqual(pair.sizes, [0, 0]);
  const text =
    'the client has the data prefix "other.data", the server "p.data": give both the same --data-prefix';
  const warnings = log.records.filter(({ level }) => level === "warning")
    .map(({ rawMessage, properties: { reason, why, count } }) => [
      ...[rawMessage, reason, why, count],
    ]);
  const refused = ["open refused", "denied", text];
  const [what, reason, why] = warnings.pop() ?? [];
  // The first on each of its subjects, and after 10 s how often it was since.
  assert.deepEqual(warnings, [
    [...refused, undefined],
    [...refused, undefined],
    [...refused, 2],
  ]);
  assert.deepEqual([what, reason], ["open failed", "timeout"]);
  assert.match(
    String(why),
    /its log says why if it has another --data-prefix or this client asks too much$/,
  );
});

Deno.test("a client is served by the one server of its group that has its data prefix", async () => {
  using pair = new Pair({ client: { subjects: new Subjects(OTHER) } });
  using same = new TestServer(pair.broker, pair.clock, {
    token: "server2",
    subjects: new Subjects(OTHER),
  });
  const app = pair.client.listener.connect();
  await pair.wait(12_000);
  const [target] = same.targets;
  assert.ok(target);
  app.send("hello");
  await pair.settle();
  assert.equal(target.text, "hello");
});

Deno.test("where a server does not look, both ends ask after the data prefix when no frame has come", async () => {
  using log = captureLog();
  using pair = new Pair({
    client: { subjects: new Subjects(OTHER) },
    server: { subjects: new OldSubjects({ ...OTHER, prefix: "p.data" }) },
  });
  const { app, target } = await pair.open();
  app.send("hello");
  await pair.wait(13_000);
  assert.ok(app.closed && target.closed);
  const ends = log.records.filter(({ rawMessage }) =>
    rawMessage === "tunnel closed"
  );
  assert.equal(ends.length, 2);
  for (const { properties: { reason, by, why } } of ends) {
    assert.deepEqual([reason, by], ["peer-gone", "local"]);
    assert.match(
      String(why),
      /no frame of it ever came: is --data-prefix the same at both ends\?$/,
    );
  }
});
