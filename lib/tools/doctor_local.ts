/**
 * Steps of `doctor` that ask nobody but this machine: the configuration, its
 * files, and how many of them may be open.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { checkFiles } from "../process/check.ts";
import { consumersOf, planDescriptors } from "../process/descriptors.ts";
import type { ToolCall } from "../process/tool.ts";
import { systemDescriptors } from "../net/descriptors.ts";
import type { Report } from "./report.ts";

/** What `check` finds. */
export async function checkConfiguration(
  { config, configFile, secretFiles, notices }: ToolCall,
  report: Report,
): Promise<void> {
  const step = "configuration";
  try {
    const told = await checkFiles(config, { secretFiles, notices });
    for (const { level, text, shown = text } of told) {
      const state = level === "warning" ? "warn" : "ok";
      report.add({ step, state, found: shown.replace(/^\w+: /, "") });
    }
    const file = configFile ?? "no config file";
    const found = `${file}; what it names can be read and used`;
    report.add({ step, state: "ok", found });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    for (const found of error.problems) {
      const todo =
        "mind the user that the process runs as, and its --allow-read of Deno";
      const unreadable = /^Cannot read/.test(found);
      report.add({ step, state: "fail", found, ...(unreadable && { todo }) });
    }
  }
}

/** How many tunnels the limit on open files allows. */
export function checkDescriptors({ config }: ToolCall, report: Report): void {
  const { notice, tunnels } = planDescriptors(
    consumersOf(config),
    systemDescriptors(),
  );
  const { text, level, about } = notice;
  const figures = Object.entries(about)
    .map(([name, value]) => `${name}=${value}`).join(" ");
  const few = tunnels !== undefined && tunnels < config.tunnel.max;
  report.add({
    step: "open files",
    state: level === "warn" || few ? "warn" : "ok",
    found: figures === "" ? text : `${text} (${figures})`,
    ...(few && {
      todo:
        "raise the limit (ulimit -n, LimitNOFILE= of systemd), or lower --max-tunnels to what is enough",
    }),
  });
}
