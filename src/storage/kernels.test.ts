import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { buildWasm } from "../../scripts/build-wasm.mjs";
import { seededWords } from "../../scripts/lib/seeded.mjs";
import { bytesOf } from "../../test/unit/storage/fixture.ts";
import { sampleBlocks } from "../../test/unit/storage/sample-blocks.ts";
import { bloomMayHold } from "./bloom.ts";
import { referenceKernels } from "./kernels.reference.ts";
import { createKernels } from "./kernels.ts";
import { MAX_WASM_MERGE_BYTES } from "./limits.ts";
import type { Kernels, MergeRequest, MergeResult } from "./types.ts";

let wasm: Kernels;
beforeAll(async () => {
  await buildWasm();
  wasm = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
});

describe("kernels", () => {
  it("[ST-20] crc32c gives the check value of the Castagnoli polynomial and chains by seed", () => {
    for (const kernels of [wasm, referenceKernels]) {
      expect(kernels.crc32c(bytesOf("123456789"))).toBe(0xe3069283);
      expect(kernels.crc32c(bytesOf("6789"), kernels.crc32c(bytesOf("12345")))).toBe(0xe3069283);
      expect(kernels.crc32c(new Uint8Array(0))).toBe(0);
    }
  });

  it("[ST-21] WASM and reference agree on crc32c of random lengths, also above one piece", () => {
    const random = seededWords(1);
    for (const length of [1, 15, 16, 17, 31, 33, 1000, 65_537, 262_144, 600_001]) {
      const bytes = Uint8Array.from({ length }, () => random() & 0xff);
      expect(wasm.crc32c(bytes, length), `${length} bytes`).toBe(referenceKernels.crc32c(bytes, length));
    }
  });

  it("[ST-22] WASM and reference build the same bloom filter; it holds every token and few others", () => {
    const random = seededWords(2);
    const tokens = Uint32Array.from({ length: 20_000 }, () => random());
    const filter = wasm.bloomBuild(tokens, 12_500, 7);
    expect(filter).toEqual(referenceKernels.bloomBuild(tokens, 12_500, 7));
    for (let i = 0; i < tokens.length; i += 2) expect(bloomMayHold(filter, 7, tokens[i]!, tokens[i + 1]!)).toBe(true);
    let falsePositives = 0;
    for (let i = 0; i < 10_000; i++) if (bloomMayHold(filter, 7, random(), random())) falsePositives++;
    expect(falsePositives).toBeLessThan(200);
  });

  it("[ST-23] WASM and reference merge byte for byte alike, whatever the request", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = seededWords(seed);
      let request = randomRequest(random);
      for (let step = 0; step < 50; step++) {
        const expected = copy(referenceKernels.mergeBlocks(request));
        expect(copy(wasm.mergeBlocks(request)), `seed ${seed} step ${step}`).toEqual(expected);
        if (expected.stop === "done" || expected.stop === "input") break;
        request = next(request, expected, random);
      }
    }
  });

  it("[ST-24] a merge step above the WASM bound gives the reference's result", () => {
    const block = sampleBlocks({ seed: 5, inputCount: 1, rowsPerBlock: 2, valueBytes: MAX_WASM_MERGE_BYTES })[0]!;
    const request: MergeRequest = {
      inputs: [{ bytes: block, nextRow: 0, last: true }],
      limitBytes: 10,
      force: true,
      dropTenants: new Uint32Array(0),
      stopAtFlagged: false,
      firstRow: "check",
    };
    const { rows, ...rest } = wasm.mergeBlocks(request);
    const { rows: expectedRows, ...expectedRest } = referenceKernels.mergeBlocks(request);
    expect(Buffer.compare(rows, expectedRows)).toBe(0);
    expect(rest).toEqual(expectedRest);
  });
});

function copy(result: MergeResult): MergeResult {
  return { ...result, rows: result.rows.slice(), offsets: result.offsets.slice() };
}

function randomRequest(random: () => number): MergeRequest {
  const inputCount = 1 + (random() % 6);
  const blocks = sampleBlocks({
    seed: random(),
    inputCount,
    rowsPerBlock: 1 + (random() % 30),
    valueBytes: random() % 60,
  });
  return {
    inputs: blocks.map((bytes) => ({ bytes, nextRow: 0, last: random() % 3 !== 0 })),
    limitBytes: random() % 2000,
    force: random() % 2 === 0,
    dropTenants: random() % 2 === 0 ? Uint32Array.of(1, 3) : new Uint32Array(0),
    stopAtFlagged: random() % 2 === 0,
    firstRow: "check",
  };
}

function next(request: MergeRequest, result: MergeResult, random: () => number): MergeRequest {
  return {
    ...request,
    force: true,
    inputs: request.inputs.map((input, index) => ({ ...input, nextRow: result.nextRows[index]! })),
    firstRow: result.stop === "flagged" ? (random() % 2 === 0 ? "keep" : "drop") : "check",
  };
}
