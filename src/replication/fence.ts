// By which knowledge of the replicas an operation was sent: the revision of the ring and that of its tenant's route, as one number.
// Guarantees: as long as the ring never changed it is the route's revision alone, as builds before that sent it. Must not: know why
// either changed.

/** The ring's revision is recorded where those of tenants' routes are, under the number that no tenant has. */
export const RING_TENANT = 0;

const ROUTES = 2 ** 32;

export interface Revisions {
  readonly ring: number;
  readonly route: number;
}

export function fenceOf({ ring, route }: Revisions): number {
  return ring * ROUTES + route;
}

export function revisionsOf(fence: number): Revisions {
  return { ring: Math.floor(fence / ROUTES), route: fence % ROUTES };
}

/** What a replica knows is newer than what an operation was sent by: then this; else undefined. */
export function newerOf(sent: number, known: Revisions): number | undefined {
  const { ring, route } = revisionsOf(sent);
  return known.ring > ring || known.route > route ? fenceOf(known) : undefined;
}
