// etcd's JSON API: the same requests to Debian's etcd and to a served JadeDB, the answers compared as they are written.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";
import { JSON_SEQUENCE } from "./etcd/json-sequence.ts";
import { RealEtcd, whyNoEtcd } from "./etcd/real-etcd.ts";

const missing = whyNoEtcd();

async function post(url: string, body: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(url, { method: "POST", body, headers });
  return `${response.status} ${response.headers.get("content-type")} ${await response.text()}`;
}

/** The events and ends of watches, each its own line: how they are gathered into messages is not compared. */
function watchLines(url: string, body: string) {
  const lines: string[] = [];
  const abort = new AbortController();
  let created: () => void = () => undefined;
  const isCreated = new Promise<void>((resolve) => {
    created = resolve;
  });
  const read = async (): Promise<void> => {
    const response = await fetch(url, { method: "POST", body, signal: abort.signal });
    let rest = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop()!;
      for (const part of parts) {
        const { header: _, events = [], ...others } = JSON.parse(part).result;
        if (Object.keys(others).length > 0 && events.length === 0) lines.push(JSON.stringify(others));
        for (const event of events) lines.push(JSON.stringify({ ...others, event }));
        created();
      }
    }
  };
  const ended = read().catch(() => undefined); // cut off at the end of the test
  const sorted = (): readonly string[] => [...lines].sort();
  return {
    isCreated,
    /** What has come once nothing more comes. */
    async settled(): Promise<readonly string[]> {
      for (let count = -1; count !== lines.length; await sleep(1500)) count = lines.length;
      abort.abort();
      await ended;
      return sorted();
    },
    /** What has come when it is this, or after a while. */
    async until(wanted: readonly string[]): Promise<readonly string[]> {
      const deadline = Date.now() + 10_000;
      while (lines.length < wanted.length && Date.now() < deadline) await sleep(50);
      abort.abort();
      await ended;
      return sorted();
    },
  };
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

  it("[CF-69] watches: created, events of the past and the present, previous values, filters, compacted", async () => {
    const b64 = (text: string): string => btoa(text);
    const put = (key: string, value: string) => ["/v3/kv/put", JSON.stringify({ key: b64(key), value: b64(value) })];
    const both = async ([path, body]: readonly string[]) => {
      for (const url of [etcd.url, jade.url]) expect(await post(`${url}${path}`, body!)).toMatch(/^200/);
    };
    const { header } = JSON.parse((await post(`${etcd.url}/v3/kv/range`, '{"key":"YQ=="}')).replace(/^\S+ \S+ /, ""));
    const next = Number(header.revision) + 1;
    for (const step of [put("w/1", "a"), put("w/2", "b"), put("w/1", "c")]) await both(step);
    const all = { key: b64("w/"), range_end: b64("w0"), prev_kv: true };
    const watches = [
      [{ create_request: { ...all, start_revision: String(next) } }],
      [{ create_request: { ...all } }],
      [{ create_request: { ...all, filters: ["NOPUT"] } }],
      [{ create_request: { key: b64("w/2") } }, { create_request: { key: b64("w/1"), watch_id: "7" } }],
      [{ create_request: { key: b64("w/1"), start_revision: "2" } }],
      [{ create_request: { key: b64("b"), range_end: b64("a") } }],
    ].map((requests) => requests.map((request) => JSON.stringify(request)).join("\n"));
    const streams = watches.map((body) => [etcd.url, jade.url].map((url) => watchLines(`${url}/v3/watch`, body)));
    await Promise.all(streams.flat().map(({ isCreated }) => isCreated));
    await both(put("w/2", "d"));
    await both(["/v3/kv/deleterange", JSON.stringify({ key: b64("w/"), range_end: b64("w0") })]);
    for (const [index, [theirs, ours]] of streams.entries()) {
      const wanted = await theirs!.settled();
      expect(await ours!.until(wanted), watches[index]).toEqual(wanted);
    }
  });

  it("[CF-60] a method that is not POST and a path that is not there answer alike", async () => {
    for (const path of ["/v3/kv/range", "/v3/kv/nothing"]) {
      const [theirs, ours] = await Promise.all([fetch(etcd.url + path), fetch(jade.url + path)]);
      expect(`${ours.status} ${await ours.text()}`).toBe(`${theirs.status} ${await theirs.text()}`);
    }
  });
});
