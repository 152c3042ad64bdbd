// The search of a segment that has no index (memory was too short for it): float32 rows are read in pieces and compared, exactly.
import { readPool } from "../index/pool.ts";
import { forEachPiece } from "../index/row-pieces.ts";
import {
  type Found,
  type PreparedQuery,
  type Rows,
  rowStride,
  type SearchAsk,
  type SegmentIndex,
} from "../index/segment-index.ts";
import { KEY_FORMS, METRIC_CODES, type VectorCore } from "../kernels.ts";
import { inverseNormOf } from "../query.ts";

export class RowScan implements SegmentIndex {
  readonly kind = "FLAT";
  readonly memoryBytes = 0;
  readonly #core: VectorCore;
  readonly #rows: Rows;

  constructor(core: VectorCore, rows: Rows) {
    this.#core = core;
    this.#rows = rows;
  }

  get count(): number {
    return this.#rows.count;
  }

  search(query: PreparedQuery, { k, allowed = 0, deleted = 0 }: SearchAsk): Found {
    const { kernels, workspace, arena } = this.#core;
    const most = Math.min(k, this.count);
    const heap = workspace.reserve("heap", 16 + most * 8);
    arena.u32[heap / 4] = 0;
    const stride = rowStride(this.#rows.dimension);
    const [metric, inverse] = [METRIC_CODES[query.metric], inverseNormOf(query)];
    let scanned = 0;
    forEachPiece(this.#core, this.#rows, { from: 0, to: most === 0 ? 0 : this.count }, ({ at, first, count }) => {
      scanned += kernels.scanFloat(
        metric,
        query.values,
        inverse,
        at,
        stride,
        first,
        count,
        allowed,
        deleted,
        heap,
        most,
      );
    });
    kernels.heapSort(heap);
    const read = { keys: heap + 16, count: arena.u32[heap / 4]!, shift: 0, form: KEY_FORMS.ordered };
    return { ...readPool(this.#core, { ...read, scale: 1, offset: 0 }), isExact: true, scanned, plan: "scan" };
  }

  save(): readonly never[] {
    return [];
  }

  release(): void {
    // It owns nothing.
  }
}
