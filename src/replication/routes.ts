// The newest route of each tenant that this coordinator was told of by a replica's refusal; callers may still carry an older one.
// Guarantees: never goes back to an older revision; bounded; a reload is tried a bounded number of times. Must not: guess a route.
import type { DirectoryView, TenantRoute } from "../access/types.ts";
import { MAX_KNOWN_ROUTES, ROUTE_RELOADS, ROUTE_RETRY_MS } from "./limits.ts";
import type { Environment } from "./link.ts";

const revisionOf = (route: TenantRoute | undefined): number => route?.routeRevision ?? 0;

export class Routes {
  readonly #environment: Environment;
  readonly #known = new Map<number, TenantRoute>();

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** The caller's own, or the newer one that is known. */
  of(tenant: number, carried: TenantRoute): TenantRoute {
    if (this.#known.size === 0) return carried;
    const known = this.#known.get(tenant);
    return known && revisionOf(known) > revisionOf(carried) ? known : carried;
  }

  /** Calls `then` with a route of at least this revision, or with undefined when none can be had in time. */
  reload(tenant: number, revision: number, then: (route: TenantRoute | undefined) => void, attempt = 1): void {
    const { reloadRoute } = this.#environment;
    const again = (): void => {
      if (attempt >= ROUTE_RELOADS) return then(undefined);
      // The replicas are told before the route is published: it comes within moments.
      const delayMs = ROUTE_RETRY_MS * 2 ** (attempt - 1);
      this.#environment.setTimer(delayMs, () => this.reload(tenant, revision, then, attempt + 1));
    };
    if (!reloadRoute) return then(undefined);
    reloadRoute(tenant).then((route) => {
      if (!route || revisionOf(route) < revision) return again();
      this.#learn(tenant, route);
      then(this.of(tenant, route));
    }, again);
  }

  /** Asks for the view of the Directory until `take` says that it is new enough; tells whether it came. */
  reloadView(take: (view: DirectoryView) => boolean, then: (isThere: boolean) => void, attempt = 1): void {
    const { reloadView } = this.#environment;
    const again = (): void => {
      if (attempt >= ROUTE_RELOADS) return then(false);
      this.#environment.setTimer(ROUTE_RETRY_MS * 2 ** (attempt - 1), () => this.reloadView(take, then, attempt + 1));
    };
    if (!reloadView) return then(false);
    reloadView().then((view) => (take(view) ? then(true) : again()), again);
  }

  #learn(tenant: number, route: TenantRoute): void {
    if (revisionOf(this.#known.get(tenant)) >= revisionOf(route)) return;
    this.#known.delete(tenant);
    this.#known.set(tenant, route);
    if (this.#known.size <= MAX_KNOWN_ROUTES) return;
    for (const oldest of this.#known.keys()) return void this.#known.delete(oldest);
  }
}
