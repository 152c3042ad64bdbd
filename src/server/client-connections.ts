// Who has a connection open to ports that a process listens on, read from /proc.
// Guarantees: what cannot be read is undefined, never zero. Must not: count connections that the process made itself.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

const ESTABLISHED = "01";
/** The other end has closed, and this one has not yet. */
const CLOSE_WAIT = "08";

function socketsOf(pid: number): ReadonlySet<string> {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? [];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // Closed meanwhile.
    }
  }
  return inodes;
}

/** @param table the text of /proc/net/tcp or tcp6 */
export function openOf(table: string, ports: ReadonlySet<number>, inodes: ReadonlySet<string>): number {
  const open = table.split("\n").filter((line) => {
    const [, local = "", , state = "", , , , , , inode = ""] = line.trim().split(/\s+/);
    const port = Number.parseInt(local.slice(local.lastIndexOf(":") + 1), 16);
    return ports.has(port) && (state === ESTABLISHED || state === CLOSE_WAIT) && inodes.has(inode);
  });
  return open.length;
}

/** Undefined = this machine does not tell, or the process has ended. */
export function clientConnections(pid: number, ports: readonly number[]): number | undefined {
  try {
    const [inodes, wanted] = [socketsOf(pid), new Set(ports)];
    const tables = ["tcp", "tcp6"].map((name) => readFileSync(`/proc/${pid}/net/${name}`, "utf8"));
    return tables.reduce((sum, table) => sum + openOf(table, wanted, inodes), 0);
  } catch {
    return undefined; // not Linux, or a hardened one
  }
}
