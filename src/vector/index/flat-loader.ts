// Takes a saved FLAT index over codes back.

import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { FLAT_SECTIONS, readFlatHeader } from "./flat-format.ts";
import { FlatCodes } from "./flat-index.ts";
import { refuse, strideOf } from "./form-header.ts";
import { checkLengths, type SavedIndex } from "./sections.ts";
import type { IndexLoader, Rows } from "./segment-index.ts";

/** @throws MalformedIndex, ArenaFull */
export function openFlatLoader(
  core: VectorCore,
  saved: SavedIndex,
  segment: { readonly rows: Rows; readonly metric: Metric },
): IndexLoader {
  const { arena } = core;
  const { form, rows, quarantinedCount } = readFlatHeader(saved.header, segment);
  const codeBytes = rows * strideOf(form);
  checkLengths(saved, [
    [FLAT_SECTIONS.codes, codeBytes],
    [FLAT_SECTIONS.quarantined, quarantinedCount * 4],
  ]);
  // One extent for both: codes first, so that it can be kept as it is.
  const codes = arena.allocate(codeBytes + quarantinedCount * 4);
  const list = codes + codeBytes;
  return {
    targets: [
      { name: FLAT_SECTIONS.codes, at: codes, byteLength: codeBytes },
      { name: FLAT_SECTIONS.quarantined, at: list, byteLength: quarantinedCount * 4 },
    ],
    abandon: () => arena.free(codes),
    finish: () => {
      try {
        const quarantined = [...arena.words(list, quarantinedCount)];
        refuse(
          quarantined.some((row) => row >= rows),
          "a quarantined row outside of it",
        );
        return new FlatCodes(core, { codes, count: rows, map: form.map, quarantined });
      } catch (error) {
        arena.free(codes);
        throw error;
      }
    },
  };
}
