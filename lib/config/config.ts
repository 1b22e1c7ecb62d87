/**
 * The configuration of each role, parsed and frozen. Its structure is that of
 * the config file's keys, with the ways to log in made one.
 *
 * @module
 */

import type { Address } from "../base/address.ts";
import type { NatsAuth, NatsServer } from "./nats_login.ts";
import type { TargetRule } from "../base/target_rules.ts";

/** How to speak TLS to the broker. */
export interface NatsTlsConfig {
  /** Whether a connection without TLS is refused: a `tls://` URL, or any option of this section. */
  readonly required: boolean;
  /** Path of a PEM file of authorities; the system's when undefined. */
  readonly ca: string | undefined;
  /** Path of the PEM file of our certificate; there is one exactly when there is a key. */
  readonly cert: string | undefined;
  /** Path of the PEM file of our certificate's key. */
  readonly key: string | undefined;
  /** Whether the handshake comes before the broker's greeting. */
  readonly first: boolean;
}

/** How to reach NATS, and the subjects to use there. */
export interface NatsConfig {
  /** The brokers, without credentials; at least one. */
  readonly servers: readonly NatsServer[];
  /** How to log in. */
  readonly auth: NatsAuth;
  /** How to speak TLS. */
  readonly tls: NatsTlsConfig;
  /** How long the first connection is tried, in ms; 0 for ever. */
  readonly connectTimeout: number;
  /** Time between pings to the broker, in ms. */
  readonly pingInterval: number;
  /** Subject of open requests. */
  readonly requestSubject: string;
  /** Start of the subjects of data, without a dot at its end. */
  readonly dataPrefix: string;
}

/** What is logged, and in which form. */
export interface LogConfig {
  /** The least level that is logged. */
  readonly level: "debug" | "info" | "warn" | "error";
  /** Text for people or JSON lines for programs. */
  readonly format: "text" | "json";
}

/** Limits and times of tunnels. */
export interface TunnelConfig {
  /** How long open tunnels may go on while draining, in ms. */
  readonly drainTimeout: number;
  /** How long tunnels wait for NATS or a silent peer, in ms. */
  readonly resumeTimeout: number;
  /** How long a peer that NATS says is gone may stay so, in ms; more than {@linkcode TunnelConfig.peerPingInterval}. */
  readonly peerTimeout: number;
  /** Time between pings to a peer, in ms. */
  readonly peerPingInterval: number;
  /** How long a tunnel may carry no byte, in ms; 0 for ever. */
  readonly idleTimeout: number;
  /** The same once one direction has ended, in ms; 0 for ever. */
  readonly halfCloseTimeout: number;
  /** Most tunnels open at once. */
  readonly max: number;
  /** Most tunnels being opened at once. */
  readonly maxOpening: number;
  /** Most bytes under way for each tunnel and direction; at most {@linkcode TunnelConfig.memoryBudget}. */
  readonly window: number;
  /** Most bytes held for all tunnels together, for each direction. */
  readonly memoryBudget: number;
  /** Whether peers of protocol version 1 are refused. */
  readonly refuseV1: boolean;
  /** Most bytes a second sent to a peer of version 1. */
  readonly v1Rate: number;
}

/** What both roles have. */
export interface CommonConfig {
  /** NATS. */
  readonly nats: NatsConfig;
  /** The log. */
  readonly log: LogConfig;
  /** Tunnels. */
  readonly tunnel: TunnelConfig;
  /** Threads that share the work; `auto` for one each core. */
  readonly workers: number | "auto";
}

/** The server's configuration; frozen all the way down. */
export interface ServerConfig extends CommonConfig {
  /** Which of the two it is. */
  readonly role: "server";
  /** NATS. */
  readonly nats: NatsConfig & {
    /** Queue group in which servers share the open requests. */
    readonly queueGroup: string;
  };
  /** What only a server has. */
  readonly server: {
    /** Where the status is served; undefined for nowhere. */
    readonly listenAddr: Address | undefined;
    /** How long a dial may take, in ms. */
    readonly dialTimeout: number;
    /** Targets that may be dialled; empty for all. */
    readonly allowTarget: readonly TargetRule[];
    /** Most tunnels open at once for one client. */
    readonly maxTunnelsPerClient: number;
  };
}

/** The client's configuration; frozen all the way down. */
export interface ClientConfig extends CommonConfig {
  /** Which of the two it is. */
  readonly role: "client";
  /** Tunnels. */
  readonly tunnel: TunnelConfig & {
    /** Form of frames. */
    readonly codec: "binary" | "json";
  };
  /** What only a client has. */
  readonly client: {
    /** Where local connections are accepted. */
    readonly listenAddr: Address;
    /** The target. */
    readonly remoteAddr: Address;
    /** Reserved. */
    readonly proxyAddr: Address;
    /** How long the answer to an open may take, in ms. */
    readonly openTimeout: number;
    /** Where the status is served; undefined for nowhere. */
    readonly statusAddr: Address | undefined;
    /** This client's token in subjects; undefined for a random one. */
    readonly id: string | undefined;
  };
}

/** The configuration of each role. */
export interface ConfigByRole {
  /** The server's. */
  readonly server: ServerConfig;
  /** The client's. */
  readonly client: ClientConfig;
}
