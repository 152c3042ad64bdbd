// Whether what one replica says is what all agree on: reads at `one` through every instance, against one at `quorum`.
import { setTimeout as sleep } from "node:timers/promises";
import type { JadeClient } from "../../src/client/index.ts";
import { shownBy } from "../crash/history.ts";

const PATIENCE_MS = 90_000;
const PAUSE_MS = 500;

/** What a read shows: values of all siblings, in their order. */
export type Shown = readonly string[];

/** By instance, what it shows of a key, and what all agree on. */
export function apart(agreed: Shown, shown: Readonly<Record<string, Shown>>): string[] {
  const text = JSON.stringify(agreed);
  return Object.entries(shown).flatMap(([zone, values]) =>
    JSON.stringify(values) === text
      ? []
      : [`${zone} shows ${JSON.stringify(values).slice(0, 80)} for ${text.slice(0, 80)}`],
  );
}

type Level = "one" | "quorum";

async function readAll(client: JadeClient, keys: readonly string[], consistency: Level): Promise<Map<string, Shown>> {
  const results = await client.kv.batch(
    keys.map((key) => ({ op: "get" as const, key })),
    { consistency },
  );
  const shown = new Map<string, Shown>();
  for (const [index, result] of results.entries()) {
    if (!result.ok || result.op !== "get") continue;
    const values = shownBy(result.result).map((value) => value ?? "nothing");
    shown.set(keys[index]!, values.sort());
  }
  return shown;
}

/** Asked again until they agree, or for so long. Keys that cannot be read are a problem, too. */
export async function convergenceProblems(
  clients: Readonly<Record<string, JadeClient>>,
  keys: readonly string[],
  patienceMs = PATIENCE_MS,
): Promise<string[]> {
  const end = performance.now() + patienceMs;
  for (;;) {
    const problems: string[] = [];
    const agreed = await readAll(Object.values(clients)[0]!, keys, "quorum");
    const byZone = await Promise.all(
      Object.entries(clients).map(async ([zone, client]) => [zone, await readAll(client, keys, "one")] as const),
    );
    for (const key of keys) {
      const shown = Object.fromEntries(byZone.map(([zone, all]) => [zone, all.get(key) ?? ["unreadable"]]));
      for (const problem of apart(agreed.get(key) ?? ["unreadable"], shown)) problems.push(`${key}: ${problem}`);
    }
    if (problems.length === 0 || performance.now() > end) return problems;
    await sleep(PAUSE_MS);
  }
}
