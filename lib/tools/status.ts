/**
 * `status`: how the instances do that let themselves be asked.
 *
 * @module
 */
import { formatRough } from "../base/units.ts";
import type { ToolCall } from "../process/tool.ts";
import { formatBytes } from "../status/format.ts";
import type { FoundInstance } from "../wire/micro.ts";
import {
  type InstanceAnswer,
  isFailure,
  Operator,
  placeOf,
} from "./instances.ts";
import { type Column, renderTable } from "./table.ts";
import { numberAt, textAt } from "./values.ts";

/** Does it; 1 where one is not ready, or did not answer. */
export async function runStatus(call: ToolCall): Promise<number> {
  await using operator = await Operator.connect(call);
  const found = await operator.find(call);
  const answers = await Promise.all(
    found.map(async (one) => [one, await operator.ask(one, "status")] as const),
  );
  call.print(
    call.flags.has("json")
      ? `${
        JSON.stringify(answers.map(([one, answer]) => jsonOf(one, answer)))
      }\n`
      : renderTable(COLUMNS, answers.map(([one, answer]) => row(one, answer))),
  );
  return answers.every(([, answer]) => textAt(answer, "state") === "ready")
    ? 0
    : 1;
}

/** An answer with the ID of who gave it, or did not. */
export function jsonOf({ id }: FoundInstance, answer: InstanceAnswer): object {
  return { id, ...answer };
}

const COLUMNS: readonly Column[] = [
  ...[{ name: "ID" }, { name: "ROLE" }, { name: "WHERE" }, { name: "SITE" }],
  ...[{ name: "VERSION" }, { name: "UP" }],
  ...["TUNNELS", "OPENING", "STALLED", "SENT", "RECEIVED", "HELD"].map(
    (name) => ({ name, right: true }),
  ),
  { name: "STATE" },
];

function row(
  { id, version, metadata }: FoundInstance,
  answer: InstanceAnswer,
): readonly string[] {
  const { role = "", site = "" } = metadata;
  const who = [id, role, placeOf(metadata), site, version];
  if (isFailure(answer)) {
    return [...who, "", "", "", "", "", "", "", answer.failed];
  }
  const started = Date.parse(textAt(answer, "started"));
  const why = textAt(answer, "why");
  const state = textAt(answer, "state");
  return [
    ...who,
    Number.isNaN(started) ? "" : formatRough(Date.now() - started),
    String(numberAt(answer, "tunnels", "open")),
    String(numberAt(answer, "tunnels", "opening")),
    String(numberAt(answer, "tunnels", "stalled")),
    formatBytes(numberAt(answer, "bytes", "sent")),
    formatBytes(numberAt(answer, "bytes", "received")),
    formatBytes(
      numberAt(answer, "held", "send") + numberAt(answer, "held", "receive"),
    ),
    why === "" || why === state ? state : `${state}: ${why}`,
  ];
}
