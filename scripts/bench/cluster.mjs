// `npm run bench -- cluster [--only ring,gossip,instances,bucket,many,join] [--seconds N] [--json]`: what a cluster of a hundred nodes would do, computed
// with the shipped modules: how evenly its ring divides data and what one more node moves, how fast news spread and at what cost in
// messages; and what real ones of one to three instances do on this machine (lib/cluster-served.mjs).

import { GOSSIP_LIMITS } from "../../src/cluster/gossip/types.ts";
import { withPositions } from "../../src/cluster/joining.ts";
import { newPositions } from "../../src/cluster/positions.ts";
import { positionsOf, Ring } from "../../src/cluster/ring.ts";
import { moved, relativeLoads } from "../../src/cluster/ring-report.ts";
import { GossipWorld } from "../../test/simulation/gossip/world.ts";
import { seededRandom } from "../lib/seeded.mjs";
import { bucket, instances, joining, many } from "./lib/cluster-served.mjs";
import { atMost, lineOf, printLines } from "./lib/report.mjs";

const FACTOR = 3;
const NODES = 100;
const row = lineOf;

function joined(nodes, at, zones, random) {
  const zone = `z${at % zones}`;
  const node = { id: `n${at + 1}`, number: at + 1, incarnation: 1, zone, weight: 1, state: "active" };
  if (random === undefined) return node;
  const placed = nodes.map((other) => ({ ...other, positions: positionsOf(other) }));
  return { ...node, positions: newPositions(placed, node, random) };
}

function ringOf(count, zones, random) {
  const nodes = [];
  for (let at = 0; at < count; at++) nodes.push(joined(nodes, at, zones, random));
  return nodes;
}

function ring() {
  const lines = [];
  for (const zones of [3, 5, 10]) {
    const loadOf = (nodes) => Math.max(...relativeLoads(new Ring(nodes), FACTOR).values());
    const nodes = ringOf(NODES, zones, seededRandom(1));
    const [most, hashed] = [loadOf(nodes), loadOf(ringOf(NODES, zones))];
    const more = [...nodes, withPositions(nodes, joined(nodes, NODES, zones), seededRandom(2))];
    const gains = moved(new Ring(nodes), new Ring(more), FACTOR);
    const share = gains.get(more.at(-1).id) / (FACTOR / more.length);
    const name = `${NODES} nodes in ${zones} zones, ${FACTOR} replicas`;
    lines.push(
      row(`ring.${zones}.balance`, `${name}: the fullest against the mean`, most, "x", atMost(most, 1.15)),
      row(`ring.${zones}.hashed`, "… with positions by hash alone", hashed, "x"),
      row(`ring.${zones}.moved`, "… one more node: what moves against its share", share, "x", atMost(share, 1.1)),
      row(
        `ring.${zones}.others`,
        "… nodes that get anything besides it",
        gains.size - 1,
        "nodes",
        atMost(gains.size - 1, 0),
      ),
    );
  }
  return lines;
}

async function gossip() {
  const lines = [];
  for (const count of [3, 10, NODES]) {
    const world = new GossipWorld({ seed: 1, count, loss: 0.01 });
    const joinedMs = await world.until(() => world.agree(world.ids, "alive"), 600_000);
    await world.run(60_000);
    const idle = { messages: world.messages, bytes: world.bytes, atMs: world.nowMs };
    await world.run(60_000);
    const periods = (world.nowMs - idle.atMs) / GOSSIP_LIMITS.periodMs;
    const [each, bytes] = [world.messages - idle.messages, world.bytes - idle.bytes].map(
      (sum) => sum / count / periods,
    );
    world.kill("i1");
    const failedMs = await world.until(() => world.agree(["i1"], "failed"), 600_000);
    const [first, last] = [Math.min, Math.max].map((pick) =>
      pick(
        ...world.events.filter(({ kind, member }) => kind === "failed" && member.id === "i1").map(({ atMs }) => atMs),
      ),
    );
    const name = `${count} instances, 1 % of messages lost`;
    lines.push(
      row(`gossip.${count}.join`, `${name}: all know all after`, joinedMs / 1000, "s"),
      row(`gossip.${count}.messages`, "… messages of an instance at rest", each, "a second"),
      row(`gossip.${count}.bytes`, "… bytes of them as JSON", bytes, "a second"),
      row(`gossip.${count}.failed`, "… one ends: all know after", failedMs / 1000, "s"),
      row(`gossip.${count}.spread`, "… of that from the first to the last", (last - first) / 1000, "s"),
    );
  }
  return lines;
}

const PARTS = { ring, gossip, instances, bucket, many, join: joining };

export async function run({ only, json, seconds }) {
  const wanted = only ?? Object.keys(PARTS);
  const unknown = wanted.find((part) => !Object.hasOwn(PARTS, part));
  if (unknown !== undefined) {
    console.error(`--only ${unknown}: which of ${Object.keys(PARTS).join(", ")}?`);
    return 2;
  }
  const lines = [];
  for (const part of wanted) lines.push(...(await PARTS[part]({ seconds })));
  printLines(lines);
  if (json) {
    const results = lines.map(({ id, value, unit, target, ok }) => ({ id, value, unit, target, ok }));
    console.log(JSON.stringify({ suite: "cluster", results }));
  }
  return lines.every(({ ok }) => ok) ? 0 : 1;
}
