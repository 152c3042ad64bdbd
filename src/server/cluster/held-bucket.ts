// Whether a bucket holds a deployment already, asked before `--new-deployment` has an instance give up what it held: beside another deployment's Directory
// its storage nodes would all be new at once, and nobody could fill them.
// Guarantees: the bucket is asked by a workerd of its own, with the credentials and the client of the leaders'; it owns nothing, and has ended afterwards.
// Must not: change what the bucket holds of deployments.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exitCodes, OperatorError } from "../problem.ts";
import { writeConfigFile } from "../worker-files.ts";
import { LEADERS_HEALTH, WorkerdProcess } from "../workerd-process.ts";
import { type Seen, seenInBucket } from "./bucket-memory.ts";
import { boardConfig } from "./relay-config.ts";

const CONFIG_FILE = "bucket.capnp";
const SOCKET = "bucket.sock";
const READY_MS = 30_000;
const STOP_MS = 5000;

/** Zone → what its instance left in the bucket. */
export type SeenByZone = Readonly<Record<string, Seen | undefined>>;

/** Who is there of another deployment than the word's; undefined = nobody. */
export function whyHeld(word: string, seen: SeenByZone): string | undefined {
  const others = Object.entries(seen).flatMap(([zone, there]) =>
    there && there.word !== word ? [`${zone} was there at ${there.at}`] : [],
  );
  return others.length === 0 ? undefined : others.join(", ");
}

export interface BucketAsk {
  readonly bucket: string;
  readonly zones: readonly string[];
  readonly clusterKey: string;
  /** Where workerd's files may lie. */
  readonly runDir: string;
  readonly binary: string;
  /** How the bucket is reached. */
  readonly env: Readonly<Record<string, string>>;
}

async function end(process: WorkerdProcess): Promise<void> {
  process.signal("SIGTERM");
  await Promise.race([process.exited, sleep(STOP_MS, undefined, { ref: false })]);
  process.signal("SIGKILL");
  await process.exited;
}

/** @throws Error when the bucket cannot be asked */
export async function seenByZone({ bucket, zones, clusterKey, runDir, binary, env }: BucketAsk): Promise<SeenByZone> {
  const socketPath = join(runDir, SOCKET);
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  // One that was killed leaves its socket's name behind.
  rmSync(socketPath, { force: true });
  writeConfigFile(join(runDir, CONFIG_FILE), boardConfig({ bucket, key: clusterKey, boardAddress: `unix:${SOCKET}` }));
  const start = { binary, cwd: runDir, configFile: CONFIG_FILE, isExperimental: true, health: LEADERS_HEALTH, env };
  const process = new WorkerdProcess(start);
  try {
    const given = sleep(READY_MS, undefined, { ref: false });
    const port = await Promise.race([process.listening, process.exited.then(() => undefined), given]);
    if (port === undefined || !(await process.healthy(`http://127.0.0.1:${port}`, READY_MS)))
      throw new Error(process.stderrTail.trim().split("\n").at(-1) || "no answer");
    const asked = zones.map(async (zone) => [zone, await seenInBucket(socketPath, zone).read()] as const);
    return Object.fromEntries(await Promise.all(asked));
  } finally {
    await end(process);
  }
}

/** @throws OperatorError where a deployment lies there, or nobody can tell. */
export async function assertBucketFree(ask: BucketAsk, word: string): Promise<void> {
  const { bucket } = ask;
  const whatToDo = "--force-new-deployment begins it all the same (docs/operations/lost-bucket.md)";
  const seen = await seenByZone(ask).catch((cause: Error) => {
    const message = `--new-deployment ${word}: ${bucket} cannot be asked whether it holds a deployment: ${cause.message}. Nothing was changed. ${whatToDo}`;
    throw new OperatorError(message, { cause });
  });
  const why = whyHeld(word, seen);
  if (why === undefined) return;
  throw new OperatorError(
    `--new-deployment ${word}: ${bucket} holds a deployment (${why}). Nothing was changed. To go on with that deployment, start without --new-deployment; ` +
      `for a new one give another prefix, or empty this one; ${whatToDo}`,
    // Trying again does not help: scripts and service managers can tell.
    { exitCode: exitCodes.invalidConfiguration },
  );
}
