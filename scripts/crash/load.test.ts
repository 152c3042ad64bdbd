// A lane against a store in memory: what a wrong store answers is told as a problem.
import { describe, expect, it } from "vitest";
import type { JadeClient } from "../../src/client/index.ts";
import { Lane } from "./load.ts";

type Mistake = "none" | "another clock for a repeated write" | "a repeated write applied again" | "a lost write";

/** A store of one replica, with one mistake. */
class Store {
  readonly #values = new Map<string, unknown>();
  readonly #answers = new Map<string, number>();
  readonly #mistake: Mistake;
  #count = 0;

  constructor(mistake: Mistake) {
    this.#mistake = mistake;
  }

  async #write(key: string, value: unknown, { writeId }: { readonly writeId: string }) {
    const id = `${writeId} ${key}`;
    const first = this.#answers.get(id);
    this.#count++;
    if (first === undefined || this.#mistake === "a repeated write applied again") this.#values.set(key, value);
    if (this.#mistake === "a lost write" && this.#count % 20 === 0) this.#values.delete(key);
    if (first === undefined) this.#answers.set(id, this.#count);
    const counter = first === undefined || this.#mistake === "another clock for a repeated write" ? this.#count : first;
    return { key, vectorClock: { "n1.1": counter } };
  }

  readonly put = (key: string, value: unknown, options: { writeId: string }) => this.#write(key, value, options);
  readonly delete = (key: string, options: { writeId: string }) => this.#write(key, undefined, options);

  readonly get = async (key: string) => {
    const value = this.#values.get(key);
    return { key, found: value !== undefined, value, vectorClock: { "n1.1": this.#count }, conflict: false };
  };

  readonly batch = (
    operations: readonly { op: string; key: string; value?: unknown }[],
    options: { writeId: string },
  ) =>
    Promise.all(
      operations.map(async ({ op, key, value }) => {
        const result = op === "get" ? await this.get(key) : await this.#write(key, value, options);
        return { ok: true, op, key, result };
      }),
    );
}

async function problemsOf(mistake: Mistake): Promise<readonly string[]> {
  const problems: string[] = [];
  const counts = { acknowledged: 0, unknown: 0, retried: 0, abandoned: 0, repeated: 0, reads: 0, unavailable: 0 };
  const about = { number: 1, seed: 3, keyCount: 3, maxValueBytes: 20 };
  const lane = new Lane({ ...about, counts, problem: (text) => problems.push(text) });
  const client = { kv: new Store(mistake) } as unknown as JadeClient;
  await lane.run(client, () => counts.repeated >= 20);
  await lane.verify(client);
  return problems;
}

describe("a lane of writes", () => {
  it("takes a store that does what it says", async () => {
    expect(await problemsOf("none")).toEqual([]);
  });

  it.each<[Mistake, RegExp]>([
    ["another clock for a repeated write", /a repeated write got .*, the first answer was/],
    ["a repeated write applied again", /back: superseded/],
    ["a lost write", /lost: .* was acknowledged/],
  ])("tells %s", async (mistake, problem) => {
    expect((await problemsOf(mistake)).join("\n")).toMatch(problem);
  });
});
