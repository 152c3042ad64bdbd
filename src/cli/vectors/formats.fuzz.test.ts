// Vector files: what is written is read back, in whatever chunks it comes; and no bytes do more than be refused.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../exit-codes.ts";
import { formatOf, readRows, rowWriter, type VectorFormat } from "./formats.ts";
import { memoryFile } from "./memory-file.ts";
import type { VectorRow } from "./rows.ts";

const FORMATS: readonly VectorFormat[] = ["jsonl", "csv", "fvecs", "bvecs", "npy", "parquet"];

const float = fc.float({ noNaN: true, noDefaultInfinity: true });
const byte = fc.integer({ min: 0, max: 255 });
const id = fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" }).filter((text) => text.isWellFormed());
const metadata = fc.option(
  fc
    .dictionary(fc.string(), fc.jsonValue())
    .map((value) => JSON.stringify(value))
    .filter((text) => text.isWellFormed()),
  { nil: undefined },
);

function rowsOf(format: VectorFormat) {
  const value = format === "bvecs" ? byte : float;
  return fc.integer({ min: 1, max: 12 }).chain((dimension) =>
    fc.array(
      fc.record({
        id,
        values: fc.array(value, { minLength: dimension, maxLength: dimension }).map((list) => Float32Array.from(list)),
        metadata,
      }),
      { minLength: 1, maxLength: 20 },
    ),
  );
}

/** The bytes of a file and of its sidecar, written in batches. */
function written(format: VectorFormat, rows: readonly VectorRow[], batchRows: number) {
  const writer = rowWriter(format, rows[0]!.values.length);
  const pieces = [writer.start()];
  const names: Uint8Array[] = [];
  for (let at = 0; at < rows.length; at += batchRows) {
    const batch = rows.slice(at, at + batchRows);
    pieces.push(writer.rows(batch));
    names.push(writer.sidecar(batch) ?? new Uint8Array(0));
  }
  pieces.push(writer.end());
  const bytes = new Uint8Array(Buffer.concat(pieces));
  bytes.set(writer.head(rows.length) ?? [], 0);
  return { bytes, names: new Uint8Array(Buffer.concat(names)) };
}

async function readBack(format: VectorFormat, { bytes, names }: ReturnType<typeof written>, chunkBytes: number) {
  const sidecar = names.length === 0 ? undefined : memoryFile("names", names, chunkBytes);
  const rows = [];
  for await (const row of readRows(memoryFile("file", bytes, chunkBytes), format, { sidecar })) rows.push(row);
  return rows;
}

const bits = (values: Float32Array): number[] => [...new Uint32Array(values.slice().buffer)];
const comparable = ({ id: own, values, metadata: text }: VectorRow) => ({
  id: own,
  bits: bits(values),
  metadata: text,
});

describe.each(FORMATS)("%s", (format) => {
  it("[VE-170] gives rows back exactly: ids, float32 bit for bit, the text of metadata, in chunks of any size", async () => {
    await fc.assert(
      fc.asyncProperty(
        rowsOf(format),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 9 }),
        async (rows, chunkBytes, batchRows) => {
          const back = await readBack(format, written(format, rows, batchRows), chunkBytes);
          expect(back.map(comparable)).toEqual(rows.map(comparable));
          expect(back.map(({ number }) => number)).toEqual(rows.map((_, at) => at + 1));
        },
      ),
      { numRuns: 80 },
    );
  });

  it("[VE-171] refuses what is damaged by an error that names the file, or reads it; nothing else comes out", async () => {
    const damage = fc.record({
      at: fc.nat(),
      kind: fc.constantFrom("flip", "cut", "insert"),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
    });
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(rowsOf(format), damage, async (rows, { at, kind, bytes: noise }) => {
        const whole = written(format, rows, 5);
        const place = at % whole.bytes.length;
        const tail = kind === "cut" ? [] : whole.bytes.subarray(kind === "flip" ? place + noise.length : place);
        const bytes = Uint8Array.from([...whole.bytes.subarray(0, place), ...(kind === "cut" ? [] : noise), ...tail]);
        try {
          await readBack(format, { ...whole, bytes }, 7);
        } catch (error) {
          refused++;
          expect(error).toBeInstanceOf(UsageError);
          expect((error as Error).message).toMatch(/^(file|names)\b.*: ./s);
        }
      }),
      { numRuns: 150 },
    );
    expect(refused).toBeGreaterThan(15);
  });

  it("[VE-171] refuses bytes that are no such file", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 5, maxLength: 400 }), async (bytes) => {
        await readBack(format, { bytes, names: new Uint8Array(0) }, 16).then(
          () => undefined,
          (error) => expect(error).toBeInstanceOf(UsageError),
        );
      }),
      { numRuns: 80 },
    );
  });
});

describe("formatOf", () => {
  it("goes by the extension, and names those that are known", () => {
    expect(formatOf("/a/b.NDJSON")).toBe("jsonl");
    expect(() => formatOf("a.txt")).toThrow("a.txt: the format is told by the extension, one of .jsonl, .ndjson, .csv");
    expect(() => formatOf("constructor")).toThrow(UsageError);
  });
});
