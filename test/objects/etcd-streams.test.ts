// /v3: Election.Observe, and that every path of etcd's gateway answers.
import { exports } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { newTenant } from "./gateway-support.ts";

let key = "";
beforeAll(async () => {
  ({ key } = await newTenant());
}, 60_000);

function post(path: string, body: object, authorization = key): Promise<Response> {
  const init = { method: "POST", headers: { authorization }, body: JSON.stringify(body) };
  return exports.default.fetch(`http://jade.test${path}`, init);
}

async function result(path: string, body: object): Promise<Record<string, unknown>> {
  const response = await post(path, body);
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return JSON.parse(text);
}

const base64 = (text: string): string => btoa(text);

interface Told {
  readonly result?: { readonly kv: { readonly key: string; readonly value: string } };
}

/** Lines of a stream as they come. */
function linesOf(response: Response) {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    async next(): Promise<Told> {
      while (!text.includes("\n")) {
        const { value, done } = await reader.read();
        if (done) throw new Error("the stream ended");
        text += value;
      }
      const at = text.indexOf("\n") + 1;
      const line = text.slice(0, at);
      text = text.slice(at);
      return JSON.parse(line);
    },
    cancel: () => reader.cancel(),
  };
}

describe("observe", () => {
  it("[CF-161] tells each leader and each value it proclaims, in order, and nothing of those who wait", async () => {
    const name = base64("chief");
    const observe = linesOf(await post("/v3/election/observe", { name }));
    const grant = async () => (await result("/v3/lease/grant", { TTL: 600 }))["ID"] as string;
    const [one, two] = [await grant(), await grant()];
    const { leader } = (await result("/v3/election/campaign", { name, lease: one, value: base64("one") })) as {
      leader: object;
    };
    const waiting = result("/v3/election/campaign", { name, lease: two, value: base64("two") });
    const values = ["one"];
    for (const value of ["1.1", "1.2"]) {
      await result("/v3/election/proclaim", { leader, value: base64(value) });
      values.push(value);
    }
    await result("/v3/election/resign", { leader });
    await waiting;
    values.push("two");
    const told: string[] = [];
    for (const _ of values) told.push(atob((await observe.next()).result!.kv.value));
    expect(told).toEqual(values);
    // One that comes later is told the present leader first.
    const late = linesOf(await post("/v3/election/observe", { name }));
    expect(atob((await late.next()).result!.kv.value)).toBe("two");
    await Promise.all([observe.cancel(), late.cancel()]);
  });

  it("[CF-161] a leader without a value, and names that only begin alike", async () => {
    const observe = linesOf(await post("/v3/election/observe", { name: base64("a") }));
    const lease = (await result("/v3/lease/grant", { TTL: 600 }))["ID"];
    await result("/v3/election/campaign", { name: base64("ab"), lease, value: base64("other") });
    await result("/v3/election/campaign", { name: base64("a"), lease });
    const { kv } = (await observe.next()).result!;
    expect([atob(kv.key).startsWith("a/"), kv.value]).toEqual([true, undefined]);
    await observe.cancel();
  });

  it("[CF-63] without a name, or as nobody, it is refused", async () => {
    const nameless = await post("/v3/election/observe", {});
    expect([nameless.status, await nameless.json()]).toMatchObject([400, { code: 3 }]);
    const nobody = await post("/v3/election/observe", { name: base64("x") }, "nobody");
    expect([nobody.status, await nobody.json()]).toMatchObject([401, { code: 16 }]);
  });
});

/** Of etcd 3.4 and 3.5: rpc.proto, v3lock.proto, v3election.proto. */
const PATHS: Readonly<Record<string, readonly string[]>> = {
  kv: ["range", "put", "deleterange", "txn", "compaction", "lease/revoke", "lease/timetolive", "lease/leases"],
  lease: ["grant", "revoke", "keepalive", "timetolive", "leases"],
  cluster: ["member/add", "member/remove", "member/update", "member/list", "member/promote"],
  maintenance: ["alarm", "status", "defragment", "hash", "hashkv", "snapshot", "transfer-leadership", "downgrade"],
  auth: [
    ...["enable", "disable", "status", "authenticate"],
    ...["add", "get", "list", "delete", "changepw", "grant", "revoke"].map((name) => `user/${name}`),
    ...["add", "get", "list", "delete", "grant", "revoke"].map((name) => `role/${name}`),
  ],
  lock: ["lock", "unlock"],
  election: ["campaign", "proclaim", "leader", "observe", "resign"],
};
const NOT_HERE =
  /\/(member\/(add|remove|update|promote)|transfer-leadership|downgrade|enable|disable|(user|role)\/(add|delete|changepw|grant|revoke))$/;

describe("paths", () => {
  it("[CF-162] every path of etcd's gateway answers as JSON; what is not here says so with code 12", async () => {
    const paths = Object.entries(PATHS).flatMap(([service, names]) => names.map((name) => `/v3/${service}/${name}`));
    for (const path of [...paths, "/v3/watch", "/v3beta/kv/range"]) {
      const response = await post(path, {});
      const text = path.endsWith("watch") ? "{}" : await response.text();
      if (path.endsWith("watch")) await response.body?.cancel();
      const { code } = JSON.parse(text.split("\n")[0]!) as { readonly code?: number };
      expect([path, response.status === 501, code === 12]).toEqual([path, NOT_HERE.test(path), NOT_HERE.test(path)]);
      expect([200, 400, 404, 412, 501], `${path} ${text}`).toContain(response.status);
    }
  });
});
