// Every metric the gateway and the control plane count: name → kind and help line. Other parts add theirs here.
// Guarantees: one place for names; a name absent here is still shown, as untyped. Must not: hold values.

export type MetricKind = "counter" | "gauge" | "histogram";

export interface MetricInfo {
  readonly kind: MetricKind;
  readonly help: string;
}

const counter = (help: string): MetricInfo => ({ kind: "counter", help });
const gauge = (help: string): MetricInfo => ({ kind: "gauge", help });
const histogram = (help: string): MetricInfo => ({ kind: "histogram", help });

export const METRICS: Readonly<Record<string, MetricInfo>> = {
  jade_http_requests_total: counter("HTTP requests answered, by route pattern, method and status."),
  jade_http_errors_total: counter("HTTP requests answered with an error, by route pattern and error code."),
  jade_http_request_duration_seconds: histogram("Time from the request's arrival to its answer, by route pattern."),
  jade_auth_cache_hits_total: counter("Requests authenticated from the gateway's memory."),
  jade_auth_cache_misses_total: counter("Requests for which a key was hashed or a tenant was asked for."),
  jade_auth_stale_total: counter("Requests authenticated from an old view because the tenant's owner was away."),
  jade_directory_tenants: gauge("Tenants by state."),
  jade_directory_nodes: gauge("Storage nodes by state."),
  jade_directory_commits_total: counter("Group commits of the Directory."),
  jade_metric_series_dropped_total: counter("Series not kept because there were too many."),
  jade_scrape_failures: gauge("1 for each part that did not give its metrics to this scrape."),
  jade_build_info: gauge("Always 1; the version is a label."),
};
