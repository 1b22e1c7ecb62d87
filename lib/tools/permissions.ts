/**
 * `permissions`: prints what a configuration has to be allowed at NATS.
 *
 * @module
 */
import { Secret } from "../base/credentials.ts";
import { UsageError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { counterpartsOf, permissionsOf } from "../config/permissions.ts";
import { publicNkey } from "../nats/nkey.ts";
import { readFile } from "../process/login_files.ts";
import type { ToolCall } from "../process/tool.ts";
import { isToken } from "../wire/subjects.ts";
import {
  type KnownLogin,
  type Login,
  renderAccounts,
  renderJson,
  renderNsc,
} from "./permissions_text.ts";

/** The account where none is named: that of docs/security.md. */
const ACCOUNT = "TUNNELS";

/** The forms of the output, by their flags. */
const FORMS = { nsc: renderNsc, json: renderJson } as const;

/** Prints the permissions of a role, or of its counterpart. */
export function runPermissions(call: ToolCall): Promise<number> {
  const { flags, print } = call;
  const account = flags.get("account") ?? ACCOUNT;
  if (!/^[\w-]+$/.test(account)) {
    throw new UsageError(
      `--account is ${quote(account)}, want a name of letters, digits, - and _`,
    );
  }
  const render = flags.has("nsc")
    ? FORMS.nsc
    : flags.has("json")
    ? FORMS.json
    : renderAccounts;
  print(render(loginsOf(call), account));
  return Promise.resolve(0);
}

/** Who is asked for. */
function loginsOf({ role, words, flags, config }: ToolCall): readonly Login[] {
  const asked = flags.get("for") ?? role;
  if (asked !== "client" && asked !== "server") {
    throw new UsageError(`--for is ${quote(asked)}, want client or server`);
  }
  if (words.length > 0 && (asked === role || asked === "server")) {
    throw new UsageError(
      `The ID ${
        quote(words[0] ?? "")
      } is of no use here: IDs of clients follow a server's permissions --for client`,
    );
  }
  for (const id of words) {
    if (!isToken(id)) {
      throw new UsageError(
        `${
          quote(id)
        } is no ID of a client: write 1 to 32 letters, digits, - or _`,
      );
    }
  }
  if (asked !== role) return counterpartsOf(config, words);
  const grant = permissionsOf(config, navigator.hardwareConcurrency);
  return [{ ...grant, known: knownLogin(config) }];
}

/** How the broker knows the login that is configured; undefined where it is no user of its own file. */
function knownLogin({ nats: { auth } }: ToolCall["config"]): KnownLogin {
  if (auth.kind === "password") return { kind: "password", user: auth.user };
  if (auth.kind !== "nkey") return undefined;
  const seed = auth.file instanceof Secret
    ? auth.file.reveal()
    : readFile(auth.file, { flag: "--nats-nkey", pipes: new Map() });
  const nkey = publicNkey(seed);
  return nkey === undefined ? undefined : { kind: "nkey", nkey };
}
