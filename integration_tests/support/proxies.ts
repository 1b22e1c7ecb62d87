/**
 * Starts HAProxy and nginx in front of what speaks the PROXY protocol, and
 * behind it.
 *
 * @module
 */
import { formatAddress } from "./addresses.ts";
import type { Folder } from "./folder.ts";
import { type Process, spawnOnFreePort } from "./processes.ts";
import { eventually } from "./waits.ts";

/** A proxy that listens. */
export interface Proxy extends AsyncDisposable {
  /** `host:port` where it listens. */
  readonly address: string;
  /** The same, in parts. */
  readonly endpoint: { readonly hostname: string; readonly port: number };
  /** Its process. */
  readonly process: Process;
}

/** Most connections of a HAProxy: tests have far fewer, and each takes descriptors. */
const MAX_CONNECTIONS = 1000;

/** A HAProxy, whose configuration is `sections` for its port. */
export async function startHaproxy(
  command: string,
  folder: Folder,
  sections: (port: number) => string,
): Promise<Proxy> {
  return await start("haproxy", command, {
    ready: /Using epoll/,
    args: (port) => {
      const path = folder.at(`haproxy-${port}.cfg`);
      Deno.writeTextFileSync(
        path,
        `global
  maxconn ${MAX_CONNECTIONS}
defaults
  timeout connect 20s
  timeout client 100s
  timeout server 100s
${sections(port)}
`,
      );
      return ["-V", "-db", "-f", path];
    },
  });
}

/** An nginx's server whose answers say what it knows of a connection, by the header that each begins with. */
const SAY_WHO_CONNECTS = (address: string): string =>
  `listen ${address} proxy_protocol;
    location / {
      return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
    }`;

/** An nginx whose only server is `server` for the address it listens at. */
export async function startNginx(
  command: string,
  folder: Folder,
  server: (address: string) => string = SAY_WHO_CONNECTS,
): Promise<Proxy> {
  return await start("nginx", command, {
    ready: /using the "\w+" event method/,
    args: (port) => {
      const path = folder.at(`nginx-${port}.conf`);
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map((what) => `${what}_temp_path ${folder.path};`).join(" ");
      Deno.writeTextFileSync(
        path,
        `daemon off; master_process off; pid ${path}.pid;
error_log stderr notice;
events { worker_connections 100; }
http {
  ${temporary}
  access_log off;
  server {
    ${server(`127.0.0.1:${port}`)}
  }
}
`,
      );
      return ["-c", path, "-e", "stderr", "-p", folder.path];
    },
  });
}

async function start(
  name: string,
  command: string,
  options: {
    readonly args: (port: number) => readonly string[];
    readonly ready: RegExp;
  },
): Promise<Proxy> {
  const { process, endpoint } = await spawnOnFreePort(command, {
    name,
    ...options,
  });
  // HAProxy says nothing once it listens, and to connect would be a connection more.
  await eventually(
    () => isListening(endpoint.port),
    () => `${name} does not listen at ${endpoint.port}`,
  );
  return {
    process,
    endpoint,
    address: formatAddress(endpoint),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** Whether a socket of IPv4 listens at `port`, by the system's table. */
async function isListening(port: number): Promise<boolean> {
  const table = await Deno.readTextFile("/proc/net/tcp");
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`^ *\\d+: [\\dA-F]{8}:${hex} \\S+ 0A `, "m").test(table);
}
