/** Values for every option, and sources made of maps, for the tests of configuration. */
import assert from "node:assert/strict";
import { Secret } from "../../lib/base/credentials.ts";
import { type CommandLine, parseCommandLine } from "../../lib/config/cli.ts";
import type { ConfigByRole } from "../../lib/config/config.ts";
import type { Sources } from "../../lib/config/sources.ts";
import type { OptionKey } from "../../lib/config/options.ts";
import type { Role } from "../../lib/wire/subjects.ts";

/** Both roles, for tests of what each of them does. */
export const ROLES: readonly Role[] = ["server", "client"];

/** Public keys, and the seed of the first. */
export const PUBLIC_KEYS = [
  "XCSOBEUSWZI4E6FZO4WFNH27VG5RHWIGWRVLNDE57HOCWRAJ7CRATSUK",
  "XDHI2OWRZS3DH3D3ODAXQFFFY5XM2AUWQUCQ2NCHIW5ALBYOLB6VSWAL",
  "XBO75XJ3NPKH635CR3QV3FU5LOYOUU3XJVEIXWXZ34OG4AJEWPXSFWVH",
] as const;
export const SEED =
  "SXAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN4QM";

/** Stands in bad values of options that may hold a secret; no message may have it. */
export const HIDDEN = "hunter2";

/**
 * Two good values of each option, neither of them its default. The type asks
 * for every option; one that is missing does not compile.
 */
export const GOOD: Readonly<Record<OptionKey, readonly [string, string]>> = {
  "server.listen_addr": ["127.0.0.1:1", "off"],
  "server.services": ["db=db:5432", "web=unix:/run/web.sock,ssh=auto"],
  "server.site": ["berlin", "edge_7"],
  "server.nats_service": ["false", "no"],
  "server.control": ["true", "yes"],
  "server.dial_timeout": ["1s", "2s"],
  "server.allow_target": ["db:5432", "*.example.com:443,10.0.0.0/8:*"],
  "server.deny_target": ["10.0.0.0/8:*", "*:25"],
  "server.max_tunnels_per_client": ["1", "2"],
  "server.max_open_rate": ["1", "2"],
  "client.forwards": ["8080:db:5432", "*:1:a:1,/run/x.sock:[::1]:2"],
  "client.socks": ["1080", "*:1,[::1]:2,/run/x.sock"],
  "client.http_proxy": ["3128", "10.0.0.1:0"],
  "client.socks_user": ["ann", "bob"],
  "client.socks_password": ["one", "two"],
  "client.listen_addr": ["127.0.0.1:1", ":0"],
  "client.allow_from": ["10.0.0.0/8,::1", "[fd00::/8],192.168.1.7"],
  "client.accept_proxy": ["true", "1"],
  "client.nats_service": ["true", "1"],
  "client.control": ["true", "on"],
  "client.remote_addr": ["a:1", "[::1]:2"],
  "client.proxy_addr": ["a:1", "b:2"],
  "client.open_timeout": ["1s", "2s"],
  "client.status_addr": [":1", "127.0.0.1:2"],
  "client.id": ["edge-1", "edge_2"],
  "nats.context": ["dev.json", "prod.json"],
  "nats.url": ["tls://a:1,b", "nats://user:hunter2@a"],
  "nats.ignore_discovered": ["true", "on"],
  "nats.creds": ["a.creds", "b.creds"],
  "nats.nkey": ["a.nk", "b.nk"],
  "nats.user": ["ann", "bob"],
  "nats.password": ["one", "two"],
  "nats.token": ["one", "two"],
  "nats.jwt": ["a.b.c", "d.e.f"],
  "nats.seed": ["SUA", "SUB"],
  "nats.tls.ca": ["a.pem", "b.pem"],
  "nats.tls.cert": ["a.pem", "b.pem"],
  "nats.tls.key": ["a.key", "b.key"],
  "nats.tls.first": ["true", "yes"],
  "nats.proxy": ["socks5://p", "http://user:hunter2@p:3128"],
  "nats.name": ["edge 7", "b"],
  "nats.connect_timeout": ["0", "1m"],
  "nats.ping_interval": ["1s", "500ms"],
  "nats.request_subject": ["a.b", "c"],
  "nats.data_prefix": ["a.b", "c"],
  "nats.queue_group": ["a", "b.c"],
  "nats.audit_subject": ["audit.tunnels", "a"],
  "nats.inbox_prefix": ["_I", "a.b"],
  "tunnel.codec": ["json", "json"],
  "tunnel.drain_timeout": ["0", "1s"],
  "tunnel.resume_timeout": ["10s", "1m"],
  "tunnel.peer_timeout": ["3s", "4s"],
  "tunnel.peer_ping_interval": ["1s", "500ms"],
  "tunnel.idle_timeout": ["1s", "1h"],
  "tunnel.half_close_timeout": ["0", "1s"],
  "tunnel.max": ["1", "1000000"],
  "tunnel.max_opening": ["1", "2"],
  "tunnel.window": ["16KiB", "65536"],
  "tunnel.memory_budget": ["8MiB", "48MiB"],
  "tunnel.refuse_v1": ["true", "1"],
  "tunnel.v1_rate": ["32KiB", "1GiB"],
  "security.secret_key": ["a.key", "b.key"],
  "security.server_key": [PUBLIC_KEYS[0], PUBLIC_KEYS.slice(1).join(", ")],
  "security.client_key": [PUBLIC_KEYS[0], PUBLIC_KEYS.slice(1).join(", ")],
  "security.psk": ["a.psk", "b.psk"],
  "status.token": ["a.token", "b.token"],
  "log.level": ["debug", "error"],
  "log.format": ["json", "json"],
  "watch_config": ["true", "yes"],
  "workers": ["auto", "64"],
};

