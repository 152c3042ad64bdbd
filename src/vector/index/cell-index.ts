// An index over coded blocks: FLAT with one cell that holds every row, or IVF, whose rows lie by the nearest of its centroids, those of
// a cell side by side. A search reads the cells nearest to the query, estimates distances from the codes, and gives what the bounds of
// the estimates (1-bit codes) or the number asked for leave to the exact re-rank.

import type { Pointer } from "../arena.ts";
import { KEY_FORMS, type VectorCore } from "../kernels.ts";
import type { CodedSpace } from "../quantize/coded-space.ts";
import { BLOCK_ROWS, type CodeShape, type CodeTable, tableOf } from "./cell-codes.ts";
import { type CellHeader, type CellPlaces, cellBytes, cellSections, placesOf, shapeOf } from "./cell-format.ts";
import { BOUND_EPSILON, DEFAULT_SCANNED_SHARE, PRODUCT_CANDIDATES } from "./limits.ts";
import { readPool } from "./pool.ts";
import { Quarantine } from "./quarantine.ts";
import { markRows, type RowSelector, type Selection } from "./row-selector.ts";
import type { Found, IndexSection, PreparedQuery, SearchAsk, SegmentIndex } from "./segment-index.ts";

/** Bytes of a candidate (wasm/vector/fastscan.ts), and of what stands before the first. */
const CANDIDATE_BYTES = 12;
const CANDIDATES_AT = 16;

interface Probe {
  readonly cell: number;
  /** Squared distance of its centroid from the query. */
  readonly squared: number;
}

interface Scan {
  readonly query: { readonly at: Pointer; readonly scale: number; readonly offset: number };
  readonly table: CodeTable;
  readonly probes: number | undefined;
  readonly most: number;
  readonly hasBounds: boolean;
}

/** What a scan writes to, and the bitmaps it obeys; 0 where there is none. */
interface Pools {
  readonly heap: Pointer;
  readonly live: Pointer;
  readonly kept: Pointer;
  readonly allowed: Pointer;
  readonly deleted: Pointer;
}

export class CellIndex implements SegmentIndex, RowSelector {
  readonly #core: VectorCore;
  readonly header: CellHeader;
  readonly places: CellPlaces;
  readonly #at: Pointer;
  readonly #shape: CodeShape;
  readonly #space: CodedSpace;
  readonly #quarantine: Quarantine;
  /** First slot and number of rows of each cell. */
  readonly #spans: Uint32Array;

  /** Takes the extent `at` over. @throws ArenaFull */
  constructor(core: VectorCore, header: CellHeader, at: Pointer, space: CodedSpace) {
    this.#core = core;
    this.header = header;
    this.#at = at;
    this.places = placesOf(header, at);
    this.#shape = shapeOf(header);
    this.#space = space;
    this.#spans = core.arena.words(this.places.spans, header.cells * 2).slice();
    const bad = [...core.arena.words(this.places.quarantined, header.quarantinedCount)];
    this.#quarantine = new Quarantine(core, header.rows, bad);
  }

  get kind(): "FLAT" | "IVF" {
    return this.header.kind;
  }

  get count(): number {
    return this.header.rows;
  }

  get memoryBytes(): number {
    return cellBytes(this.header) + this.#space.memoryBytes + this.#quarantine.memoryBytes;
  }

