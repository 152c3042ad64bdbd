// Whether a Directory without history may begin. Its numbers of tenants start at 1; where storage nodes still hold rows under such numbers, of a
// deployment whose bucket was emptied, new tenants would see them. So each zone's disk remembers its deployment, and is asked.
// Guarantees: pure; begins only when every zone has taken the new id. Must not: decide anything about a Directory with history.

/** Begins the message of whoever calls it then, over any RPC. */
export const NOT_BORN = "the Directory does not start";

export interface Birth {
  /** Why it must not begin, and what to do; undefined = it may, once nobody is waited for. */
  readonly refusal?: string;
  /** Zones that did not answer. */
  readonly waitsFor: readonly string[];
}

/** `answers`: the deployment that each zone's disk has, once it was offered `id`; undefined = no answer. */
export function judgeBirth(id: string, answers: Readonly<Record<string, string | undefined>>): Birth {
  const zones = Object.keys(answers).sort();
  const waitsFor = zones.filter((zone) => answers[zone] === undefined);
  const others = zones.filter((zone) => answers[zone] !== undefined && answers[zone] !== id);
  if (others.length === 0) return { waitsFor };
  const known = others.map((zone) => `${zone} knows ${answers[zone]}`).join(", ");
  const refusal =
    `the bucket holds no Directory, but this deployment has one (${known}). Restore the bucket; or, to give up what the deployment held, ` +
    "start every instance with --new-deployment <word> (docs/operations/lost-bucket.md)";
  return { refusal, waitsFor };
}
