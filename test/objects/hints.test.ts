// Hints between objects: kept, delivered to a node that failed first, over restarts, by timer and by alarm.
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  eventually,
  failingFirst,
  held,
  namespaceOf,
  newTenantNumber,
  replaceBindings,
  replica,
  restart,
  rowOf,
  send,
  stateOf,
  valuesOf,
} from "./replica-support.ts";

async function pending(nodeId: string, target: string): Promise<number> {
  return runInDurableObject(replica(nodeId), (_, state) => {
    const [row] = [
      ...state.storage.sql.exec<{ n: number }>("SELECT COUNT(DISTINCT id) AS n FROM hints WHERE target = ?", target),
    ];
    return row!.n;
  });
}

describe("hints", () => {
  it("[RP-2] [RP-21] reach a node that failed twice, and are dropped only then", async () => {
    const row = rowOf(newTenantNumber(), "k");
    const peer = failingFirst("n3", 2);
    await send("n1");
    await replaceBindings(replica("n1"), { KEY_VALUE_REPLICA: namespaceOf(() => peer) });
    await send("n1", { kind: "hint", row, target: "n3", state: stateOf("kept", 5) });
    expect(await held("n3", row)).toBeUndefined();
    // Each try begins with a question for the node's clock.
    await eventually(async () => peer.calls === 1);
    expect(await pending("n1", "n3")).toBe(1);
    await eventually(async () => valuesOf(await held("n3", row))[0] === "kept");
    expect(peer.calls).toBe(4);
    await eventually(async () => (await pending("n1", "n3")) === 0);
    await restart("n1");
  });

  it("[RP-21] survive an eviction: the alarm delivers what no timer could", async () => {
    const row = rowOf(newTenantNumber(), "k");
    await send("n2");
    await replaceBindings(replica("n2"), { KEY_VALUE_REPLICA: namespaceOf(() => failingFirst("n3", 1e9)) });
    await send("n2", { kind: "hint", row, target: "n3", state: stateOf("slept", 6) });
    const alarm = await runInDurableObject(replica("n2"), (_, state) => state.storage.getAlarm());
    expect(alarm).toBeGreaterThan(Date.now());
    await restart("n2");
    expect(await runDurableObjectAlarm(replica("n2"))).toBe(true);
    expect(valuesOf(await held("n3", row))).toEqual(["slept"]);
    expect(await pending("n2", "n3")).toBe(0);
  });

  it("a target that never answers does not hold up the hints for another", async () => {
    const tenant = newTenantNumber();
    await send("n1");
    const stalled = { call: () => new Promise<never>(() => undefined) };
    await replaceBindings(replica("n1"), {
      KEY_VALUE_REPLICA: namespaceOf((name) => (name === "n2" ? stalled : replica(name))),
    });
    await send(
      "n1",
      { kind: "hint", row: rowOf(tenant, "a"), target: "n2", state: stateOf("a", 7) },
      { kind: "hint", row: rowOf(tenant, "b"), target: "n3", state: stateOf("b", 8) },
    );
    await eventually(async () => valuesOf(await held("n3", rowOf(tenant, "b")))[0] === "b", 15_000);
    expect(await pending("n1", "n2")).toBe(1);
    await runInDurableObject(replica("n1"), (_, state) => void state.storage.sql.exec("DELETE FROM hints"));
    await restart("n1");
  });
});
