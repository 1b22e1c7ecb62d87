/**
 * The operator's tools of both programs, by the words that call them. None is
 * loaded before it is called: a program that serves needs none.
 *
 * @module
 */
import type { Tool, Tools } from "../process/tool.ts";

/** Every tool. */
export const TOOLS: Tools = new Map<string, () => Promise<Tool>>([
  ["doctor", async () => (await import("./doctor.ts")).runDoctor],
  [
    "permissions",
    async () => (await import("./permissions.ts")).runPermissions,
  ],
  ["top", async () => (await import("./top.ts")).top],
  ["ls", async () => (await import("./ls.ts")).runLs],
  ["ping", async () => (await import("./ping.ts")).runPing],
  ["status", async () => (await import("./status.ts")).runStatus],
  ["tunnels", async () => (await import("./tunnels.ts")).runTunnels],
  ["kill", async () => (await import("./kill.ts")).runKill],
  ["drain", async () => (await import("./drain.ts")).runDrain],
]);
