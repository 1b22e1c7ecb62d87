/**
 * Makes users for a nats-server: key pairs, the files that hold them, and the
 * lines of its configuration that know them.
 *
 * @module
 */

import { nkeys } from "@nats-io/nats-core";

/** A user with a key of its own. */
export interface KeyUser {
  /** The public key, `U...`. */
  readonly id: string;
  /** The seed, `SU...`, as a file of `--nats-nkey` holds it. */
  readonly seed: string;
  /** A credentials file with that seed, as `--nats-creds` takes it. */
  readonly creds: string;
}

/**
 * Makes a user. A nats-server without an operator looks only at the key of a
 * credentials file, so that its JWT may be anything.
 */
export function makeKeyUser(): KeyUser {
  const pair = nkeys.createUser();
  const seed = new TextDecoder().decode(pair.getSeed());
  return {
    id: pair.getPublicKey(),
    seed,
    creds: `-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.c2ln
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`,
  };
}

/** The configuration that lets exactly these users in. */
export function keyUsersConfig(...users: readonly KeyUser[]): string {
  const list = users.map(({ id }) => `{ nkey: ${id} }`).join(", ");
  return `authorization { users: [ ${list} ] }`;
}

/** What a user may do; nothing given allows all of it. */
export interface Rules {
  /** Subjects it may publish to. */
  readonly publish?: readonly string[];
  /** Subjects it may subscribe to. */
  readonly subscribe?: readonly string[];
}

/** What the documents say that a server needs. */
export const SERVER_RULES: Required<Rules> = {
  publish: ["p.data.to_client.>", "_INBOX.>"],
  subscribe: ["proxy.request", "proxy.request.*", "p.data.to_server.>"],
};

/** What the documents say that a client with this `--client-id` needs. */
export function clientRules(token: string): Required<Rules> {
  return {
    publish: [
      `proxy.request.${token}`,
      `p.data.to_server.${token}.>`,
      `p.data.to_client.${token}.hold.>`,
    ],
    subscribe: [`p.data.to_client.${token}.>`],
  };
}

/** The password of the users of {@linkcode rulesConfig}. */
const PASSWORD = "field";

/** The configuration of the users `client`, `server` and any others, and what each may do. */
export function rulesConfig(
  rules: Readonly<Record<string, Rules>> = {},
): string {
  const user = (name: string, rules: Rules = {}): string => {
    const list = (subjects: readonly string[] | undefined): string =>
      `{ allow: [ ${(subjects ?? [">"]).map((s) => `"${s}"`).join(", ")} ] }`;
    return `{ user: ${name}, password: ${PASSWORD}, permissions: { publish: ${
      list(rules.publish)
    }, subscribe: ${list(rules.subscribe)} } }`;
  };
  return `authorization { users: [
  ${
    Object.entries({ client: {}, server: {}, ...rules })
      .map(([name, rules]) => user(name, rules)).join("\n  ")
  }
] }`;
}

/** The environment with which a role logs in as a user of {@linkcode rulesConfig}. */
export function loginAs(user: string): Readonly<Record<string, string>> {
  return { NATS_USER: user, NATS_PASSWORD: PASSWORD };
}

/** The URL of a broker with the login of a user of {@linkcode rulesConfig}. */
export function urlAs(user: string, url: string): string {
  const login = new URL(url);
  [login.username, login.password] = [user, PASSWORD];
  return login.href;
}
