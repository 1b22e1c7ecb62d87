/** Who may see what of the status port. */
import assert from "node:assert/strict";
import { Secret } from "../../lib/base/credentials.ts";
import type { HttpRequest } from "../../lib/process/http.ts";
import { objection, type Shown } from "../../lib/process/status_access.ts";

const TOKEN = "correct-horse-battery";

/** Why a request with these headers, from `peer`, gets no answer: its status. */
function refused(
  headers: Readonly<Record<string, string>>,
  { peer = "127.0.0.1", host = "127.0.0.1:8080", token, shown = "details" }: {
    readonly peer?: string;
    readonly host?: string;
    readonly token?: string;
    readonly shown?: Shown;
  } = {},
): number | undefined {
  const request: HttpRequest = {
    ...{ method: "GET", path: "/", query: "", peer, host },
    headers: new Map(Object.entries(headers)),
  };
  return objection(shown, request, {
    own: "",
    token: token === undefined ? undefined : new Secret(token),
  })?.status;
}

Deno.test("without a token this machine alone sees the details, for itself", () => {
  for (const peer of ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]) {
    assert.equal(refused({}, { peer }), undefined, peer);
  }
  for (
    const peer of ["10.0.0.1", "192.168.1.7", "2001:db8::1", "fe80::1", "", "x"]
  ) assert.equal(refused({}, { peer }), 403, peer);
  const ofProxies = [
    ...["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-client-ip"],
    ...["x-forwarded-host", "x-forwarded-proto", "cf-connecting-ip"],
  ];
  for (const header of ofProxies) {
    assert.equal(refused({ [header]: "127.0.0.1" }), 403, header);
  }
  assert.equal(refused({ authorization: `Bearer ${TOKEN}` }), undefined);
});

Deno.test("with a token nobody sees them without it, and everybody with it", () => {
  const right = [
    `Bearer ${TOKEN}`,
    `bearer  ${TOKEN}`,
    `Basic ${btoa(`:${TOKEN}`)}`,
    `Basic ${btoa(`anybody:${TOKEN}`)}`,
  ];
  for (const peer of ["127.0.0.1", "10.0.0.1"]) {
    for (const authorization of right) {
      assert.equal(
        refused({ authorization }, { peer, token: TOKEN }),
        undefined,
      );
    }
    for (
      const authorization of [
        ...["", "Bearer", "Bearer ", TOKEN, `Bearer ${TOKEN}x`, "Basic !"],
        ...[`Bearer ${TOKEN.slice(1)}`, `Bearer ${TOKEN} x`, "Bearer x"],
        ...[`Basic ${btoa(TOKEN)}`, `Basic ${btoa(`${TOKEN}:`)}`, "Basic Og=="],
        ...[`Digest ${TOKEN}`, `Bearer ${TOKEN.toUpperCase()}`],
      ]
    ) {
      const status = refused({ authorization }, { peer, token: TOKEN });
      assert.equal(status, 401, authorization);
    }
    assert.equal(refused({}, { peer, token: TOKEN }), 401);
  }
});

Deno.test("a token makes no difference to what anybody may see, nor to pages of others", () => {
  for (const shown of ["anybody", "numbers"] as const) {
    const far = { peer: "10.0.0.1", token: TOKEN, shown };
    assert.equal(refused({}, far), undefined);
  }
  const foreign = { host: "evil.example:8080", token: TOKEN } as const;
  const authorization = `Bearer ${TOKEN}`;
  const browser = { "accept-language": "en", authorization };
  assert.equal(refused(browser, foreign), 403);
  assert.equal(refused({ authorization }, foreign), undefined, "curl");
});

Deno.test("a page of another site gets nothing, but leads to the page who follows its link", () => {
  const ask = (site: string, mode: string): number | undefined =>
    refused({ "sec-fetch-site": site, "sec-fetch-mode": mode });
  assert.equal(ask("cross-site", "no-cors"), 403);
  assert.equal(ask("same-site", "cors"), 403);
  assert.equal(ask("cross-site", "navigate"), undefined);
  assert.equal(ask("same-origin", "cors"), undefined);
  assert.equal(ask("none", "navigate"), undefined);
});
