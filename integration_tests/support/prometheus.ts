/**
 * A real Prometheus that scrapes our processes, and promtool beside it.
 *
 * @module
 */
import type { Folder } from "./folder.ts";
import { type Process, spawn, spawnOnFreePort } from "./processes.ts";
import { PROJECT, type Role } from "./roles.ts";

/** One series that a query found. */
export interface Series {
  /** Its labels. */
  readonly metric: Readonly<Record<string, string>>;
  /** Its time and its value, as text. */
  readonly value: readonly [number, string];
}

/** A group of rules as Prometheus sees it. */
interface RuleState {
  readonly name: string;
  readonly health: "ok" | "unknown" | "err";
  readonly lastError?: string;
}

/** A Prometheus that runs. */
export class Prometheus implements AsyncDisposable {
  readonly #process: Process;
  readonly #origin: string;

  private constructor(process: Process, origin: string) {
    this.#process = process;
    this.#origin = origin;
  }

  /** Starts one that scrapes `roles` each second, and evaluates the project's alerts. */
  static async start(
    command: string,
    folder: Folder,
    roles: readonly Role[],
  ): Promise<Prometheus> {
    const targets = await Promise.all(
      roles.map((role) => role.statusAddress()),
    );
    const rules = new URL("deploy/prometheus/alerts.yml", PROJECT).pathname;
    const config = {
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: [rules],
      scrape_configs: [{
        job_name: "tcp-sproxy",
        static_configs: [{ targets }],
      }],
    };
    const path = await folder.write("prometheus.yml", JSON.stringify(config));
    const { process, endpoint } = await spawnOnFreePort(command, {
      name: "prometheus",
      args: (port) => [
        `--config.file=${path}`,
        `--storage.tsdb.path=${folder.at(`data-${port}`)}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      ready: /Server is ready to receive web requests/,
    });
    return new Prometheus(process, `http://127.0.0.1:${endpoint.port}`);
  }

  /**
   * What a query finds now.
   *
   * @throws {Error} what Prometheus says against it.
   */
  async query(expr: string): Promise<readonly Series[]> {
    const query = new URLSearchParams({ query: expr });
    return (await this.#get(`query?${query}`)).result as readonly Series[];
  }

  /** How the rules do. */
  async rules(): Promise<readonly RuleState[]> {
    const { groups } = await this.#get("rules");
    return (groups as readonly { readonly rules: readonly RuleState[] }[])
      .flatMap(({ rules }) => rules);
  }

  /** What Prometheus says against the last scrapes; nothing where they succeeded. */
  async scrapeErrors(): Promise<readonly string[]> {
    const { activeTargets } = await this.#get("targets");
    return (activeTargets as readonly { readonly lastError: string }[])
      .map(({ lastError }) => lastError).filter((error) => error !== "");
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }

  async #get(path: string): Promise<Readonly<Record<string, unknown>>> {
    using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const response = await fetch(`${this.#origin}/api/v1/${path}`, { client });
    const { status, data, error } = await response.json();
    if (status !== "success") throw new Error(`${path}: ${error}`);
    return data;
  }
}

/** What promtool says with these arguments, given `input`, and with which exit code. */
export async function promtool(
  command: string,
  args: readonly string[],
  input?: string,
): Promise<{ readonly code: number; readonly output: string }> {
  if (input === undefined) {
    await using process = spawn(command, { args, cwd: PROJECT.pathname });
    const { code } = await process.status;
    return { code, output: process.lines.join("\n") };
  }
  const child = new Deno.Command(command, {
    args: [...args],
    ...{ stdin: "piped", stdout: "piped", stderr: "piped" },
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}
