// Tells a workerd process that it is about to be stopped (objects/bulletin.ts).
import { callSocket } from "./cluster/peer-desk.ts";

/** Of the time that a stop may take. Ms. */
const TIMEOUT_MS = 1000;

export async function tellLeaving(socketPath: string): Promise<void> {
  await callSocket({ socketPath, method: "POST", path: "/leave", body: "", timeoutMs: TIMEOUT_MS });
}
