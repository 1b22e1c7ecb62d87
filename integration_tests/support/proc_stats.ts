/**
 * Asks the kernel about a process (Linux only): for leak checks and the bench.
 *
 * @module
 */

/** Ticks per second of the CPU times in /proc; 100 on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;

/** How many file descriptors process `pid` has open. */
export async function openFiles(pid: number): Promise<number> {
  let count = 0;
  for await (const _ of Deno.readDir(`/proc/${pid}/fd`)) count++;
  return count;
}

/**
 * Resident memory of process `pid`, in bytes.
 *
 * @throws {Deno.errors.NotFound} when it has ended, and also when nobody has
 * taken note of that yet.
 */
export async function residentBytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) {
    throw new Deno.errors.NotFound(`No VmRSS for process ${pid}`);
  }
  return Number(kib) * 1024;
}

/** CPU time process `pid` has used so far, user and system, in seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  // The second field is the command in parentheses, which may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** The TCP ports that process `pid` listens on; one for each socket. */
export async function listeningPorts(pid: number): Promise<number[]> {
  const bySocket = new Map<string, number>();
  for (const family of ["tcp", "tcp6"]) {
    const table = await Deno.readTextFile(`/proc/${pid}/net/${family}`);
    for (const line of table.split("\n").slice(1)) {
      // Of its fields the second is address and port in hexadecimal, the
      // fourth the state (0A: it listens), the tenth the inode.
      const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state !== "0A") continue;
      const port = parseInt(local.slice(local.lastIndexOf(":") + 1), 16);
      bySocket.set(`socket:[${inode}]`, port);
    }
  }
  const ports: number[] = [];
  for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
    try {
      const target = await Deno.readLink(`/proc/${pid}/fd/${name}`);
      const port = bySocket.get(target);
      if (port !== undefined) ports.push(port);
    } catch (error) {
      // It was closed meanwhile.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return ports;
}
