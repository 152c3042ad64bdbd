// What a replica durably knows of itself, as it asks for it within a turn.

/** Where the replica's own durable facts live (SQLite in the object). Called inside the turn that commits them. */
export interface ReplicaFacts {
  /** No stamp may use a counter above this before it was raised. */
  reservedCounter(): number;
  reserveCounter(upTo: number): void;
  isErased(tenant: number): boolean;
  /** The newest revision of the tenant's route that was recorded here; of `RING_TENANT`, of the ring. */
  routeRevision(tenant: number): number;
  /** This store replaces a lost one and has not been filled yet: it counts nowhere. */
  isRebuilding(): boolean;
  /** The rows of this place are being filled from others (all are while rebuilding): what is missing here may be alive elsewhere. */
  isFilling(tenant: number, tokenHi: number): boolean;
  /** The filling of this number is complete: what was heard during it is known now. */
  isFilled(epoch: number): boolean;
  /** No stamp has this hybrid time or an earlier one (spec RP-72). */
  stampFloor(): number;
  /** Deleted states up to this hybrid time are absent (spec RP-75). */
  purgeHorizon(): number;
}
