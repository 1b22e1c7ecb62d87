/**
 * Whether any server answers this client, asked by probes while no open tells:
 * so that a client is ready only when its tunnels would open.
 *
 * @module
 */
import { backoffDelay } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import { publishDenied } from "../base/errors.ts";
import type { Destination } from "../base/target.ts";
import type { Bus, LinkEvent } from "../nats/bus.ts";
import {
  type Asking,
  type Heard,
  type Prober,
  serviceProblem,
} from "./prober.ts";
import type { RequestSubjects } from "./request_subjects.ts";
import { type Round, Watched } from "./watched.ts";

/**
 * How long an answer counts, and the mean time between two rounds, in ms: as
 * often as Kubernetes looks at readiness unless told otherwise.
 */
const EVERY_MS = 10_000;

/** How far a pause may be from that: many clients then do not ask at once. */
const JITTER = 0.25;

/** Pauses while nobody answers, in ms: a server that comes back is soon seen. */
const ASK_AGAIN = { base: 1_000, cap: EVERY_MS } as const;

/** How long an answer may take, in ms: some round trips, and a server that is busy. */
const SILENCE_MS = 1_000;

/**
 * After our link came back servers may still be on their way: for so long it
 * proves nothing that none is there, in ms (longest reconnect pause, and a margin).
 */
const REJOIN_GRACE_MS = 3_000;

/** How long nobody is asked on the shared subject after a server of version 1 was heard there, in ms: it takes each for an open. */
const V1_REST_MS = 60_000;

/**
 * Destinations that are asked for: with more, what the first are worth is known,
 * and a round stays a few messages.
 */
const MAX_WATCHED = 8;

/** Options of a watch. */
export interface ServerWatchOptions {
  /** The way to NATS. */
  readonly bus: Bus;
  /** Where the time comes from. */
  readonly clock: Clock;
  /** What asks. */
  readonly prober: Prober;
  /** Where opens are asked for. */
  readonly requests: RequestSubjects;
  /** Whether a server of version 1 would do. */
  readonly allowsV1: boolean;
}

/** What is known of one destination, and asked for it. */
interface Entry {
  readonly destination: Destination;
  readonly watched: Watched;
  answeredAt: number;
  /** Until when a server of version 1 is taken to be there. */
  v1Until: number;
  /** Why an open failed that no server answered, where none has answered since. */
  unopened: string | undefined;
  /** Ends what is being asked. */
  asking: Disposable | undefined;
}

/** A subject where no server was heard. */
interface Unheard {
  readonly subject: string;
  /** How that is known. */
  readonly how: "nobody" | "denied" | "silence";
  /** What answered there that is no server of ours. */
  readonly foreign?: string | undefined;
}

/** The watch over the servers for all ways in. */
export class ServerWatch implements Disposable {
  readonly #options: ServerWatchOptions;
  readonly #stop = new AbortController();
  #entries: ReadonlyMap<string, Entry> = new Map();
  #next: Disposable | undefined;
  #doubtedAt = -Infinity;
  #upAt = -Infinity;

