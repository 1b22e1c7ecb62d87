/**
 * What of a grant can be tried at a broker, and what else there is that a fence
 * would refuse: subjects that stand for each permission, and that nobody uses.
 *
 * @module
 */
import type { Grant } from "../config/permissions.ts";
import {
  HOLD_TOKEN,
  PROBE_TOKEN,
  type Role,
  type Subjects,
} from "../wire/subjects.ts";

/** Something to publish or to subscribe to, to see whether the broker lets us. */
export interface PermissionTrial {
  /** Which of the two. */
  readonly verb: "publish" | "subscribe";
  /** The subject that is tried. */
  readonly subject: string;
  /** The permission that it stands for, as a broker's configuration has it. */
  readonly pattern: string;
  /** What it is for, or what harm it could do. */
  readonly why: string;
  /** Whether tunnels do without it. */
  readonly optional?: true;
}

/** What a subject is made of beside the pattern. */
export interface TrialTokens {
  /** The subjects of the deployment. */
  readonly subjects: Subjects;
  /** The token of this process. */
  readonly token: string;
  /** A token that nobody has. */
  readonly nobody: string;
  /** A number of tools, for which a client with the same token does not answer. */
  readonly number: number;
}

/** What `grant` says must be allowed. */
export function mustBeAllowed(
  role: Role,
  { publish, subscribe }: Grant,
  { subjects, token, nobody, number }: TrialTokens,
): readonly PermissionTrial[] {
  // Under a number of tools, for which who has the token does not answer.
  const answers = `.${PROBE_TOKEN}.${number.toString(36)}`;
  const fill = (pattern: string): string =>
    pattern.replace(
      subjects.data("client", `*.${PROBE_TOKEN}.*`),
      () => subjects.data("client", `${nobody}${answers}`),
    )
      .replace(
        subjects.data("client", `${token}.${PROBE_TOKEN}.*`),
        () => subjects.data("client", `${token}${answers}`),
      )
      .replace(/^(\S+)\.\*$/, `$1.${nobody}`)
      .replace(`.${HOLD_TOKEN}.>`, `.${HOLD_TOKEN}.${number.toString(36)}`)
      .replace(/\.>$/, `.${nobody}.${nobody}.0`);
  const standing = subjects.data(role, ">");
  return [
    ...publish.map(({ subject, ...rest }) => ({
      ...{ verb: "publish", pattern: subject, ...rest } as const,
      subject: fill(subject),
    })),
    ...subscribe.map(({ subject, ...rest }) => ({
      ...{ verb: "subscribe", pattern: subject, ...rest } as const,
      // The one subscription that a process really makes below it.
      subject: subject === standing ? subjects.pattern(role, token) : subject,
    })),
  ];
}

/** What a login of `role` that is fenced must not be allowed. */
export function mustBeRefused(
  role: Role,
  { subjects, nobody }: Pick<TrialTokens, "subjects" | "nobody">,
): readonly PermissionTrial[] {
  const trial = (
    verb: PermissionTrial["verb"],
    subject: string,
    why: string,
  ): PermissionTrial => ({ verb, subject, pattern: subject, why });
  const other = subjects.requestOf(nobody);
  const toClient = subjects.pattern("client", nobody);
  return role === "client"
    ? [
      trial("subscribe", toClient, "hear the tunnels of other clients"),
      trial(
        "subscribe",
        subjects.pattern("server", nobody),
        "hear what clients send to servers",
      ),
      trial("subscribe", other, "hear, and take, opens in a server's place"),
      trial("publish", other, "ask for tunnels as another client"),
      trial(
        "publish",
        subjects.answerTo(nobody, 1),
        "answer and cut in a server's place",
      ),
    ]
    : [
      trial("subscribe", toClient, "hear the tunnels of other servers"),
      trial("publish", other, "ask for tunnels as a client"),
    ];
}
