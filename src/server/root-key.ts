// The root key of the deployment: from the environment, or made once at the first start.
// Guarantees: on disk only its SHA-256; in clear only in the return value of the start that made it. 256 random bits.

import { createHash, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { OperatorError, systemCode } from "./problem.ts";

const HASH_FILE = "root-key.sha256";
export const MIN_ROOT_KEY_CHARACTERS = 16;

export interface RootKey {
  /** Hex SHA-256 of the whole key text. */
  readonly hash: string;
  /** The key itself, only when this call made it: show it now, it cannot be shown again. */
  readonly made: string | undefined;
  readonly warning: string | undefined;
}

export function hashKey(key: string): string {
  return createHash("sha256").update(key, "utf8").digest("hex");
}

export function makeRootKey(): string {
  return `jdb.root.${randomBytes(32).toString("base64url")}`;
}

function readHash(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw new OperatorError(`the root key's hash ${path} cannot be read: ${String(error)}`, { cause: error });
  }
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new OperatorError(`${path} does not hold a SHA-256. Delete it to have a new root key made at the next start`);
}

function writeHash(path: string, hash: string): void {
  const aside = `${path}.tmp`;
  const file = openSync(aside, "w", 0o600);
  try {
    writeSync(file, `${hash}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, path);
}

/**
 * @param fromEnvironment the text of JADE_ROOT_KEY; it wins over the stored one and is not stored.
 * @throws OperatorError when the stored hash cannot be read.
 */
export function resolveRootKey(dataDir: string, fromEnvironment: string | undefined): RootKey {
  if (fromEnvironment !== undefined && fromEnvironment !== "") {
    const short = fromEnvironment.length < MIN_ROOT_KEY_CHARACTERS;
    const warning = short
      ? `JADE_ROOT_KEY has ${fromEnvironment.length} characters: use at least ${MIN_ROOT_KEY_CHARACTERS} random ones outside of tests`
      : undefined;
    return { hash: hashKey(fromEnvironment), made: undefined, warning };
  }
  const path = join(dataDir, HASH_FILE);
  const stored = readHash(path);
  if (stored !== undefined) return { hash: stored, made: undefined, warning: undefined };
  const key = makeRootKey();
  const hash = hashKey(key);
  writeHash(path, hash);
  return { hash, made: key, warning: undefined };
}
