// etcd's JSON API: the same requests to Debian's etcd and to a served JadeDB, the answers compared as they are written.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";
import { JSON_SEQUENCE } from "./etcd/json-sequence.ts";
import { RealEtcd, whyNoEtcd } from "./etcd/real-etcd.ts";

const missing = whyNoEtcd();

async function post(url: string, body: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(url, { method: "POST", body, headers });
  return `${response.status} ${response.headers.get("content-type")} ${await response.text()}`;
}

/** Without what differs by nature. Leases are told in no order. */
function comparable(text: string): string {
  return text
    .replace(
      /"(cluster_id|member_id|raft_term|raftIndex|raftTerm|raftAppliedIndex|leader|dbSize|dbSizeInUse)":"\d+"/g,
      '"$1":"…"',
    )
    .replace(/"hash":\d+/, '"hash":…')
    .replace(/"ID":"\d{16,}"/g, '"ID":"…"')
    .replace(/"leases":\[(.*)\]/, (_, list: string) => `"leases":[${list.split(",").sort().join(",")}]`);
}

describe.skipIf(missing !== undefined)(`compared with Debian's etcd${missing ? `: skipped, ${missing}` : ""}`, () => {
  let etcd: RealEtcd;
  let jade: RunningServer;

  beforeAll(async () => {
    etcd = await RealEtcd.start();
    jade = await startServer();
  });
  afterAll(async () => {
    await etcd?.stop();
    await jade?.dispose();
  });

  it(`[CF-60] ${JSON_SEQUENCE.length} requests in order have the same status, type and text`, async () => {
    for (const [index, [path, body]] of JSON_SEQUENCE.entries()) {
      const [theirs, ours] = [await post(etcd.url + path, body), await post(jade.url + path, body)];
      expect(comparable(ours), `${index}: ${path} ${body}`).toBe(comparable(theirs));
    }
  });

  it("[CF-60] a method that is not POST and a path that is not there answer alike", async () => {
    for (const path of ["/v3/kv/range", "/v3/kv/nothing"]) {
      const [theirs, ours] = await Promise.all([fetch(etcd.url + path), fetch(jade.url + path)]);
      expect(`${ours.status} ${await ours.text()}`).toBe(`${theirs.status} ${await theirs.text()}`);
    }
  });
});
