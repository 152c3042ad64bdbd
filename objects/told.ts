// What the supervisor told this process last of the cluster. In the isolate's memory, so that whoever needs it asks nobody.
// Guarantees: nothing that is old is given: a supervisor that has ended tells nothing any more. Must not: be stored.
import type { Told, ToldMember } from "../src/cluster/told.ts";

/** Three times what passes between two tellings. Ms. */
const FORGET_MS = 15_000;

let held: { readonly told: Told; readonly atMs: number } | undefined;

export function hear(news: Told): void {
  held = { told: news, atMs: Date.now() };
}

/** Undefined = there is no supervisor that tells, or it has gone silent. */
export function told(): Told | undefined {
  return held && Date.now() - held.atMs < FORGET_MS ? held.told : undefined;
}

export function toldOf(zone: string): ToldMember | undefined {
  return told()?.members.find((member) => member.zone === zone);
}
