// A shard's log with damaged rows, put right by the commits that a follower holds, before the shard is opened.
// Guarantees: bytes are taken only when they are what was logged. Must not: know the way to a follower.
import { CommitLog, type DamagedGroup } from "../../storage/commit-log.ts";
import type { Kernels, SqlStorage } from "../../storage/types.ts";
import type { Crc32c } from "../segment/directory.ts";
import { commitsIn } from "../shard/commit-chain.ts";
import { Manifest } from "../shard/manifest.ts";

/** What a follower must give: the commits after `after`, `bytes` of them. */
export interface LogGap {
  readonly group: DamagedGroup;
  readonly after: number;
  readonly bytes: number;
}

/** The first damaged group that segments do not cover. @throws CorruptLog, CorruptSegment (what stands before it is damaged otherwise) */
export function firstGap(sql: SqlStorage, crc32c: Crc32c): LogGap | undefined {
  const manifest = new Manifest(sql, crc32c);
  const logThrough = manifest.get("logThrough");
  const log = new CommitLog(sql, { crc32c } as Kernels);
  const group = log.firstDamaged(logThrough);
  if (!group) return undefined;
  let after = manifest.get("revision");
  for (const { bytes } of log.read(logThrough, group.seq - 1)) after = commitsIn(bytes).at(-1)!.revision;
  return { group, after, bytes: group.bytes };
}

/** False: they are not what was logged. */
export function fillGap(
  sql: SqlStorage,
  crc32c: Crc32c,
  { gap, commits }: { gap: LogGap; commits: Uint8Array },
): boolean {
  return new CommitLog(sql, { crc32c } as Kernels).repair(gap.group, commits);
}
