import { describe, expect, it } from "vitest";
import type { ClusterEvent } from "../../objects/tenancy-rpc.ts";
import { EVENTS_PREFIX, eventKey, eventTxn, MAX_EVENTS, shownEvent } from "./events.ts";

const event = (number: number): ClusterEvent => ({
  ...{ number, atMs: 0, kind: "operationBegun", zone: "z1", incarnation: 0, message: "begins", plan: [] },
  operationId: 7,
});

describe("events as keys", () => {
  it("[CL-136] an event is written once, under a key that sorts by its number, and shown as the API shows it", () => {
    const { compare, success } = eventTxn(event(42));
    expect(compare).toEqual([{ key: eventKey(42), rangeEnd: "", target: "create", result: "equal", operand: 0 }]);
    const [put, ...others] = success;
    expect(others).toEqual([]);
    const { key, value } = put as { key: string; value: Uint8Array };
    expect(key).toBe(`${EVENTS_PREFIX}0000000000000042`);
    expect(JSON.parse(new TextDecoder().decode(value))).toEqual(shownEvent(event(42)));
    expect(shownEvent(event(42))).toMatchObject({ operationId: 7, outcome: null, at: "1970-01-01T00:00:00.000Z" });
    expect(eventKey(9) < eventKey(10)).toBe(true);
  });

  it("[CL-136] with the thousand-and-first the first goes", () => {
    const [, trim] = eventTxn(event(MAX_EVENTS + 1)).success;
    expect(trim).toEqual({ kind: "deleteRange", key: EVENTS_PREFIX, rangeEnd: eventKey(2) });
    expect(eventKey(1) < eventKey(2)).toBe(true);
    expect(eventTxn(event(MAX_EVENTS)).success).toHaveLength(1);
  });
});
