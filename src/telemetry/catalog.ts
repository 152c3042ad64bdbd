// Every metric the gateway and the control plane count: name → kind and help line. Other parts add theirs here.
// Guarantees: one place for names; a name absent here is still shown, as untyped. Must not: hold values.

export type MetricKind = "counter" | "gauge" | "histogram";

export interface MetricInfo {
  readonly kind: MetricKind;
  readonly help: string;
}

const counter = (help: string): MetricInfo => ({ kind: "counter", help });
const gauge = (help: string): MetricInfo => ({ kind: "gauge", help });
const histogram = (help: string): MetricInfo => ({ kind: "histogram", help });

/** src/cluster and src/replication, counted by the Coordinator. */
const COORDINATOR: Readonly<Record<string, MetricInfo>> = {
  jade_kv_puts_total: counter("Puts coordinated."),
  jade_kv_gets_total: counter("Gets coordinated."),
  jade_kv_deletes_total: counter("Deletes coordinated."),
  jade_kv_errors_total: counter("Operations answered with an error."),
  jade_kv_read_repairs_total: counter("Stale replicas repaired behind a read."),
  jade_kv_corrupt_reads_total: counter("Reads that met a corrupt block on a replica."),
  jade_kv_hints_requested_total: counter("Hints asked for because a replica was unreachable."),
  jade_kv_hints_lost_total: counter("Hints that no replica could keep."),
  jade_kv_unknown_outcomes_total: counter("Writes whose outcome could not be told."),
  jade_kv_stale_routes_total: counter("Requests whose replicas knew of a newer route; they were sent again by it."),
  jade_mailbox_requests_total: counter(
    "Requests over HTTP that reached the coordinator through memory; on a single node all do, and others cost an RPC each.",
  ),
  jade_mailbox_calls_total: counter("RPCs that those needed."),
  jade_handed_frames_total: counter("Frames that replicas took and answered in memory, not in an RPC."),
  jade_kv_requests_in_flight: gauge("Operations under way."),
  jade_sessions_open: gauge("WebSocket sessions open."),
  jade_replica_frames_total: counter("Frames sent to a storage node."),
  jade_replica_operations_total: counter("Operations sent to a storage node."),
  jade_replica_failures_total: counter("Frames to a storage node that failed."),
  jade_replica_timeouts_total: counter("Frames to a storage node that got no answer in time."),
  jade_replica_breaker_open: gauge("1 while a storage node is not asked because it failed."),
};

