// What a simulated node durably knows of its own standing: the stand-in for the SQL tables of replication/standing.ts.
import type { TokenRange } from "../../../src/cluster/ring.ts";
import { holds, unionOf, without } from "../../../src/cluster/token-ranges.ts";
import type { SyncStore } from "../../../src/replication/sync-runner.ts";
import type { SyncState } from "../../../src/replication/sync-state.ts";

export class MemoryStanding implements SyncStore {
  readonly #routes = new Map<number, number>();
  readonly #filling = new Map<number, readonly TokenRange[]>();
  readonly #filled = new Set<number>();
  readonly #jobs = new Map<number, SyncState>();
  isRebuilding = false;
  floor = 0;
  horizon = 0;
  drop = 0;
  #epoch = 0;

  jobs(): readonly SyncState[] {
    return [...this.#jobs.values()];
  }

  put(state: SyncState): void {
    this.#jobs.set(state.epoch, state);
  }

  remove(epoch: number): void {
    this.#jobs.delete(epoch);
  }

  routes(): { tenant: number; revision: number }[] {
    return [...this.#routes].map(([tenant, revision]) => ({ tenant, revision }));
  }

  routeRevision(tenant: number): number {
    return this.#routes.get(tenant) ?? 0;
  }

  recordRoute(tenant: number, revision: number): void {
    if (revision > this.routeRevision(tenant)) this.#routes.set(tenant, revision);
  }

  isFilling(tenant: number, hi: number): boolean {
    if (this.isRebuilding) return true;
    return holds(this.#filling.get(tenant) ?? [], hi);
  }

  isFilled(epoch: number): boolean {
    return this.#filled.has(epoch);
  }

  nextEpoch(): number {
    return ++this.#epoch;
  }

  beginFilling(tenant: number, ranges: readonly TokenRange[]): void {
    this.#filling.set(tenant, unionOf(this.#filling.get(tenant) ?? [], ranges));
  }

  endFilling(tenant: number, ranges: readonly TokenRange[]): void {
    this.#filling.set(tenant, without(this.#filling.get(tenant) ?? [], ranges));
  }

  fillingTenants(): number[] {
    return [...this.#filling.keys()];
  }

  /** One commit: the job is done, and what it heard is known. */
  complete(state: SyncState): void {
    this.put(state);
    if (state.kind === "rebuild") this.isRebuilding = false;
    if (state.kind === "rebuild" || state.kind === "join") this.#filled.add(state.epoch);
    if (state.kind === "join" && state.tenant !== undefined) this.endFilling(state.tenant, state.joining!);
  }
}
