// Types of server-process.mjs for the end-to-end tests.

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  readonly rootKey: string;
  readonly dataDir: string;
  readonly logPath: string;
  readonly groupId: number;
  stop(): Promise<void>;
  kill9(): Promise<void>;
  dispose(): Promise<void>;
}

export interface StartOptions {
  readonly dataDir?: string;
  readonly port?: number;
  readonly rootKey?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export function startServer(options?: StartOptions): Promise<RunningServer>;
export function temporaryDirectory(name: string): Promise<string>;
export function freePort(): Promise<number>;

export interface ProcessGroup {
  readonly groupId: number;
  readonly isRunning: boolean;
  stop(): Promise<void>;
  kill9(): Promise<void>;
}

export interface GroupOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly logPath: string;
}

export function startGroup(options: GroupOptions): ProcessGroup;
/** A process and all below it. */
export function processTree(rootId: number): number[];
/** utime + stime in milliseconds of a process and all below it. */
export function treeCpuMs(rootId: number): number;
/** Resident memory in bytes of a process and all below it. */
export function processesNamed(
  rootId: number,
  word: string,
): { readonly ids: readonly number[]; readonly count: number; readonly memoryBytes: number; readonly cpuMs: number };
export function treeMemoryBytes(rootId: number): number;
