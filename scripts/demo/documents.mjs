// The demo's input: every package.json under a directory, also nested ones, as exact JSON texts under `name@version`.
// Guarantees: the same tree gives the same list in the same order; no two entries share a key.

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";

async function packageFiles(directory) {
  const entries = await readdir(directory, { withFileTypes: true });
  const found = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) found.push(...(await packageFiles(path)));
    else if (entry.isFile() && entry.name === "package.json") found.push(path);
  }
  return found;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a test fixture that is broken on purpose; counted by the caller
  }
}

/**
 * Gives {documents: [{key, json}], fileCount, copyCount, brokenCount}.
 * Copies of one document are stored once; another text under a taken name gets `#` and its hash; a file without a name, its path.
 */
export async function readDocuments(directory) {
  const files = await packageFiles(directory);
  const texts = new Map();
  let copyCount = 0;
  let brokenCount = 0;
  for (const file of files) {
    // The document is what stands between outer white space and byte order mark.
    const json = (await readFile(file, "utf8")).trim();
    const document = parsed(json);
    if (document === undefined) {
      brokenCount++;
      continue;
    }
    const hasName = typeof document?.name === "string" && typeof document?.version === "string";
    const name = hasName ? `${document.name}@${document.version}` : `file:${relative(directory, file)}`;
    const hash = createHash("sha256").update(json).digest("hex").slice(0, 8);
    const key = texts.has(name) && texts.get(name) !== json ? `${name}#${hash}` : name;
    if (texts.has(key)) copyCount++;
    else texts.set(key, json);
  }
  const documents = [...texts].map(([key, json]) => ({ key, json }));
  return { documents, fileCount: files.length, copyCount, brokenCount };
}