  search(query: PreparedQuery, { k, effort, allowed = 0, deleted: gone = 0 }: SearchAsk): Found {
    const { kernels, workspace, arena } = this.#core;
    const { kind, rows, slots, quantizer } = this.header;
    const plan = kind === "FLAT" ? "scan" : "lists";
    const deleted = this.#quarantine.join(gone);
    const hasBounds = quantizer === "rabitq" && effort.rerank === undefined;
    const asked = Math.max(k, effort.rerank ?? (hasBounds ? 0 : Math.max(PRODUCT_CANDIDATES, 10 * k)));
    const most = k === 0 ? 0 : Math.min(rows, asked);
    if (most === 0)
      return { rows: new Uint32Array(0), distances: new Float32Array(0), isExact: false, scanned: 0, plan };
    const placed = this.#space.query(query, this.places.centre);
    const table = tableOf(this.#core, this.#shape, this.places.centres, placed.at);
    const scan = { query: placed, table, most, hasBounds, probes: effort.probes };
    const heap = workspace.reserve("heap", 16 + most * 8);
    arena.u32[heap / 4] = 0;
    const live = allowed === 0 && deleted === 0 ? 0 : workspace.reserve("live", slots / 8);
    const kept = hasBounds ? workspace.reserve("kept", CANDIDATES_AT + slots * CANDIDATE_BYTES) : 0;
    if (kept !== 0) arena.u32[kept / 4] = 0;
    const scanned = this.#scan(scan, { heap, live, kept, allowed, deleted });
    if (kept !== 0) return { ...this.#keep(scan, heap, kept), isExact: false, scanned, plan };
    kernels.heapSort(heap);
    const read = { keys: heap + 16, count: arena.u32[heap / 4]!, shift: 0, form: KEY_FORMS.ordered };
    const found = readPool(this.#core, { ...read, scale: placed.scale, offset: placed.offset });
    return { rows: this.#rowsOf(found.rows), distances: found.distances, isExact: false, scanned, plan };
  }

  /** The `most` cells nearest to the query, nearest first. */
  #nearestCells(query: Pointer, most: number): readonly Probe[] {
    const { kernels, workspace, arena } = this.#core;
    const { cells } = this.header;
    const heap = workspace.reserve("order", 16 + most * 8);
    arena.u32[heap / 4] = 0;
    kernels.probeCells(query, this.#space.bytes, this.places.centroids, cells, heap, most);
    kernels.heapSort(heap);
    const read = { keys: heap + 16, count: arena.u32[heap / 4]!, shift: 0, form: KEY_FORMS.ordered };
    const nearest = readPool(this.#core, { ...read, scale: 1, offset: 0 });
    return Array.from(nearest.rows, (cell, i): Probe => ({ cell, squared: nearest.distances[i]! }));
  }

  /**
   * Calls `read` with the cells nearest first, until `probes` of them were read, or if that is not asked for a share of the rows; and
   * anyhow until `least` live rows were. `read` gives the live rows of a cell: with a filter the search goes on until it has seen as
   * many as it would without, so that few live rows are all compared. Returns the rows read.
   */
  visitCells(
    query: Pointer,
    ask: { readonly probes: number | undefined; readonly least: number; readonly isFiltered: boolean },
    read: (cell: Probe & { readonly first: number; readonly count: number }) => number,
  ): number {
    const { cells, rows } = this.header;
    const { probes, least, isFiltered } = ask;
    const share = (probes === undefined ? DEFAULT_SCANNED_SHARE : probes / cells) * rows;
    const [fewest, enough] = [probes ?? 1, Math.max(least, probes === undefined || isFiltered ? share : 0)];
    let listed = Math.min(cells, Math.max(fewest, 8 + Math.ceil((4 * enough * cells) / Math.max(1, rows))));
    let nearest = this.#nearestCells(query, listed);
    let scanned = 0;
    for (let i = 0; i < cells && (i < fewest || scanned < enough); i++) {
      if (i === listed) {
        listed = cells;
        nearest = this.#nearestCells(query, cells);
      }
      const { cell, squared } = nearest[i]!;
      const [first, count] = [this.#spans[cell * 2]!, this.#spans[cell * 2 + 1]!];
      if (count > 0) scanned += read({ cell, squared, first, count });
    }
    return scanned;
  }

  /** Reads cells into the pools. Returns the rows scanned. */
  #scan({ query, table, most, hasBounds, probes }: Scan, to: Pools): number {
    const { kernels } = this.#core;
    const { blocks } = this.places;
    const { groups, blockBytes, quantizer } = this.#shape;
    const hasFactors = quantizer === "rabitq" ? 1 : 0;
    // Entries of the table are rounded: each errs by a twelfth of the squared step.
    const isQuick = this.kind === "IVF" && (probes ?? 0) <= DEFAULT_SCANNED_SHARE * this.header.cells;
    const epsilon = BOUND_EPSILON[isQuick ? "quick" : "thorough"];
    const slack = hasBounds ? epsilon * table.step * Math.sqrt(groups / 12) : 0;
    return this.visitCells(query.at, { probes, least: most, isFiltered: to.live !== 0 }, ({ first, count, squared }) =>
      kernels.scanBlocks(
        blocks + (first / BLOCK_ROWS) * blockBytes,
        groups,
        hasFactors,
        table.at,
        first,
        count,
        table.step,
        table.bias,
        hasFactors === 1 ? squared : 0,
        hasBounds ? epsilon * Math.sqrt(squared) : 0,
        slack,
        this.#live(first, count, to),
        to.heap,
        most,
        to.kept,
      ),
    );
  }

  /** The bitmap of the live slots, right for one cell. Under FLAT slots are rows. */
  #live(first: number, count: number, to: Pools): Pointer {
    const { kernels, arena } = this.#core;
    if (to.live === 0) return 0;
    if (this.header.kind === "IVF") {
      kernels.liveSlots(this.places.rowOf, first, count, to.allowed, to.deleted, to.live);
      return to.live;
    }
    const words = Math.ceil(count / BLOCK_ROWS);
    const out = arena.words(to.live, words);
    if (to.allowed === 0) out.fill(0xffff_ffff);
    else out.set(arena.words(to.allowed, words));
    if (to.deleted !== 0) for (const [i, word] of arena.words(to.deleted, words).entries()) out[i]! &= ~word;
    return to.live;
  }

  /** The candidates that the bounds leave, least estimate first. */
  #keep({ query, most }: Scan, heap: Pointer, kept: Pointer) {
    const { kernels, workspace, arena } = this.#core;
    const count = arena.u32[kept / 4]!;
    const order = workspace.reserve("order", 16 + count * 8);
    arena.u32[order / 4] = 0;
    kernels.keepCandidates(kept, heap, most, order);
    const left = arena.u32[order / 4]!;
    const [rows, distances, lowest] = [new Uint32Array(left), new Float32Array(left), new Float32Array(left)];
    const { u32, f32 } = arena;
    for (let i = 0; i < left; i++) {
      const at = (kept + CANDIDATES_AT + u32[order / 4 + 4 + i * 2]! * CANDIDATE_BYTES) / 4;
      rows[i] = u32[at + 2]!;
      distances[i] = f32[at]! * query.scale + query.offset;
      lowest[i] = f32[at + 1]! * query.scale + query.offset;
    }
    return { rows: this.#rowsOf(rows), distances, lowest };
  }

  /** Slots → rows, in place. */
  #rowsOf(slots: Uint32Array): Uint32Array {
    if (this.header.kind === "FLAT") return slots;
    const rowOf = this.#core.arena.words(this.places.rowOf, this.header.slots);
    for (const [i, slot] of slots.entries()) slots[i] = rowOf[slot]!;
    return slots;
  }

  /** Sets the bits of the live rows in the cells nearest to the query. Returns how many. */
  select(query: PreparedQuery, ask: Selection): number {
    const { arena } = this.#core;
    const { at } = this.#space.query(query, this.places.centre);
    const isFiltered = ask.allowed !== 0 || ask.deleted !== 0;
    return this.visitCells(at, { ...ask, isFiltered }, ({ first, count }) => {
      const rows = arena.words(this.places.rowOf + first * 4, count);
      return markRows(arena, rows, ask);
    });
  }

  save(): readonly IndexSection[] {
    return cellSections(this.#core.arena, this.header, this.#at);
  }

  release(): void {
    this.#quarantine.release();
    this.#space.release();
    this.#core.arena.free(this.#at);
  }
}
