// A process that is about to be stopped: whoever has connections open here that end with nothing but themselves (sessions, watches) is told.
// Guarantees: each is closed with a code that says so, so that workerd, which waits for connections, ends by itself. Isolate-wide: what lives in one
// process knows it without asking. Must not: be begun where the process goes on.
import type { Env } from "./env.ts";

/** Classes that end clients' WebSockets. */
export type Holder = "COORDINATOR" | "CONFIG_KEYSPACE" | "CONFIG_FOLLOWER";

const holders = new Map<string, { readonly binding: Holder; readonly name: string }>();
let hasBegun = false;

export function isLeaving(): boolean {
  return hasBegun;
}

/** To be called when an object has its first connection, and when it has none any more. It may sleep in between. */
export function noteHolder(binding: Holder, name: string | undefined, hasConnections: boolean): void {
  if (name === undefined) return;
  const key = `${binding}/${name}`;
  if (hasConnections) holders.set(key, { binding, name });
  else holders.delete(key);
}

export async function leave(env: Env): Promise<void> {
  hasBegun = true;
  const told = [...holders.values()].map(({ binding, name }) => {
    const objects = env[binding];
    return objects.get(objects.idFromName(name)).leave();
  });
  await Promise.allSettled(told);
}
