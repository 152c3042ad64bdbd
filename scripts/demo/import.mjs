// Writes and checks the demo's documents through the SDK's session.

import { isDeepStrictEqual } from "node:util";
import { writeIdFrom } from "../../src/client/index.ts";
import { clockFromMap } from "../../src/wire/clock.ts";

/** Runs `work` over all items, `width` at a time; stops taking new ones once `shouldStop()`. */
export async function inParallel(items, width, work, shouldStop = () => false) {
  let next = 0;
  const lane = async () => {
    while (next < items.length && !shouldStop()) await work(items[next++]);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane));
}

/** The write id that belongs to a document of this tenant: the same in every attempt to import it. */
export function writeIdOf(tenantId, key) {
  return writeIdFrom(`demo/${tenantId}/${key}`);
}

/**
 * Imports documents. `acknowledged`: key → vector clock of the first answer, kept over restarts.
 * After `stopAfter` new acknowledgements `onStop` is called in the same turn; then what is under way fails, and is counted.
 */
export async function importDocuments({
  client,
  tenantId,
  documents,
  acknowledged,
  isRepeat,
  width,
  stopAfter = Infinity,
  onStop,
}) {
  const result = { sent: 0, fresh: 0, repeated: 0, changed: [], uncertain: 0, errors: [] };
  let isStopped = false;
  const put = async ({ key, json }) => {
    const writeId = await writeIdOf(tenantId, key);
    result.sent++;
    try {
      const { vectorClock } = await client.kv.putRaw(key, json, {
        writeId,
        consistency: "quorum",
        mayHaveBeenSent: isRepeat,
      });
      const first = acknowledged.get(key);
      if (first === undefined) {
        acknowledged.set(key, vectorClock);
        result.fresh++;
      } else {
        result.repeated++;
        if (!isDeepStrictEqual(first, vectorClock)) result.changed.push({ key, first, now: vectorClock });
      }
    } catch (error) {
      if (isStopped) result.uncertain++;
      else result.errors.push({ key, error });
    }
    if (!isStopped && result.fresh >= stopAfter) {
      isStopped = true;
      onStop();
    }
  };
  const began = performance.now();
  await inParallel(documents, width, put, () => isStopped || result.errors.length > 20);
  return { ...result, isStopped, seconds: (performance.now() - began) / 1000 };
}

/**
 * Whether a document is still the version that was acknowledged. One write id stamped twice (by a node that died before it could
 * answer, then by another) is one version with two dots, so the clock may have grown; applied a second time, its time would too.
 */
function isSameVersion(acknowledged, now) {
  if (acknowledged === undefined) return true;
  const before = clockFromMap(acknowledged);
  const after = clockFromMap(now);
  const covers = ({ actor, counter }) =>
    after.vector.some((dot) => dot.actor === actor && dot.counter >= counter) ||
    after.dots.some((dot) => dot.actor === actor && dot.counter === counter);
  return after.time === before.time && before.vector.every(covers) && before.dots.every(covers);
}

/** Reads documents back at quorum: lost, different and doubled ones (concurrent versions, or a later one than was acknowledged). */
export async function verifyDocuments({ client, documents, acknowledged, width }) {
  const result = { read: 0, lost: [], different: [], doubled: [], errors: [] };
  const check = async ({ key, json }) => {
    try {
      const held = await client.kv.getRaw(key, { consistency: "quorum" });
      result.read++;
      if (!held.found) result.lost.push(key);
      else if (held.value !== json) result.different.push(key);
      else if (held.conflict || !isSameVersion(acknowledged.get(key), held.vectorClock)) {
        result.doubled.push({ key, acknowledged: acknowledged.get(key), now: held.vectorClock });
      }
    } catch (error) {
      result.errors.push({ key, error });
    }
  };
  const began = performance.now();
  await inParallel(documents, width, check);
  return { ...result, seconds: (performance.now() - began) / 1000 };
}
