// Fields that a call does not know: refused over a session as they are over HTTP, before anything is sent.
import { describe, expect, it } from "vitest";
import { ByteWriter } from "../wire/bytes.ts";
import { writeConfigAnswer } from "../wire/config-answers.ts";
import { JadeClient } from "./client.ts";
import { configOp } from "./config-txn.ts";
import { FakeRuntime, fakeServer } from "./fake-server.ts";

function setUp() {
  const server = fakeServer();
  const { WebSocket } = server;
  const runtime = new FakeRuntime();
  const client = new JadeClient({ url: "http://db:1/", apiKey: "k1", transport: "session", WebSocket, runtime });
  return { server, config: client.config };
}

// What a caller without types may write.
const misspelt = <T>(fields: object): T => fields as T;

describe("fields that a call does not know, over a session", () => {
  const { server, config } = setUp();
  const txn = () => config.txn();
  const unknown = "is not a known field";
  const cases: readonly (readonly [string, () => Promise<unknown>])[] = [
    [`prefx ${unknown}`, () => config.rangePage(misspelt({ prefx: "a" }))],
    [`prefx ${unknown} (and 1 more)`, () => config.rangePage(misspelt({ prefx: "a", limt: 1 }))],
    [`prefx ${unknown}`, () => config.count(misspelt({ prefx: "a" }))],
    [`ifabsent ${unknown}`, () => config.put("a", 1, misspelt({ ifabsent: true }))],
    ["ifAbsent must be of type boolean", () => config.put("a", 1, misspelt({ ifAbsent: "yes" }))],
    [`rev ${unknown}`, () => config.get("a", misspelt({ rev: 2 }))],
    [`ifAbsent ${unknown}`, () => config.delete("a", misspelt({ ifAbsent: true }))],
    [`limit ${unknown}`, () => config.deleteRange(misspelt({ prefix: "a", limit: 1 }))],
    ["order must be one of asc, desc", () => config.rangePage(misspelt({ order: "down" }))],
    [
      `success[0].lease ${unknown}`,
      () =>
        txn()
          .onSuccess(configOp.put("a", 1, misspelt({ lease: "1" })))
          .commit(),
    ],
    [
      `failure[0].prefx ${unknown}`,
      () =>
        txn()
          .onFailure(configOp.range(misspelt({ prefx: "a" })))
          .commit(),
    ],
    [
      `success[1].prefx ${unknown}`,
      () => {
        return txn()
          .onSuccess(configOp.get("a"), configOp.delete(misspelt({ prefx: "a" })))
          .commit();
      },
    ],
    ["success[0].key is required, or prefix, start, end", () => txn().onSuccess(configOp.delete({})).commit()],
    ["compare[0].key is required, or prefix, start, end", () => txn().if({}, "version", "=", 0).commit()],
    [
      `success[0].success[0].prefx ${unknown}`,
      () => {
        const inner = { compare: [], success: [configOp.delete(misspelt({ prefx: "a" }))], failure: [] };
        return txn().onSuccess(configOp.txn(inner)).commit();
      },
    ],
  ];
  it.each(cases)("%s", async (message, call) => {
    await expect(call()).rejects.toMatchObject({ code: "invalidRequest", message });
    expect(server.messages).toEqual([]);
  });

  it("a watch of a misspelt range is refused instead of watching all keys", () => {
    expect(() => config.watch(misspelt({ prefx: "a" }))).toThrow(`prefx ${unknown}`);
  });
});

it("a whole range has its count over a session too, and fields that are undefined are left out", async () => {
  const { server, config } = setUp();
  server.answer = ({ id }) => {
    const body = new ByteWriter(256);
    const header = { revision: 2, term: 1 };
    writeConfigAnswer(body, { kind: "range", header, kvs: [], count: 0, more: false } as never);
    return { id, kind: "config", body: body.take() } as never;
  };
  expect(await config.rangePage(misspelt({ prefx: undefined }))).toEqual({
    ...{ revision: 2, items: [], count: 0, more: false, cursor: null },
  });
});
