/**
 * `drain`: has processes take no more tunnels, let those open end, and stop.
 *
 * @module
 */
import type { ToolCall } from "../process/tool.ts";
import { escapeUnsafe } from "../base/text.ts";
import { isFailure, nameOf, oneOf, Operator } from "./instances.ts";
import { jsonOf } from "./status.ts";
import { numberAt } from "./values.ts";

/** Does it; 1 where one did not answer. */
export async function runDrain(call: ToolCall): Promise<number> {
  await using operator = await Operator.connect(call);
  const chosen = oneOf(await operator.find(call), call);
  const answers = await Promise.all(
    chosen.map(async (one) => [one, await operator.ask(one, "drain")] as const),
  );
  call.print(
    call.flags.has("json")
      ? `${
        JSON.stringify(answers.map(([one, answer]) => jsonOf(one, answer)))
      }\n`
      : answers.map(([one, answer]) => {
        const how = isFailure(answer)
          ? answer.failed
          : `drains, with ${numberAt(answer, "tunnels")} tunnels open`;
        return escapeUnsafe(`${nameOf(one)}: ${how}`) + "\n";
      }).join(""),
  );
  return answers.some(([, answer]) => isFailure(answer)) ? 1 : 0;
}
