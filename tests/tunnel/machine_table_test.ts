/**
 * The model of a tunnel's state machine: for each state and each event what
 * comes of it, every cell decided.
 *
 * A state is written as the sending half (`o` open, `e` ended, `d` done), the
 * receiving half (`o` open, `e` ended with bytes still to be written, `E`
 * ended with only the end still to be passed on, `d` done), and a mark: `!`
 * the local socket has failed and bytes wait to be sent, `?` the peer has
 * reset and bytes wait to be written. `clean`, `local` and `peer` are ends,
 * `local+` one of which the peer has still to be told.
 *
 * A cell is the state that follows, or nothing when it is the same, and after
 * a plus the frames sent: `d`ata, `a`ck, `f`in, `r`eset, `p`ing, pon`q`. A dot
 * is no change at all; a dash, what cannot happen: no write is under way.
 */
import assert from "node:assert/strict";
import { BufferPool } from "../../lib/base/buffer_pool.ts";
import type { Frame } from "../../lib/wire/frame.ts";
import { MemoryBudget } from "../../lib/tunnel/memory_budget.ts";
import { PathEstimate } from "../../lib/tunnel/rtt.ts";
import { LINGER_MS, TunnelState } from "../../lib/tunnel/machine.ts";

const LINKED = `
       read readEnd wrote wroteEnd fail    abort   down up      resumed tick linger  data    repeat hole    fin   ack gap finAck  ping pong      reset
oo     +d   eo+f    .     .        local+r local+r .    +p      +p      +p   +p      .       +a     +a      oe    .   +d  local+r +q   .         oo?
oe     +d   ee+f    oE    .        local+r local+r .    +p      +p      +p   +p      local+r +a     local+r +a    .   +d  local+r +q   .         oe?
oE     +d   eE+f    -     od       local+r local+r .    +p      +p      +p   +p      local+r +a     local+r +a    .   +d  local+r +q   .         peer
od     +d   ed+f    -     .        local+r local+r .    +p      +p      +p   +p      local+r +a     local+r +a    .   +d  local+r +q   .         peer
eo     .    .       .     .        local+r local+r .    +p      +p      +p   +p      .       +a     +a      ee+a  .   +df do      +q   .         eo?
ee     .    .       eE    .        local+r local+r .    +p      +p      +p   +p      local+r +a     local+r +a    .   +df de      +q   .         ee?
eE     .    .       -     ed       local+r local+r .    +p      +p      +p   +p      local+r +a     local+r +a    .   +df dE      +q   .         peer
ed     .    .       -     .        local+r local+r .    +p      +p      +p   +p      local+r +a     local+r +a    .   +df clean   +q   .         peer
do     .    .       .     .        local+r local+r .    +p      +p      .    .       .       +a     +a      de+a  .   .   .       +q   .         do?
de     .    .       dE    .        local+r local+r .    +p      +p      .    .       local+r +a     local+r +a    .   .   .       +q   .         .
dE     .    .       -     clean    local+r local+r .    +p      +p      .    .       local+r +a     local+r +a    .   .   .       +q   .         .
oo!    .    .       .     .        .       local+r .    +p      +p      +p   local+r .       +a     .       oE!   .   .   local+r +q   local+ddr peer
oE!    .    .       -     .        .       local+r .    +p      +p      +p   local+r local+r +a     local+r +a    .   .   local+r +q   local+ddr peer
od!    .    .       -     .        .       local+r .    +p      +p      +p   local+r local+r +a     local+r +a    .   .   local+r +q   local+ddr peer
eo!    .    .       .     .        .       local+r .    +p      +p      +p   local+r .       +a     .       eE!+a .   .   local+r +q   local+ddr peer
eE!    .    .       -     .        .       local+r .    +p      +p      +p   local+r local+r +a     local+r +a    .   .   local+r +q   local+ddr peer
ed!    .    .       -     .        .       local+r .    +p      +p      +p   local+r local+r +a     local+r +a    .   .   local+r +q   local+ddr peer
oo?    .    .       peer  .        peer    local+r .    .       .       .    peer    .       .      .       oe?   .   .   local+r .    .         .
oe?    .    .       peer  .        peer    local+r .    .       .       .    peer    local+r .      local+r .     .   .   local+r .    .         .
eo?    .    .       peer  .        peer    local+r .    .       .       .    peer    .       .      .       ee?   .   .   do?     .    .         .
ee?    .    .       peer  .        peer    local+r .    .       .       .    peer    local+r .      local+r .     .   .   de?     .    .         .
do?    .    .       peer  .        peer    local+r .    .       .       .    peer    .       .      .       de?   .   .   .       .    .         .
de?    .    .       peer  .        peer    local+r .    .       .       .    peer    local+r .      local+r .     .   .   .       .    .         .
clean  .    .       -     .        .       .       .    .       .       .    .       .       .      .       .     .   .   .       .    .         .
local  .    .       -     .        .       .       .    .       .       .    .       .       .      .       .     .   .   .       .    .         .
peer   .    .       -     .        .       .       .    .       .       .    .       .       .      .       .     .   .   .       .    .         .
`;

