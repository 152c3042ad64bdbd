// Vector files as other programs write them: columns, value types, what is refused and how it is told.
import zlib from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, it } from "vitest";
import { readRows, type VectorFormat } from "./formats.ts";
import { MAX_RECORD_CHARACTERS } from "./limits.ts";
import { memoryFile } from "./memory-file.ts";
import type { ReadOptions } from "./rows.ts";

const latin = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

async function rowsOf(
  format: VectorFormat,
  content: string | Uint8Array,
  options: ReadOptions & { names?: string } = {},
) {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const sidecar =
    options.names === undefined ? undefined : memoryFile("f.rows.jsonl", new TextEncoder().encode(options.names));
  const rows = [];
  for await (const { id, values, metadata } of readRows(memoryFile("f", bytes), format, { ...options, sidecar }))
    rows.push({ id, values: [...values], metadata });
  return rows;
}

function npy(dictionary: string, data: Uint8Array, version = 1): Uint8Array {
  const length =
    version === 1
      ? [dictionary.length & 255, dictionary.length >> 8]
      : [dictionary.length & 255, dictionary.length >> 8, 0, 0];
  return Uint8Array.from([...latin("\x93NUMPY"), version, 0, ...length, ...latin(dictionary), ...data]);
}

const bytesOf = (array: Float32Array | Float64Array | Int8Array): Uint8Array => new Uint8Array(array.buffer);