/** Counted by each storage node. */
const REPLICA: Readonly<Record<string, MetricInfo>> = {
  jade_kv_stamps_total: counter("Writes given a version by this node."),
  jade_kv_merges_total: counter("States of other nodes merged."),
  jade_kv_replica_reads_total: counter("Reads answered by this node."),
  jade_kv_repeated_writes_total: counter("Writes recognised as repeated by their write id."),
  jade_kv_refusals_total: counter("Writes refused by this node."),
  jade_kv_hints_stored_total: counter("Hints kept for unreachable nodes."),
  jade_kv_hints_refused_total: counter("Hints refused because the bound was reached."),
  jade_kv_hints_delivered_total: counter("Hints handed over to their node."),
  jade_kv_hints_expired_total: counter("Hints dropped because they grew too old."),
  jade_kv_hints_corrupt_total: counter(
    "Hints dropped because they failed their checksum; their node is to be repaired.",
  ),
  jade_kv_healed_rows_total: counter("Unreadable rows restored from the other replicas."),
  jade_kv_standing_damaged: gauge(
    "1: what the node knew of itself failed its checksum at its last start; it took a new incarnation or was rebuilt.",
  ),
  jade_kv_healed_records_total: counter("Unreadable idempotency records restored from the other replicas."),
  jade_kv_hints_pending: gauge("Hints waiting for their node."),
  jade_kv_dirty_ranges: gauge("Ranges in which another node may miss writes, by lost hints; repair looks there."),
  jade_kv_rebuilding: gauge(
    "1 while the node's store is being filled after the loss of its disk; it counts in no quorum.",
  ),
  jade_kv_purge_horizon_seconds: gauge(
    "Rows deleted before this time (Unix seconds, as far as clocks agree) are purged; 0 = nothing is yet.",
  ),
  jade_kv_sync_jobs: gauge("Comparisons with other replicas under way: rebuild, joining, repair."),
  jade_kv_sync_rows_compared_total: counter("Rows compared with other replicas."),
  jade_kv_sync_rows_read_total: counter("Rows that repairs read from tables, for digests or one by one."),
  jade_kv_sync_rows_repaired_total: counter("Rows that differed between replicas and were brought to agreement."),
  jade_storage_database_bytes: gauge("Size of the node's SQLite."),
  jade_storage_memtable_bytes: gauge("Newest rows in memory."),
  jade_storage_memtable_rows: gauge("Newest rows in memory."),
  jade_storage_log_bytes: gauge("Commit log not yet covered by tables."),
  jade_storage_table_count: gauge("Tables (SSTables)."),
  jade_storage_table_bytes: gauge("Bytes of the tables."),
  jade_storage_table_rows: gauge("Rows of the tables, superseded ones included."),
  jade_storage_record_segment_count: gauge("Segments of idempotency records."),
  jade_storage_record_segment_bytes: gauge("Bytes of idempotency records."),
  jade_storage_block_cache_bytes: gauge("Table blocks in memory."),
  jade_storage_row_cache_bytes: gauge("Recently read rows in memory."),
  jade_storage_block_cache_hits_total: counter("Blocks found in memory."),
  jade_storage_block_cache_misses_total: counter("Blocks read from the blob store."),
  jade_storage_row_cache_hits_total: counter("Rows found in the row cache."),
  jade_storage_row_cache_misses_total: counter("Rows not in the row cache."),
  jade_storage_bloom_skips_total: counter("Tables not read because their bloom filter said no."),
  jade_storage_commits_total: counter("Group commits."),
  jade_storage_commit_bytes_total: counter("Bytes committed to the log."),
  jade_storage_flushes_total: counter("Memtables written as tables."),
  jade_storage_flush_bytes_total: counter("Bytes written by flushes."),
  jade_storage_compactions_total: counter("Merges of tables finished."),
  jade_storage_compaction_bytes_read_total: counter("Bytes read by merges."),
  jade_storage_compaction_bytes_written_total: counter("Bytes written by merges."),
  jade_storage_purged_rows_total: counter("Rows of deleted keys that were dropped for good."),
  jade_storage_corrupt_blocks_total: counter("Blocks whose checksum did not match."),
  jade_storage_scrubbed_blocks_total: counter("Blocks read and checked in their turn."),
  jade_storage_scrubbed_bytes_total: counter("Bytes of these blocks."),
  jade_storage_scrub_oldest_age_seconds: gauge("Since the table that waits longest was last read whole."),
  jade_storage_corrupt_ranges: gauge("Unreadable stretches of rows and records that are not restored yet."),
};

/** Of configuration keyspaces, reported to the Coordinator while they work. */
const CONFIG: Readonly<Record<string, MetricInfo>> = {
  jade_config_calls_total: counter("Calls to configuration keyspaces."),
  jade_config_commits_total: counter("Group commits of configuration keyspaces."),
  jade_config_keyspaces: gauge("Configuration keyspaces that were in use since the Coordinator started."),
  jade_config_keys: gauge("Living keys of those keyspaces."),
  jade_config_leases: gauge("Leases of those keyspaces."),
  jade_config_damaged_total: counter(
    "Stored rows of configuration keyspaces that failed their checksum, each time one was met.",
  ),
  jade_config_repaired_total: counter("Of those, rows restored from the log or a follower."),
  jade_config_watch_connections: gauge("Connections with watches of those keyspaces."),
  jade_config_watches: gauge("Watches of those keyspaces."),
  jade_config_watch_events_total: counter("Events sent to watches."),
  jade_config_watch_unread_bytes: gauge("Events sent and not read yet. Bytes."),
  jade_config_watch_slow_total: counter("Watch connections cut off because they did not read."),
  jade_config_watch_compacted_total: counter("Watches ended because their revision was compacted."),
  jade_watch_front_processes: gauge("Front processes that hold watch connections; shown at their port."),
  jade_watch_front_connections: gauge("Connections that front processes hold, those passed on to the server included."),
  jade_watch_front_keyspaces: gauge("Keyspaces that front processes follow, once for each token and process."),
  jade_watch_front_unread_bytes: gauge("What clients of front processes were sent and have not read yet. Bytes."),
  jade_watch_front_accepted_total: counter("Watch connections that front processes took on."),
  jade_watch_front_refused_total: counter(
    "Watch connections that front processes refused, by the limit that was reached.",
  ),
};

