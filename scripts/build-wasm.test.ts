import { mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { isFresh } from "./build-wasm.mjs";

let directory = "";
afterEach(() => rm(directory, { recursive: true, force: true }));

it("a kernel is built anew when it, or anything that it imports however deep, has changed", async () => {
  directory = await mkdtemp(join(tmpdir(), "jade-wasm-"));
  const file = (name: string): string => join(directory, name);
  await mkdir(file("deep"));
  await writeFile(file("a.ts"), 'export { one } from "./deep/b";\n');
  await writeFile(file("deep/b.ts"), 'import {\n  two,\n} from "./c";\nexport const one = two;\n');
  await writeFile(file("deep/c.ts"), 'import { one } from "./b";\nexport const two = 2;\n');
  await writeFile(file("deep/other.ts"), "");
  await writeFile(file("a.wasm"), "");
  const fresh = () => isFresh(file("a.ts"), file("a.wasm"));
  const [old, built, later] = [-3000, 86_400_000, 86_500_000].map((ms) => new Date(Date.now() + ms)) as [
    Date,
    Date,
    Date,
  ];
  const sources = ["a.ts", "deep/b.ts", "deep/c.ts"];
  for (const name of sources) await utimes(file(name), old, old);
  await utimes(file("a.wasm"), built, built);
  await utimes(file("deep/other.ts"), later, later);
  expect(await fresh()).toBe(true);
  for (const name of sources) {
    await utimes(file(name), later, later);
    expect(await fresh(), name).toBe(false);
    await utimes(file(name), old, old);
  }
  expect(await isFresh(file("a.ts"), file("none.wasm"))).toBe(false);
});
