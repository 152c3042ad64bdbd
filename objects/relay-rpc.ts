// What one process of a cluster offers the others.
import type { ObjectBinding } from "../src/cluster/placement.ts";

/** `unknown` = nobody could be asked. */
export type ProcessState = "answering" | "away" | "unknown";

export interface ProcessInfo {
  readonly role: "zone" | "leaders";
  readonly zone: string;
  /** Of all instances, as this process was started. Left out by earlier builds. */
  readonly zones?: readonly string[];
  /** How the leaders' process of the same instance is. */
  readonly leaders: ProcessState;
}

export interface RelayRpc {
  /** Calls a method of an object that is at home in the relay's process: stubs do not travel between processes, names do. */
  invoke(binding: ObjectBinding, name: string, method: string, args: readonly unknown[]): Promise<unknown>;
  about(): Promise<ProcessInfo>;
}
