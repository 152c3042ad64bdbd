// The keyspace against its reference over random operations, with restarts, compactions and lease ends between any two.
// A failing run prints its seed: set JADE_CONFIG_SEED to run it alone.
import { describe, expect, it } from "vitest";
import { comparable, Generator, isRefusedAlways, LEASES, plain } from "../../test/unit/config/keyspace-generator.ts";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import type { ConfigAnswer, OperationAnswer, TxnOperation } from "../wire/config.ts";
import { readConfigAnswer } from "../wire/config-answers.ts";
import { readConfigCalls, writeConfigCall } from "../wire/config-requests.ts";
import { ReferenceKeyspace } from "./keyspace.reference.ts";

const SEEDS = Number(process.env["JADE_CONFIG_SEEDS"] ?? 40);
const OPERATIONS = 150;
function runSeed(seed: number): void {
  const random = new Generator(seed);
  const batches = { pendingRows: random.pick([1, 7, 2000]), runRows: random.pick([1, 9, 2000]) };
  const opened = openDesk({ cacheBytes: random.chance(0.5) ? 600 : 1_000_000, batches });
  const reference = new ReferenceKeyspace();
  const send = (operation: TxnOperation): ConfigAnswer | { kind: "error"; code: string } => {
    const writer = new ByteWriter();
    writeConfigCall(writer, { id: 7, request: operation });
    const [call] = readConfigCalls(writer.take());
    const answer = readConfigAnswer(new ByteReader(opened.desk.run(call!)));
    opened.desk.endTurn();
    return answer;
  };
  for (let step = 0; step < OPERATIONS; step++) {
    if (random.chance(0.05)) opened.restart();
    if (random.chance(0.1)) {
      const lease = random.pick(LEASES);
      if (reference.leases.has(lease)) {
        opened.desk.answer({ kind: "leaseRevoke", lease });
        reference.endLease(lease);
      } else {
        opened.desk.answer({ kind: "leaseGrant", lease, ttlSeconds: 60 });
        reference.leases.add(lease);
      }
    }
    if (random.chance(0.05) && reference.revision > reference.compacted) {
      const revision = reference.compacted + 1 + random.upTo(reference.revision - reference.compacted);
      opened.desk.answer({ kind: "compact", revision });
      reference.compacted = revision;
    }
    if (opened.desk.mustCompact && random.chance(0.3)) opened.desk.compactStep();
    const operation = random.operation(reference.revision);
    const answer = send(operation);
    if (isRefusedAlways(operation)) {
      expect(answer.kind).toBe("error");
      continue;
    }
    const expected = reference.apply(operation);
    const place = `seed ${seed} step ${step} ${JSON.stringify(plain(operation))}`;
    if (typeof expected === "string") expect(answer, place).toMatchObject({ kind: "error", code: expected });
    else expect(comparable(answer as OperationAnswer), place).toEqual(comparable(expected));
    expect(opened.desk.keyspace.revision, place).toBe(reference.revision);
    expect(opened.desk.keyspace.keyCount, place).toBe(reference.living.size);
  }
}

describe("keyspace against its reference", () => {
  it("[CF-1][CF-2][CF-3][CF-4][CF-6][CF-8][CF-10][CF-12] random operations, restarts and compactions", () => {
    const only = process.env["JADE_CONFIG_SEED"];
    if (only !== undefined) runSeed(Number(only));
    else for (let seed = 1; seed <= SEEDS; seed++) runSeed(seed);
  });
});
