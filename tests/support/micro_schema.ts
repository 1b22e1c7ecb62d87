/**
 * What ADR-32 of NATS demands of a service's answers, written by hand from its
 * JSON schemas: what is wrong with one, or nothing.
 *
 * @module
 */
import assert from "node:assert/strict";

const NAME = /^[a-zA-Z0-9_-]+$/;
/** The pattern of semver.org. */
const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$/;
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** An answer as JSON. */
export type Json = Readonly<Record<string, unknown>>;

/** An endpoint of an answer. */
export interface MicroEndpoint {
  readonly name: string;
  readonly subject: string;
  readonly queue_group: string;
  readonly num_requests: number;
  readonly num_errors: number;
  readonly last_error: string;
  readonly processing_time: number;
  readonly average_processing_time: number;
  readonly data?: Json;
}

/** An answer that is one. */
export interface MicroAnswer {
  readonly type: string;
  readonly name: string;
  readonly id: string;
  readonly version: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly endpoints: readonly MicroEndpoint[];
}

/** The answer in `text` to this verb; throws where the schema would refuse it. */
export function checkMicro(
  verb: "PING" | "INFO" | "STATS",
  text: string,
): MicroAnswer {
  const answer: Json = JSON.parse(text);
  const { type, name, id, version, metadata, endpoints } = answer;
  assert.equal(type, `io.nats.micro.v1.${verb.toLowerCase()}_response`);
  assert.match(textOf(name), NAME);
  // One token of a subject, which the JavaScript client wants of these letters.
  assert.match(textOf(id), /^[-\w]+$/);
  assert.match(textOf(version), SEMVER);
  for (const [key, value] of Object.entries(objectOf(metadata))) {
    assert.equal(typeof value, "string", key);
    assert.ok(!key.startsWith("_nats"), key);
  }
  if (verb !== "PING") {
    assert.ok(Array.isArray(endpoints), "endpoints");
    const names = endpoints.map((endpoint) => checkEndpoint(verb, endpoint));
    assert.equal(new Set(names).size, names.length, "two of one name");
  }
  if (verb === "INFO") textOf(answer.description);
  if (verb === "STATS") {
    assert.match(textOf(answer.started), RFC3339);
    assert.ok(Date.parse(textOf(answer.started)) <= Date.now() + 1_000);
  }
  return JSON.parse(text);
}

function checkEndpoint(verb: "INFO" | "STATS", value: unknown): string {
  const endpoint = objectOf(value);
  assert.match(textOf(endpoint.name), NAME);
  assert.match(textOf(endpoint.subject), /^[!-~]+$/);
  textOf(endpoint.queue_group);
  if (verb === "INFO") {
    for (const text of Object.values(objectOf(endpoint.metadata))) textOf(text);
    return textOf(endpoint.name);
  }
  for (
    const key of [
      ...["num_requests", "num_errors"],
      ...["processing_time", "average_processing_time"],
    ]
  ) {
    const count = endpoint[key];
    assert.ok(Number.isSafeInteger(count) && Number(count) >= 0, key);
  }
  textOf(endpoint.last_error);
  if (endpoint.data !== undefined) objectOf(endpoint.data);
  return textOf(endpoint.name);
}

function textOf(value: unknown): string {
  assert.equal(typeof value, "string");
  return String(value);
}

function objectOf(value: unknown): Json {
  assert.ok(
    typeof value === "object" && value !== null && !Array.isArray(value),
  );
  return { ...value };
}
