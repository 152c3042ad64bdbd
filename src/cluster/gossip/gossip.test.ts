// What one instance does with what it hears and does not hear, step by step.
import { expect, it } from "vitest";
import { Gossip } from "./gossip.ts";
import { GOSSIP_LIMITS, type GossipMessage, type Member } from "./types.ts";

const { periodMs, directMs } = GOSSIP_LIMITS;
const known = (id: string): Member => ({ id, address: id, zone: "z", incarnation: 1, state: "alive" });

/** An instance that knows some others, and has just been heard of by one. */
function instance(...others: string[]): Gossip {
  const self = { id: "me", address: "me", zone: "z" };
  const gossip = new Gossip({ self, limits: GOSSIP_LIMITS, random: () => 0.5, nowMs: 0 });
  const message: GossipMessage = { kind: "synced", from: "x", address: "x", sequence: 0, updates: others.map(known) };
  gossip.receive(message, 0);
  return gossip;
}

const stateOf = (gossip: Gossip, id: string) => gossip.members.find((member) => member.id === id)?.state;

/** Ticks as often as a supervisor does. */
function run(gossip: Gossip, fromMs: number, toMs: number): void {
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 100) gossip.tick(nowMs);
}

it("[CL-61] asks others to try before it suspects: an answer through one of them is an answer", () => {
  const gossip = instance("a", "b");
  const [ping] = gossip.tick(0).filter(({ message: { kind } }) => kind === "ping");
  const requests = gossip.tick(directMs).filter(({ message: { kind } }) => kind === "request");
  const helper = ping!.to === "a" ? "b" : "a";
  expect(requests.map(({ to, message }) => [to, message.target])).toEqual([[helper, ping!.to]]);
  const { sequence } = requests[0]!.message;
  gossip.receive({ kind: "ack", from: helper, address: helper, sequence, updates: [] }, directMs + 100);
  run(gossip, directMs + 100, periodMs);
  expect(stateOf(gossip, ping!.to)).toBe("alive");
});

it("[CL-61] runs an errand for another: pings the target, and hands its answer on under the asker's number", () => {
  const gossip = instance("a", "b");
  const request: GossipMessage = { kind: "request", from: "a", address: "a", sequence: 77, target: "b", updates: [] };
  const [ping] = gossip.receive(request, 10);
  expect(ping).toMatchObject({ to: "b", message: { kind: "ping" } });
  const { sequence } = ping!.message;
  const [answer] = gossip.receive({ kind: "ack", from: "b", address: "b", sequence, updates: [] }, 20);
  expect(answer).toMatchObject({ to: "a", message: { kind: "ack", sequence: 77 } });
  expect(gossip.receive({ kind: "ack", from: "b", address: "b", sequence, updates: [] }, 30)).toEqual([]);
});

it("[CL-63] a pause ends no probe and no time to object", () => {
  const gossip = instance("a", "b");
  const [ping] = gossip.tick(0).filter(({ message: { kind } }) => kind === "ping");
  const heard = (nowMs: number) =>
    gossip.receive({ kind: "ping", from: "x", address: "x", sequence: 1, updates: [] }, nowMs);
  heard(30_000); // read before the first tick after a pause
  gossip.tick(30_000);
  expect(stateOf(gossip, ping!.to)).toBe("alive");
  run(gossip, 30_100, 31_000);
  heard(31_500);
  run(gossip, 31_100, 32_000);
  const suspects = gossip.members.filter(({ state }) => state === "suspect");
  expect(suspects).not.toEqual([]);
  heard(90_000);
  gossip.tick(90_000);
  run(gossip, 90_100, 91_000);
  expect(gossip.members.filter(({ state }) => state === "failed")).toEqual([]);
});
