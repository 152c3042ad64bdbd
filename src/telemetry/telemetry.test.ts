// Counting, summing, showing and logging.
import { describe, expect, it } from "vitest";
import { label, renderExposition } from "./exposition.ts";
import { HttpMeter } from "./http-meter.ts";
import { createLogger, type LogLevel, redact } from "./logger.ts";
import { MAX_SERIES, SampleSums, sumSamples } from "./sample-sums.ts";

const observe = (meter: HttpMeter, seconds: number, status = 200, code?: string) =>
  meter.record({ route: "/v1/x", method: "GET", status, code, seconds });

describe("the meter", () => {
  it("gives each count once, with cumulative buckets", () => {
    const meter = new HttpMeter();
    observe(meter, 0.0005);
    observe(meter, 0.3, 404, "notFound");
    observe(meter, 99);
    const delta = meter.takeDelta();
    const labels = 'route="/v1/x",method="GET"';
    expect(delta[`jade_http_request_duration_seconds_bucket{${labels},le="0.001"}`]).toBe(1);
    expect(delta[`jade_http_request_duration_seconds_bucket{${labels},le="0.5"}`]).toBe(2);
    expect(delta[`jade_http_request_duration_seconds_bucket{${labels},le="+Inf"}`]).toBe(3);
    expect(delta[`jade_http_request_duration_seconds_count{${labels}}`]).toBe(3);
    expect(delta[`jade_http_requests_total{${labels},status="404"}`]).toBe(1);
    expect(delta[`jade_http_errors_total{${labels},code="notFound"}`]).toBe(1);
    expect(meter.isEmpty).toBe(true);
    expect(meter.takeDelta()).toEqual({});
  });

  it("adds a delta that came back to what was counted meanwhile", () => {
    const meter = new HttpMeter();
    observe(meter, 1);
    const lost = meter.takeDelta();
    observe(meter, 1);
    meter.restore(lost);
    expect(meter.takeDelta()['jade_http_requests_total{route="/v1/x",method="GET",status="200"}']).toBe(2);
  });
});

describe("sums", () => {
  it("add same names, ignore what is no number, and are bounded", () => {
    expect(sumSamples([{ a: 1, b: 2 }, { a: 3 }, { c: Number.NaN }])).toEqual({ a: 4, b: 2 });
    const sums = new SampleSums();
    for (let i = 0; i < MAX_SERIES + 5; i++) sums.add({ [`s${i}`]: 1 });
    expect(sums.samples()["jade_metric_series_dropped_total"]).toBe(5);
  });
});

describe("the exposition", () => {
  it("groups families, with one HELP and TYPE, buckets in order", () => {
    const text = renderExposition(
      {
        'h_bucket{le="10"}': 3,
        'h_bucket{le="+Inf"}': 4,
        'h_bucket{le="2.5"}': 1,
        h_sum: 7,
        h_count: 4,
        'c_total{x="1"}': 1,
        other: 2,
      },
      { h: { kind: "histogram", help: "H." }, c_total: { kind: "counter", help: "C." } },
    );
    expect(text).toBe(`# HELP c_total C.
# TYPE c_total counter
c_total{x="1"} 1
# HELP h H.
# TYPE h histogram
h_bucket{le="2.5"} 1
h_bucket{le="10"} 3
h_bucket{le="+Inf"} 4
h_count 4
h_sum 7
# TYPE other untyped
other 2
`);
    expect(label('a"b\\c\n')).toBe('a\\"b\\\\c\\n');
  });
});

describe("the logger", () => {
  const logged = (level: LogLevel) => {
    const lines: string[] = [];
    const write = (_: LogLevel, line: string) => lines.push(line);
    return { lines, log: createLogger({ level, now: () => 0, write, fields: { part: "t" } }) };
  };

  it("writes one JSON object a line from its level on", () => {
    const { lines, log } = logged("warn");
    log.info("quiet");
    log.warn("loud", { n: 1, text: "a\nb", none: undefined });
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { time: "1970-01-01T00:00:00.000Z", level: "warn", event: "loud", part: "t", n: 1, text: "a\nb" },
    ]);
    expect(lines[0]).not.toContain("\n");
    const off = logged("off");
    off.log.error("nothing");
    expect(off.lines).toEqual([]);
  });

  it("logs errors with their causes, and blanks credentials", () => {
    const { lines, log } = logged("info");
    const key = `jdb.acme.0123456789abcdef.${"s".repeat(43)}`;
    log.error("bad", { text: `Bearer ${key}` }, new Error(`outer ${key}`, { cause: new TypeError("inner") }));
    expect(lines[0]).toContain("outer [redacted]");
    expect(lines[0]).toContain("inner");
    expect(lines[0]).not.toContain("sss");
    expect(redact("Authorization: Bearer abc.def")).toBe("Authorization: Bearer [redacted]");
    expect(redact("jade.bearer.QUJD")).toBe("jade.bearer.[redacted]");
  });
});
