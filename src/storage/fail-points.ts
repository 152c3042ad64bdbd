// The places where a process may die between two durable steps, by name. The crash tests kill -9 at each of them.
// Guarantees: a point stands only where an `await` really separates the steps; it costs nothing unless a harness is bound.
// Must not: do anything; what happens at a point is injected (see AtFailPoint). docs/fail-points.md lists them for people.

/** Point → what is durable when it is reached, and what is not yet. */
export const FAIL_POINTS = {
  "node.registered": "the Directory gave an incarnation; the node has not stored it",
  "frame.received": "a frame arrived at a node; nothing of it is applied",
  "frame.committed": "rows, idempotency records, votes and hints of the frame are in the log; nobody was answered",
  "flush.frozen": "a full memtable is frozen; no table of it is begun",
  "flush.blobIntended": "the intent row of a flushed table; its blob is not written (asynchronous blob stores)",
  "flush.blobWritten": "a flushed table's blob; the manifest does not name it",
  "flush.applied": "the manifest names the flushed tables; their log rows are still there",
  "log.trimmed": "a slice of covered log rows is gone; others wait",
  "merge.begun": "a merge was chosen; nothing of it is written",
  "merge.blobIntended": "the intent row of a merged table; its blob is not written (asynchronous blob stores)",
  "merge.blobWritten": "a merged table's blob; the manifest still names the old ones",
  "merge.partApplied":
    "the manifest names the tables merged so far, and where the rest of the old ones begins; others wait",
  "merge.applied": "the manifest names the merged tables; the old blobs are still there",
  "blob.deleted": "a dead blob is gone; its dead row is still there (asynchronous blob stores)",
  "blobs.swept": "some dead blobs and their dead rows are gone; others may wait",
  "erase.marked": "a tenant is erased for ever; its rows are still in tables and log",
  "erase.finished": "nothing of an erased tenant is left; its erasure is noted as finished",
  "hint.offering": "hints are kept; their target was not called",
  "hint.delivered": "the target acknowledged hints; they are still kept here",
  "hint.dropped": "delivered hints are gone",
  "heal.listed": "the rows of an unreadable stretch are known; none is restored",
  "heal.restored": "its rows are restored and committed; the unreadable block is still in its table",
} as const;

export type FailPoint = keyof typeof FAIL_POINTS;
