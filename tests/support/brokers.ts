/** Brokers by their URLs, as the configuration gives them to a connection. */
import type { BrokerAddress } from "../../lib/base/broker_address.ts";
import { parseNatsUrls } from "../../lib/config/nats_url.ts";

/** The brokers at `urls`. */
export function brokers(...urls: readonly string[]): readonly BrokerAddress[] {
  return parseNatsUrls(urls.join(",")).servers;
}
