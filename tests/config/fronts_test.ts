/** Where front-ends listen: flags, variables and files, and who may use them. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/base/errors.ts";
import { formatPlace } from "../../lib/base/place.ts";
import {
  fakeSources,
  HIDDEN,
  parseRun,
  reveal,
} from "../support/option_values.ts";

const PATH = "/etc/client.yaml";

interface Given {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly file?: string;
}

function parse(
  { args = [], env = {}, file }: Given,
): ReturnType<typeof parseRun<"client">> {
  const files = file === undefined ? {} : { [PATH]: file };
  const config = file === undefined ? [] : ["--config", PATH];
  return parseRun("client", [...config, ...args], fakeSources({ env, files }));
}

/** Where a client listens, and what for. */
function waysOf(given: Given): string[] {
  return parse(given).config.client.forwards.map((way) =>
    "front" in way
      ? `${way.origin} ${way.front} ${formatPlace(way.listen)}`
      : `${way.origin} ${formatPlace(way.listen)}`
  );
}

function problemsOf(given: Given): readonly string[] {
  try {
    parse(given);
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    assert.doesNotMatch(error.message, new RegExp(HIDDEN));
    return error.problems.map((problem) => problem.replace(/; run .*/, ""));
  }
  return [];
}

Deno.test("front-ends listen on this machine alone unless told otherwise, and the original's place is not open beside them", () => {
  assert.deepEqual(
    waysOf({
      args: [
        "-D",
        "1080",
        "-D*:1",
        "--socks=[::1]:2,./x.sock",
        "--http-proxy",
        "0",
      ],
      env: { HOME: "/h" },
    }),
    [
      "--socks socks localhost:1080",
      "--socks socks :1",
      "--socks socks [::1]:2",
      "--socks socks unix:./x.sock",
      "--http-proxy http-proxy localhost:0",
    ],
  );
  assert.deepEqual(
    waysOf({ args: ["-D", "~/s", "-L", "1:a:1"], env: { HOME: "/h" } }),
    [
      "--forward localhost:1",
      "--socks socks unix:/h/s",
    ],
  );
  assert.deepEqual(
    waysOf({ args: ["--http-proxy", "3128", "--listen-addr", ":1"] }),
    ["--listen-addr :1", "--http-proxy http-proxy localhost:3128"],
  );
  assert.deepEqual(
    waysOf({ env: { SOCKS_LISTEN: "1,2", HTTP_PROXY: "http://proxy:3128" } }),
    ["--socks socks localhost:1", "--socks socks localhost:2"],
  );
});

Deno.test("front-ends in a file are a port, a text or a list of them", () => {
  const one = ["--socks socks localhost:1080"];
  for (const value of ["1080", '"1080"', "[1080]", "localhost:1080"]) {
    assert.deepEqual(
      waysOf({ file: `client: { socks: ${value} }` }),
      one,
      value,
    );
  }
  assert.deepEqual(
    waysOf({ file: 'client: { http_proxy: [3128, "*:8080"] }' }),
    [
      "--http-proxy http-proxy localhost:3128",
      "--http-proxy http-proxy :8080",
    ],
  );
  assert.deepEqual(problemsOf({ file: "client: { socks: [1080, true] }" }), [
    'client.socks[1] in /etc/client.yaml: the boolean "true" where there must be a string',
  ]);
});

Deno.test("what is wrong with front-ends is told with the right form", () => {
  const form =
    "is no place to listen at ([BIND:]PORT or PATH, such as 1080, perhaps with @SITE)";
  assert.deepEqual(problemsOf({ args: ["-D", "socks5://a:1,1-3,web"] }), [
    `--socks: "socks5://a:1" ${form}: it has a scheme; leave that out`,
    `--socks: "1-3" ${form}: it is a range of ports; one is enough`,
    `--socks: "web" ${form}: the port to listen at, "web", is neither a port nor a range of ports (a path has a / in it)`,
  ]);
  assert.deepEqual(
    problemsOf({
      args: ["-D", "1", "-D", "1", "--http-proxy", "1", "-L", "1:a:1"],
    }),
    [
      "--forward and --socks both listen at localhost:1",
      "--socks and --socks both listen at localhost:1",
      "--socks and --http-proxy both listen at localhost:1",
    ],
  );
});

Deno.test("a login for front-ends is a user and a password, which SOCKS and HTTP can say", () => {
  const env = { SOCKS_PASSWORD: HIDDEN };
  const { client } = parse({ args: ["--socks-user", "ann"], env }).config;
  assert.deepEqual(reveal([client.socksUser, client.socksPassword]), [
    "ann",
    HIDDEN,
  ]);
  assert.equal(JSON.stringify(client).includes(HIDDEN), false);
  assert.deepEqual(problemsOf({ args: ["--socks-user", "ann"] }), [
    "client.socks_user is set but client.socks_password (SOCKS_PASSWORD) is not",
  ]);
  assert.deepEqual(problemsOf({ env }), [
    "client.socks_password is set but client.socks_user is not",
  ]);
  assert.deepEqual(problemsOf({ args: ["--socks-user", "a:b"], env }), [
    'client.socks_user ("a:b") has a colon in it, which ends a user in HTTP',
  ]);
  assert.deepEqual(
    problemsOf({
      args: ["--socks-user", "é".repeat(128)],
      env: { SOCKS_PASSWORD: "x".repeat(256) },
    }),
    [
      "client.socks_user has 256 bytes: SOCKS takes 255 at most",
      "client.socks_password has 256 bytes: SOCKS takes 255 at most",
    ],
  );
  assert.deepEqual(problemsOf({ args: [`--socks-password=${HIDDEN}`] }), [
    'Unknown flag "--socks-password" (a secret is given by the variable SOCKS_PASSWORD)',
  ]);
});
