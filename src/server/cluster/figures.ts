// What an instance uses: CPU, memory and disk of its processes, room on its disk, the machine's network, and which owners are awake in it. Read from
// /proc and the data directory. Guarantees: what cannot be read is left out or 0, never guessed. Must not: be read for each request.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { InstanceFigures, ProcessFigures } from "../../cluster/told.ts";
import { objectClasses } from "../object-classes.ts";

/** USER_HZ, which Linux fixes for what it tells of processes. */
const TICKS_PER_SECOND = 100;
/** A share of less time than this would be chance. Ms. */
const LEAST_SAMPLE_MS = 1000;
/** The data directory is measured again after so long. Ms. */
const DATA_EVERY_MS = 30_000;
/** Files of it that are looked at. */
const MAX_FILES = 100_000;

type Role = ProcessFigures["role"];

interface Sample {
  readonly atMs: number;
  readonly cpuSeconds: number;
  readonly cpuCores: number;
}

/** Fields of /proc/PID/stat after the name, which may hold anything. */
function statOf(pid: number): readonly string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** `name: value` lines. */
function fieldsOf(path: string): Readonly<Record<string, number>> {
  try {
    const lines = readFileSync(path, "utf8").split("\n");
    const pairs = lines.map((line) => /^(\w+):\s+(\d+)/.exec(line)).filter((match) => match !== null);
    return Object.fromEntries(pairs.map(([, name, value]) => [name!, Number(value)]));
  } catch {
    return {}; // it has ended, or a hardened kernel keeps it to root
  }
}

export function networkBytes(text: string): InstanceFigures["network"] {
  let [receivedBytes, sentBytes] = [0, 0];
  for (const line of text.split("\n")) {
    const [, name, numbers] = /^\s*([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (numbers === undefined || name === "lo") continue;
    const fields = numbers.trim().split(/\s+/).map(Number);
    receivedBytes += fields[0]!;
    sentBytes += fields[8]!;
  }
  return { receivedBytes, sentBytes };
}

/** Databases of owners that a process has open, by class. */
function ownersOf(pid: number | undefined, leadersDir: string): Record<string, number> {
  const owners: Record<string, number> = {};
  if (pid === undefined) return owners;
  const open = new Set<string>();
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      try {
        open.add(readlinkSync(`/proc/${pid}/fd/${fd}`));
      } catch {
        // Closed meanwhile.
      }
    }
  } catch {
    return owners; // ended meanwhile
  }
  for (const { className, uniqueKey } of objectClasses) {
    const directory = join(leadersDir, uniqueKey, "/");
    const count = [...open].filter((path) => path.startsWith(directory) && /\/[0-9a-f]{64}\.sqlite$/.test(path)).length;
    if (count > 0) owners[className] = count;
  }
  return owners;
}

async function directoryBytes(path: string): Promise<number> {
  let [bytes, files] = [0, 0];
  const waiting = [path];
  for (let next = waiting.pop(); next !== undefined && files < MAX_FILES; next = waiting.pop()) {
    for (const entry of await readdir(next, { withFileTypes: true }).catch(() => [])) {
      const child = join(next, entry.name);
      if (entry.isDirectory()) waiting.push(child);
      else if (entry.isFile()) {
        files++;
        bytes += await stat(child).then(
          ({ blocks }) => blocks * 512,
          () => 0, // removed meanwhile
        );
      }
    }
  }
  return bytes;
}

export interface FiguresOptions {
  readonly dataDir: string;
  readonly leadersDir: string;
  readonly pids: () => Readonly<Partial<Record<Role, number>>>;
}

export class Figures {
  readonly #options: FiguresOptions;
  readonly #samples = new Map<number, Sample>();
  #data: { readonly atMs: number; readonly bytes: Promise<number> } | undefined;

  constructor(options: FiguresOptions) {
    this.#options = options;
  }

  async read(): Promise<Omit<InstanceFigures, "leaders" | "drained">> {
    const pids = this.#options.pids();
    const { bsize, bavail, blocks } = await statfs(this.#options.dataDir);
    return {
      processes: (Object.entries(pids) as [Role, number][]).flatMap(([role, pid]) => this.#process(role, pid) ?? []),
      disk: { dataBytes: await this.#dataBytes(), freeBytes: bsize * bavail, totalBytes: bsize * blocks },
      network: networkBytes(readFileSync("/proc/self/net/dev", "utf8")),
      owners: ownersOf(pids.leaders, this.#options.leadersDir),
    };
  }

  #dataBytes(): Promise<number> {
    const nowMs = performance.now();
    if (!this.#data || nowMs - this.#data.atMs > DATA_EVERY_MS)
      this.#data = { atMs: nowMs, bytes: directoryBytes(this.#options.dataDir) };
    return this.#data.bytes;
  }

  #process(role: Role, pid: number): ProcessFigures | undefined {
    let fields: readonly string[];
    try {
      fields = statOf(pid);
    } catch {
      return undefined; // it has ended
    }
    const bootSeconds = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
    const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    const uptimeSeconds = Math.max(0, bootSeconds - Number(fields[19]) / TICKS_PER_SECOND);
    const io = fieldsOf(`/proc/${pid}/io`);
    return {
      ...{ role, pid, cpuSeconds, uptimeSeconds: Math.round(uptimeSeconds) },
      cpuCores: this.#cores(pid, cpuSeconds, uptimeSeconds),
      residentBytes: (fieldsOf(`/proc/${pid}/status`)["VmRSS"] ?? 0) * 1024,
      readBytes: io["read_bytes"] ?? 0,
      writtenBytes: io["write_bytes"] ?? 0,
    };
  }

  #cores(pid: number, cpuSeconds: number, uptimeSeconds: number): number {
    const [nowMs, before] = [performance.now(), this.#samples.get(pid)];
    if (before && nowMs - before.atMs < LEAST_SAMPLE_MS) return before.cpuCores;
    const [usedSeconds, inSeconds] = before
      ? [cpuSeconds - before.cpuSeconds, (nowMs - before.atMs) / 1000]
      : [cpuSeconds, Math.max(uptimeSeconds, 1)];
    const cpuCores = Math.round((usedSeconds / inSeconds) * 1000) / 1000;
    // Processes are few; those that ended need no bound of their own.
    if (this.#samples.size > 100) this.#samples.clear();
    this.#samples.set(pid, { atMs: nowMs, cpuSeconds, cpuCores });
    return cpuCores;
  }
}
