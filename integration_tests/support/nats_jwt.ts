/**
 * Users that a nats-server knows by JWTs: an operator, its account and a user
 * of that, made anew.
 *
 * @module
 */

import { nkeys } from "@nats-io/nats-core";
import { Buffer } from "node:buffer";

/** A user, and the broker that knows it. */
export interface JwtUser {
  /** The user's JWT. */
  readonly jwt: string;
  /** The seed it is for. */
  readonly seed: string;
  /** The configuration of a nats-server that trusts it. */
  readonly config: string;
}

/** Makes one; with `bearer` the JWT alone is a login. */
export function makeJwtUser(
  { bearer = false }: { readonly bearer?: boolean } = {},
): JwtUser {
  const operator = nkeys.createOperator();
  const account = nkeys.createAccount();
  const user = nkeys.createUser();
  const unlimited = { subs: -1, data: -1, payload: -1 };
  const accountJwt = sign(operator, account.getPublicKey(), {
    type: "account",
    limits: {
      ...unlimited,
      ...{ conn: -1, leaf: -1, imports: -1, exports: -1, wildcards: true },
    },
  });
  return {
    jwt: sign(account, user.getPublicKey(), {
      ...unlimited,
      type: "user",
      ...(bearer && { bearer_token: true }),
    }),
    seed: new TextDecoder().decode(user.getSeed()),
    config: `operator: ${
      sign(operator, operator.getPublicKey(), { type: "operator" })
    }
resolver: MEMORY
resolver_preload: { ${account.getPublicKey()}: ${accountJwt} }`,
  };
}

/** What one claims about another, signed. */
function sign(
  issuer: ReturnType<typeof nkeys.createUser>,
  subject: string,
  claims: Readonly<Record<string, unknown>>,
): string {
  const encode = (part: unknown): string =>
    Buffer.from(JSON.stringify(part)).toString("base64url");
  const text = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${
    encode({
      jti: "TEST",
      iat: 1_700_000_000,
      iss: issuer.getPublicKey(),
      sub: subject,
      name: "test",
      nats: { version: 2, ...claims },
    })
  }`;
  const signature = issuer.sign(new TextEncoder().encode(text));
  return `${text}.${Buffer.from(signature).toString("base64url")}`;
}
