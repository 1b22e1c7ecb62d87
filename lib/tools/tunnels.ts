/**
 * `tunnels`: what is open, at the instances that let themselves be asked.
 *
 * @module
 */
import { formatRough } from "../base/units.ts";
import { say } from "../process/log.ts";
import type { ToolCall } from "../process/tool.ts";
import { formatBytes } from "../status/format.ts";
import { isFailure, nameOf, Operator } from "./instances.ts";
import { jsonOf } from "./status.ts";
import { type Column, renderTable } from "./table.ts";
import { at, numberAt, textAt } from "./values.ts";

/** Does it; 1 where an instance did not answer. */
export async function runTunnels(call: ToolCall): Promise<number> {
  await using operator = await Operator.connect(call);
  const found = await operator.find(call);
  const answers = await Promise.all(
    found.map(async (one) =>
      [one, await operator.ask(one, "tunnels")] as const
    ),
  );
  const notes: string[] = [];
  const rows = answers.flatMap(([one, answer]) => {
    if (isFailure(answer)) {
      notes.push(`${nameOf(one)}: ${answer.failed}`);
      return [];
    }
    const list = at(answer, "tunnels");
    const tunnels: readonly unknown[] = Array.isArray(list) ? list : [];
    const more = numberAt(answer, "total") - tunnels.length;
    if (more > 0) notes.push(`${nameOf(one)}: ${more} more are open`);
    return tunnels.map((tunnel) => row(one.id, tunnel));
  });
  if (rows.length === 0) notes.push("no tunnels are open there");
  call.print(
    call.flags.has("json")
      ? `${
        JSON.stringify(answers.map(([one, answer]) => jsonOf(one, answer)))
      }\n`
      : rows.length === 0
      ? ""
      : renderTable(COLUMNS, rows),
  );
  for (const text of notes) say({ level: "warning", text });
  return answers.some(([, answer]) => isFailure(answer)) ? 1 : 0;
}

const COLUMNS: readonly Column[] = [
  ...[{ name: "INSTANCE" }, { name: "WHO" }, { name: "TARGET" }],
  ...["AGE", "SENT", "RECEIVED", "HELD"].map((name) => ({ name, right: true })),
  ...[{ name: "CONDITION" }, { name: "ID" }],
];

/** A tunnel; where they are sealed, neither who nor to what is told. */
function row(instance: string, tunnel: unknown): readonly string[] {
  const service = textAt(tunnel, "service");
  const target = textAt(tunnel, "target") ||
    (service === "" ? "(sealed)" : `svc:${service}`);
  const stalled = at(tunnel, "stalled");
  return [
    instance,
    whoOf(tunnel),
    target,
    formatRough(numberAt(tunnel, "ms")),
    formatBytes(numberAt(tunnel, "sent")),
    formatBytes(numberAt(tunnel, "received")),
    formatBytes(
      numberAt(tunnel, "held", "send") + numberAt(tunnel, "held", "receive"),
    ),
    stalled === undefined
      ? textAt(tunnel, "condition")
      : `stalled ${textAt(stalled, "side")} ${
        formatRough(numberAt(stalled, "ms"))
      }`,
    textAt(tunnel, "id"),
  ];
}

/** The client by its name, or else its ID; and the application's address. */
function whoOf(tunnel: unknown): string {
  const client = textAt(tunnel, "client") || textAt(tunnel, "forward") ||
    (textAt(tunnel, "id").split(".")[0] ?? "");
  const source = textAt(tunnel, "source");
  return source === "" ? client : `${client} ${source}`;
}
