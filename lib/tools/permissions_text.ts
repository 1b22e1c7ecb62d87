/**
 * Grants as those write them who keep a broker: nats-server's configuration,
 * commands of `nsc`, and JSON.
 *
 * @module
 */
import type { Grant, Permission } from "../config/permissions.ts";

/** How a login is known to the broker; undefined where that is left to be filled in. */
export type KnownLogin =
  | { readonly kind: "password"; readonly user: string }
  | { readonly kind: "nkey"; readonly nkey: string }
  | undefined;

/** A grant, and who has it. */
export interface Login extends Grant {
  /** How it is known; undefined where that is left to be filled in. */
  readonly known?: KnownLogin;
}

/** The account of `logins` with their permissions, as nats-server reads it. */
export function renderAccounts(
  logins: readonly Login[],
  account: string,
): string {
  return [
    ...new Set(logins.flatMap(({ notes }) => notes)),
  ].map((note) => `# ${note}\n`).join("") + [
    "accounts {",
    `  ${account} {`,
    "    users: [",
    ...logins.flatMap(renderUser),
    "    ]",
    "  }",
    "}",
    "",
  ].join("\n");
}

function renderUser(login: Login): readonly string[] {
  const { name, publish, subscribe, known } = login;
  const variable = `$${name.replaceAll(/[^A-Za-z0-9]/g, "_")}`;
  const who = known?.kind === "password"
    ? `user: ${JSON.stringify(known.user)}, password: ${variable}_password`
    : `nkey: ${known?.nkey ?? variable}`;
  const fill = known?.kind === "password"
    ? `${variable}_password is what 'nats server passwd' makes of the password: define it in a file that is included, or in the environment`
    : known === undefined
    ? `${variable} is the public nkey (U...) of ${name}: define it in a file that is included, or in the environment`
    : undefined;
  return [
    ...fill === undefined ? [] : [`      # ${fill}`],
    `      { ${who}, permissions: {`,
    `        publish: { allow: [`,
    ...publish.map(renderPermission),
    "        ] }",
    `        subscribe: { allow: [`,
    ...subscribe.map(renderPermission),
    "        ] }",
    "      } }",
  ];
}

function renderPermission({ subject, why, optional }: Permission): string {
  const how = optional === true ? "optional: " : "";
  return `          ${JSON.stringify(subject)} # ${how}${why}`;
}

/** The commands of `nsc` that make these logins in `account`. */
export function renderNsc(
  logins: readonly Login[],
  account: string,
): string {
  return [
    ...new Set(logins.flatMap(({ notes }) => notes)),
  ].map((note) => `# ${note}\n`).join("") +
    `# of a user that is there already: 'nsc edit user' with the same flags\n` +
    logins.flatMap(({ publish, subscribe }) => [...publish, ...subscribe])
      .filter(({ optional }) => optional === true)
      .map(({ subject, why }) => `# ${subject} is optional: ${why}\n`)
      .join("") +
    logins.map(({ name, publish, subscribe }) =>
      [
        `nsc add user --account ${shellWord(account)} --name ${
          shellWord(name)
        } \\`,
        `  --allow-pub ${listOf(publish)} \\`,
        `  --allow-sub ${listOf(subscribe)}`,
        `nsc generate creds --account ${shellWord(account)} --name ${
          shellWord(name)
        } --output-file ${shellWord(`${name}.creds`)}`,
        "",
      ].join("\n")
    ).join("");
}

function listOf(permissions: readonly Permission[]): string {
  return shellWord(permissions.map(({ subject }) => subject).join(","));
}

/** `text` as a shell takes it for one word. */
function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The same for programs. */
export function renderJson(logins: readonly Login[], account: string): string {
  const users = logins.map(({ known: _known, ...grant }) => grant);
  return `${JSON.stringify({ account, users }, undefined, 2)}\n`;
}
