// Looks for secrets in what git would commit: private keys, cloud keys, tokens, and this product's own API keys.
// Guarantees: prints where, never the secret itself. Made-up keys with little randomness (in tests, docs) pass.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../lib/root.mjs";
import { type Gate, repositoryPaths } from "./gate.ts";

interface Pattern {
  readonly what: string;
  readonly pattern: RegExp;
  /** Least bits a character of the match's first group; below it is an example, not a secret. */
  readonly leastEntropyBits: number;
}

const PATTERNS: readonly Pattern[] = [
  {
    what: "a private key",
    pattern: /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+([A-Za-z0-9+/=]{40,})/g,
    leastEntropyBits: 3.5,
  },
  { what: "an AWS access key", pattern: /\b((?:AKIA|ASIA)[A-Z0-9]{16})\b/g, leastEntropyBits: 3 },
  { what: "a GitHub token", pattern: /\b(gh[pousr]_[A-Za-z0-9]{36,})\b/g, leastEntropyBits: 3.5 },
  { what: "an npm token", pattern: /\b(npm_[A-Za-z0-9]{36})\b/g, leastEntropyBits: 3.5 },
  { what: "a Slack token", pattern: /\b(xox[abprs]-[A-Za-z0-9-]{20,})\b/g, leastEntropyBits: 3.2 },
  { what: "an API token", pattern: /\b(sk-[A-Za-z0-9_-]{32,})\b/g, leastEntropyBits: 3.8 },
  { what: "a JadeDB key", pattern: /\bjdb\.[A-Za-z0-9_.-]*?\.?([A-Za-z0-9_-]{32,})/g, leastEntropyBits: 4.2 },
  {
    what: "a secret assigned in clear",
    pattern: /\b(?:secret|password|passwd|api_?key|auth_?token)["']?\s*[:=]\s*["']([A-Za-z0-9+/_=-]{24,})["']/gi,
    leastEntropyBits: 4.2,
  },
];

const MAX_SCANNED_BYTES = 2 * 1024 * 1024;
const SKIPPED = /^package-lock\.json$|\.(png|ico|wasm|woff2?)$/;

/** Shannon entropy, in bits a character. */
export function entropyBits(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}

export function findSecrets(path: string, text: string): readonly string[] {
  const problems: string[] = [];
  for (const { what, pattern, leastEntropyBits } of PATTERNS) {
    for (const match of text.matchAll(pattern)) {
      if (entropyBits(match[1] ?? "") < leastEntropyBits) continue;
      const line = text.slice(0, match.index).split("\n").length;
      problems.push(`${path}:${line}: looks like ${what}`);
    }
  }
  return problems;
}

export const secrets: Gate = {
  name: "secrets",
  async run() {
    const paths = (await repositoryPaths()).filter((path) => !SKIPPED.test(path));
    const found = await Promise.all(
      paths.map(async (path) => {
        const bytes = await readFile(join(root, path));
        return bytes.length > MAX_SCANNED_BYTES ? [] : findSecrets(path, bytes.toString("utf8"));
      }),
    );
    return { problems: found.flat(), summary: `${paths.length} files` };
  },
};