describe("JSONL", () => {
  it("[VE-172] takes id, values and metadata from the members that are named; without metadata all others are it", async () => {
    const text = '{"key":7,"vec":[1,2.5],"a":1}\n\n{"key":"b","vec":[0,-1],"metadata":{"n": 1.0}}';
    expect(await rowsOf("jsonl", text, { idColumn: "key", valuesColumn: "vec" })).toEqual([
      { id: "7", values: [1, 2.5], metadata: '{"a":1}' },
      { id: "b", values: [0, -1], metadata: '{"n": 1.0}' },
    ]);
    const made = await rowsOf("jsonl", text, { idPrefix: "p", valuesColumn: "vec", metadataColumns: ["a", "none"] });
    expect(made.map(({ id, metadata }) => [id, metadata])).toEqual([
      ["p0", '{"a":1}'],
      ["p1", undefined],
    ]);
  });

  it.each([
    ["{", /^f line 1: not JSON \(/],
    ["[1]", "f line 1: must be a JSON object"],
    ['{"values":[1]}', 'f line 1: has no "id" that is a string'],
    ['{"id":"a"}', 'f line 1: has no "values"'],
    ['\n{"id":"a","values":[]}', "f line 2: has 0 values; a vector has 1 to 4096"],
    ['{"id":"a","values":"x"}', 'f line 1: values must be a list of numbers, not "x"'],
    ['{"id":"a","values":[1,null]}', "f line 1: value 1 must be a number, not null"],
    ['{"id":"a","values":[1e39]}', "f line 1: value 0 is 1e+39: no finite float32"],
    ['{"id":"a","values":[1],"metadata":[]}', "f line 1: metadata must be a JSON object"],
    [`{"id":"${"ä".repeat(300)}","values":[1]}`, "f line 1: the id must have 1 to 512 bytes, not 600"],
    [
      `{"id":"a","values":[1],"metadata":{"x":"${"x".repeat(65_536)}"}}`,
      "f line 1: metadata has 65544 bytes; at most 65536 are allowed",
    ],
  ])("[VE-171] refuses %.40s", async (text, message) => {
    await expect(rowsOf("jsonl", text)).rejects.toThrow(message);
  });

  it("[VE-173] refuses a line without an end before it has read all of it, and bytes that are no UTF-8", async () => {
    let given = 0;
    const endless = {
      ...memoryFile("f", new Uint8Array(0)),
      async *stream() {
        for (;;) {
          given += 100_000;
          yield new Uint8Array(100_000).fill(0x20);
        }
      },
    };
    await expect(readRows(endless, "jsonl", {}).next()).rejects.toThrow("f line 1: longer than");
    await expect(readRows(endless, "csv", {}).next()).rejects.toThrow("f line 1: the record is longer than");
    expect(given).toBeLessThan(2 * (MAX_RECORD_CHARACTERS + 200_000));
    await expect(rowsOf("jsonl", Uint8Array.of(10, 0xff))).rejects.toThrow("f line 2: not valid UTF-8");
    await expect(rowsOf("csv", Uint8Array.of(10, 0xff))).rejects.toThrow("not valid UTF-8");
  });
});

describe("CSV", () => {
  it("[VE-172] reads values from a list or from columns v0, v1, …; cells are JSON where they read so, empty ones nothing", async () => {
    expect(
      await rowsOf(
        "csv",
        '\uFEFFid,title,n,tags,values\r\na,"x ""y"",\nz",1.50,"[""t""]","[1,2]"\r\n\r\nb,,2,,"[3,4]"',
      ),
    ).toEqual([
      { id: "a", values: [1, 2], metadata: '{"title":"x \\"y\\",\\nz","n":"1.50","tags":["t"]}' },
      { id: "b", values: [3, 4], metadata: '{"n":2}' },
    ]);
    expect(
      await rowsOf("csv", "v1,name,v0,lang,ok\n2,a,1,de,true\n", { idColumn: "name", metadataColumns: ["ok"] }),
    ).toEqual([{ id: "a", values: [1, 2], metadata: '{"ok":true}' }]);
    expect(
      await rowsOf("csv", 'emb,metadata,other\n"[5]","{""a"": 1.0}",x', { valuesColumn: "emb", idPrefix: "r" }),
    ).toEqual([{ id: "r0", values: [5], metadata: '{"a": 1.0}' }]);
  });

  it.each([
    ["", "f: is empty"],
    ["a,values\n", 'f line 1: has no column "id"; --id-column names another; the columns are a, values'],
    ["id,x\n", 'f line 1: has no column "values"; --values-column names another'],
    ["id,values,id\n", 'f line 1: the column "id" is there twice'],
    ['id,values\n\na,"[1]",2', "f line 3: has 3 cells; the header has 2"],
    ['id,values\na,"[1', "f line 2: the file ends within quotes"],
    ['id,values\na,b"c', "f line 2: a quote within a cell"],
    ['id,values\na,"b"c', 'f line 2: "c" follows the closing quote'],
    ["id,values\na,x", 'f line 2: values must be a JSON list of numbers, not "x"'],
    ["id,v0,v1\na,1,", 'f line 2: column v1 must be a number, not ""'],
    ['id,values,metadata\n"a\nb","[1]",\nc,"[1]",1', "f line 4: metadata must be a JSON object"],
  ])("[VE-171] refuses %j", async (text, message) => {
    await expect(rowsOf("csv", text)).rejects.toThrow(message);
  });
});

describe("fvecs, bvecs and npy", () => {
  it("[VE-172] numbers rows from 0 where no sidecar names them, with a prefix if one is given", async () => {
    const two = Uint8Array.of(2, 0, 0, 0, 9, 255, 2, 0, 0, 0, 0, 1);
    expect(await rowsOf("bvecs", two)).toEqual([
      { id: "0", values: [9, 255], metadata: undefined },
      { id: "1", values: [0, 1], metadata: undefined },
    ]);
    const names = '{"id":"a","metadata":{"x": 1}}\n{"id":"b"}\n';
    expect((await rowsOf("bvecs", two, { names })).map(({ id, metadata }) => [id, metadata])).toEqual([
      ["a", '{"x": 1}'],
      ["b", undefined],
    ]);
    expect((await rowsOf("bvecs", two, { names, idPrefix: "p" })).map(({ id }) => id)).toEqual(["p0", "p1"]);
    await expect(rowsOf("bvecs", two, { names: '{"id":"a"}' })).rejects.toThrow("f.rows.jsonl: ends before row 2 of f");
    await expect(rowsOf("bvecs", two, { names: `${names}{"id":"c"}` })).rejects.toThrow(
      "f.rows.jsonl: has more lines than f has rows",
    );
    await expect(rowsOf("bvecs", two, { names: "{}" })).rejects.toThrow("f.rows.jsonl line 1: must be");
  });

  it("[VE-172] reads arrays of float32, float64, int8 and uint8, of versions 1 to 3", async () => {
    const head = (type: string) => `{'descr': '${type}', 'fortran_order': False, 'shape': (2, 2), }\n`;
    const values = async (type: string, data: Uint8Array, version?: number) =>
      (await rowsOf("npy", npy(head(type), data, version))).flatMap((row) => row.values);
    expect(await values("<f4", bytesOf(Float32Array.of(1, -0.5, 3, 4)))).toEqual([1, -0.5, 3, 4]);
    expect(await values("<f8", bytesOf(Float64Array.of(1, 0.1, 3, 4)), 2)).toEqual([1, Math.fround(0.1), 3, 4]);
    expect(await values("|i1", bytesOf(Int8Array.of(-128, 127, 0, 1)), 3)).toEqual([-128, 127, 0, 1]);
    expect(await values("|u1", Uint8Array.of(255, 0, 1, 2))).toEqual([255, 0, 1, 2]);
  });

  const shape = (text: string, descr = "<f4", order = "False") =>
    npy(`{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${text}, }`, new Uint8Array(8));
  it.each<[VectorFormat, string, Uint8Array, string]>([
    ["npy", "text", latin("id,values"), "f header: is no .npy file"],
    ["npy", "another type", shape("(1, 2)", ">f4"), "f header: values are >f4; must be one of <f4, <f8, |i1, |u1"],
    ["npy", "a type that objects have", shape("(1, 2)", "toString"), "f header: values are toString"],
    ["npy", "columns first", shape("(1, 2)", "<f4", "True"), "f header: is in Fortran order"],
    ["npy", "one dimension", shape("(2,)"), "the array's shape is (2,); must be (rows, dimensions)"],
    ["npy", "too wide", shape("(1, 5000)"), "f header: names 5000 dimensions; a vector has 1 to 4096"],
    ["npy", "more rows than bytes", shape("(999999999, 4)"), "bytes in all (999999999 rows of 4); the file has"],
    ["npy", "a version", npy("{}", new Uint8Array(0), 9), "f header: is of version 9.0"],
    [
      "npy",
      "a long header",
      Uint8Array.from([...latin("\x93NUMPY"), 2, 0, 255, 255, 255, 255]),
      "f header: has 4294967295 bytes",
    ],
    [
      "npy",
      "infinity",
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}", bytesOf(Float32Array.of(Infinity))),
      "f row 1: value 0 is Infinity",
    ],
    ["fvecs", "a cut head", Uint8Array.of(1, 0), "f row 1: the file ends at byte 2, within the row's dimension"],
    ["fvecs", "a huge dimension", Uint8Array.of(255, 255, 255, 127), "f row 1: names 2147483647 dimensions"],
    [
      "bvecs",
      "a cut row",
      Uint8Array.of(1, 0, 0, 0, 5, 1, 0, 0, 0),
      "f row 2: the file ends at byte 9, within the row's values",
    ],
    [
      "bvecs",
      "another dimension",
      Uint8Array.of(1, 0, 0, 0, 5, 2, 0, 0, 0, 1, 1),
      "f row 2: has 2 dimensions; the rows before have 1",
    ],
  ])("[VE-171] refuses %s: %s", async (format, _, bytes, message) => {
    await expect(rowsOf(format, bytes)).rejects.toThrow(message);
  });
});

