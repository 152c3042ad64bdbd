// How instances, what they use and what happened to them are shown.
import { z } from "@hono/zod-openapi";
import { CLUSTER_EVENT_KINDS } from "../cluster/event-kinds.ts";
import type { InstanceFigures, ToldMember } from "../cluster/told.ts";

export const gossipShape = z.object({
  state: z.enum(["alive", "suspect", "failed", "left"]),
  since: z.string().describe("When it became known to the instance that answers."),
  incarnation: z.number().describe("Grows with each start of the instance, and when it objects to what is said of it."),
  trusted: z.boolean().describe("It is there, and past any probation after a failure."),
});

export function shownGossip(member: ToldMember | undefined): z.output<typeof gossipShape> | null {
  if (!member) return null;
  const { state, sinceMs, incarnation, isTrusted } = member;
  return { state, since: new Date(sinceMs).toISOString(), incarnation, trusted: isTrusted };
}

const processUse = z.object({
  role: z.enum(["supervisor", "zone", "leaders"]),
  pid: z.number(),
  uptimeSeconds: z.number(),
  cpuSeconds: z.number(),
  cpuCores: z.number().describe("Since it was asked for last; the first time since the process began."),
  residentBytes: z.number(),
  readBytes: z.number().describe("From disks."),
  writtenBytes: z.number().describe("To disks."),
});

export const useShape = z.object({
  processes: z.array(processUse),
  disk: z.object({
    dataBytes: z.number().describe("Of its data directory; measured every half minute."),
    freeBytes: z.number(),
    totalBytes: z.number(),
  }),
  network: z
    .object({ receivedBytes: z.number(), sentBytes: z.number() })
    .describe("Of the machine or the container, all interfaces but loopback, since it began."),
  leaders: z.enum(["answering", "away", "resting"]),
  drained: z.string().nullable().describe("Why it is not to be given work; null = it is."),
  owners: z.record(z.string(), z.number()).describe("Leaders in its memory, by class."),
  ownerCount: z.number(),
});

export function shownUse(figures: InstanceFigures | undefined): z.output<typeof useShape> | null {
  if (!figures) return null;
  const { processes, disk, network, leaders, drained, owners } = figures;
  const ownerCount = Object.values(owners).reduce((sum, count) => sum + count, 0);
  return { processes: [...processes], disk, network, leaders, drained, owners, ownerCount };
}

export const eventShape = z.object({
  number: z.number(),
  at: z.string(),
  kind: z.enum(CLUSTER_EVENT_KINDS),
  zone: z.string(),
  incarnation: z.number(),
  message: z.string(),
  operationId: z.number().nullable().describe("The change of the storage nodes that it is about; null = none."),
  outcome: z.enum(["observed", "planned", "begun", "notPossible"]).nullable().describe("Of `replacementDue`."),
  plan: z.array(
    z.object({
      nodeId: z.string(),
      share: z.number().describe("Part of all keys that it holds a replica of, at replication factor 3."),
      takenBy: z.record(z.string(), z.number()).describe("Node and the part of all keys that it would take over."),
      unplaced: z.number().describe("Part of all keys for which no other node is left."),
    }),
  ),
});
