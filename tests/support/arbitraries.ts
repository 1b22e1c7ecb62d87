/**
 * What fast-check makes up: histories of the simulated bus, frames, bytes.
 */
import fc from "fast-check";
import { CODEC_NAMES } from "../../lib/wire/codec.ts";
import { isErrorCode, WIRE_CODES } from "../../lib/base/errors.ts";
import {
  type Frame,
  MAX_OFFSET,
  MAX_PING_ID,
  MAX_RESET_TEXT_BYTES,
} from "../../lib/wire/frame.ts";
import type { Role } from "../../lib/wire/subjects.ts";
import type {
  BusSetup,
  Faults,
  Operation,
  Pace,
  Place,
} from "./simulated_bus.ts";
import type { PairOperation, PairSetup } from "./simulated_pair.ts";

/** A start and what happens then. */
export interface History {
  readonly setup: BusSetup;
  readonly operations: readonly Operation[];
}

/** The same for two whole processes. */
export interface PairHistory {
  readonly setup: PairSetup;
  readonly operations: readonly PairOperation[];
}

/** What kind of trouble a history is full of. */
export interface Profile {
  readonly name: string;
  /** Share of the histories that a run tries. */
  readonly share: number;
  /** Whether messages are lost, repeated and reordered. */
  readonly lossy: boolean;
  /** Whether links are cut. */
  readonly cuts: boolean;
  /** Whether applications and processes cut tunnels. */
  readonly resets: boolean;
  /** Whether memory is scarce. */
  readonly scarce: boolean;
  /** Whether the broker is an enemy, and tunnels are sealed. */
  readonly hostile: boolean;
}

const role: fc.Arbitrary<Role> = fc.constantFrom("client", "server");

const place = fc.record({ tunnel: fc.nat({ max: 3 }), role });

/** From a byte to a few frames; now and then many. */
function sizes(frameBytes: number): fc.Arbitrary<number> {
  return fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 1, max: frameBytes * 4 }) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: frameBytes * 40 }) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }) },
  );
}

/** Bytes of one read: small ones make many frames, and many frames a slow test. */
function chunks(frameBytes: number): fc.Arbitrary<number> {
  return fc.oneof(
    fc.integer({ min: frameBytes >> 3, max: frameBytes * 2 }),
    fc.integer({ min: frameBytes >> 1, max: frameBytes * 10 }),
  );
}

const chance = fc.constantFrom(0, 0, 0.02, 0.1, 0.3, 0.6);

const faults: fc.Arbitrary<Faults> = fc.record({
  loss: chance,
  repeat: chance,
  reorder: chance,
  delay: fc.constantFrom(0, 0, 5, 40, 300, 3_000),
});

function operation(
  { lossy, cuts, resets }: Profile,
  frameBytes: number,
): fc.Arbitrary<Operation> {
  const pace = fc.constantFrom<Pace>("fast", "fast", "slow", "stalled");
  const when = (enabled: boolean, weight: number): number =>
    enabled ? weight : 0;
  return fc.oneof(
    {
      weight: 10,
      arbitrary: fc.record({
        type: fc.constant("write"),
        at: place,
        bytes: sizes(frameBytes),
        chunk: chunks(frameBytes),
        slab: fc.boolean(),
      }),
    },
    {
      weight: 8,
      arbitrary: fc.record({
        type: fc.constant("wait"),
        ms: fc.constantFrom(0, 1, 3, 10, 30, 100, 300, 1_000, 4_000, 15_000),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ type: fc.constant("pace"), at: place, pace }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ type: fc.constant("end"), at: place }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant("congest"),
        role,
        on: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant("frame"),
        role,
        bytes: fc.integer({ min: 1 + (frameBytes >> 2), max: frameBytes }),
      }),
    },
    {
      weight: when(lossy, 6),
      arbitrary: fc.record({ type: fc.constant("faults"), faults }),
    },
    {
      weight: when(cuts, 4),
      arbitrary: fc.record({ type: fc.constant("down"), role }),
    },
    {
      weight: when(cuts, 6),
      arbitrary: fc.record({ type: fc.constant("up"), role }),
    },
    {
      weight: when(resets, 1),
      arbitrary: fc.record({ type: fc.constant("fail"), at: place }),
    },
    {
      weight: when(resets, 1),
      arbitrary: fc.record({
        type: fc.constant("abort"),
        at: place,
        tell: fc.constantFrom(true, true, false),
      }),
    },
  );
}