  /** Nothing is asked before there are destinations. */
  constructor(options: ServerWatchOptions) {
    const { bus, requests } = options;
    this.#options = options;
    bus.onLink((event) => this.#onLink(event), this.#stop.signal);
    requests.onAnswered = (subject) => this.#onAnswered(subject);
  }

  /** From now on servers for these are asked, as far as there is room. */
  follow(destinations: readonly Destination[]): void {
    const before = this.#entries;
    const now = this.#options.clock.now();
    const after = new Map<string, Entry>();
    for (const destination of destinations) {
      const key = this.#keyOf(destination, now);
      if (after.has(key) || after.size >= MAX_WATCHED) continue;
      after.set(
        key,
        before.get(key) ?? {
          destination,
          watched: new Watched(),
          answeredAt: -Infinity,
          v1Until: -Infinity,
          unopened: undefined,
          asking: undefined,
        },
      );
    }
    this.#entries = after;
    for (const [key, { asking }] of before) {
      if (!after.has(key)) asking?.[Symbol.dispose]();
    }
    this.#round();
  }

  /** Why no open would get through; undefined when one would for at least one destination, as far as is known. */
  get problem(): string | undefined {
    const problems = this.#each((watched) => watched.problem);
    return problems.some((one) => one === undefined) ? undefined : problems[0];
  }

  /** Why a destination was not answered last; undefined where all were. */
  get lastFailure(): string | undefined {
    return this.#each((watched) => watched.lastFailure)
      .find((one) => one !== undefined);
  }

  /** How many destinations are watched, and how many of them are answered. */
  get counts(): { readonly destinations: number; readonly answered: number } {
    const problems = this.#each((watched) => watched.problem);
    return {
      destinations: problems.length,
      answered: problems.filter((one) => one === undefined).length,
    };
  }

  /** An open has found no server, and says why: that is asked after at once. */
  doubt(destination: Destination, why: string): void {
    const { clock } = this.#options;
    const now = clock.now();
    const doubted = this.#entries.get(this.#keyOf(destination, now));
    if (doubted !== undefined) doubted.unopened = why;
    if (now < this.#doubtedAt + ASK_AGAIN.base) return;
    this.#doubtedAt = now;
    for (const entry of this.#entries.values()) entry.answeredAt = -Infinity;
    this.#round();
  }

  /** Asks no more. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#rest();
    this.#options.requests.onAnswered = () => {};
  }

  #each<T>(of: (watched: Watched) => T): T[] {
    return [...this.#entries.values()].map(({ watched }) => of(watched));
  }

  /** What destinations have in common that are asked for in one place; not in which order. */
  #keyOf(destination: Destination, now: number): string {
    return this.#subjectsTo(destination, now).toSorted().join(" ");
  }

  /** Where an open would be asked for; on the last subject of a service it is only told why it gets none. */
  #subjectsTo({ target, site }: Destination, now: number): readonly string[] {
    return this.#options.requests.subjectsTo({ target, site }, now);
  }

  #onLink({ type }: LinkEvent): void {
    if (type === "up") {
      this.#upAt = this.#options.clock.now();
      for (const entry of this.#entries.values()) entry.answeredAt = -Infinity;
      // Clients of a broker that was restarted come back at one moment.
      this.#schedule(Math.random() * ASK_AGAIN.base);
    } else if (type === "down" || type === "closed") this.#rest();
  }

  #onAnswered(subject: string): void {
    const now = this.#options.clock.now();
    for (const entry of this.#entries.values()) {
      const [first, ...others] = this.#subjectsTo(entry.destination, now);
      const isService = "service" in entry.destination.target;
      if (subject === first || !isService && others.includes(subject)) {
        this.#conclude(entry, { type: "answered" });
      }
    }
  }

  #rest(): void {
    this.#next?.[Symbol.dispose]();
    this.#next = undefined;
    for (const entry of this.#entries.values()) this.#endAsking(entry);
  }

