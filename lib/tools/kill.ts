/**
 * `kill`: ends tunnels by their IDs, wherever they are.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { escapeUnsafe, quote } from "../base/text.ts";
import { say } from "../process/log.ts";
import type { ToolCall } from "../process/tool.ts";
import { formatBytes } from "../status/format.ts";
import type { FoundInstance } from "../wire/micro.ts";
import { isFailure, nameOf, Operator } from "./instances.ts";
import { at, numberAt, textAt } from "./values.ts";

/** Does it; 1 where one of them was nowhere. */
export async function runKill(call: ToolCall): Promise<number> {
  if (call.words.length === 0) {
    throw new UsageError(
      "kill is followed by IDs of tunnels, as 'tunnels' has them",
    );
  }
  await using operator = await Operator.connect(call);
  const found = await operator.find(call);
  const killed: object[] = [];
  for (const id of call.words) {
    const ended = await endOne(operator, found, id);
    if (ended === undefined) {
      const text = `no tunnel ${
        quote(id)
      } is open at ${found.length} instances`;
      say({ level: "warning", text });
      continue;
    }
    const { one, tunnel } = ended;
    killed.push({ instance: one.id, killed: tunnel });
    if (call.flags.has("json")) continue;
    const target = textAt(tunnel, "target") || "(sealed)";
    call.print(
      escapeUnsafe(
        `ended ${id} to ${target} at ${nameOf(one)}, after ${
          formatBytes(numberAt(tunnel, "sent"))
        } sent and ${formatBytes(numberAt(tunnel, "received"))} received`,
      ) + "\n",
    );
  }
  if (call.flags.has("json")) call.print(`${JSON.stringify(killed)}\n`);
  return killed.length === call.words.length ? 0 : 1;
}

/** Ends it at the first that has it: the other end hears of it by the tunnel. */
async function endOne(
  operator: Operator,
  instances: readonly FoundInstance[],
  id: string,
): Promise<
  { readonly one: FoundInstance; readonly tunnel: unknown } | undefined
> {
  for (const one of instances) {
    const answer = await operator.ask(one, "kill", { id });
    if (!isFailure(answer)) return { one, tunnel: at(answer, "killed") };
  }
  return undefined;
}
