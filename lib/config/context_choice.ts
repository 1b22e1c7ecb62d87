/**
 * Whether a context of the `nats` command is used, and which: whole, or not at
 * all. What is given more directly goes before it, and a line says so.
 *
 * @module
 */

import type { Role } from "../wire/subjects.ts";
import { quote } from "../base/text.ts";
import { type ConfigInputs, findGiven, type Given, givenFor } from "./given.ts";
import {
  CONTEXT_OPTIONS,
  type NatsContext,
  readContext,
  selectedContext,
} from "./nats_context.ts";
import { type OptionKey, optionsOf } from "./options.ts";
import type { Notice, Problems } from "./problems.ts";
import type { Sources } from "./sources.ts";
import { contextNameProblem } from "./types.ts";

/** The options that say where NATS is or who we are; others of a context say only how to get there. */
const DECISIVE: readonly OptionKey[] = [
  "nats.url",
  "nats.creds",
  "nats.nkey",
  "nats.user",
  "nats.password",
  "nats.token",
  "nats.jwt",
  "nats.seed",
];

/** Where values come from, the strongest first. */
const STRENGTH = ["flag", "variable", "file", "context"] as const;

/** Why there is no half of a context. */
const WHOLE = "a context says all of where NATS is and how to log in";

/** What was decided. */
export interface ContextChoice {
  /** The context to use; undefined for none. */
  readonly context?: NatsContext;
  /** What to tell of it. */
  readonly notices: readonly Notice[];
}

/** What there is to decide with. */
interface Question {
  readonly inputs: ConfigInputs;
  readonly sources: Sources;
  readonly problems: Problems;
}

/**
 * Decides which context `role` uses.
 *
 * One that is named (`--context`, `NATS_CONTEXT`, `nats.context`) is used
 * unless an option that it would set is given as strongly, or more. The one
 * that `nats context select` has chosen is used by a client that is told
 * nothing of where NATS is. A server does not use it: it would open this
 * machine to all who are there, where so far it was found at localhost alone.
 *
 * @throws {UsageError} when the context cannot be used, or contradicts what is
 * given with it.
 */
export function chooseContext(role: Role, question: Question): ContextChoice {
  const { inputs, problems } = question;
  const options = optionsOf(role);
  const own = options.filter(({ key }) => CONTEXT_OPTIONS.includes(key))
    .flatMap((option) => {
      const given = findGiven(option, inputs);
      return given === undefined ? [] : [{ key: option.key, ...given }];
    });
  const named = givenFor("nats.context", inputs);
  if (named === undefined) return chooseSelected(role, own, question);
  const name = named.text.trim();
  // Empty: none, not even the selected one. Wrong: told where options are read.
  if (name === "" || contextNameProblem(name) !== undefined) {
    return { notices: [] };
  }
  const lead = Math.min(...own.map(strengthOf)) - strengthOf(named);
  const called = `context ${quote(name)} (${named.origin})`;
  const others = own.map(({ origin }) => origin).join(", ");
  if (lead > 0) {
    const { origin } = named;
    const { context, notices } = use(role, name, { ...question, origin });
    if (own.length === 0) return { context, notices };
    const text = `${called} is used, not ${others}, since ${WHOLE}`;
    return { context, notices: [...notices, { level: "info", text }] };
  }
  const decisive = own.some(({ key }) => DECISIVE.includes(key));
  if (decisive && (lead < 0 || named.from === "variable")) {
    const text = `${called} is not used beside ${others}, since ${WHOLE}`;
    return { notices: [{ level: "warn", text }] };
  }
  problems.add(
    `${called} does not go with ${others}, since ${WHOLE}: leave one out`,
  );
  return { notices: [] };
}

/** Decides about the selected context, where none is named. */
function chooseSelected(
  role: Role,
  own: readonly (Given & { readonly key: OptionKey })[],
  question: Question,
): ContextChoice {
  if (own.some(({ key }) => key === "nats.url")) return { notices: [] };
  const name = selectedContext(question.sources);
  if (name === undefined) return { notices: [] };
  const origin = "selected by the nats command";
  if (own.length === 0 && role === "client") {
    return use(role, name, { ...question, origin });
  }
  const why = own.length > 0
    ? `beside ${own.map(({ origin }) => origin).join(", ")}, since ${WHOLE}`
    : "by a server, which takes only one that is named (--context)";
  const text = `context ${quote(name)} (${origin}) is not used ${why}`;
  return { notices: [{ level: "info", text }] };
}

/** Reads the context `name`, which `origin` asks for. */
function use(
  role: Role,
  name: string,
  question: Question & { readonly origin: string },
): ContextChoice & { readonly context: NatsContext } {
  const { origin } = question;
  const context = readContext(name, { ...question, role });
  const notices: Notice[] = [{
    level: "info",
    text: `context ${quote(name)} (${origin}) is used, from ${context.path}`,
  }];
  if (context.unused.length > 0) {
    const keys = context.unused.join(", ");
    notices.push({
      // Where it is done once, it would be said each time, for nothing.
      level: question.inputs.oneShot === undefined ? "warn" : "info",
      text: `context ${quote(name)} sets what is not used here: ${keys}`,
    });
  }
  return { context, notices };
}

function strengthOf({ from }: Pick<Given, "from">): number {
  return STRENGTH.indexOf(from);
}