/** States that a tunnel can be in only while the link is down: the peer is to be told, and cannot. */
const ONLY_DOWN = `
       read readEnd wrote wroteEnd fail    abort   down up      resumed tick linger  data    repeat hole    fin   ack gap finAck  ping pong      reset
do!    .    .       .     .        .       local   .    local+r .       .    local   .       .      .       dE!   .   .   .       .    .         peer
dE!    .    .       -     .        .       local   .    local+r .       .    local   local   .      local   .     .   .   .       .    .         .
local+ .    .       -     .        .       .       .    local+r .       .    .       .       .      .       .     .   .   .       .    .         .
`;

/** Cells that {@linkcode whileDown} has no rule for: with the link up, the RESET was due at once. */
const EXCEPT_DOWN: Readonly<Record<string, string>> = {
  "eo! finAck": "do!",
  "eE! finAck": "dE!",
  "ed! finAck": "clean",
};

/** What is left while the link is down of a cell for when it is up: nothing is sent. */
function whileDown(name: string, event: string, cell: string): string {
  const except = EXCEPT_DOWN[`${name} ${event}`];
  if (except !== undefined) return except;
  // The link comes back, and what waited for it goes.
  if (event === "up") return name.endsWith("!") ? "local+r" : cell;
  // The RESET has to wait; what was to be written is thrown away meanwhile.
  if (event === "fail" && cell === "local+r") {
    return name.replace(/e$/, "E") + "!";
  }
  // Here no PING is out that this could answer.
  if (event === "pong" && name.endsWith("!")) return ".";
  return cell.replace(/\+.*/, "") || ".";
}

const WINDOW = 1 << 16;
const REASON = { code: "aborted", text: "for a test" } as const;
const RESET: Frame = { type: "reset", ...REASON };
const LETTERS = {
  data: "d",
  ack: "a",
  fin: "f",
  reset: "r",
  ping: "p",
  pong: "q",
} as const;

/** A tunnel, with 10 bytes sent and 10 received, that is brought into a state. */
class Subject {
  readonly state: TunnelState;
  now = 0;
  /** Number of the last PING. */
  #asked = 999;
  /** What is being written to the application. */
  #writing: Uint8Array | undefined;

  constructor() {
    this.state = new TunnelState({
      now: 0,
      pool: new BufferPool(),
      sendBudget: new MemoryBudget(1 << 20),
      receiveBudget: new MemoryBudget(1 << 20),
      path: new PathEstimate(),
      peerWindow: WINDOW,
      window: WINDOW,
      maxWindow: WINDOW,
      frameBytes: 1 << 14,
      idleTimeout: 0,
      halfCloseTimeout: 0,
      awaitPeer: false,
    });
  }