  #schedule(ms: number): void {
    this.#next?.[Symbol.dispose]();
    this.#next = this.#options.clock.after(ms, () => this.#round());
  }

  /** Asks for each destination that was not answered lately. */
  #round(): void {
    const { bus, clock } = this.#options;
    this.#next?.[Symbol.dispose]();
    this.#next = undefined;
    if (!bus.connected || this.#stop.signal.aborted) return;
    const now = clock.now();
    this.#schedule(EVERY_MS * (1 + JITTER * (2 * Math.random() - 1)));
    for (const entry of this.#entries.values()) {
      const isFresh = now < entry.answeredAt + EVERY_MS * (1 - JITTER);
      if (!isFresh && entry.asking === undefined) this.#ask(entry, []);
    }
  }

  /** Asks on the first subject that is not among those where nobody was heard. */
  #ask(entry: Entry, unheard: readonly Unheard[]): void {
    const { clock, prober, requests, allowsV1 } = this.#options;
    const now = clock.now();
    const { destination } = entry;
    const subject = this.#subjectsTo(destination, now)
      .find((one) => unheard.every(({ subject }) => subject !== one));
    if (subject === undefined) {
      this.#fail(entry, this.#nobody(destination, unheard));
      return;
    }
    if (subject === requests.shared && now < entry.v1Until) {
      this.#conclude(entry, { type: "answered" });
      return;
    }
    const service = unheard.length > 0 && "service" in destination.target
      ? destination.target.service
      : undefined;
    let foreign: string | undefined;
    const cleanup = new DisposableStack();
    this.#endAsking(entry);
    entry.asking = cleanup;
    cleanup.use(clock.after(SILENCE_MS, () => {
      asking?.tryNextKey();
      const silent = { subject, how: "silence", foreign } as const;
      if (subject === requests.shared && allowsV1 && foreign === undefined) {
        // What is there may be of version 1, as long as opens do not say otherwise.
        const { unopened: text } = entry;
        if (text === undefined) this.#conclude(entry, { type: "unknown" });
        else this.#fail(entry, { type: "nobody", text });
      } else if ("service" in destination.target) {
        this.#fail(entry, this.#nobody(destination, [...unheard, silent]));
      } else this.#ask(entry, [...unheard, silent]);
    }));
    requests.asked(subject);
    const asking: Asking | undefined = cleanup.use(
      prober.ask(subject, (heard) => {
        const why = service && serviceProblem(service, heard);
        const verdict = why === undefined
          ? judge(heard, subject === requests.shared && allowsV1)
          : { type: "nobody", text: why } as const;
        if (typeof verdict === "string") foreign = verdict;
        else if (verdict.type === "unheard") {
          if (heard.type === "nobody") requests.unheard(subject);
          const { how } = verdict;
          this.#ask(entry, [...unheard, { subject, how }]);
        } else if (verdict.type === "answered") {
          if (heard.type === "v1") entry.v1Until = clock.now() + V1_REST_MS;
          else requests.answered(subject, clock.now());
          this.#conclude(entry, verdict);
        } else this.#fail(entry, verdict);
      }),
    );
  }

  /** What it comes to that no server was heard on any subject. */
  #nobody(destination: Destination, unheard: readonly Unheard[]): Round {
    const silent = unheard.find(({ how }) => how === "silence");
    if (silent !== undefined) {
      const why = silent.foreign ?? "whoever listens there does not answer";
      const text = `no server answers on ${silent.subject}, but ${why}`;
      return { type: "silence", text };
    }
    const isDenied = (subject: string): boolean =>
      unheard.some((one) => one.subject === subject && one.how === "denied");
    const [first] = unheard;
    const text = first !== undefined &&
        unheard.every(({ how }) => how === "denied")
      ? publishDenied(first.subject).text
      : this.#options.requests.noServer(destination, isDenied).text;
    return { type: "nobody", text };
  }

  #fail(entry: Entry, round: Round): void {
    // Servers come back as we do.
    const rejoining = this.#options.clock.now() < this.#upAt + REJOIN_GRACE_MS;
    if (rejoining) {
      this.#endAsking(entry);
      this.#askSoon(1);
    } else this.#conclude(entry, round);
  }

  #conclude(entry: Entry, round: Round): void {
    this.#endAsking(entry);
    if (round.type === "answered") {
      entry.answeredAt = this.#options.clock.now();
      entry.unopened = undefined;
    }
    const { watched } = entry;
    watched.note(round);
    if (watched.failures > 0) this.#askSoon(watched.failures);
  }

  #askSoon(failures: number): void {
    const more = backoffDelay(failures - 1, {
      ...ASK_AGAIN,
      random: Math.random,
    });
    // Two rounds in a row are to be of two moments.
    this.#schedule(ASK_AGAIN.base + more);
  }

  #endAsking(entry: Entry): void {
    entry.asking?.[Symbol.dispose]();
    entry.asking = undefined;
  }
}

/** What an answer is worth; a text for what proves nothing. */
function judge(
  heard: Heard,
  mayBeV1: boolean,
):
  | Round
  | { readonly type: "unheard"; readonly how: "nobody" | "denied" }
  | string {
  switch (heard.type) {
    case "nobody":
    case "denied":
      return { type: "unheard", how: heard.type };
    case "foreign":
      return heard.what;
    case "v1":
      return mayBeV1
        ? { type: "answered" }
        : "an answer came in the form of version 1";
    case "old":
      return { type: "answered" };
    case "refused":
      return heard.reason.code === "denied"
        ? { type: "nobody", text: heard.reason.text }
        : { type: "answered" };
    case "report":
      return heard.report.sealed && heard.report.facts === undefined
        ? { type: "nobody", text: SEALED_ONLY }
        : { type: "answered" };
  }
}

/** Why a server that takes sealed opens only takes none of ours. */
const SEALED_ONLY =
  "the server takes sealed opens only; give the client --secret-key and --server-key";
