// Makes the faults of a schedule happen in the world, and takes them back.
import { tokenOf } from "../../src/cluster/token.ts";
import { decodeState, EMPTY_STATE, encodeState, sameBytes } from "../../src/kv/key-state.ts";
import { mergeStates } from "../../src/kv/merge.ts";
import { writeOp } from "../../src/replication/frames.ts";
import { MAX_DEADLINE_LEAD_MS } from "../../src/replication/limits.ts";
import { decodeRecord, encodeVote } from "../../src/replication/records.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { BODY_HASH_BYTES } from "../../src/wire/session.ts";
import type { RandomRun } from "./random-run.ts";
import type { FaultStep } from "./schedule.ts";
import { CALM, type SimulatedNode } from "./world.ts";

/** Down so long that no call sent before the loss can still be waited for. */
const REBUILD_PAUSE_MS = 1500;
/** It takes part as a pending node for so long before it holds what the others do. */
const STREAM_MS = 2000;

/** Above the bound from which on a step is noticed whatever the node forgot meanwhile. */
const LEAST_STEP_BACK_MS = MAX_DEADLINE_LEAD_MS + 1000;

/**
 * Of two answers the later (RP-33). Of two votes neither: one of them may have had its majority with the disk that was lost, and a
 * rebuilt node that takes the other one's side would give that a majority too (seed 34190 of the first version of these schedules).
 */
function chosenRecord(held: Uint8Array, incoming: Uint8Array): Uint8Array {
  const [mine, theirs] = [decodeRecord(held), decodeRecord(incoming)];
  if (mine?.kind === "answer" && theirs?.kind === "answer")
    return mine.answer.time >= theirs.answer.time ? held : incoming;
  return sameBytes(held, incoming) ? held : encodeVote(0, new Uint8Array(BODY_HASH_BYTES)).slice();
}

export class FaultMaker {
  readonly #run: RandomRun;
  #isRebuilding = false;
  #isOver = false;

  constructor(run: RandomRun) {
    this.#run = run;
  }

  make(step: FaultStep): void {
    if (this.#isOver) return;
    const { world } = this.#run;
    switch (step.kind) {
      case "network":
        world.faults = step.faults;
        return;
      case "coordinator":
        return this.#run.replacePlace(step.place, step);
      case "clock":
        return this.#setClock(world.node(step.node), step.skewMs);
      case "disk":
        return this.#loseDisk(world.node(step.node));
      case "unlink":
        return this.#during(step.forMs, world.cutLinks, `${step.from}>${step.node}`);
      case "cut":
        return this.#during(step.forMs, world.cut, step.node);
      case "mute":
        return this.#during(step.forMs, world.mute, step.node);
      default:
        return this.#ail(world.node(step.node), step);
    }
  }

  /** Of smaller steps back RP-36 does not promise that they are noticed. */
  #setClock(node: SimulatedNode, skewMs: number): void {
    node.skewMs = skewMs < node.skewMs ? Math.min(skewMs, node.skewMs - LEAST_STEP_BACK_MS) : skewMs;
  }

  #during(forMs: number, set: Set<string>, item: string): void {
    set.add(item);
    this.#run.world.after(forMs, () => set.delete(item));
  }

  #ail(node: SimulatedNode, step: Extract<FaultStep, { node: string; forMs: number }>): void {
    const { world } = this.#run;
    switch (step.kind) {
      case "crash":
        if (!node.isUp) return;
        node.crash();
        world.after(step.forMs, () => node.restart());
        return;
      case "stall":
        node.isStalled = true;
        world.after(step.forMs, () => {
          node.isStalled = false;
        });
        return;
      case "busy":
        node.engine.overloaded = true;
        world.after(step.forMs, () => {
          node.engine.overloaded = false;
        });
        return;
      case "slow":
        node.slowMs = step.byMs;
        world.after(step.forMs, () => {
          node.slowMs = 0;
        });
        return;
    }
  }

  /** At most one at a time. The node starts empty under a new incarnation, and counts again only when it holds what the others do. */
  #loseDisk(node: SimulatedNode): void {
    const run = this.#run;
    if (this.#isRebuilding) return;
    this.#isRebuilding = true;
    run.rebuilds++;
    node.loseDisk();
    run.world.setState(node.info.id, "bootstrapping");
    run.world.after(REBUILD_PAUSE_MS, () => {
      run.note(() => `${node.info.id} starts empty`);
      node.start();
      run.world.after(STREAM_MS, () => this.#stream(node));
    });
  }

  #stream(node: SimulatedNode): void {
    const run = this.#run;
    const others = [...run.world.nodes.values()].filter((other) => other !== node);
    if (!node.isUp || others.some((other) => !other.isUp)) {
      run.world.after(100, () => this.#stream(node));
      return;
    }
    const keys = new Set(others.flatMap((other) => other.engine.rows().map((row) => row.key)));
    for (const key of keys) this.#streamRow(node, others, key);
    // After the rows: a record without its row says that the write is gone.
    for (const other of others) other.engine.copyRecordsTo(node.engine, chosenRecord);
    node.isRebuilding = false;
    run.world.setState(node.info.id, "active");
    run.rebuilds++;
    this.#isRebuilding = false;
    run.note(() => `${node.info.id} is rebuilt`);
  }

  /** As a quorum read does: the joined state goes to all until none of them remembers anything of it as superseded. */
  #streamRow(node: SimulatedNode, others: readonly SimulatedNode[], key: string): void {
    const { tenant } = this.#run.caller;
    const row = { tenant, key, token: tokenOf(tenant, key) };
    for (let round = 0; round < 4; round++) {
      let joined = EMPTY_STATE;
      for (const other of others) {
        const state = other.engine.get(row);
        if (state) joined = mergeStates(joined, decodeState(state));
      }
      for (const other of round < 3 ? others : [node]) {
        const writer = new ByteWriter(256);
        writeOp(writer, { kind: "merge", row, state: encodeState(joined) });
        other.handle(writer.take());
      }
    }
  }

  stop(): void {
    this.#isOver = true;
    const { world } = this.#run;
    world.faults = CALM;
    for (const set of [world.cut, world.mute, world.cutLinks]) set.clear();
    for (const node of world.nodes.values()) {
      node.isStalled = false;
      node.slowMs = 0;
      node.engine.overloaded = false;
      node.restart();
    }
  }
}
