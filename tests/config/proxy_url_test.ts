/** URLs of proxies on the way to NATS; what is refused of them is in `option_values.ts`. */
import assert from "node:assert/strict";
import { parseProxyUrl } from "../../lib/config/proxy_url.ts";
import { HIDDEN, reveal } from "../support/option_values.ts";

Deno.test("parseProxyUrl() reads the URLs of SOCKS and HTTP proxies", () => {
  for (
    const [text, kind, host, port, login] of [
      ["socks5://p", "socks5", "p", 1080, undefined],
      ["SOCKS5H://p:9050/", "socks5", "p", 9050, undefined],
      ["http://[::1]", "http", "::1", 80, undefined],
      ["http://10.0.0.1:3128", "http", "10.0.0.1", 3128, undefined],
      ["socks5://ann:a%40b@p", "socks5", "p", 1080, ["ann", "a@b"]],
      ["http://ann:a:b@c@p:1", "http", "p", 1, ["ann", "a:b@c"]],
    ] as const
  ) {
    const [user, password] = login ?? [];
    assert.deepEqual(reveal(parseProxyUrl(text)), {
      kind,
      address: { host, port },
      ...(login && { login: { user, password } }),
    });
  }
  assert.deepEqual([parseProxyUrl("none"), parseProxyUrl("-")], [
    undefined,
    undefined,
  ]);
});

Deno.test("parseProxyUrl() says what is wrong, without the password", () => {
  for (
    const [text, problem] of [
      ["p:1080", /neither socks5:\/\/ nor http:\/\/$/],
      [`https://ann:${HIDDEN}@p`, /neither socks5/],
      [`socks5://ann:${HIDDEN}@p:x`, /its port is not a number$/],
      [`http://${HIDDEN}@p`, /its user has no password$/],
      [`http://ann:${HIDDEN}%00@p`, /characters that no proxy takes$/],
      [`http://a%3ab:${HIDDEN}@p`, /characters that no proxy takes$/],
      [`http://ann:${HIDDEN.repeat(40)}@p`, /longer than 255 bytes$/],
      [`http://ann:${HIDDEN}@p/x`, /more than host and port$/],
      ["http://", /it has no host$|no port/],
    ] as const
  ) {
    assert.throws(
      () => parseProxyUrl(text),
      (error: unknown) =>
        error instanceof SyntaxError && problem.test(error.message) &&
        !error.message.includes(HIDDEN),
      text,
    );
  }
});
