// What every answer and every process offers: envelope, ids, headers, methods, logs, metrics, readiness, the OpenAPI document.

import { createExecutionContext, runInDurableObject, waitOnExecutionContext } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { Env } from "../../objects/env.ts";
import { createGateway } from "../../src/gateway/gateway.ts";
import { ask, newTenant, ROOT_KEY } from "./gateway-support.ts";

/** A gateway of its own on the real objects, some of them replaced; gives what it logs. */
function gatewayWith(changes: Partial<Env>) {
  const lines: string[] = [];
  const waiting: ExecutionContext[] = [];
  const gateway = createGateway({ ...env, ...changes } as Env, { write: (_, line) => lines.push(line) });
  const fetch = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const context = createExecutionContext();
    const response = await gateway.handle(new Request(`http://jade.test${path}`, init), context);
    waiting.push(context);
    return response;
  };
  /** Until all that goes on behind the answers is done. */
  const idle = async (): Promise<void> => {
    for (const context of waiting.splice(0)) await waitOnExecutionContext(context);
  };
  return { fetch, idle, lines, gateway };
}

/** A namespace whose stubs do what `methods` say and otherwise fail like an object that is away. */
function namespaceOf(methods: object): never {
  const stub = new Proxy(methods, {
    get: (target, name) =>
      Reflect.get(target, name) ?? (() => Promise.reject(Object.assign(new Error("gone"), { retryable: true }))),
  });
  return { idFromName: (name: string) => name, get: () => stub } as never;
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe("answers", () => {
  it("[GW-10] take over a sane request id and a trace, and make them otherwise", async () => {
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    const given = { "x-request-id": "order-17", traceparent: `00-${trace}-00f067aa0ba902b7-01` };
    const answer = await ask("GET", "/v1/nowhere", { headers: given });
    expect(answer.headers.get("x-request-id")).toBe("order-17");
    expect(answer.json).toMatchObject({ requestId: "order-17" });
    expect(answer.headers.get("traceparent")).toMatch(new RegExp(`^00-${trace}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`));
    const bad = { "x-request-id": "a b<script>", traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01` };
    const made = await ask("GET", "/v1/health", { headers: bad });
    expect(made.headers.get("x-request-id")).toMatch(/^[0-9a-f]{32}$/);
    expect(made.headers.get("traceparent")).not.toContain("0".repeat(32));
  });

  it("[GW-11] name methods and paths that do not exist, answer HEAD and OPTIONS, and carry security headers", async () => {
    const { key } = await newTenant();
    await ask("POST", "/v1/key-value", { key, body: { key: "a", value: 1 } });
    const wrongMethod = await ask("PUT", "/v1/key-value", { key });
    expect([wrongMethod.status, wrongMethod.json.code]).toEqual([405, "methodNotAllowed"]);
    expect(wrongMethod.headers.get("allow")).toBe("DELETE, GET, HEAD, OPTIONS, POST");
    expect((await ask("POST", "/v1/tenants/x/keys/y")).status).toBe(405);
    const document = await ask("DELETE", "/v1/openapi.json");
    expect([document.status, document.headers.get("allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
    expect((await ask("GET", "/v1/keys")).json.code).toBe("notFound");
    expect((await ask("GET", "/api/v10/health")).status).toBe(404);
    const head = await ask("HEAD", "/v1/key-value?key=a", { key });
    expect([head.status, head.text]).toEqual([200, ""]);
    expect((await ask("HEAD", "/v1/health")).status).toBe(200);
    const options = await ask("OPTIONS", "/v1/tenants/some");
    expect([options.status, options.headers.get("allow")]).toEqual([204, "DELETE, GET, HEAD, OPTIONS, PATCH"]);
    for (const answer of [wrongMethod, head, options, await ask("GET", "/v1/health")]) {
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(answer.headers.get("cache-control")).toBe("no-store");
    }
  });

  it("[GW-16] hide unexpected errors and log them whole", async () => {
    const view = () => Promise.reject(new Error("secret detail in jdb.acme.0123.abcdef"));
    const { fetch, lines } = gatewayWith({ DIRECTORY: namespaceOf({ view }) });
    const response = await fetch("/v1/storage-nodes", { headers: bearer(ROOT_KEY) });
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(text).toContain('"code":"internal"');
    expect(text).not.toContain("secret detail");
    const logged = lines.find((line) => line.includes('"level":"error"'))!;
    expect(logged).toContain("secret detail");
    expect(logged).not.toContain("jdb.acme");
  });

  it("[GW-18] say unknownOutcome with the write id when a write's answer is lost, unavailable for a read", async () => {
    const { key } = await newTenant();
    const { fetch } = gatewayWith({ COORDINATOR: namespaceOf({}) });
    const headers = { ...bearer(key), "content-type": "application/json" };
    const body = JSON.stringify({ key: "a", value: 1 });
    const write = await fetch("/v1/key-value", { method: "POST", headers, body });
    const lost = (await write.json()) as { code: string; details: { writeId: string } };
    expect([write.status, lost.code, lost.details.writeId]).toEqual([
      503,
      "unknownOutcome",
      write.headers.get("jade-write-id"),
    ]);
    const read = await fetch("/v1/key-value?key=a", { headers: bearer(key) });
    expect([read.status, ((await read.json()) as { code: string }).code]).toEqual([503, "unavailable"]);
    expect(read.headers.get("retry-after")).toBe("1");
  });
});

describe("logs", () => {
  it("[GW-12] hold one line a request and no key, token, value or query", async () => {
    const { key, tenantId } = await newTenant();
    const { fetch, lines } = gatewayWith({ JADE_CONFIG: '{"log":{"level":"debug","requests":true}}' });
    const headers = { ...bearer(key), "content-type": "application/json", "idempotency-key": "idem-secret" };
    const send = (body: string) => fetch("/v1/key-value", { method: "POST", headers, body });
    await send('{"key":"key-secret","value":"value-secret"}');
    await send('{"key":"key-secret","value":"value-secret","x-secret":1}');
    await send('{"key":"key-secret","value":"value-secr');
    await fetch("/v1/key-value?key=key-secret&consistency=secret", { headers: bearer(key) });
    await fetch("/v1/key-value?key=key-secret", { headers: bearer(`${key}-secret`) });
    await fetch("/v1/path-secret?x=query-secret");
    const broken = gatewayWith({ COORDINATOR: namespaceOf({}) });
    await broken.fetch("/v1/key-value", {
      method: "POST",
      headers,
      body: '{"key":"key-secret","value":"value-secret"}',
    });
    const all = [...lines, ...broken.lines].join("\n");
    expect(lines.filter((line) => line.includes('"event":"request"'))).toHaveLength(6);
    expect(all).toContain(`"caller":"${tenantId}"`);
    expect(all).not.toContain("secret");
    expect(all).not.toContain(key);
    expect(all).not.toContain(key.split(".")[3]);
    for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  });

  it("are switchable", async () => {
    const quiet = gatewayWith({ JADE_CONFIG: '{"log":{"requests":false}}' });
    const off = gatewayWith({ JADE_CONFIG: '{"log":{"level":"warn","requests":true}}' });
    const loud = gatewayWith({ JADE_CONFIG: '{"log":{"requests":true}}' });
    for (const { fetch } of [quiet, off, loud]) await fetch("/v1/health");
    expect([quiet, off, loud].map(({ lines }) => lines.length)).toEqual([0, 0, 1]);
  });
});

describe("metrics", () => {
  const sampleIn = (text: string, sample: string) =>
    Number(
      text
        .split("\n")
        .find((line) => line.startsWith(`${sample} `))
        ?.split(" ")[1] ?? 0,
    );
  const scrape = async () => {
    await new Promise((resolve) => setTimeout(resolve, 1050)); // the last scrape is kept for a second
    return (await ask("GET", "/metrics")).text;
  };

  it("[GW-13] add up over isolates and objects, by route pattern", async () => {
    const { tenantId, key } = await newTenant();
    const sample = 'jade_http_requests_total{route="/v1/tenants/{id}",method="GET",status="200"}';
    const before = sampleIn(await scrape(), sample);
    for (let i = 0; i < 3; i++) await ask("GET", `/v1/tenants/${tenantId}`, { key });
    const another = gatewayWith({}); // an isolate of its own: it hands its counts over when its request is done
    for (let i = 0; i < 2; i++) await another.fetch(`/v1/tenants/${tenantId}`, { headers: bearer(key) });
    await another.idle();
    await ask("POST", "/v1/key-value", { key, body: { key: "m", value: 1 } });
    const text = await scrape();
    expect(sampleIn(text, sample) - before).toBe(5);
    expect(text).not.toContain(tenantId);
    const duration = "jade_http_request_duration_seconds";
    const labels = 'route="/v1/tenants/{id}",method="GET"';
    expect(sampleIn(text, `${duration}_bucket{${labels},le="+Inf"}`)).toBe(
      sampleIn(text, `${duration}_count{${labels}}`),
    );
    for (const part of [
      "jade_kv_stamps_total",
      "jade_storage_commits_total",
      "jade_kv_hints_pending",
      "jade_auth_cache_hits_total",
    ]) {
      expect(text).toContain(`# HELP ${part} `);
    }
    expect(text.match(/^# TYPE jade_http_requests_total /gm)).toHaveLength(1);
    expect(text).not.toContain("untyped");
  });

  it("[GW-13] name a part that does not answer, and can be closed", async () => {
    const { fetch } = gatewayWith({ KEY_VALUE_REPLICA: namespaceOf({}) });
    expect(await (await fetch("/metrics")).text()).toContain('jade_scrape_failures{part="n2"} 1');
    const closed = gatewayWith({ JADE_METRICS_ACCESS: "root" } as Partial<Env>);
    expect((await closed.fetch("/metrics")).status).toBe(401);
    expect((await closed.fetch("/metrics", { headers: bearer(ROOT_KEY) })).status).toBe(200);
  });
});

describe("health, readiness, status", () => {
  it("[GW-14] health asks nobody, readiness names what does not answer", async () => {
    const away = gatewayWith({
      DIRECTORY: namespaceOf({}),
      KEY_VALUE_REPLICA: namespaceOf({}),
      COORDINATOR: namespaceOf({}),
    });
    expect((await away.fetch("/v1/health")).status).toBe(200);
    const notReady = await away.fetch("/v1/ready");
    expect([notReady.status, await notReady.json()]).toMatchObject([503, { details: { failing: ["directory"] } }]);
    expect((await ask("GET", "/v1/ready")).json.data).toMatchObject({
      ready: true,
      replicas: { total: 3, answering: 3 },
    });
    const replicas = gatewayWith({ KEY_VALUE_REPLICA: namespaceOf({}) });
    const answer = (await (await replicas.fetch("/v1/ready")).json()) as { details: { failing: string[] } };
    expect(answer.details.failing).toEqual(["replica quorum", "storage node n1", "storage node n2", "storage node n3"]);
  });

  it("[GW-14] a storage node whose tables cannot be read does not count as answering", async () => {
    const node = env.KEY_VALUE_REPLICA.get(env.KEY_VALUE_REPLICA.idFromName("n3"));
    const outcome = await runInDurableObject(
      node as never,
      (async (instance: { probe(): Promise<void> }, state: DurableObjectState) => {
        const probe = (): Promise<string> => instance.probe().then(() => "answers", String);
        const before = await probe();
        state.storage.sql.exec("ALTER TABLE replica_facts RENAME TO away");
        const without = await probe();
        state.storage.sql.exec("ALTER TABLE away RENAME TO replica_facts");
        return [before, without, await probe()];
      }) as never,
    );
    expect(outcome).toEqual(["answers", expect.stringContaining("no such table: replica_facts"), "answers"]);
  });

  it("[GW-14] a minority of replicas away is degraded, and a crowd asks the parts once", async () => {
    let probes = 0;
    const byName = {
      idFromName: (name: string) => name,
      get: (name: string) => ({
        probe: async () => {
          probes++;
          if (name === "n2") throw new Error("no disk");
        },
      }),
    } as never;
    const { fetch } = gatewayWith({ KEY_VALUE_REPLICA: byName });
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch("/v1/ready")));
    for (const answer of answers) {
      expect(await answer.json()).toMatchObject({ data: { degraded: ["storage node n2"] } });
    }
    expect(probes).toBe(3);
  });

  it("[GW-14] status tells strangers version and mode only, tenants no figures of others", async () => {
    const { key } = await newTenant();
    expect(Object.keys((await ask("GET", "/v1/status")).json.data)).toEqual(["version", "mode"]);
    expect((await ask("GET", "/v1/status", { key: "wrong" })).status).toBe(401);
    const tenant = (await ask("GET", "/v1/status", { key })).json.data;
    expect(Object.keys(tenant)).toEqual(["version", "mode", "uptimeSeconds", "nodes"]);
    const root = (await ask("GET", "/v1/status", { key: ROOT_KEY })).json.data;
    expect(root["storage"]).toMatchObject({ commitsTotal: expect.any(Number) });
  });
});

describe("GET /v1/cluster", () => {
  it("[CL-16] is for the root key; on a single node each zone is the one process", async () => {
    const { key } = await newTenant();
    expect((await ask("GET", "/v1/cluster")).status).toBe(401);
    expect((await ask("GET", "/v1/cluster", { key })).status).toBe(403);
    const { data } = (await ask("GET", "/v1/cluster", { key: ROOT_KEY })).json;
    expect(data).toMatchObject({ answeredBy: "z1", directory: "answering" });
    const shown = (
      data["instances"] as { zone: string; zoneProcess: string; nodes: { nodeId: string; answering: boolean }[] }[]
    ).map(({ zone, zoneProcess, nodes }) => [
      zone,
      zoneProcess,
      ...nodes.map((node) => `${node.nodeId} ${node.answering}`),
    ]);
    expect(shown).toEqual([1, 2, 3].map((n) => [`z${n}`, "answering", `n${n} true`]));
    expect((data["instances"] as { gossip: unknown; use: unknown }[])[0]).toMatchObject({ gossip: null, use: null });
  });

  it("[CL-98] its events are for the root key; nothing happened to a single node; cursors are checked", async () => {
    const { key } = await newTenant();
    expect((await ask("GET", "/v1/cluster/events", { key })).status).toBe(403);
    const { data } = (await ask("GET", "/v1/cluster/events", { key: ROOT_KEY })).json;
    expect(data).toEqual({ items: [], cursor: null });
    expect((await ask("GET", "/v1/cluster/events?cursor=MTp4", { key: ROOT_KEY })).status).toBe(400);
  });
});

describe("the OpenAPI document", () => {
  it("[GW-17] names every route with its schemas", async () => {
    const response = await exports.default.fetch("http://jade.test/v1/openapi.json");
    const document = (await response.json()) as {
      openapi: string;
      paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: object }> } }>>;
    };
    expect(document.openapi).toBe("3.1.0");
    const { routes } = createGateway(env);
    for (const { method, path } of routes) expect(document.paths[path]?.[method], `${method} ${path}`).toBeDefined();
    const put = document.paths["/v1/key-value"]?.["post"]?.requestBody?.content["application/json"]?.schema;
    expect(put).toMatchObject({ type: "object", additionalProperties: false, properties: { key: { type: "string" } } });
  });
});
