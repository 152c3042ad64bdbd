// The demo's input: keys are unique, texts exact.
// @ts-nocheck: what it tests is plain JavaScript.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { readDocuments } from "./documents.mjs";

it("reads nested package files, stores copies once and tells different texts of one name apart", async () => {
  const directory = mkdtempSync(join(tmpdir(), "jade-documents-"));
  const put = (path, text) => {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
  };
  const text = '{"name":"a","version":"1.0.0", "n": 1.0}';
  put("a/package.json", `\ufeff${text}\n`);
  put("b/node_modules/a/package.json", text);
  put("c/node_modules/a/package.json", '{"name":"a","version":"1.0.0"}');
  put("d/esm/package.json", '{"type":"module"}');
  put("e/package.json", "{");
  const { documents, fileCount, copyCount, brokenCount } = await readDocuments(directory);
  expect({ fileCount, copyCount, brokenCount }).toEqual({ fileCount: 5, copyCount: 1, brokenCount: 1 });
  expect(documents[0]).toEqual({ key: "a@1.0.0", json: text });
  expect(documents.map(({ key }) => key)).toEqual([
    "a@1.0.0",
    expect.stringMatching(/^a@1\.0\.0#[0-9a-f]{8}$/),
    "file:d/esm/package.json",
  ]);
  rmSync(directory, { recursive: true });
});
