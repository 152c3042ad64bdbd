// Takes saved hash tables back. Guarantees: as hnsw-loader.ts. Keys out of order only hide rows from probes; rows are checked.

import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { refuse } from "./form-header.ts";
import { Hasher, LSH_SECTIONS, LshTables, lshBytes, readLshHeader, tableAt } from "./lsh-tables.ts";
import { checkLengths, type SavedIndex } from "./sections.ts";
import type { IndexLoader, Rows } from "./segment-index.ts";

/** @throws MalformedIndex, ArenaFull */
export function openLshLoader(
  core: VectorCore,
  saved: SavedIndex,
  { rows, metric }: { readonly rows: Rows; readonly metric: Metric },
): Omit<IndexLoader, "finish"> & { finish(): LshTables } {
  const header = readLshHeader(saved.header);
  refuse(header.rows !== rows.count, `${header.rows} rows in a segment of ${rows.count}`);
  refuse(header.dimension !== rows.dimension, `dimension ${header.dimension} for rows of ${rows.dimension}`);
  refuse(header.metric !== metric, `the metric ${header.metric} in a database of ${metric}`);
  const byteLength = lshBytes(header);
  checkLengths(saved, [[LSH_SECTIONS.tables, byteLength]]);
  const at = core.arena.allocate(byteLength);
  const abandon = (): void => core.arena.free(at);
  return {
    targets: [{ name: LSH_SECTIONS.tables, at, byteLength }],
    abandon,
    finish: () => {
      try {
        for (let table = 0; table < header.tables; table++) {
          for (const row of tableAt(core, header, at, table).rows) refuse(row >= header.rows, `the row ${row}`);
        }
        return new LshTables(core, header, at, new Hasher(core, header));
      } catch (error) {
        abandon();
        throw error;
      }
    },
  };
}
