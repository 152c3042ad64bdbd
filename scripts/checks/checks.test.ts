// The gates catch what they are for, and let pass what is fine.

import { describe, expect, it } from "vitest";
import { findBannedGlobals } from "./banned-globals.ts";
import { compareDependencies } from "./dependencies.ts";
import { importsOf } from "./imports.ts";
import { checkLayering } from "./layering.ts";
import { isAllowed, judgeLicences } from "./licences.ts";
import { entropyBits, findSecrets } from "./secrets.ts";
import { checkSizes } from "./sizes.ts";
import { compareSpec, missingScenarios } from "./spec-rules.ts";

const file = (path: string, text: string) => ({ path, text });

describe("imports", () => {
  it("finds static, side-effect, re-exported and dynamic imports, with their lines, and no commented ones", () => {
    const text = [
      `// import a from "./commented.ts";`,
      `import {\n  type A,\n  type B,\n} from "./types.ts";`,
      `import "./side.ts";`,
      `export * from "../up.ts";`,
      `/* import x from "./block.ts"; */`,
      `const later = import("./later.ts");`,
      `import type { C } from "zod";`,
    ].join("\n");
    expect(importsOf("src/kv/x.ts", text)).toEqual([
      { specifier: "./types.ts", target: "src/kv/types.ts", typeOnly: true, line: 2 },
      { specifier: "./side.ts", target: "src/kv/side.ts", typeOnly: false, line: 6 },
      { specifier: "../up.ts", target: "src/up.ts", typeOnly: false, line: 7 },
      { specifier: "./later.ts", target: "src/kv/later.ts", typeOnly: false, line: 9 },
      { specifier: "zod", target: undefined, typeOnly: true, line: 10 },
    ]);
  });
});

describe("layering", () => {
  it.each([
    [
      "a domain importing the gateway",
      "src/kv/a.ts",
      `import { x } from "../gateway/app.ts";`,
      /kv must not import gateway/,
    ],
    [
      "an object importing the gateway",
      "objects/a.ts",
      `import { x } from "../src/gateway/app.ts";`,
      /objects must not import gateway/,
    ],
    [
      "a pure module importing the platform",
      "src/replication/a.ts",
      `import { D } from "cloudflare:workers";`,
      /pass it in/,
    ],
    ["a pure module importing Node", "src/storage/a.ts", `import fs from "node:fs";`, /runs in the Worker/],
    [
      "a pure module importing a package",
      "src/kv/a.ts",
      `import { Hono } from "hono";`,
      /pure and must not import hono/,
    ],
    [
      "the client importing more than types",
      "src/client/a.ts",
      `import { x } from "../kv/b.ts";`,
      /only types from kv/,
    ],
    ["production importing a test", "src/kv/a.ts", `import { x } from "./b.test.ts";`, /imports from tests/],
    [
      "the leaf folder importing anything",
      "src/wire/a.ts",
      `import { x } from "../kv/b.ts";`,
      /wire must not import kv/,
    ],
    ["a folder nobody put in the table", "src/fresh/a.ts", `import { x } from "../kv/b.ts";`, /not in the table/],
  ])("refuses %s", (_, path, text, message) => {
    expect(checkLayering([file(path, text)])).toEqual([expect.stringMatching(message)]);
  });

  it.each([
    [
      "objects on domains",
      "objects/a.ts",
      `import { x } from "../src/kv/b.ts";\nimport { D } from "cloudflare:workers";`,
    ],
    ["gateway on objects' types", "src/gateway/a.ts", `import type { R } from "../../objects/rpc.ts";`],
    [
      "the client on wire and types",
      "src/client/a.ts",
      `import { x } from "../wire/b.ts";\nimport type { T } from "../kv/c.ts";`,
    ],
    ["the server on Node", "src/server/a.ts", `import fs from "node:fs";`],
    ["tests on anything", "src/kv/a.test.ts", `import fs from "node:fs";`],
  ])("allows %s", (_, path, text) => {
    expect(checkLayering([file(path, text)])).toEqual([]);
  });

  it("names each circle once", () => {
    const files = [
      file("src/kv/a.ts", `import { b } from "./b.ts";`),
      file("src/kv/b.ts", `import { c } from "./c.ts";`),
      file("src/kv/c.ts", `import { a } from "./a.ts";`),
    ];
    expect(checkLayering(files)).toEqual(["circle: src/kv/a.ts → src/kv/b.ts → src/kv/c.ts → src/kv/a.ts"]);
  });
});

describe("pure modules", () => {
  it.each([
    "Date.now()",
    "new Date()",
    "Math.random()",
    "crypto.randomUUID()",
    "setTimeout(f, 1)",
    'fetch("http://x")',
  ])("may not use %s", (use) => {
    expect(findBannedGlobals(file("src/kv/a.ts", `const a = 1;\nconst x = ${use};`))).toEqual([
      expect.stringContaining("src/kv/a.ts:2: "),
    ]);
  });

  it("may mention them in comments, take them as parameters, and call those", () => {
    const text = `// Date.now() is banned\ninterface T {\n  fetch(request: Request): Promise<Response>;\n}\nthis.setTimeout(1); io.fetch(x); new Date(ms);`;
    expect(findBannedGlobals(file("src/kv/a.ts", text))).toEqual([]);
  });
});