describe("Parquet", () => {
  const listSchema = (type: "DOUBLE" | "INT64") => [
    { name: "root", num_children: 4 },
    { name: "doc", type: "INT64" as const },
    { name: "embedding", converted_type: "LIST" as const, repetition_type: "OPTIONAL" as const, num_children: 1 },
    { name: "list", repetition_type: "REPEATED" as const, num_children: 1 },
    { name: "element", type, repetition_type: "OPTIONAL" as const },
    { name: "day", type: "INT32" as const, converted_type: "DATE" as const },
    {
      name: "title",
      type: "BYTE_ARRAY" as const,
      converted_type: "UTF8" as const,
      repetition_type: "OPTIONAL" as const,
    },
  ];
  const columnData = [
    { name: "doc", data: [5n, 9n, 10n] },
    {
      name: "embedding",
      data: [
        [1, 0.1],
        [2, 3],
        [4, 5],
      ],
    },
    { name: "day", data: [new Date(0), new Date(86_400_000), new Date(0)] },
    { name: "title", data: ["ä", null, "c"] },
  ];
  const compressors = {
    GZIP: (bytes: Uint8Array) => new Uint8Array(zlib.gzipSync(bytes)),
    BROTLI: (bytes: Uint8Array) => new Uint8Array(zlib.brotliCompressSync(bytes)),
    ZSTD: (bytes: Uint8Array) => new Uint8Array(zlib.zstdCompressSync(bytes)),
  };
  const file = (codec: "SNAPPY" | "GZIP" | "BROTLI" | "ZSTD" | "UNCOMPRESSED") =>
    new Uint8Array(
      parquetWriteBuffer({ schema: listSchema("DOUBLE"), columnData, codec, compressors, rowGroupSize: 2 }),
    );
  const options = { idColumn: "doc", valuesColumn: "embedding" };

  it.each(["SNAPPY", "GZIP", "BROTLI", "ZSTD", "UNCOMPRESSED"] as const)(
    "[VE-172] reads lists of doubles, whole numbers, dates and missing values, in %s",
    async (codec) => {
      expect(await rowsOf("parquet", file(codec), options)).toEqual([
        { id: "5", values: [1, Math.fround(0.1)], metadata: '{"day":"1970-01-01T00:00:00.000Z","title":"ä"}' },
        { id: "9", values: [2, 3], metadata: '{"day":"1970-01-02T00:00:00.000Z"}' },
        { id: "10", values: [4, 5], metadata: '{"day":"1970-01-01T00:00:00.000Z","title":"c"}' },
      ]);
      const titles = await rowsOf("parquet", file(codec), { ...options, metadataColumns: ["title"], idPrefix: "r" });
      expect(titles.map(({ id, metadata }) => [id, metadata])).toEqual([
        ["r0", '{"title":"ä"}'],
        ["r1", undefined],
        ["r2", '{"title":"c"}'],
      ]);
    },
  );

  it("[VE-171] tells which column there is not, and what is no Parquet file", async () => {
    await expect(rowsOf("parquet", file("SNAPPY"))).rejects.toThrow(
      'f: has no column "id"; --id-column names another; the columns are doc, embedding, day, title',
    );
    await expect(rowsOf("parquet", file("SNAPPY"), { idColumn: "title", valuesColumn: "embedding" })).rejects.toThrow(
      "f row 2: has no id",
    );
    await expect(rowsOf("parquet", file("SNAPPY"), { idColumn: "doc", valuesColumn: "title" })).rejects.toThrow(
      'f row 1: values must be a list of numbers, not "ä"',
    );
    await expect(rowsOf("parquet", "PAR1")).rejects.toThrow("f: is no Parquet file: it has 4 bytes");
    await expect(rowsOf("parquet", "x".repeat(50))).rejects.toThrow("f: is no Parquet file: it does not end with PAR1");
    await expect(
      rowsOf("parquet", Uint8Array.from([...latin("PAR1...."), 255, 255, 255, 255, ...latin("PAR1")])),
    ).rejects.toThrow("f footer: states 4294967295 bytes, of a file of 16");
  });
});
