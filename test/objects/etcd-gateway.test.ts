// etcd's JSON API in the real Worker: who may ask, and what malformed requests get.
import { createExecutionContext, env } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { KEYSPACE_METHODS } from "../../src/etcd/methods.ts";
import { REFUSED_METHODS, SERVICE_METHODS } from "../../src/etcd/services.ts";
import { createGateway } from "../../src/gateway/gateway.ts";
import { ask, directory, newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";

const RANGE = "/v3/kv/range";
const PUT = "/v3/kv/put";
const FOO = { key: "Zm9v" };

interface Etcd {
  readonly error?: string;
  readonly code?: number;
  readonly token?: string;
  readonly count?: string;
  readonly header?: { readonly revision: string };
}

async function etcd(path: string, body: unknown, headers: Record<string, string> = {}) {
  const answer = await ask("POST", path, { raw: typeof body === "string" ? body : JSON.stringify(body), headers });
  return { status: answer.status, text: answer.text, body: answer.json as unknown as Etcd };
}

let tenantId = "";
let keys: { admin: string; reader: string };

beforeAll(async () => {
  const tenant = await newTenant();
  tenantId = tenant.tenantId;
  keys = { admin: tenant.key, reader: await newKey(tenantId, { scope: "read-only" }) };
});

async function login(name: string, password: string) {
  return etcd("/v3/auth/authenticate", { name, password });
}

describe("who may ask", () => {
  it("[CF-62] user and password are tenant and API key; the token opens the keyspace, as does the key itself", async () => {
    const { status, body } = await login(tenantId, keys.admin);
    expect(status).toBe(200);
    for (const authorization of [body.token!, keys.admin, `Bearer ${keys.admin}`]) {
      expect((await etcd(PUT, { ...FOO, value: "YQ==" }, { authorization })).status).toBe(200);
      expect((await etcd(RANGE, FOO, { authorization })).body.count).toBe("1");
    }
  });

  it("[CF-62] a user `tenant/namespace` gets a keyspace of its own", async () => {
    const { body } = await login(`${tenantId}/other`, keys.admin);
    const answer = await etcd(RANGE, FOO, { authorization: body.token! });
    expect(answer.body).toMatchObject({ header: { revision: "1" } });
    expect(answer.body.count).toBeUndefined();
  });

  it("[CF-62] unknown tenant, wrong password, another tenant's key and a bad namespace are one answer", async () => {
    const other = await newTenant();
    const refusal = '{"error":"etcdserver: authentication failed, invalid user ID or password"';
    const wrong = `${keys.admin.slice(0, -1)}${keys.admin.endsWith("A") ? "B" : "A"}`;
    for (const [name, password] of [
      ["nobody-here", keys.admin],
      [tenantId, wrong],
      [tenantId, other.key],
      [tenantId, "x"],
      [`${tenantId}/A b`, keys.admin],
      [`${tenantId}/`, keys.admin],
      ["", ""],
      [tenantId, ROOT_KEY],
    ]) {
      const answer = await login(name!, password!);
      expect(answer.status, name).toBe(400);
      expect(answer.text, name).toContain(refusal);
    }
  });

  it("[CF-62] a token that is none is 401 in etcd's words; the root key opens nothing", async () => {
    for (const authorization of ["abc", "Bearer", "a b c", `${keys.admin}/a/b`, `${keys.admin}/A!`]) {
      const answer = await etcd(RANGE, FOO, { authorization });
      expect([answer.status, answer.body.error], authorization).toEqual([401, "etcdserver: invalid auth token"]);
    }
    expect((await etcd(RANGE, FOO, { authorization: ROOT_KEY })).status).toBe(403);
  });

  it("[CF-62] a read-only key reads and writes nothing, in a transaction neither", async () => {
    const headers = { authorization: keys.reader };
    expect((await etcd(RANGE, FOO, headers)).status).toBe(200);
    const put = { request_put: { ...FOO, value: "eA==" } };
    for (const [path, body] of [
      [PUT, { ...FOO, value: "eA==" }],
      ["/v3/kv/txn", { success: [put] }],
      ["/v3/kv/txn", { failure: [{ request_txn: { success: [put] } }] }],
      ["/v3/kv/deleterange", FOO],
      ["/v3/kv/compaction", { revision: "1" }],
      ["/v3/lease/grant", { TTL: "10" }],
      ["/v3/lease/keepalive", { ID: "10" }],
    ] as const) {
      const answer = await etcd(path, body, headers);
      expect([answer.status, answer.body.error, answer.body.code], path).toEqual([
        403,
        "etcdserver: permission denied",
        7,
      ]);
    }
    expect((await etcd("/v3/kv/txn", { success: [{ request_range: FOO }] }, headers)).status).toBe(200);
  });

  it("[CF-61] nobody is refused where the operator does not allow it", async () => {
    for (const { path } of SERVICE_METHODS.filter(({ path }) => path !== "/auth/authenticate")) {
      const answer = await etcd(`/v3${path}`, {});
      expect([answer.status, answer.body.error], path).toEqual([400, "etcdserver: user name is empty"]);
    }
    expect((await etcd(RANGE, FOO)).body.error).toBe("etcdserver: user name is empty");
  });

  it("[CF-61] where it is allowed nobody is the tenant `default`, made when first needed; a web page's request is not nobody", async () => {
    expect(await directory().lookupTenant("default")).toBeNull();
    const gateway = createGateway({ ...env, JADE_CONFIG: '{"etcd":{"allowAnonymous":true}}' });
    const send = (path: string, body: unknown, headers: Record<string, string> = {}) =>
      gateway.handle(
        new Request(`http://jade.test${path}`, { method: "POST", body: JSON.stringify(body), headers }),
        createExecutionContext(),
      );
    const first = await Promise.all(Array.from({ length: 8 }, () => send(PUT, { ...FOO, value: "YQ==" })));
    expect(first.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
    expect(await directory().lookupTenant("default")).not.toBeNull();
    for (const foreign of ["origin", "forwarded", "x-forwarded-for", "via"]) {
      const page = await send(PUT, { ...FOO, value: "eA==" }, { [foreign]: "https://elsewhere.example" });
      expect(page.status, foreign).toBe(403);
    }
    expect(await (await send(RANGE, FOO)).json()).toMatchObject({ kvs: [{ version: "8", value: "YQ==" }] });
    // A key is still a key there, and a wrong one is not nobody.
    expect((await send(RANGE, FOO, { authorization: keys.admin })).status).toBe(200);
    expect((await send(RANGE, FOO, { authorization: "wrong" })).status).toBe(401);
  });
});

describe("locks and elections", () => {
  it("[CF-68] a lock is owned by one, in the order of arrival; unlocking wakes the next", async () => {
    const headers = { authorization: keys.admin };
    for (const ID of ["101", "102"]) await etcd("/v3/lease/grant", { TTL: "60", ID }, headers);
    const first = await etcd("/v3/lock/lock", { name: "bA==", lease: "101" }, headers);
    expect(JSON.parse(first.text).key).toBe(btoa("l/65"));
    const order: string[] = [];
    const second = etcd("/v3/lock/lock", { name: "bA==", lease: "102" }, headers).then((answer) => {
      order.push("second");
      return answer;
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    order.push("unlock");
    await etcd("/v3/lock/unlock", { key: btoa("l/65") }, headers);
    expect(JSON.parse((await second).text).key).toBe(btoa("l/66"));
    expect(order).toEqual(["unlock", "second"]);
  });

  it("[CF-68] an election: campaign, leader, proclaim, resign; who does not lead cannot proclaim", async () => {
    const headers = { authorization: keys.admin };
    await etcd("/v3/lease/grant", { TTL: "60", ID: "103" }, headers);
    const won = await etcd("/v3/election/campaign", { name: "ZQ==", lease: "103", value: "YQ==" }, headers);
    const { leader } = JSON.parse(won.text);
    expect(leader).toMatchObject({ name: "ZQ==", key: btoa("e/67"), lease: "103" });
    expect((await etcd("/v3/election/proclaim", { leader, value: "Yg==" }, headers)).status).toBe(200);
    const shown = JSON.parse((await etcd("/v3/election/leader", { name: "ZQ==" }, headers)).text);
    expect(shown.kv).toMatchObject({ key: leader.key, create_revision: leader.rev, value: "Yg==", lease: "103" });
    const other = { ...leader, rev: "1" };
    const refused = await etcd("/v3/election/proclaim", { leader: other, value: "Yw==" }, headers);
    expect(refused.body.error).toBe("election: not leader");
    expect((await etcd("/v3/election/resign", { leader }, headers)).status).toBe(200);
    expect((await etcd("/v3/election/leader", { name: "ZQ==" }, headers)).body.error).toBe("election: no leader");
  });
});

const NOISE = [
  ...'{}[]":,\\',
  ...["null", "true", "-1", "1e400", "99999999999999999999", "0.5", "NaN", '""', '"-"', '"\\u0000"', "{}", "[{}]"],
  ...['"key"', '"YQ=="', '"compare"', '"request_txn"', '"success"', '"version"', '"TTL"', '"ID"', '"\\ud800"', "\xff"],
];

/** A generator that a seed repeats (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const SAMPLES = [
  '{"key":"YQ==","value":"MQ==","lease":"5","prev_kv":true}',
  '{"key":"YQ==","range_end":"AA==","limit":"3","revision":"2","sort_order":"DESCEND","sort_target":"MOD","min_mod_revision":"1"}',
  '{"compare":[{"key":"YQ==","target":"VALUE","result":"LESS","value":"MQ==","range_end":"Yg=="}],"success":[{"request_put":{"key":"YQ==","value":"MQ=="}},{"request_txn":{"failure":[{"request_delete_range":{"key":"YQ=="}}]}}]}',
  '{"TTL":"10","ID":"9223372036854775807"}',
  '{"name":"a/b","password":"jdb.a.b.c","action":"GET","alarm":"NOSPACE","revision":"3"}',
];

describe("malformed requests", () => {
  it("[CF-63] 3000 broken bodies over every path: no 5xx but 501 of what is not here, and nothing written by what was refused", async () => {
    const random = randomFrom(7);
    // The two that may wait for their turn are below.
    const waiting = new Set(["/lock/lock", "/election/campaign"]);
    const refused = new Set(REFUSED_METHODS.map(({ path }) => `/v3${path}`));
    const services = SERVICE_METHODS.map(({ path }) => path).filter((path) => !waiting.has(path));
    const paths = [...KEYSPACE_METHODS.flatMap(({ paths }) => paths), ...services];
    const headers = { authorization: keys.admin };
    const statuses = new Map<number, number>();
    let revision = (await etcd(RANGE, FOO, headers)).body.header?.revision;
    for (let i = 0; i < 3000; i++) {
      let body = SAMPLES[random(SAMPLES.length)]!;
      for (let changes = random(4); changes >= 0; changes--) {
        const at = random(body.length + 1);
        body = body.slice(0, at) + NOISE[random(NOISE.length)] + body.slice(at + random(6));
      }
      const path = `/v3${paths[random(paths.length)]}`;
      const answer = await etcd(path, body, headers);
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      // What is not here says so, whatever is asked.
      if (answer.status !== 501 || !refused.has(path))
        expect(answer.status, `${path} ${body}\n${answer.text}`).toBeLessThan(500);
      if (i % 20 !== 0) continue;
      const now = (await etcd(RANGE, FOO, headers)).body.header?.revision;
      if (answer.status !== 200) expect(Number(now)).toBeGreaterThanOrEqual(Number(revision));
      revision = now;
    }
    expect(statuses.get(200)).toBeGreaterThan(100);
    expect(statuses.get(400)).toBeGreaterThan(100);
  });

  it("[CF-63] a refused write leaves the revision as it was", async () => {
    const headers = { authorization: keys.admin };
    const revisionNow = async () => (await etcd(RANGE, FOO, headers)).body.header?.revision;
    const before = await revisionNow();
    for (const [path, body] of [
      [PUT, { key: btoa("k".repeat(1025)), value: "" }],
      [PUT, { ...FOO, value: btoa("v".repeat(1024 * 1024 + 1)) }],
      [PUT, { ...FOO, lease: "4" }],
      [PUT, '{"key":"Zm9v","value":"YQ=="'],
      [PUT, '{"key":"Zm9v","value":"YQ==","lease":"99999999999999999999"}'],
      ["/v3/kv/txn", { success: [{ request_put: FOO }, { request_put: { ...FOO, lease: "4" } }] }],
      ["/v3/kv/txn", { success: Array.from({ length: 129 }, (_, i) => ({ request_put: { key: btoa(`k${i}`) } })) }],
      ["/v3/kv/deleterange", { range_end: "AA==" }],
      ["/v3/lock/lock", {}],
      ["/v3/lock/lock", { name: "bA==", lease: "4" }],
      ["/v3/lock/lock", { name: 7 }],
      ["/v3/lock/lock", { name: btoa("n".repeat(1025)) }],
      ["/v3/lock/unlock", {}],
      ["/v3/election/campaign", { name: "bA==", lease: "-9" }],
      ["/v3/election/proclaim", { value: "eA==" }],
      ["/v3/election/proclaim", { leader: { name: "bA==", rev: "3" }, value: "eA==" }],
      ["/v3/election/leader", { name: "bA==" }],
      ["/v3/election/leader", { name: btoa("n".repeat(1025)) }],
      ["/v3/election/resign", {}],
    ] as const) {
      const { status } = await etcd(path, body, headers);
      expect(status, path).toBeGreaterThanOrEqual(400);
      expect(status, path).toBeLessThan(500);
    }
    expect(await revisionNow()).toBe(before);
  });
});
