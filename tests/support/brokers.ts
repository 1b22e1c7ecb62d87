/** Brokers by their URLs, as the configuration gives them to a connection. */
import type { Address } from "../../lib/base/address.ts";
import { parseNatsUrls } from "../../lib/config/nats_url.ts";

/** The brokers at `urls`. */
export function brokers(...urls: readonly string[]): readonly Address[] {
  return parseNatsUrls(urls.join(",")).servers;
}
