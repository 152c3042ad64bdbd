// Makes the compact file of word vectors (src/embedding/words/compact-file.ts) from GloVe's or word2vec's text form.
// Guarantees: the same input gives the same bytes. Usage: npm run word-vectors -- <in.txt|in.vec> <out.jwv> [--words N]

import { readFileSync, writeFileSync } from "node:fs";
import { writeCompactFile } from "../src/embedding/words/compact-file.ts";
import { readWordFile } from "../src/embedding/words/word-file.ts";

const [input, output, flag, most] = process.argv.slice(2);
if (!input || !output || (flag !== undefined && flag !== "--words")) {
  console.error("usage: npm run word-vectors -- <in.txt|in.vec> <out.jwv> [--words N]");
  process.exit(2);
}
const table = readWordFile(readFileSync(input));
const words = [...table.words()].slice(0, most === undefined ? undefined : Number(most));
const rows = words.map((word) => {
  const sum = new Float64Array(table.dimension);
  table.addTo(sum, word, 1);
  return Float32Array.from(sum);
});
const bytes = writeCompactFile(words, rows);
writeFileSync(output, bytes);
console.log(`${words.length} words of ${table.dimension} numbers: ${bytes.length} bytes`);
