/** A tunnel that notes what is done to it. */
import type { Reason } from "../../lib/base/errors.ts";
import type { Peer } from "../../lib/session/tunnel.ts";
import type { Tunnel, TunnelInfo } from "../../lib/session/tunnel.ts";
import type { Outcome } from "../../lib/tunnel/types.ts";

/** A stand-in for tables and peers. */
export class FakeTunnel implements Tunnel {
  readonly info: TunnelInfo;
  readonly number: number;
  readonly inbound: string;
  readonly peer: Peer | undefined = undefined;
  readonly stats = { bytesSent: 0, bytesReceived: 0, replays: 0, gaps: 0 };
  readonly ack = 0;
  readonly held = { send: 0, receive: 0 };
  readonly nextTimeout = Infinity;
  outcome: Outcome | undefined = undefined;
  /** What was done to it, in order. */
  readonly calls: string[] = [];

  constructor(number: number, inbound: string) {
    this.number = number;
    this.inbound = inbound;
    this.info = { id: inbound, remote: "r", target: "t", openedAt: 0 };
  }

  receive(): boolean {
    this.calls.push("receive");
    return true;
  }

  drive(): void {
    this.calls.push("drive");
  }

  tick(): void {
    this.calls.push("tick");
  }

  abort(reason: Reason): void {
    this.calls.push(`abort ${reason.code}`);
    this.outcome ??= { clean: false, by: "local", reason };
  }

  linkDown(): void {
    this.calls.push("linkDown");
  }

  linkUp(): void {
    this.calls.push("linkUp");
  }

  peerLost(reason: Reason): void {
    this.calls.push(`peerLost ${reason.code}`);
    this.outcome ??= { clean: false, by: "peer", reason };
  }

  peerResumed(): void {
    this.calls.push("peerResumed");
  }

  setMaxPayload(bytes: number): void {
    this.calls.push(`setMaxPayload ${bytes}`);
  }
}