/** Histories of the given kind. */
export function histories(profile: Profile): fc.Arbitrary<History> {
  const frames = fc.constantFrom(300, 1_000, 1_000, 2_000, 4_096, 16_384);
  return frames.chain((frameBytes) => {
    const windows = fc.constantFrom(1, 2, 4, 16)
      .map((many) => Math.max(many * frameBytes, 24_000));
    const budgets = profile.scarce
      ? fc.constantFrom(0, 1, 3, 10).map((many) => many * frameBytes)
      : fc.constant(1 << 26);
    return fc.record({
      setup: fc.record({
        seed: fc.nat(),
        codec: fc.constantFrom(...CODEC_NAMES),
        tunnels: profile.scarce
          ? fc.integer({ min: 1, max: 4 })
          : fc.constantFrom(1, 1, 2),
        frameBytes: fc.constant(frameBytes),
        window: windows,
        maxWindow: windows,
        sendBudget: budgets,
        receiveBudget: budgets,
        latency: fc.constantFrom(0, 1, 1, 10, 100),
        measured: fc.boolean(),
        ...(profile.hostile
          ? { mischief: fc.constantFrom(0.02, 0.1, 0.3, 0.6) }
          : {}),
        writeTime: fc.constantFrom(0, 0, 1, 4),
      }),
      operations: fc.array(operation(profile, frameBytes), {
        minLength: 1,
        maxLength: 30,
        size: "max",
      }),
    });
  });
}

/** A tunnel is cut, and so is the link before anybody hears of it, for `ms`. */
function lostWord(at: Place, ms: number): readonly PairOperation[] {
  const { role } = at;
  return [
    { type: "fail", at },
    { type: "down", role },
    { type: "wait", ms },
    { type: "up", role },
  ];
}

/** Histories of the given kind, of two whole processes. */
export function pairHistories(profile: Profile): fc.Arbitrary<PairHistory> {
  const more = fc.oneof<fc.WeightedArbitrary<readonly PairOperation[]>[]>(
    { weight: 4, arbitrary: fc.constant([{ type: "connect" }]) },
    {
      weight: profile.resets ? 1 : 0,
      arbitrary: role.map((role) => [{ type: "leave", role }]),
    },
    {
      weight: profile.resets && profile.cuts ? 6 : 0,
      arbitrary: fc.tuple(place, fc.constantFrom(1, 100, 2_000, 40_000))
        .map(([at, ms]) => lostWord(at, ms)),
    },
  );
  return histories(profile).chain(({ setup, operations }) =>
    fc.record({
      setup: fc.record({
        // Who makes up that a tunnel is not known sets the peer time going, and
        // a link that is down for longer ends it.
        patient: profile.hostile
          ? fc.constant(true)
          : fc.constantFrom(true, true, true, false),
        opened: fc.constantFrom(true, true, false),
        hasty: fc.boolean(),
        dialTime: fc.constantFrom(0, 0, 0, 700),
        highWater: fc.constantFrom(Infinity, Infinity, 4, 40)
          .map((many) => many * setup.frameBytes),
      }).map((own) => ({ ...setup, ...own })),
      operations: fc.array(fc.record({ at: fc.nat({ max: 30 }), more }), {
        maxLength: 3,
      }).map((added) => {
        const all: PairOperation[] = [...operations];
        for (const { at, more } of added) all.splice(at, 0, ...more);
        return all;
      }),
    })
  );
}

/** Offsets: small ones, and those near what a number can hold. */
const offset: fc.Arbitrary<number> = fc.oneof(
  fc.nat({ max: 1 << 20 }),
  fc.maxSafeNat(),
  fc.integer({ min: MAX_OFFSET - 100, max: MAX_OFFSET }),
  fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1),
);

/** An ack and a limit that go together. */
const position: fc.Arbitrary<{ ack: number; limit: number }> = fc
  .tuple(offset, offset)
  .map(([a, b]) => ({ ack: Math.min(a, b), limit: Math.max(a, b) }));

/** Bytes, from none to a few hundred. */
export const bytes: fc.Arbitrary<Uint8Array> = fc.uint8Array({
  maxLength: 300,
});

/** Well-formed text of any script, at most as long as a RESET carries. */
const sentence = fc.string({ unit: "grapheme", maxLength: 100 })
  .filter((text) =>
    new TextEncoder().encode(text).length <= MAX_RESET_TEXT_BYTES
  );

const questions = fc.tuple(
  position,
  fc.integer({ min: 0, max: MAX_PING_ID }),
  offset,
  fc.boolean(),
);

/** Every frame that a codec must carry. */
export const frames: fc.Arbitrary<Frame> = fc.oneof(
  fc.tuple(position, offset, bytes).map(([place, at, payload]): Frame => ({
    type: "data",
    ...place,
    offset: Math.min(at, MAX_OFFSET - 302),
    payload: payload.length > 0 ? payload : new Uint8Array(1),
  })),
  fc.tuple(position, fc.boolean()).map(([place, gap]): Frame => ({
    type: "ack",
    ...place,
    gap,
  })),
  fc.tuple(position, offset).map(([place, at]): Frame => ({
    type: "fin",
    ...place,
    offset: Math.min(at, MAX_OFFSET - 1),
  })),
  fc.tuple(
    fc.constantFrom(
      ...Object.keys(WIRE_CODES).filter(isErrorCode).filter((code) =>
        code !== "ok"
      ),
    ),
    sentence,
  )
    .map(([code, text]): Frame => ({ type: "reset", code, text })),
  questions.map(([place, id, sent, resumed]): Frame => ({
    type: "ping",
    ...place,
    id,
    sent,
    resumed,
  })),
  questions.map(([place, id, sent, hold]): Frame => ({
    type: "pong",
    ...place,
    id,
    sent,
    hold,
  })),
);
