/**
 * The sections of a configuration: the options whose keys begin alike, with the
 * names that they have there, in camel case.
 *
 * @module
 */
import type { Role } from "../wire/subjects.ts";
import type { OptionKeyOf, OptionValues } from "./options.ts";

/** `dial_timeout` as `dialTimeout`. */
type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

/** The name that `K` has in section `P`; never for the key of another section. */
type NameIn<K, P extends string> = K extends `${P}.${infer Name}`
  ? Name extends `${string}.${string}` ? never : CamelCase<Name>
  : never;

/** The options of section `P` that role `R` has; without a role, those of both. */
export type Section<P extends string, R extends Role = Role> = {
  readonly [K in OptionKeyOf<R> as NameIn<K, P>]: OptionValues<R>[K];
};

/** The options of section `prefix`, with the names they have there. */
export function section<P extends string, R extends Role = Role>(
  values: OptionValues,
  prefix: P,
): Section<P, R> {
  const entries = Object.entries(values).flatMap(([key, value]) => {
    if (!key.startsWith(`${prefix}.`)) return [];
    const name = key.slice(prefix.length + 1);
    if (name.includes(".")) return [];
    return [[
      name.replaceAll(/_(.)/g, (_, letter) => letter.toUpperCase()),
      value,
    ]];
  });
  return Object.fromEntries(entries) as Section<P, R>;
}