describe("sizes", () => {
  const lines = (count: number) => "x\n".repeat(count);

  it("refuses over 600 lines even when listed, and over 450 when not listed", () => {
    expect(checkSizes([file("a.ts", lines(601))], { "a.ts": 700 })).toEqual([
      expect.stringContaining("the limit is 600"),
    ]);
    expect(checkSizes([file("a.ts", lines(451))], {})).toEqual([expect.stringContaining("over 450")]);
    expect(checkSizes([file("a.ts", lines(450))], {})).toEqual([]);
  });

  it("lets a listed file stay, not grow, and follows it down", () => {
    expect(checkSizes([file("a.ts", lines(500))], { "a.ts": 500 })).toEqual([]);
    expect(checkSizes([file("a.ts", lines(501))], { "a.ts": 500 })).toEqual([expect.stringContaining("only shrink")]);
    expect(checkSizes([file("a.ts", lines(480))], { "a.ts": 500 })).toEqual([expect.stringContaining("set it to 480")]);
    expect(checkSizes([file("a.ts", lines(400))], { "a.ts": 500 })).toEqual([expect.stringContaining("remove it")]);
    expect(checkSizes([], { "a.ts": 500 })).toEqual([expect.stringContaining("gone")]);
  });
});

describe("licences", () => {
  it("understands OR and AND", () => {
    expect(["MIT", "(MIT OR GPL-3.0)", "Apache-2.0 AND MIT"].map(isAllowed)).toEqual([true, true, true]);
    expect(["GPL-3.0", "Apache-2.0 AND LGPL-3.0-or-later", ""].map(isAllowed)).toEqual([false, false, false]);
  });

  it("excuses a tool, but not once it is needed at run time, nor under another licence", () => {
    const tool = { name: "lightningcss", version: "1.0.0", licence: "MPL-2.0", developmentOnly: true };
    expect(judgeLicences([tool])).toEqual([]);
    expect(judgeLicences([{ ...tool, developmentOnly: false }])).toEqual([expect.stringContaining("run time")]);
    expect(judgeLicences([{ ...tool, licence: "AGPL-3.0" }])).toEqual([expect.stringContaining("not allowed")]);
    expect(judgeLicences([{ ...tool, name: "other" }])).toEqual([expect.stringContaining("not allowed")]);
  });
});

describe("secrets", () => {
  // Put together here, so that this file itself stays clean.
  const random = "q7Zr2LxT9vKcW4mB8nYdH3sPfG6jEuA1oRtXiC5wQeI";
  const samples = [
    `key = "${"jdb"}.root.${random}"`,
    `${"AKIA"}Q3EGRI7XW5TZ2LPN`,
    `${"ghp"}_${random.slice(0, 36)}`,
    `-----BEGIN ${"RSA"} PRIVATE KEY-----\n${random}${random}`,
    `password: "${random}"`,
  ];

  it.each(samples.map((sample) => [sample]))("finds one in %#", (sample) => {
    const found = findSecrets("a.ts", `\n${sample}`);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^a\.ts:2: looks like /);
    expect(found[0]).not.toContain(random.slice(0, 12));
  });

  it.each([
    "jdb.root.test",
    "jdb.root.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    'password: "short"',
    "AKIAXXXXXXXXXXXXXXXX",
  ])("lets the example %s pass", (text) => expect(findSecrets("a.md", text)).toEqual([]));

  it("measures entropy in bits a character", () => {
    expect(entropyBits("aaaa")).toBe(0);
    expect(entropyBits("abcd")).toBe(2);
  });
});

describe("spec rules", () => {
  it("lists rules without a test, unknown rules in titles, and rules defined twice", () => {
    const specs = [file("src/kv/spec.md", "# KV\n- [KV-1] one\n- [KV-2] two, see [KV-1]\n- [KV-2] again\n")];
    const tests = [
      file("src/kv/a.test.ts", `it("[KV-1] holds", () => {});\nit("[KV-9] unknown", () => {});\nconst note = [XX-1];`),
    ];
    const report = compareSpec(specs, tests);
    expect([...report.untested]).toEqual([["KV-2", "src/kv/spec.md"]]);
    expect(report.problems).toEqual([
      expect.stringContaining("[KV-2] is already"),
      expect.stringContaining("[KV-9], which no"),
    ]);
    expect(report.ruleCount).toBe(2);
  });
});

describe("dependencies", () => {
  it("wants each one listed, with its version, pinned", () => {
    const page = "| `a` | 1.0.0 | MIT | x |\n| `gone` | 1.0.0 | MIT | x |\n";
    const wanted = new Map([
      ["a", "1.1.0"],
      ["b", "^2.0.0"],
    ]);
    expect(compareDependencies(page, wanted)).toEqual([
      expect.stringContaining("a is listed as 1.0.0"),
      expect.stringContaining("b is not pinned"),
      expect.stringContaining("b is missing"),
      expect.stringContaining("gone is no dependency"),
    ]);
  });
});

describe("scenarios of specifications", () => {
  it("each needs a test with its name in the file that is given", () => {
    const row = (scenario: string) => file("src/x/spec.md", `| ${scenario} | what | \`test/x.test.ts\` |\n`);
    const test = file("test/x.test.ts", `it("story 1.1, edge case 12: works", () => {`);
    expect(missingScenarios([row("story 1.1"), row("edge case 12")], [test])).toEqual([]);
    for (const scenario of ["story 1.10", "story 11.1", "edge case 1"])
      expect(missingScenarios([row(scenario)], [test])).toEqual([expect.stringContaining(`"${scenario}"`)]);
    expect(missingScenarios([row("story 1.1")], [])).toHaveLength(1);
  });
});
