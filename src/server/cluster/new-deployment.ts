// `--new-deployment <word>`: what an instance held is given up, and it begins with nothing. For a bucket that is lost for good.
// Guarantees: done once for each word, over crashes and however long the flag stays; nothing is deleted: the old data lie in `before-<word>`.
// Must not: run beside workerd, or touch the incarnation that others were told.
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { DataDir } from "../data-dir.ts";
import { exitCodes, OperatorError } from "../problem.ts";
import { writeConfigFile } from "../worker-files.ts";

export const BUCKET_SEEN_FILE = "bucket-seen.json";
const WORD = /^[A-Za-z0-9-]{1,32}$/;

/** Gives where the old data are; undefined = this word's deployment has begun before. @throws OperatorError. */
export function beginNewDeployment({ path, objects, blobs, leaders }: DataDir, word: string): string | undefined {
  if (!WORD.test(word)) {
    const message = `--new-deployment is ${JSON.stringify(word)}: it must be 1 to 32 letters, digits and dashes`;
    throw new OperatorError(message, { exitCode: exitCodes.invalidConfiguration });
  }
  const note = join(path, "new-deployment");
  const noted = existsSync(note) ? readFileSync(note, "utf8").trim() : "";
  if (noted === word) return undefined;
  const aside = join(path, `before-${word}`);
  const begun = `${word} begun`;
  if (noted !== begun && existsSync(aside))
    throw new OperatorError(`--new-deployment ${word} was used before, ${aside} is from then: choose another word`);
  writeConfigFile(note, begun);
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  for (const [name, from] of Object.entries({
    objects,
    blobs,
    leaders,
    [BUCKET_SEEN_FILE]: join(path, BUCKET_SEEN_FILE),
  })) {
    const to = join(aside, name);
    // What is there already was moved before a crash.
    if (existsSync(from) && !existsSync(to)) renameSync(from, to);
  }
  for (const made of [objects, blobs]) mkdirSync(made, { recursive: true, mode: 0o700 });
  writeConfigFile(note, word);
  return aside;
}
