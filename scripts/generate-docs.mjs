// `npm run docs`: writes the pages of docs/ that are made from code.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { generatedPages } from "./docs/pages.ts";
import { root } from "./lib/root.mjs";

for (const { path, content } of generatedPages) {
  writeFileSync(join(root, path), content());
  console.log(`wrote ${path}`);
}
