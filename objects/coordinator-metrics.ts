// What a coordinator reports to /metrics. Names and help texts: src/telemetry.
import type { QuorumCoordinator } from "../src/replication/quorum-coordinator.ts";
import { handover } from "./handover.ts";
import type { Mailbox } from "./mailbox.ts";
import type { SessionDesk } from "./session-desk.ts";

export interface CoordinatorParts {
  readonly core: QuorumCoordinator;
  readonly sessions: SessionDesk;
  readonly mailbox: Mailbox;
}

export function coordinatorMetrics({ core, sessions, mailbox }: CoordinatorParts): Record<string, number> {
  const { counts } = core;
  const samples: Record<string, number> = {
    jade_kv_puts_total: counts.puts,
    jade_kv_gets_total: counts.gets,
    jade_kv_deletes_total: counts.deletes,
    jade_kv_errors_total: counts.errors,
    jade_kv_read_repairs_total: counts.readRepairs,
    jade_kv_corrupt_reads_total: counts.corruptReads,
    jade_kv_hints_requested_total: counts.hintsRequested,
    jade_kv_hints_lost_total: counts.hintsLost,
    jade_kv_unknown_outcomes_total: counts.unknownOutcomes,
    jade_kv_stale_routes_total: counts.staleRoutes,
    jade_kv_requests_in_flight: core.inFlight,
    jade_mailbox_requests_total: mailbox.counts.taken,
    jade_mailbox_calls_total: mailbox.counts.calls,
    jade_handed_frames_total: handover.answered,
    jade_sessions_open: sessions.size,
    jade_rate_limited_total: sessions.counts.rateLimited,
    'jade_requests_refused_total{bound="sessions"}': sessions.counts.refused,
  };
  for (const link of core.links()) {
    const label = `{node="${link.nodeId}"}`;
    samples[`jade_replica_frames_total${label}`] = link.counts.frames;
    samples[`jade_replica_operations_total${label}`] = link.counts.operations;
    samples[`jade_replica_failures_total${label}`] = link.counts.failures;
    samples[`jade_replica_timeouts_total${label}`] = link.counts.timeouts;
    samples[`jade_replica_breaker_open${label}`] = link.isOpen ? 1 : 0;
  }
  return samples;
}