/** What an option cannot do without, as far as the role has it. */
export const COMPANIONS: {
  readonly [K in OptionKey]?: readonly OptionKey[];
} = {
  "nats.user": ["nats.password"],
  "nats.password": ["nats.user"],
  "nats.seed": ["nats.jwt"],
  "client.socks_user": ["client.socks_password"],
  "client.socks_password": ["client.socks_user"],
  "nats.tls.cert": ["nats.tls.key"],
  "nats.tls.key": ["nats.tls.cert"],
  "security.secret_key": ["security.server_key", "security.client_key"],
  "security.server_key": ["security.secret_key"],
  "security.client_key": ["security.secret_key"],
  "security.psk": [
    "security.secret_key",
    "security.server_key",
    "security.client_key",
  ],
};

const NOT_DURATIONS = ["10", "-1s", "1w", "ten", "600h"];
const NOT_INTERVALS = [...NOT_DURATIONS, "0", "9ms"];
const NOT_COUNTS = ["0", "-1", "1.5", "1e3", "many", "1000001"];
const NOT_SUBJECTS = ["a..b", ".a", "a.", "a.*", "a.>", "a b", "é", "a\nb"]
  .concat("x".repeat(129));
const NOT_PATHS = ["a\nb", "a\0b"];
const NOT_DIALLED = ["redis", ":6379", "a:0", "a:65536", "a:x", "::1:5"]
  .concat("a b:1", "a\nb:1", `${"a".repeat(254)}:1`);
const NOT_LISTENED = ["8080", "a:65536", "a:x", "::1:5", "a b:1", "a\nb:1"];
const NOT_BOOLEANS = ["maybe", "2", "tru\ne"];

