// An A/B test: variants with weights, decided from memory by a hash of the user, changed while it runs. Who was given a variant keeps it as
// long as its share only grows; the end of the test gives everyone the winner.
// Shows: config.cached, `atLeast`, a conditional put, so that two people who change the weights do not undo each other's change.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/ab-test.mjs
import { createHash } from "node:crypto";
import { isPreconditionFailed, JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-ab");
const KEY = "experiments/checkout-button";
const POINTS = 10_000;
const users = Array.from({ length: 10_000 }, (_, i) => `user-${i}`);
const experiments = await config.cached({ prefix: "experiments/" });

/** 0 to 9999, the same for a user and an experiment at all times. The salt begins another test with other groups. */
function pointOf({ salt }, user) {
  return createHash("sha256").update(`${salt}\n${user}`).digest().readUInt32BE(0) % POINTS;
}

/** Each variant owns a stretch of points from its own start on: one that grows takes from those without a variant, not from another. */
function variantOf(user) {
  const experiment = experiments.get(KEY)?.value;
  if (!experiment) return undefined;
  if (experiment.winner) return experiment.winner;
  const point = pointOf(experiment, user);
  const found = experiment.variants.find(({ from, weight }) => point >= from && point < from + weight);
  return found?.name;
}

const assignments = () => new Map(users.map((user) => [user, variantOf(user)]));
const shares = (given) => {
  const counts = {};
  for (const name of given.values()) counts[name ?? "none"] = (counts[name ?? "none"] ?? 0) + 1;
  return counts;
};

async function set(experiment, conditions) {
  const { revision } = await config.put(KEY, experiment, conditions);
  await experiments.atLeast(revision);
  return assignments();
}

const weights = (a, b) => ({
  salt: "checkout-button-1",
  variants: [
    { name: "a", from: 0, weight: a },
    { name: "b", from: POINTS / 2, weight: b },
  ],
});

const begun = await set(weights(1000, 1000));
const { modRevision } = await config.get(KEY);
const grown = await set(weights(5000, 3000), { ifModRevision: modRevision });
const stays = users.every((user) => begun.get(user) === undefined || grown.get(user) === begun.get(user));

// Somebody who still looks at the old weights.
const isRefused = await set(weights(0, 1000), { ifModRevision: modRevision }).then(
  () => false,
  (error) => isPreconditionFailed(error),
);
const again = assignments();
const isSticky = users.every((user) => again.get(user) === grown.get(user));

const ended = await set({ ...weights(5000, 3000), winner: "b" });
console.log(
  JSON.stringify({ begun: shares(begun), grown: shares(grown), stays, isRefused, isSticky, ended: shares(ended) }),
);
experiments.close();
client.close();
