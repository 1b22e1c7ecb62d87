/**
 * What a service manager and its service say to each other, as systemd's
 * sd_notify(3) has it: the environment it starts with, and lines of `KEY=value`.
 *
 * @module
 */

/** What a service manager has put into the environment of its service. */
export interface ServiceEnvironment {
  /** `NOTIFY_SOCKET`: where it listens. */
  readonly notifySocket: string | undefined;
  /** `WATCHDOG_USEC`: within how many microseconds it wants to hear that we live. */
  readonly watchdogUsec: string | undefined;
  /** `WATCHDOG_PID`: of whom. */
  readonly watchdogPid: string | undefined;
}

/** What is asked of this process. */
export interface Supervision {
  /** Where to send, as the system has it: abstract ones begin with a NUL. */
  readonly path: string;
  /** Within how many ms it wants to hear that we live; undefined where it does not. */
  readonly watchdogMs: number | undefined;
}

/** Shortest time that a watchdog may have, in ms: what a busy machine takes to come to a timer. */
const MIN_WATCHDOG_MS = 100;

/**
 * What `environment` asks of the process `pid`.
 *
 * @returns also what is wrong with it, which is no reason not to start.
 */
export function parseSupervision(
  { notifySocket = "", watchdogUsec = "", watchdogPid = "" }:
    ServiceEnvironment,
  pid: number,
): {
  readonly supervision: Supervision | undefined;
  readonly problems: readonly string[];
} {
  if (notifySocket === "") return { supervision: undefined, problems: [] };
  if (!/^[/@]./.test(notifySocket) || notifySocket.includes("\0")) {
    return {
      supervision: undefined,
      problems: [
        `NOTIFY_SOCKET is neither a path nor @NAME: ${
          JSON.stringify(notifySocket)
        }`,
      ],
    };
  }
  const path = notifySocket.replace(/^@/, "\0");
  const isOurs = watchdogPid === "" || watchdogPid === String(pid);
  if (watchdogUsec === "" || !isOurs) {
    return { supervision: { path, watchdogMs: undefined }, problems: [] };
  }
  const watchdogMs = Number(watchdogUsec) / 1000;
  const isTime = /^\d+$/.test(watchdogUsec) && watchdogMs >= MIN_WATCHDOG_MS;
  return {
    supervision: { path, watchdogMs: isTime ? watchdogMs : undefined },
    problems: isTime ? [] : [
      `WATCHDOG_USEC is no time of 0.1 s or more: ${
        JSON.stringify(watchdogUsec)
      }`,
    ],
  };
}

/** What goes on in a process, as far as one line tells it. */
export interface Standing {
  /** Whether it has begun to work, and is about to end. */
  readonly phase: "starting" | "working" | "stopping";
  /** Why it cannot do its work now; undefined when it can. */
  readonly notReadyReason: string | undefined;
  /** The brokers that it is connected to, which with workers may be several. */
  readonly brokers: readonly string[];
  /** Tunnels open now. */
  readonly tunnels: number;
  /** Of several workers, how many are ready. */
  readonly workers?: { readonly ready: number; readonly all: number };
  /** Whether the last reload changed nothing because something was wrong. */
  readonly reloadFailed: boolean;
}

/** Longest line of status, in characters: more than any terminal shows. */
const MAX_STATUS = 300;

/** The line that `systemctl status` shows. */
export function statusLine(standing: Standing): string {
  const { phase, notReadyReason, brokers, tunnels, workers, reloadFailed } =
    standing;
  const parts: string[] = [];
  if (phase === "stopping") parts.push("stopping");
  else if (notReadyReason !== undefined) {
    const starts = phase === "starting";
    const isAll = starts && notReadyReason === "starting";
    const what = starts ? "starting" : "not ready";
    parts.push(isAll ? what : `${what}: ${notReadyReason}`);
  } else parts.push(`connected to ${brokers.join(", ") || "NATS"}`);
  parts.push(`${tunnels} tunnel${tunnels === 1 ? "" : "s"} open`);
  if (workers !== undefined && workers.ready < workers.all) {
    parts.push(`${workers.ready} of ${workers.all} workers ready`);
  }
  if (reloadFailed) parts.push("the last reload changed nothing, see the log");
  return oneLine(parts.join("; "));
}

/** `text` as a value: a line break would begin another. */
function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex -- they are what is taken out
  const line = text.replaceAll(/[\u0000-\u001f\u007f]+/g, " ");
  return line.length > MAX_STATUS ? `${line.slice(0, MAX_STATUS - 1)}…` : line;
}

/** Time that is asked for beyond the drain, in ms: the goodbyes to NATS take up to four seconds. */
const STOP_MARGIN_MS = 10_000;

/** What is said of a process that ends, and has `drainMs` ms for its tunnels. */
export function stoppingMessage(drainMs: number): string {
  const usec = Math.ceil((drainMs + STOP_MARGIN_MS) * 1000);
  return `STOPPING=1\nEXTEND_TIMEOUT_USEC=${usec}`;
}

/**
 * What is said when a reload begins.
 *
 * @param uptime Seconds since the machine was started, never rounded down:
 * systemd does not take a time before that at which it asked.
 */
export function reloadingMessage(uptime: number | undefined): string {
  return uptime === undefined
    ? "RELOADING=1"
    : `RELOADING=1\nMONOTONIC_USEC=${Math.ceil(uptime * 1e6)}`;
}
