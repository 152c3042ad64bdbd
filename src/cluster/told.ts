// What an instance's supervisor tells its processes of the cluster, and what it answers when they ask. Pure types, and how they are read.
// Must not: hold more than was agreed or measured; nobody decides here.
import { z } from "zod";

const memberShape = z.object({
  zone: z.string(),
  state: z.enum(["alive", "suspect", "failed", "left"]),
  incarnation: z.number(),
  /** Since when this instance knows it so. Epoch ms. */
  sinceMs: z.number(),
  /** There, and past any probation. */
  isTrusted: z.boolean(),
});

/** An instance as another one's supervisor sees it by gossip. */
export type ToldMember = z.output<typeof memberShape>;

export const toldShape = z.object({
  members: z.array(memberShape).readonly(),
  /** Why this instance is not to be given work; null = it is. */
  drained: z.string().nullable(),
  /** Whose leaders' process is the way to leaders: this instance's own, or while that is away a neighbour's. */
  leadersVia: z.string(),
});

export type Told = z.output<typeof toldShape>;

export const viewShape = z.object({ zone: z.string(), members: z.array(memberShape).readonly() });

/** What one instance, `zone`, sees of all. */
export type MembershipView = z.output<typeof viewShape>;

export interface ProcessFigures {
  readonly role: "supervisor" | "zone" | "leaders";
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly cpuSeconds: number;
  /** Cores, since it was asked for last, at least a second before; the first time since the process began. */
  readonly cpuCores: number;
  readonly residentBytes: number;
  /** From and to disks. */
  readonly readBytes: number;
  readonly writtenBytes: number;
}

/** What a supervisor measures of its own instance. */
export interface InstanceFigures {
  readonly processes: readonly ProcessFigures[];
  readonly disk: { readonly dataBytes: number; readonly freeBytes: number; readonly totalBytes: number };
  /** Of the machine, or the container: all interfaces but loopback, since it began. */
  readonly network: { readonly receivedBytes: number; readonly sentBytes: number };
  readonly leaders: "answering" | "away" | "resting";
  readonly drained: string | null;
  /** Owners in memory, by class. */
  readonly owners: Readonly<Record<string, number>>;
}

/** A supervisor's answer to its own zone's process. */
export interface ClusterSeen {
  readonly members: readonly ToldMember[];
  /** By zone; those that answered. */
  readonly figures: Readonly<Record<string, InstanceFigures>>;
}
