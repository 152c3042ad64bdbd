// The WASM kernels (wasm/storage.ts) behind the Kernels interface.
// Guarantees: same results as kernels.reference.ts; results are valid until the next call. Must not: keep inputs in WASM memory
// beyond a call, or let it grow past what one merge step of small blocks needs (larger steps run in the twin, in place).

import { referenceKernels } from "./kernels.reference.ts";
import { MAX_WASM_MERGE_BYTES } from "./limits.ts";
import { ROW_HEADER_BYTES } from "./row-format.ts";
import type { Kernels, MergeRequest, MergeResult } from "./types.ts";

interface Exports {
  readonly memory: WebAssembly.Memory;
  heapBase(): number;
  crc32c(at: number, length: number, seed: number): number;
  bloomBuild(tokens: number, tokenCount: number, filter: number, filterBytes: number, hashCount: number): void;
  mergeBlocks(request: number): number;
}

const PAGE_BYTES = 65_536;
/** CRCs run over pieces of this size, so that one 16 MiB value does not grow the memory for ever. */
const CRC_PIECE_BYTES = 256 * 1024;
const REQUEST_BYTES = 48;
const INPUT_BYTES = 40;
const STOPS = ["done", "limit", "input", "flagged"] as const;
const FIRST_ROWS = { check: 0, keep: 1, drop: 2 } as const;

function align(address: number): number {
  return (address + 15) & ~15;
}

class WasmKernels implements Kernels {
  readonly #exports: Exports;
  readonly #base: number;
  #u8: Uint8Array;

  constructor(module: WebAssembly.Module) {
    const abort = (): never => {
      throw new Error("a storage kernel aborted");
    };
    const instance = new WebAssembly.Instance(module, { env: { abort } });
    this.#exports = instance.exports as unknown as Exports;
    this.#base = align(this.#exports.heapBase());
    this.#u8 = new Uint8Array(this.#exports.memory.buffer);
  }

  #reserve(endAddress: number): void {
    if (endAddress <= this.#u8.length) return;
    this.#exports.memory.grow(Math.ceil((endAddress - this.#u8.length) / PAGE_BYTES));
    this.#u8 = new Uint8Array(this.#exports.memory.buffer);
  }

  crc32c(bytes: Uint8Array, seed = 0): number {
    const base = this.#base;
    let crc = seed;
    for (let start = 0; start < bytes.length; start += CRC_PIECE_BYTES) {
      const length = Math.min(CRC_PIECE_BYTES, bytes.length - start);
      this.#reserve(base + length);
      this.#u8.set(length === bytes.length ? bytes : bytes.subarray(start, start + length), base);
      crc = this.#exports.crc32c(base, length, crc) >>> 0;
    }
    return crc;
  }

  bloomBuild(tokens: Uint32Array, filterBytes: number, hashCount: number): Uint8Array {
    const filter = align(this.#base + tokens.byteLength);
    this.#reserve(filter + filterBytes);
    this.#u8.set(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength), this.#base);
    this.#u8.fill(0, filter, filter + filterBytes);
    this.#exports.bloomBuild(this.#base, tokens.length / 2, filter, filterBytes, hashCount);
    return this.#u8.slice(filter, filter + filterBytes);
  }

  mergeBlocks(request: MergeRequest): MergeResult {
    const { inputs, dropTenants, limitBytes } = request;
    const inputBytes = inputs.reduce((sum, input) => sum + input.bytes.length, 0);
    if (inputBytes + limitBytes > MAX_WASM_MERGE_BYTES) return referenceKernels.mergeBlocks(request);
    const dropAt = align(this.#base + REQUEST_BYTES + inputs.length * INPUT_BYTES);
    const blocksAt = align(dropAt + dropTenants.byteLength);
    const offsetsAt = align(blocksAt + inputBytes + inputs.length * 16);
    // A forced row may pass the limit, but it comes from one of the inputs.
    const outCapacityBytes = Math.max(limitBytes, ...inputs.map((input) => input.bytes.length));
    const rowsAt = align(offsetsAt + (Math.ceil(outCapacityBytes / ROW_HEADER_BYTES) + 1) * 4);
    this.#reserve(rowsAt + outCapacityBytes);
    this.#write(request, { dropAt, blocksAt, offsetsAt, rowsAt });
    const stop = STOPS[this.#exports.mergeBlocks(this.#base)]!;
    return this.#result(inputs.length, { offsetsAt, rowsAt, stop });
  }

  #write(request: MergeRequest, at: { dropAt: number; blocksAt: number; offsetsAt: number; rowsAt: number }): void {
    const { inputs, dropTenants } = request;
    const words = [
      inputs.length,
      request.limitBytes,
      request.force ? 1 : 0,
      dropTenants.length,
      at.dropAt,
      request.stopAtFlagged ? 1 : 0,
      FIRST_ROWS[request.firstRow],
      at.rowsAt,
      at.offsetsAt,
    ];
    const view = new DataView(this.#u8.buffer);
    words.forEach((word, index) => {
      view.setUint32(this.#base + index * 4, word, true);
    });
    this.#u8.set(new Uint8Array(dropTenants.buffer, dropTenants.byteOffset, dropTenants.byteLength), at.dropAt);
    let block = at.blocksAt;
    inputs.forEach(({ bytes, nextRow, last }, index) => {
      const input = this.#base + REQUEST_BYTES + index * INPUT_BYTES;
      this.#u8.set(bytes, block);
      view.setUint32(input, block, true);
      view.setUint32(input + 4, bytes.length, true);
      view.setUint32(input + 8, nextRow, true);
      view.setUint32(input + 12, last ? 1 : 0, true);
      block = align(block + bytes.length);
    });
  }

  #result(
    inputCount: number,
    { offsetsAt, rowsAt, stop }: { offsetsAt: number; rowsAt: number; stop: MergeResult["stop"] },
  ): MergeResult {
    const { buffer } = this.#u8;
    const view = new DataView(buffer);
    const nextRows: number[] = [];
    for (let i = 0; i < inputCount; i++) {
      nextRows.push(view.getUint32(this.#base + REQUEST_BYTES + i * INPUT_BYTES + 8, true));
    }
    return {
      rows: this.#u8.subarray(rowsAt, rowsAt + view.getUint32(this.#base + 36, true)),
      offsets: new Uint32Array(buffer, offsetsAt, view.getUint32(this.#base + 40, true)),
      nextRows,
      stop,
      flaggedInput: view.getInt32(this.#base + 44, true),
    };
  }
}

/** Kernels of a compiled dist/wasm/storage.wasm. Instances may share one: calls keep no state. */
export function createKernels(module: WebAssembly.Module): Kernels {
  return new WasmKernels(module);
}
