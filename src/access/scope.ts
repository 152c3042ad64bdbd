// The order of scopes: each allows what the lower ones allow. Pure.
import type { Scope } from "./types.ts";

const RANK: Readonly<Record<Scope, number>> = { "read-only": 1, "read-write": 2, admin: 3 };

export function scopeAllows(held: Scope, required: Scope): boolean {
  return RANK[held] >= RANK[required];
}
