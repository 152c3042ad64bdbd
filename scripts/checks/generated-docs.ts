// The pages made from code are what the code makes now.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { generatedPages } from "../docs/pages.ts";
import { root } from "../lib/root.mjs";
import type { Gate } from "./gate.ts";

export const generatedDocs: Gate = {
  name: "generated docs",
  async run() {
    const problems: string[] = [];
    for (const { path, content } of generatedPages) {
      const found = await readFile(join(root, path), "utf8").catch(() => "");
      if (found !== content()) problems.push(`${path} is not what the code makes: run npm run docs`);
    }
    return { problems, summary: `${generatedPages.length} pages` };
  },
};
