// What a search costs beyond the request that is paid for: the rows that it looked at.
import { admitMore } from "./access.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";
import { ROWS_PER_UNIT } from "./limits.ts";

/** Never more than a bucket can hold. @throws PublicError `rateLimited`: the answer is not given */
export async function charge(call: Call, principal: Pick<TenantPrincipal, "rate">, scanned: number): Promise<void> {
  const units = Math.floor(scanned / ROWS_PER_UNIT);
  const most = Math.min(...(principal.rate?.pools ?? []).map(({ limit }) => limit.burst - 1));
  await admitMore(call, principal, Math.min(units, most));
}