/** Of shards of vectors and their copies (`at`), reported to the Coordinator while they work. */
const VECTORS: Readonly<Record<string, MetricInfo>> = {
  jade_vector_objects: gauge("Shards of vectors and copies of such that were in use since the Coordinator started."),
  jade_vector_searches_total: counter("Queries that shards of vectors and their copies answered."),
  jade_vector_rows_scanned_total: counter("Rows that these looked at."),
  jade_vector_reads_total: counter("Gets, pages and counts that shards of vectors and their copies answered."),
  jade_vector_rows_written_total: counter("Vectors stored, changed or deleted."),
  jade_vector_rows: gauge("Living vectors."),
  jade_vector_segments: gauge("Sealed segments of shards."),
  jade_vector_log_bytes: gauge("Commits of shards that no segment covers yet. Bytes."),
  jade_vector_memory_bytes: gauge("WASM memory given out to rows, indexes and searches. Bytes."),
  jade_vector_follower_lag_revisions: gauge("Commits that copies of shards lack, over all of them."),
  jade_vector_damaged_total: counter("Damaged blocks and log rows of shards and copies, each time one was met."),
  jade_vector_repaired_total: counter("Of those, restored from another copy."),
};

/** Of the embedder's Worker. */
const EMBEDDING: Readonly<Record<string, MetricInfo>> = {
  jade_embedding_calls_total: counter("Requests for vectors of texts."),
  jade_embedding_texts_total: counter("Texts in them."),
  jade_embedding_cache_hits_total: counter("Of those, recent texts whose vector was still known."),
  jade_embedding_batches_total: counter("Batches of texts that ran through a model."),
  jade_embedding_refused_total: counter(
    "Refused, by reason. full and late: requests that found too many waiting, or waited too long; text: texts that have no vector.",
  ),
  jade_embedding_loads_total: counter("Models read into memory."),
  jade_embedding_models_loaded: gauge("Models in memory."),
  jade_embedding_model_bytes: gauge("Memory of those models. Bytes, about."),
  jade_embedding_waiting_texts: gauge("Texts that wait or run."),
};

export const METRICS: Readonly<Record<string, MetricInfo>> = {
  ...COORDINATOR,
  ...REPLICA,
  ...CONFIG,
  ...VECTORS,
  ...EMBEDDING,
  jade_http_requests_total: counter("HTTP requests answered, by route pattern, method and status."),
  jade_http_errors_total: counter("HTTP requests answered with an error, by route pattern and error code."),
  jade_http_request_duration_seconds: histogram("Time from the request's arrival to its answer, by route pattern."),
  jade_auth_cache_hits_total: counter("Requests authenticated from the gateway's memory."),
  jade_auth_cache_misses_total: counter("Requests for which a key was hashed or a tenant was asked for."),
  jade_auth_stale_total: counter("Requests authenticated from an old view because the tenant's owner was away."),
  jade_auth_tokens_refused_total: counter("Signed tokens refused, by reason."),
  jade_webhook_requests_total: counter("Requests to webhooks' receivers, by what came of them."),
  jade_webhook_events_total: counter("Events that webhooks' receivers acknowledged."),
  jade_webhook_dead_letters_total: counter("Requests to webhooks' receivers that were given up."),
  jade_vector_queries_total: counter("Vector queries answered by shards, one for each shard that was asked."),
  jade_vector_cache_hits_total: counter("Of these, those answered from results that a shard remembered."),
  jade_rate_limited_total: counter(
    "Requests and session operations refused because a tenant's or a key's rate was used up.",
  ),
  jade_requests_refused_total: counter(
    "Requests and sessions refused because a bound of the server was reached, by bound.",
  ),
  jade_directory_tenants: gauge("Tenants by state."),
  jade_directory_nodes: gauge("Storage nodes by state."),
  jade_directory_commits_total: counter("Group commits of the Directory."),
  jade_directory_damaged_total: counter("Stored records of the Directory that failed their checksum."),
  jade_metric_series_dropped_total: counter("Series not kept because there were too many."),
  jade_scrape_failures: gauge("1 for each part that did not give its metrics to this scrape."),
  jade_build_info: gauge("Always 1; the version is a label."),
};
