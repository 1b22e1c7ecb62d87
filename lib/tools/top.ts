/**
 * `top`: a running process in a terminal, as its status page shows it, each
 * second; printed once where standard output is none.
 *
 * @module
 */
import { untilAborted } from "../base/abort.ts";
import {
  type Address,
  formatAddress,
  tryParseAddress,
} from "../base/address.ts";
import { wakefulClock } from "../base/clock.ts";
import type { Secret } from "../base/credentials.ts";
import { messageOf, RunError, UsageError } from "../base/errors.ts";
import { quote, redactUrl } from "../base/text.ts";
import { readStatusToken } from "../process/key_files.ts";
import type { ToolCall } from "../process/tool.ts";
import type { Snapshot } from "../status/snapshot.ts";
import { askSnapshot } from "./status_client.ts";
import { type Order, ORDERS, topLines } from "./top_view.ts";

/** Time between two looks, in ms; rates are those of as long. */
const EVERY_MS = 1_000;

/** Another screen without a cursor, and the one before. */
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";

/** Shows the process; see {@linkcode ToolCall}. */
export async function top(call: ToolCall): Promise<number> {
  const address = addressOf(call);
  const token = readStatusToken(call.config.status, new Map());
  const { flags, signal, print } = call;
  const ask = (): Promise<Snapshot> => askSnapshot(address, { token, signal });
  if (flags.has("json")) {
    print(`${JSON.stringify(await ask())}\n`);
    return 0;
  }
  if (flags.has("once") || !Deno.stdout.isTerminal()) {
    await ask();
    await pause(EVERY_MS, signal);
    const shown = { order: ORDERS[0], styled: false };
    print(`${topLines(await ask(), shown).join("\n")}\n`);
    return 0;
  }
  return await follow({ address, token, signal, print });
}

/** Shows it each second until a key or a signal ends that. */
async function follow(
  { address, token, signal, print }: {
    readonly address: Address;
    readonly token: Secret | undefined;
    readonly signal: AbortSignal;
    readonly print: (text: string) => void;
  },
): Promise<number> {
  // What is wrong at first is told on the screen that people see afterwards.
  let snapshot = await askSnapshot(address, { token, signal });
  const quit = new AbortController();
  const ended = AbortSignal.any([signal, quit.signal]);
  let order: Order = ORDERS[0];
  let trouble: string | undefined;
  const draw = (): void => {
    const { columns, rows } = Deno.consoleSize();
    const lines = topLines(snapshot, {
      ...{ columns, lines: rows - 1, order },
      styled: !Deno.noColor,
    });
    const foot = trouble ?? `q quit  s sort: ${order}`;
    const all = [...lines.slice(0, rows - 1), foot.slice(0, columns)];
    // Each line to its end, and what was below it before.
    print(`\x1b[H${all.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`);
  };
  print(ENTER);
  using _screen = { [Symbol.dispose]: () => print(LEAVE) };
  using _keys = readKeys((key) => {
    if (key === "q") quit.abort();
    if (key !== "s") return;
    order = ORDERS[(ORDERS.indexOf(order) + 1) % ORDERS.length] ?? order;
    draw();
  });
  while (!ended.aborted) {
    draw();
    try {
      await pause(EVERY_MS, ended);
      snapshot = await askSnapshot(address, { token, signal: ended });
      trouble = undefined;
    } catch (error) {
      if (ended.aborted) break;
      if (!(error instanceof RunError)) throw error;
      // It may come back: what it said last stays, and that it is old is told.
      trouble = messageOf(error);
    }
  }
  if (!quit.signal.aborted) signal.throwIfAborted();
  return 0;
}

/** Hands over each key that is pressed, if there is a keyboard; until it is disposed. */
function readKeys(onKey: (key: string) => void): Disposable {
  if (!Deno.stdin.isTerminal()) return { [Symbol.dispose]: () => {} };
  // Signals of the terminal go on as they do.
  Deno.stdin.setRaw(true, { cbreak: Deno.build.os !== "windows" });
  const read = async (): Promise<void> => {
    const buffer = new Uint8Array(16);
    for (;;) {
      const count = await Deno.stdin.read(buffer);
      if (count === null) return;
      onKey(String.fromCharCode(buffer[0] ?? 0));
    }
  };
  // Without a keyboard any more a signal ends it.
  read().catch(() => {});
  return { [Symbol.dispose]: () => Deno.stdin.setRaw(false) };
}

/** Waits so many ms. @throws the reason of `signal` when it aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  using _timer = wakefulClock.after(ms, resolve);
  await untilAborted(promise, signal);
}

/** Where the process is asked: as the word says, or its configuration. */
function addressOf({ words: [word], config, role }: ToolCall): Address {
  if (word !== undefined) return parseWhere(word);
  const found = config.role === "server"
    ? config.server.listenAddr
    : config.client.statusAddr;
  const flag = role === "server" ? "--listen-addr" : "--status-addr";
  if (found === undefined) {
    throw new UsageError(
      `top does not know where the status is served: give its address as a word, or ${flag}`,
    );
  }
  if (found.port === 0) {
    throw new UsageError(
      `${flag} ${
        formatAddress(found)
      } is any free port: give top the one that the log names (status listening)`,
    );
  }
  return reachable(found);
}

/** The address in a word: a port is one of this machine, and a URL has one in it. */
function parseWhere(word: string): Address {
  const bare = word.replace(/^http:\/\/|\/$/g, "");
  const parsed = tryParseAddress(/^\d+$/.test(bare) ? `:${bare}` : bare, {
    allowEmptyHost: true,
  });
  if (typeof parsed !== "string") return reachable(parsed);
  throw new UsageError(
    `${quote(redactUrl(word))} is no address of a status: ${parsed}`,
  );
}

/** Every interface is asked at the loopback. */
function reachable({ host, port }: Address): Address {
  if (host === "" || host === "0.0.0.0") return { host: "127.0.0.1", port };
  return host === "::" ? { host: "::1", port } : { host, port };
}