  /** The tunnel in the state written so. */
  static in(name: string, linked: boolean): Subject {
    const subject = new Subject();
    if (/^[a-z]{3,}/.test(name)) subject.#close(name, linked);
    else subject.#bring([...name], linked);
    subject.drain();
    return subject;
  }

  #close(name: string, linked: boolean): void {
    const { state } = this;
    if (name === "clean") {
      state.readEnd(0);
      this.drain();
      this.receive({ type: "fin", offset: 0, ack: 1, limit: WINDOW });
      state.wroteEnd(0);
    }
    if (name === "local") state.abort(REASON);
    if (name === "peer") this.receive(RESET);
    this.drain();
    if (!linked) state.linkDown();
    if (name === "local+") state.abort(REASON);
  }

  #bring([send, receive, mark]: readonly string[], linked: boolean): void {
    const { state } = this;
    state.read(new Uint8Array(10), this.now);
    this.drain();
    this.receive({ ...DATA, offset: 0 });
    this.#writing = state.takeWritable();
    if (receive !== "o") this.receive(FIN);
    if (receive === "E" || receive === "d") this.wrote();
    if (receive === "d") state.wroteEnd(this.now);
    if (send === "d") {
      state.readEnd(this.now);
      this.drain();
      // Later it would come too late to matter.
      if (mark === "?") this.receive(RESET);
      this.receive({ ...ACK, ack: 11 });
    }
    this.now = 100; // what was to be acknowledged has been
    state.tick(this.now);
    this.drain();
    if (mark === "!" && linked) {
      // Held back, more bytes wait for the peer to say where it stands.
      state.linkDown();
      state.read(new Uint8Array(10), this.now);
      if (send === "e") state.readEnd(this.now);
      state.linkUp(this.now);
      this.drain();
    } else if (send === "e") {
      state.readEnd(this.now);
      this.drain();
    }
    if (!linked) state.linkDown();
    if (mark === "!") state.fail(REASON, this.now);
    if (mark === "?") this.receive(RESET);
  }

  receive(frame: Frame): void {
    this.state.receive(frame, this.now);
  }

  wrote(): void {
    assert.ok(this.#writing);
    this.state.wrote(this.#writing, this.now);
    this.#writing = undefined;
  }

  get writing(): boolean {
    return this.#writing !== undefined;
  }

  get asked(): number {
    return this.#asked;
  }

  wait(ms: number): void {
    this.now += ms;
    this.state.tick(this.now);
  }

  /** Sends all frames; returns their letters. */
  drain(): string {
    let letters = "";
    let frame: Frame | undefined;
    while ((frame = this.state.pollFrame(this.now)) !== undefined) {
      if (frame.type === "ping") this.#asked = frame.id;
      letters += LETTERS[frame.type];
    }
    return letters;
  }

  /** The name of its state. To learn the mark, time passes: ask last. */
  name(): string {
    const { state } = this;
    if (state.outcome !== undefined) {
      return state.outcome.clean ? "clean" : state.outcome.by;
    }
    const written = state.held.receive === 0;
    const halves = state.sendHalf.slice(0, 1) +
      (state.receiveHalf === "ended" && written
        ? "E"
        : state.receiveHalf.slice(0, 1));
    this.wait(LINGER_MS);
    return halves + mark(state);
  }
}

function mark({ outcome }: TunnelState): string {
  if (outcome === undefined || outcome.clean) return "";
  return outcome.by === "local" ? "!" : "?";
}

const DATA = {
  type: "data",
  offset: 10,
  ack: 0,
  limit: WINDOW,
  payload: new Uint8Array(10),
} as const;
const FIN = { type: "fin", offset: 10, ack: 0, limit: WINDOW } as const;
const ACK = { type: "ack", ack: 10, limit: WINDOW, gap: false } as const;
const PING = {
  type: "ping",
  id: 7,
  sent: 0,
  ack: 0,
  limit: WINDOW,
  resumed: false,
} as const;

const EVENTS: Readonly<Record<string, (subject: Subject) => void>> = {
  read: ({ state, now }) => state.read(new Uint8Array(10), now),
  readEnd: ({ state, now }) => state.readEnd(now),
  wrote: (subject) => subject.wrote(),
  wroteEnd: ({ state, now }) => state.wroteEnd(now),
  fail: ({ state, now }) => state.fail(REASON, now),
  abort: ({ state }) => state.abort(REASON),
  down: ({ state }) => state.linkDown(),
  up: ({ state, now }) => state.linkUp(now),
  resumed: ({ state, now }) => state.peerResumed(now),
  tick: (subject) => subject.wait(300),
  linger: (subject) => subject.wait(LINGER_MS),
  /** The next bytes; after a FIN a lie. */
  data: (subject) => subject.receive(DATA),
  /** Bytes that are here already. */
  repeat: (subject) => subject.receive({ ...DATA, offset: 0 }),
  /** Bytes after some that are missing; after a FIN a lie. */
  hole: (subject) => subject.receive({ ...DATA, offset: 15 }),
  fin: (subject) => subject.receive(FIN),
  ack: (subject) => subject.receive(ACK),
  gap: (subject) => subject.receive({ ...ACK, ack: 0, gap: true }),
  /** Of all bytes and the FIN; before there was one a lie. */
  finAck: (subject) =>
    subject.receive({ ...ACK, ack: subject.state.stats.bytesSent + 1 }),
  ping: (subject) => subject.receive(PING),
  /** To the last PING if there was one, else to none. */
  pong: (subject) =>
    subject.receive({
      type: "pong",
      id: subject.asked,
      sent: 0,
      ack: 0,
      limit: WINDOW,
      hold: false,
    }),
  reset: (subject) => subject.receive(RESET),
};

/** What comes of `event` in the state `name`. */
function outcomeOf(name: string, event: string, linked: boolean): string {
  const subject = Subject.in(name, linked);
  if (event === "wrote" && !subject.writing) return "-";
  EVENTS[event]?.(subject);
  const frames = subject.drain();
  const after = subject.name();
  const same = after === name.replace("+", "");
  return `${same && frames !== "r" ? "" : after}${frames && `+${frames}`}` ||
    ".";
}

/** The rows of a table: each state with its cells by event. */
function rowsOf(table: string): [name: string, cells: Cells][] {
  const [head = "", ...rows] = table.trim().split("\n");
  const events = head.trim().split(/ +/);
  assert.deepEqual(events, Object.keys(EVENTS));
  return rows.map((row) => {
    const [name = "", ...cells] = row.trim().split(/ +/);
    return [
      name,
      Object.fromEntries(events.map((event, at) => [event, cells[at] ?? ""])),
    ];
  });
}

type Cells = Readonly<Record<string, string>>;

function mapCells(
  cells: Cells,
  to: (event: string, cell: string) => string,
): Cells {
  return Object.fromEntries(
    Object.entries(cells).map(([event, cell]) => [event, to(event, cell)]),
  );
}

Deno.test("TunnelState decides every event in every state while the link is up", () => {
  for (const [name, cells] of rowsOf(LINKED)) {
    const actual = mapCells(cells, (event) => outcomeOf(name, event, true));
    assert.deepEqual(actual, cells, `state ${name}`);
  }
});

Deno.test("TunnelState decides every event in every state while the link is down", () => {
  const rows = rowsOf(LINKED).map(([name, cells]) =>
    [
      name,
      mapCells(cells, (event, cell) => whileDown(name, event, cell)),
    ] as const
  );
  for (const [name, cells] of [...rows, ...rowsOf(ONLY_DOWN)]) {
    const actual = mapCells(cells, (event) => outcomeOf(name, event, false));
    assert.deepEqual(actual, cells, `state ${name}`);
  }
});
