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
/** Behind the word: its data is being set aside. */
const BEGUN = " begun";

function notedIn(path: string): string {
  const note = join(path, "new-deployment");
  return existsSync(note) ? readFileSync(note, "utf8").trim() : "";
}

function asideOf(path: string, word: string): string {
  return join(path, `before-${word}`);
}

function assertWord(word: string): void {
  if (WORD.test(word)) return;
  const message = `--new-deployment is ${JSON.stringify(word)}: it must be 1 to 32 letters, digits and dashes`;
  throw new OperatorError(message, { exitCode: exitCodes.invalidConfiguration });
}

/** The last deployment that began here by a word; undefined = none did. */
export function deploymentWord(path: string): string | undefined {
  return notedIn(path).replace(BEGUN, "") || undefined;
}

/** False = this word's deployment has begun here, if only by half. @throws OperatorError where the word cannot be one. */
export function isNewWord(path: string, word: string): boolean {
  assertWord(word);
  if (deploymentWord(path) === word) return false;
  const aside = asideOf(path, word);
  if (!existsSync(aside)) return true;
  throw new OperatorError(`--new-deployment ${word} was used before, ${aside} is from then: choose another word`);
}

/** Gives where the old data are; undefined = this word's deployment has begun before. @throws OperatorError. */
export function beginNewDeployment({ path, objects, blobs, leaders }: DataDir, word: string): string | undefined {
  if (!isNewWord(path, word) && notedIn(path) === word) return undefined;
  const aside = asideOf(path, word);
  const note = join(path, "new-deployment");
  writeConfigFile(note, word + BEGUN);
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

/** Of a whole cluster on one machine: its development bucket, too. Gives where it is; undefined = this word's deployment has begun before. */
export function setBucketAside(dir: string, word: string): string | undefined {
  assertWord(word);
  const [bucket, aside] = [join(dir, "bucket"), join(dir, `bucket-before-${word}`)];
  if (existsSync(aside)) return undefined;
  // It also says that this word was used.
  if (existsSync(bucket)) renameSync(bucket, aside);
  else mkdirSync(aside, { mode: 0o700 });
  return aside;
}
