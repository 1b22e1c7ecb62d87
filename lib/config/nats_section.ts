/**
 * Section `nats` of a configuration: where the brokers are, with the ways to log
 * in made one, and how to speak TLS there.
 *
 * @module
 */
import type { BrokerAddress } from "../base/broker_address.ts";
import { type Credentials, Secret } from "../base/credentials.ts";
import { type ConfigInputs, userIsToken } from "./given.ts";
import type { OptionValues } from "./options.ts";
import { Subjects } from "../wire/subjects.ts";
import { type Section, section } from "./sections.ts";

/** The keys of section `nats` that say where the brokers are and how to log in. */
export type LoginKey =
  | "url"
  | "context"
  | "creds"
  | "nkey"
  | "user"
  | "password"
  | "token"
  | "jwt"
  | "seed";

/** How to speak TLS to the broker; paths are of PEM files. */
export interface NatsTlsConfig extends Section<"nats.tls"> {
  /** Whether a connection without TLS is refused: a `tls://` URL, or any option of this section. */
  readonly required: boolean;
}

/** How to reach NATS, and the subjects to use there. */
export interface NatsConfig extends Omit<Section<"nats">, LoginKey> {
  /** The brokers, without credentials; at least one. */
  readonly servers: readonly BrokerAddress[];
  /** How to log in; files by their paths, or what stands in their place. */
  readonly auth: Credentials<string | Secret>;
  /** How to speak TLS. */
  readonly tls: NatsTlsConfig;
}

/** The subjects of the deployment. */
export function subjectsOf(
  { requestSubject: request, dataPrefix: prefix }: Pick<
    NatsConfig,
    "requestSubject" | "dataPrefix"
  >,
): Subjects {
  return new Subjects({ request, prefix });
}

/** Ways to log in, by what gives them. */
export type Logins = ReadonlyMap<string, Credentials<string | Secret>>;

/** Section `nats`, and apart what it says of the brokers and the login. */
export function natsSections(
  values: OptionValues,
): Omit<Section<"nats">, LoginKey> & {
  readonly login: Pick<Section<"nats">, LoginKey>;
} {
  const {
    url,
    context,
    creds,
    nkey,
    user,
    password,
    token,
    jwt,
    seed,
    ...nats
  } = section(values, "nats");
  const login = { url, context, creds, nkey, user, password, token, jwt, seed };
  return { ...nats, login };
}

/** The ways to log in that the options give. */
export function loginsOf(
  { url, user, password, token, jwt, seed, ...files }: Pick<
    Section<"nats">,
    LoginKey
  >,
  inputs: ConfigInputs,
): Logins {
  const { creds = files.creds, nkey = files.nkey } = inputs.context?.contents ??
    {};
  const ways = new Map<string, Credentials<string | Secret>>();
  if (url.auth.kind !== "none") {
    ways.set("the credentials in nats.url", url.auth);
  }
  if (user !== undefined && password !== undefined) {
    ways.set("nats.user", { kind: "password", user, password });
  } else if (user !== undefined && userIsToken(inputs)) {
    ways.set("nats.user", { kind: "token", token: new Secret(user) });
  }
  if (token !== undefined) ways.set("nats.token", { kind: "token", token });
  if (creds !== undefined) {
    ways.set("nats.creds", { kind: "creds", file: creds });
  }
  if (nkey !== undefined) ways.set("nats.nkey", { kind: "nkey", file: nkey });
  if (jwt !== undefined) {
    ways.set("nats.jwt", { kind: "jwt", jwt, ...(seed && { seed }) });
  }
  return ways;
}

/** How to speak TLS to the broker. */
export function tlsConfig(values: OptionValues): NatsTlsConfig {
  const tls = section(values, "nats.tls");
  const required = tls.first || tls.ca !== undefined ||
    tls.cert !== undefined || values["nats.url"].tls;
  return { ...tls, required };
}
