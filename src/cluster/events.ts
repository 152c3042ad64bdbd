// What happened in a cluster: how an event is shown, and how it is written into a tenant's configuration (ADR 76). Pure.
// Guarantees: an event that is written twice changes nothing the second time; the keys that it leaves are bounded.
import type { ClusterEvent } from "../../objects/tenancy-rpc.ts";
import type { TxnRequest } from "../wire/config.ts";

/** Events that are remembered: by the Directory, and as keys. */
export const MAX_EVENTS = 1000;
export const EVENTS_PREFIX = "cluster/events/";
/** So that keys sort as numbers do. */
const KEY_DIGITS = 16;

const encoder = new TextEncoder();

export function eventKey(number: number): string {
  return EVENTS_PREFIX + String(number).padStart(KEY_DIGITS, "0");
}

/** As JSON. */
export function shownEvent({
  number,
  atMs,
  kind,
  zone,
  incarnation,
  message,
  outcome,
  plan,
  operationId,
}: ClusterEvent) {
  const shown = plan.map(({ takenBy, ...node }) => ({ ...node, takenBy: { ...takenBy } }));
  return {
    ...{ number, at: new Date(atMs).toISOString(), kind, zone, incarnation, message },
    ...{ operationId: operationId ?? null, outcome: outcome ?? null, plan: shown },
  };
}

/** Puts the event's key where it is not there yet; those that are too old go in the same revision. */
export function eventTxn(event: ClusterEvent): TxnRequest {
  const key = eventKey(event.number);
  const value = encoder.encode(JSON.stringify(shownEvent(event)));
  const oldest = event.number - MAX_EVENTS;
  return {
    kind: "txn",
    compare: [{ key, rangeEnd: "", target: "create", result: "equal", operand: 0 }],
    success: [
      { kind: "put", key, value },
      ...(oldest > 0 ? [{ kind: "deleteRange", key: EVENTS_PREFIX, rangeEnd: eventKey(oldest + 1) } as const] : []),
    ],
    failure: [],
  };
}
