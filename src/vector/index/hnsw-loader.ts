// Takes a saved HNSW index back: its sections go straight into the arena, then everything is checked.
// Guarantees: bytes that are not such an index over these rows are refused (`MalformedIndex`) before a walk could follow them out of
// the graph; nothing stays allocated then. Must not: check checksums; the segment file has those.

import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { dimensionOf, metricOf, refuse, strideOf } from "./form-header.ts";
import { HNSW_SECTIONS, type HnswHeader, lengthsOf, readHeader } from "./hnsw-format.ts";
import { HnswGraph } from "./hnsw-graph.ts";
import { HnswIndex } from "./hnsw-index.ts";
import { checkLengths, type SavedIndex } from "./sections.ts";
import type { IndexLoader, Rows } from "./segment-index.ts";

/**
 * Begins to load an index: checks its header against the rows of the segment and the lengths of its sections, and makes room.
 * @throws MalformedIndex, ArenaFull
 */
export function openHnswLoader(
  core: VectorCore,
  saved: SavedIndex,
  { rows, metric }: { readonly rows: Rows; readonly metric: Metric },
): IndexLoader {
  const header = readHeader(saved.header);
  const { form, m, upperWords, isBorrowed } = header;
  refuse(header.rows !== rows.count, `${header.rows} rows in a segment of ${rows.count}`);
  refuse(dimensionOf(form) !== rows.dimension, `dimension ${dimensionOf(form)} for rows of ${rows.dimension}`);
  refuse(metricOf(form) !== metric, `the metric ${metricOf(form)} in a database of ${metric}`);
  const lengths = lengthsOf(header);
  checkLengths(saved, lengths);
  const resident = isBorrowed ? rows.resident : undefined;
  refuse(isBorrowed && resident?.length !== 1, "vectors in a segment whose rows are not in memory");
  refuse(isBorrowed && (form.quantizer !== "none" || metric !== "euclidean"), "codes that are rows");
  const shape = { rows: header.rows, m, stride: strideOf(form), upperWords };
  const graph = new HnswGraph(core.arena, shape, resident?.[0]?.at);
  return loaderOf(core, header, graph);
}

function loaderOf(core: VectorCore, header: HnswHeader, graph: HnswGraph): IndexLoader {
  const { arena } = core;
  const { vectors, links, upperAt, upper } = graph.parts;
  const { quarantinedCount } = header;
  let list = 0;
  const abandon = (): void => {
    graph.release();
    if (list !== 0) arena.free(list);
  };
  try {
    list = arena.allocate(quarantinedCount * 4);
  } catch (error) {
    abandon();
    throw error;
  }
  const places: Readonly<Record<string, number>> = {
    [HNSW_SECTIONS.vectors]: vectors,
    [HNSW_SECTIONS.links]: links,
    [HNSW_SECTIONS.offsets]: upperAt,
    [HNSW_SECTIONS.upper]: upper,
    [HNSW_SECTIONS.quarantined]: list,
  };
  return {
    targets: lengthsOf(header).map(([name, byteLength]) => ({ name, at: places[name]!, byteLength })),
    abandon,
    finish: () => {
      try {
        const quarantined = [...arena.words(list, quarantinedCount)];
        check(core, graph, header, quarantined);
        graph.entry = { row: header.entry, level: header.level };
        const index = new HnswIndex(core, graph, header.form, quarantined);
        arena.free(list);
        return index;
      } catch (error) {
        abandon();
        throw error;
      }
    },
  };
}

function check({ kernels, workspace }: VectorCore, graph: HnswGraph, header: HnswHeader, quarantined: number[]): void {
  const { rows, entry, level, upperWords } = header;
  refuse(
    quarantined.some((row) => row >= rows),
    "a quarantined row outside of it",
  );
  refuse(level < 0 && quarantined.length !== rows, "no entry");
  const scratch = workspace.forWalk({ rows: 1, keys: 1, codeBytes: 16 });
  const wrong = kernels.hnswCheck(graph.at, scratch, rows, upperWords) >>> 0;
  refuse(wrong !== 0, `broken links at row ${wrong - 1}`);
  if (level < 0) return;
  const levels = graph.levelOf(entry);
  refuse(levels !== level, `an entry on level ${levels} instead of ${level}`);
}
