// Writes and checks the demo's documents through the SDK's session.

import { isDeepStrictEqual } from "node:util";
import { writeIdFrom } from "../../src/client/index.ts";

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

/** Reads documents back at quorum: lost, different and doubled ones. */
export async function verifyDocuments({ client, documents, width }) {
  const result = { read: 0, lost: [], different: [], doubled: [], errors: [] };
  const check = async ({ key, json }) => {
    try {
      const held = await client.kv.getRaw(key, { consistency: "quorum" });
      result.read++;
      if (!held.found) result.lost.push(key);
      else if (held.value !== json) result.different.push(key);
      if (held.conflict || held.siblings.length > 1) result.doubled.push(key);
    } catch (error) {
      result.errors.push({ key, error });
    }
  };
  const began = performance.now();
  await inParallel(documents, width, check);
  return { ...result, seconds: (performance.now() - began) / 1000 };
}