/** Bad values of each option; the type asks for every option here too. */
export const BAD: Readonly<Record<OptionKey, readonly string[]>> = {
  "server.listen_addr": [...NOT_LISTENED, "none"],
  "server.services": [
    ...["db", "=db:5432", "db=", "db=db", "db=db:0", "a.b=a:1", "22=a:1"],
    ...["db=svc:other", "db=db:1@site", "db=unix:run", "db=http://db:80"],
    ...["db=a:1,", "db=a:1,x", `${"x".repeat(33)}=a:1`, "d b=a:1", "*=a:1"],
    ...["db=unix:/a\nb", "nobody-knows=auto", "db=AUTO"],
  ],
  "server.site": ["a.b", "a b", "*", "é", "7", "1-2", "x".repeat(33)],
  "server.nats_service": NOT_BOOLEANS,
  "server.control": NOT_BOOLEANS,
  "server.dial_timeout": NOT_INTERVALS,
  "server.allow_target": [
    ...["db", "db:0", "a:1,", "*a:1", "10.0.0.1/8:*"],
    ...["unix:", "unix:run", "unix:/run/*", "unix:/a\nb", "unix:///a"],
  ],
  "server.deny_target": ["db", "db:0", "a:1,", "*a:1", "10.0.0.1/8:*"],
  "server.max_tunnels_per_client": NOT_COUNTS,
  "server.max_open_rate": NOT_COUNTS,
  "client.forwards": ["db:5432", "x:db:5432", "1:db:0", "1:a:1,2:a:x"],
  "client.socks": ["x", "1:2:3", "65536", "1-2", "a b:1", ",x", "::1:1080"]
    .concat("socks5://127.0.0.1:1080"),
  "client.http_proxy": ["x", "1:a:1", "65536", "1-2", "http://a:3128"],
  "client.socks_user": ["a\nb", "a\0b"],
  "client.socks_password": [`${HIDDEN}\n`, `${HIDDEN}\0`],
  "client.listen_addr": [...NOT_LISTENED, "off"],
  "client.allow_from": [
    ...["localhost", "*", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8,", "a:1"],
    ...["10.0.0.1:22", "fe80::1%eth0", "[fe80::%eth0/10]", "[10.0.0.1", "10.1"],
  ],
  "client.accept_proxy": NOT_BOOLEANS,
  "client.nats_service": NOT_BOOLEANS,
  "client.control": NOT_BOOLEANS,
  "client.remote_addr": NOT_DIALLED,
  "client.proxy_addr": NOT_DIALLED,
  "client.open_timeout": NOT_INTERVALS,
  "client.status_addr": [...NOT_LISTENED, "on"],
  "client.id": ["a.b", "a b", "*", "é", "x".repeat(33)],
  "nats.context": ["a/b", "..", "a..b", "/x/y.txt", "a\nb"],
  "nats.url": [
    `http://user:${HIDDEN}@host`,
    `ws://user:${HIDDEN}@host/a b`,
    "wss://host:0/nats",
    "wss://host/#x",
    "wss://host?x",
    `nats://user:${HIDDEN}@host:0`,
    `nats://user:${HIDDEN},${HIDDEN}@host`,
    `nats://user:${HIDDEN}%zz@host`,
    `nats://user:${HIDDEN}@one,nats://other:${HIDDEN}@two`,
    `nats://:${HIDDEN}@host`,
    "nats://user:@host",
    "nats://@host",
    "nats://",
    "host:65536",
    "host:4222/path",
    "host,",
    "a b",
  ],
  "nats.ignore_discovered": NOT_BOOLEANS,
  "nats.creds": NOT_PATHS,
  "nats.nkey": NOT_PATHS,
  "nats.user": ["a\nb", "a\0b"],
  "nats.password": [`${HIDDEN}\n`, `${HIDDEN}\0`],
  "nats.token": [`${HIDDEN}\r\n`, `${HIDDEN}\x7f`],
  "nats.jwt": [`${HIDDEN}\n`],
  "nats.seed": [`${HIDDEN}\n`],
  "nats.tls.ca": NOT_PATHS,
  "nats.tls.cert": NOT_PATHS,
  "nats.tls.key": NOT_PATHS,
  "nats.tls.first": NOT_BOOLEANS,
  "nats.proxy": [
    "p:1080",
    "https://p",
    "socks4://p",
    `socks5://user:${HIDDEN}@p:0`,
    `http://${HIDDEN}@p`,
    `http://us%3Aer:${HIDDEN}@p`,
    `http://user:${HIDDEN.repeat(40)}@p`,
    "http://p/path",
    "socks5://",
    "constructor://p",
  ],
  "nats.name": ["a\nb"],
  "nats.connect_timeout": NOT_DURATIONS,
  "nats.ping_interval": NOT_INTERVALS,
  "nats.request_subject": NOT_SUBJECTS,
  "nats.data_prefix": NOT_SUBJECTS,
  "nats.queue_group": NOT_SUBJECTS,
  "nats.audit_subject": NOT_SUBJECTS,
  "nats.inbox_prefix": NOT_SUBJECTS,
  "tunnel.codec": ["xml", "binaries"],
  "tunnel.drain_timeout": NOT_DURATIONS,
  "tunnel.resume_timeout": NOT_DURATIONS,
  "tunnel.peer_timeout": NOT_INTERVALS,
  "tunnel.peer_ping_interval": NOT_INTERVALS,
  "tunnel.idle_timeout": NOT_DURATIONS,
  "tunnel.half_close_timeout": NOT_DURATIONS,
  "tunnel.max": NOT_COUNTS,
  "tunnel.max_opening": NOT_COUNTS,
  "tunnel.window": ["16383", "49MiB", "8T", "-1", "lots"],
  "tunnel.memory_budget": ["1023KiB", "49MiB", "8T", "-1", "lots"],
  "tunnel.refuse_v1": NOT_BOOLEANS,
  "tunnel.v1_rate": ["32767", "8T", "-1", "fast"],
  "security.secret_key": NOT_PATHS,
  "security.server_key": ["abc", "X", "SX", "none", "a b", "é"],
  "security.client_key": ["abc", "X", "SX", "none", "a b", "é"],
  "security.psk": NOT_PATHS,
  "status.token": NOT_PATHS,
  "log.level": ["trace", "warned", "in\nfo"],
  "log.format": ["xml", "json5"],
  "watch_config": NOT_BOOLEANS,
  "workers": ["0", "65", "-1", "all", "1.5"],
};

/** The files of the contexts that {@linkcode GOOD} names. */
export const CONTEXTS: Readonly<Record<string, string>> = {
  "dev.json": '{ "url": "nats://dev" }',
  "prod.json": '{ "url": "nats://prod" }',
};

/** Sources that have what the maps say and no more. */
export function fakeSources(
  { env = {}, files = {} }: {
    readonly env?: Readonly<Record<string, string>>;
    readonly files?: Readonly<Record<string, string>>;
  } = {},
): Sources {
  return {
    env: (name) => Object.hasOwn(env, name) ? env[name] : undefined,
    readTextFile: (path) =>
      Object.hasOwn(files, path) ? files[path] : undefined,
  };
}

/** What a command line asks for that is one to run. */
export function parseRun<R extends Role>(
  role: R,
  args: readonly string[],
  sources: Sources = fakeSources(),
): Extract<CommandLine<ConfigByRole[R]>, { readonly kind: "run" }> {
  const result = parseCommandLine(role, args, sources);
  assert.ok(result.kind === "run");
  return result;
}

/** `value` with its secrets told, so that they can be compared. */
export function reveal(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal();
  if (Array.isArray(value)) return value.map(reveal);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, reveal(inner)]),
  );
}

/** A JSON config file with these options. */
export function jsonFile(
  values: { readonly [K in OptionKey]?: unknown },
): string {
  return JSON.stringify(values);
}
