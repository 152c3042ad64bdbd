// A copy of a shard with indexes: what it takes over it searches like its leader, and its memory is that of a restart.
import { describe, expect, it } from "vitest";
import { leaderOf, openCopy } from "../../../test/unit/vector/open-copy.ts";
import { openStore, valuesOf } from "../../../test/unit/vector/open-store.ts";
import type { IndexSpec } from "../shard/index-kinds.ts";
import { SMALL_SEGMENT_ROWS } from "../shard/limits.ts";
import { finished } from "../shard/shard-indexes.ts";
import type { VectorCopy } from "./copy.ts";
import { readBlobs, writeBlobs } from "./frames.ts";
import type { CopyLeader } from "./leader.ts";

const SPEC: IndexSpec = { name: "default", kind: "FLAT", quantizer: "int8", effort: {} };
const none = new Uint8Array(0);

/** Pulls and copies until there is nothing new. */
function follow(leader: CopyLeader, copy: VectorCopy): void {
  while (!leader.isUpToDate(copy.place)) {
    const taken = copy.take(leader.next(copy.place));
    if (taken === "taken") continue;
    expect(["newManifest", "startOver"]).toContain(taken);
    const manifest = leader.manifest();
    for (const blob of copy.missing(manifest)) {
      const [bytes] = readBlobs(writeBlobs(leader.blobs([blob])));
      expect(copy.takeBlob(blob, bytes!)).toBe(true);
    }
    copy.adopt(manifest);
  }
}

describe("a copy with indexes", () => {
  it("[VE-192] searches like its leader, by the leader's indexes, and holds as much memory after many lists as after a restart", () => {
    const opened = openStore({ specs: [SPEC] });
    const leader = leaderOf(opened);
    const copied = openCopy({ indexes: [SPEC] });
    let next = 0;
    const write = (count: number): void => {
      const changes = Array.from({ length: count }, () => {
        const n = next++;
        return { kind: "put", row: { id: `id-${n}`, values: valuesOf(n, (n * 7) % 101), metadata: none } } as const;
      });
      opened.store.apply(changes);
      opened.endTurn();
    };
    for (let part = 0; part < 3; part++) {
      write(SMALL_SEGMENT_ROWS / 2);
      finished(opened.store.seal());
      follow(leader, copied.copy);
    }
    finished(opened.store.merge(opened.store.sealed));
    while (opened.store.sweep());
    follow(leader, copied.copy);
    write(50);
    opened.store.apply([{ kind: "delete", id: "id-9" }]);
    opened.endTurn();
    follow(leader, copied.copy);
    while (copied.copy.sweep());

    const { desk } = copied.copy;
    expect(desk.store.sealed.map(({ number }) => number)).toEqual(opened.store.sealed.map(({ number }) => number));
    expect(desk.indexes.memoryBytes()).toBeGreaterThan(SMALL_SEGMENT_ROWS);
    const ask = (at: number) =>
      ({ kind: "search", queries: [valuesOf(at, 3)], k: 5, index: "", shown: {}, explain: true }) as const;
    for (const at of [9, 5000, 24_000]) {
      const { answer } = desk.run({ request: ask(at) });
      const values = [...new Float32Array(valuesOf(at, 3).buffer)];
      const expected = opened.searcher.search({ values, k: 5, effort: {}, index: "default" });
      const ids = expected.hits.map(({ segment, row }) => segment.idOf(row).id);
      expect(answer).toMatchObject({ kind: "found", results: [ids.map((id) => ({ id }))] });
    }
    const usedBytes = copied.usedBytes();
    copied.sql.endTurn();
    copied.crash();
    // Searches take scratch space that stays.
    for (const at of [9, 5000, 24_000]) copied.copy.desk.run({ request: ask(at) });
    expect(usedBytes).toBe(copied.usedBytes());
    const blobs = [...copied.sql.database.prepare("SELECT name FROM storage_blobs").all()];
    expect(blobs).toHaveLength(
      desk.store.sealed.flatMap(({ directory }) => [...directory.sections.values()].flatMap(({ parts }) => parts))
        .length,
    );
  });
});

describe("what a copy does not take", () => {
  function pair() {
    const opened = openStore();
    const write = (id: string): void => {
      opened.store.apply([{ kind: "put", row: { id, values: valuesOf(1), metadata: none } }]);
      opened.endTurn();
    };
    return { opened, write, copied: openCopy() };
  }

  it("[VE-191] answers of an earlier term, or to another place; records that do not fit their chain value", () => {
    const { opened, write, copied } = pair();
    const first = leaderOf(opened);
    write("a");
    follow(first, copied.copy);
    const late = first.next(copied.copy.place);
    opened.crash();
    const second = leaderOf(opened);
    expect(copied.copy.take(second.next(copied.copy.place))).toBe("newManifest");
    const { term, revision } = copied.copy;
    expect(term).toBe(2);
    expect(copied.copy.take(late)).toBe("stale");
    expect(copied.copy.term).toBe(2);
    write("b");
    const given = second.next(copied.copy.place);
    expect(copied.copy.take({ ...given, from: { seq: 0, chain: 0 } })).toBe("stale");
    expect(copied.copy.take({ ...given, chain: given.chain ^ 1 })).toBe("stale");
    expect(copied.copy.revision).toBe(revision);
    expect(copied.copy.take(given)).toBe("newManifest");
    expect(copied.copy.revision).toBe(revision + 1);
  });

  it("[VE-191] a leader of another disk goes on above the term of what it never had, and the copy shows that no more", () => {
    const { opened, write, copied } = pair();
    write("a");
    write("b");
    follow(leaderOf(opened), copied.copy);
    const other = pair();
    other.write("c");
    const leader = leaderOf(other.opened);
    expect(other.opened.store.term).toBe(copied.copy.term);
    expect(copied.copy.take(leader.next(copied.copy.place))).toBe("startOver");
    expect(other.opened.store.term).toBe(copied.copy.term + 1);
    expect(copied.copy.isWhole).toBe(false);
    copied.sql.endTurn();
    copied.crash();
    expect(copied.copy.isWhole).toBe(false);
    follow(leader, copied.copy);
    expect([copied.copy.isWhole, copied.copy.term, copied.copy.revision]).toEqual([true, 2, 1]);
    expect(copied.copy.desk.store.get("a")).toBeUndefined();
    expect(copied.copy.desk.store.get("c")).toBeDefined();
  });
});
