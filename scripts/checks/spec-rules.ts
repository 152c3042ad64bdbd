// Every rule `[XX-n]` of a domain's spec.md should be the title of at least one test (STYLE).
// Guarantees: lists rules without a test, test titles that name no rule, and rules numbered twice. Rules without a test fail
// only for the folders in COMPLETE, or with --strict.

import { type Gate, readSources, type SourceFile } from "./gate.ts";

/** Folders whose spec is covered and must stay so. */
const COMPLETE: readonly string[] = ["src/access", "src/gateway", "src/kv", "src/replication", "src/storage"];

/** A rule is defined where it opens a line: `- [KV-12] …`, `### [KV-12]`, `| [KV-12] |`, `**[KV-12]**`. */
const DEFINITION = /^[\s>*#|-]*\**\[([A-Z]{2,6}-\d+[a-z]?)\]/gm;
/** Titles may be built: `it("[KV-1] …")`, `test.each(…)("[KV-2][KV-3] …")`, `describe(\`[KV-4] …\`)`. */
const TITLE_LINE = /["'`][^"'`\n]*\[([A-Z]{2,6}-\d+[a-z]?)\]/;
const RULE = /\[([A-Z]{2,6}-\d+[a-z]?)\]/g;

/** `| story 7.1 | … | `test/x.test.ts` |`: a scenario of a specification, and the file whose test has it in its title. */
const SCENARIO = /^\| (story \d+\.\d+|edge case \d+) \|.*\| `([^`]+)` \|$/gm;

/** Scenarios whose test is not there. */
export function missingScenarios(specs: readonly SourceFile[], tests: readonly SourceFile[]): readonly string[] {
  const problems: string[] = [];
  for (const { path, text } of specs) {
    for (const [, scenario = "", file] of text.matchAll(SCENARIO)) {
      const title = new RegExp(`["'\`][^"'\`\\n]*\\b${scenario.replace(".", "\\.")}\\b[^"'\`\\n]*["'\`]`);
      const test = tests.find((candidate) => candidate.path === file);
      if (!test || !title.test(test.text))
        problems.push(`${path}: ${file} has no test with "${scenario}" in its title`);
    }
  }
  return problems;
}

export interface SpecReport {
  /** Rule → the spec.md that defines it. */
  readonly untested: ReadonlyMap<string, string>;
  readonly problems: readonly string[];
  readonly ruleCount: number;
}

export function compareSpec(specs: readonly SourceFile[], tests: readonly SourceFile[]): SpecReport {
  const problems: string[] = [];
  const defined = new Map<string, string>();
  for (const { path, text } of specs) {
    for (const [, rule = ""] of text.matchAll(DEFINITION)) {
      const other = defined.get(rule);
      if (other !== undefined) problems.push(`${path}: rule [${rule}] is already defined in ${other}`);
      defined.set(rule, path);
    }
  }
  const prefixes = new Set([...defined.keys()].map((rule) => rule.split("-")[0]));
  const tested = new Set<string>();
  for (const { path, text } of tests) {
    for (const [index, line] of text.split("\n").entries()) {
      if (!TITLE_LINE.test(line)) continue;
      for (const [, rule = ""] of line.matchAll(RULE)) {
        tested.add(rule);
        if (!defined.has(rule) && prefixes.has(rule.split("-")[0])) {
          problems.push(`${path}:${index + 1}: names rule [${rule}], which no spec.md defines`);
        }
      }
    }
  }
  const untested = new Map([...defined].filter(([rule]) => !tested.has(rule)));
  return { untested, problems, ruleCount: defined.size };
}

export const specRules: Gate = {
  name: "spec rules",
  async run({ strict }) {
    const specs = await readSources((path) => /^src\/.*\/spec\.md$/.test(path));
    const tests = await readSources((path) => /\.test\.(ts|mjs)$/.test(path));
    const { untested, problems, ruleCount } = compareSpec(specs, tests);
    const failing: string[] = [];
    const notes: string[] = [];
    for (const [rule, path] of untested) {
      const must = strict || COMPLETE.some((folder) => path.startsWith(`${folder}/`));
      (must ? failing : notes).push(`${path}: [${rule}] has no test`);
    }
    return {
      problems: [...problems, ...failing, ...missingScenarios(specs, tests)],
      notes,
      summary: `${ruleCount} rules, ${untested.size} without a test`,
    };
  },
};
