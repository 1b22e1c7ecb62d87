/**
 * The types of options that say where something is: places to listen at and to
 * dial, services, sites, targets, networks and brokers.
 *
 * @module
 */
import { type Address, parseAddress } from "../base/address.ts";
import type { BrokerProxy } from "../base/broker_proxy.ts";
import { type Network, parseNetwork } from "../base/network.ts";
import { nameProblem } from "../base/target.ts";
import { parseTargetRule, type TargetRule } from "../base/target_rules.ts";
import { quote } from "../base/text.ts";
import { type Forward, parseForward } from "./forward.ts";
import { type FrontPlace, parseFrontPlace } from "./fronts.ts";
import { parseList } from "./list.ts";
import { type NatsUrls, parseNatsUrls } from "./nats_url.ts";
import { parseProxyUrl } from "./proxy_url.ts";
import {
  parseService,
  parseServiceName,
  type WrittenService,
} from "./service.ts";
import type { OptionType } from "./types.ts";

/** A place to dial. */
export const dialAddress: OptionType<Address> = {
  placeholder: "HOST:PORT",
  parse: (text) => parseAddress(text),
};

/** A place to listen at: an empty host is every interface, port 0 any free one. */
export const listenAddress: OptionType<Address> = {
  placeholder: "[HOST]:PORT",
  parse: (text) =>
    parseAddress(text, { allowEmptyHost: true, allowPortZero: true }),
};

/** A place to listen at, or `off`, which gives undefined. */
export const optionalListenAddress: OptionType<Address | undefined> = {
  placeholder: "[HOST]:PORT|off",
  parse: (text) => /^off$/i.test(text) ? undefined : listenAddress.parse(text),
};

/** Forwards, separated by commas; an empty text is an empty list. */
export const forwards: OptionType<readonly Forward[]> = {
  placeholder: "[BIND:]PORT:TARGET",
  fileType: "list",
  parse: (text) => text === "" ? [] : parseList(text, parseForward).flat(),
};

/** Places where front-ends listen, and the site of each, separated by commas; an empty text is an empty list. */
export const frontPlaces: OptionType<readonly FrontPlace[]> = {
  placeholder: "[BIND:]PORT[@SITE]",
  fileType: "list",
  itemType: "number",
  parse: (text) => text === "" ? [] : parseList(text, parseFrontPlace),
};

/** Services, separated by commas; an empty text is an empty list. */
export const services: OptionType<readonly WrittenService[]> = {
  placeholder: "NAME=TARGET",
  fileType: "list",
  parse: (text) => text === "" ? [] : parseList(text, parseService),
};

/** Names of services, separated by commas; an empty text is an empty list. */
export const serviceNames: OptionType<readonly string[]> = {
  placeholder: "NAME[,NAME...]",
  fileType: "list",
  parse: (text) => text === "" ? [] : parseList(text, parseServiceName),
};

/** The name of a site, or nothing, which gives undefined. */
export const siteName: OptionType<string | undefined> = {
  placeholder: "NAME",
  parse(text): string | undefined {
    if (text === "") return undefined;
    const problem = nameProblem(text);
    if (problem === undefined) return text;
    throw new SyntaxError(`the site ${quote(text)} ${problem}`);
  },
};

/** Target patterns, separated by commas; an empty text is an empty list. */
export const targetRules: OptionType<readonly TargetRule[]> = {
  placeholder: "PATTERN",
  fileType: "list",
  parse: (text) => text === "" ? [] : parseList(text, parseTargetRule),
};

/** Addresses and networks, separated by commas; an empty text is an empty list. */
export const networks: OptionType<readonly Network[]> = {
  placeholder: "CIDR",
  fileType: "list",
  parse: (text) => text === "" ? [] : parseList(text, parseCidr),
};

/** Brokers, separated by commas. */
export const natsUrls: OptionType<NatsUrls> = {
  placeholder: "URL[,URL...]",
  fileType: "list",
  parse: parseNatsUrls,
};

/** A proxy on the way to NATS, or none, which gives undefined. */
export const proxyUrl: OptionType<BrokerProxy | undefined> = {
  placeholder: "URL",
  parse: parseProxyUrl,
};

/** An address, or a network; IPv6 in brackets or without. */
function parseCidr(text: string): Network {
  const refuse = (problem: string): SyntaxError =>
    new SyntaxError(
      `${quote(text)} is no network, such as 10.0.0.0/8 or fd00::1: ${problem}`,
    );
  try {
    const network = parseNetwork(text.replace(/^\[(.*)\]$/s, "$1"));
    if (network.zone === undefined) return network;
  } catch (error) {
    if (error instanceof SyntaxError) throw refuse(error.message);
    throw error;
  }
  throw refuse("of a connection no zone is known; leave it out");
}
