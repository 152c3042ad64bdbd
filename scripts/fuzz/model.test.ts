// The fuzzer's own judges must find what they are there for.
import { describe, expect, it } from "vitest";
import { parseAnswer } from "./http.ts";
import { TenantModel } from "./model.ts";
import type { FuzzRequest } from "./requests.ts";
import { applyVectors, problemsOfRows, type VectorModels } from "./vector-effects.ts";

const put = (key: string, value: unknown) => ({ key, value, isDelete: false, isVague: false });

describe("the model of a tenant", () => {
  it("finds a value that nobody wrote, a key that nobody wrote, a lost write and a delete undone", () => {
    const model = new TenantModel();
    model.wrote(put("lane0.a", 1));
    model.wrote(put("lane0.a", 2));
    expect(model.problemOfRead("lane0.a", { value: 2 })).toBeUndefined();
    expect(model.problemOfRead("lane0.a", { value: 1 })).toContain("last written was 2");
    expect(model.problemOfRead("lane0.a", { value: 3 })).toContain("no accepted write");
    expect(model.problemOfRead("lane0.a", undefined)).toContain("deleted");
    expect(model.problemOfRead("lane0.b", { value: 1 })).toContain("no accepted write");
    expect(model.problemOfRead("lane0.b", undefined)).toBeUndefined();
    model.wrote({ key: "lane0.a", value: undefined, isDelete: true, isVague: false });
    expect(model.problemOfRead("lane0.a", { value: 2 })).toContain("last written was deleted");
    expect(model.problemsOfExport(new Map([["lane0.x", 1]]))).toHaveLength(1);
  });

  it("accepts any of the values written where order or majority are not known, and no other", () => {
    const model = new TenantModel();
    model.wrote(put("lane0.a", 1));
    model.wrote({ ...put("lane0.a", 2), isVague: true });
    for (const found of [{ value: 1 }, { value: 2 }, undefined])
      expect(model.problemOfRead("lane0.a", found)).toBeUndefined();
    expect(model.problemOfRead("lane0.a", { value: 3 })).toContain("no accepted write");
  });
});

describe("answers on the wire", () => {
  const parse = (text: string, isEnd = false) => parseAnswer(Buffer.from(text), { isHead: false, isEnd });

  it("are whole only with their whole body", () => {
    const head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    expect(parse(`${head}ab`)).toBeUndefined();
    expect(parse(`${head}abc`)?.answer.body.toString()).toBe("abc");
    const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n";
    expect(parse(chunked)).toBeUndefined();
    expect(parse(`${chunked}0\r\n\r\n`)?.answer.body.toString()).toBe("abc");
    expect(parse("HTTP/1.1 200 OK\r\n\r\nabc")).toBeUndefined();
    expect(parse("HTTP/1.1 200 OK\r\n\r\nabc", true)?.answer.body.toString()).toBe("abc");
  });
});

const PATH = "/v1/databases/watched/vectors";

/** What the judge of vectors says of one request and its answer. */
function judged(
  models: VectorModels,
  [method, path]: readonly [string, string],
  sent: unknown,
  status: number,
  data: unknown,
) {
  const request: FuzzRequest = {
    ...{ number: 1, operation: undefined, method, target: path, headers: [], isVague: false, isKnownCaller: true },
    body: Buffer.from(JSON.stringify(sent)),
    transport: "plain",
    credential: { name: "a", token: "t", tenant: "fuzz-a", scope: "admin" },
  };
  return applyVectors(models, { request, routed: path, status, body: Buffer.from(JSON.stringify({ data })) });
}

it("of vectors a refused value, a lost one, one that is back, other metadata and a result too few are found", () => {
  const models: VectorModels = { values: new TenantModel(), metadata: new TenantModel() };
  const one = ["PUT", `${PATH}/lane1.0`] as const;
  const found = (values: number[], metadata: unknown): unknown =>
    judged(models, ["GET", `${PATH}/lane1.0`], {}, 200, { id: "lane1.0", values, metadata });
  judged(models, ["POST", PATH], { id: "lane1.0", values: [0.1, 2] }, 201, { id: "lane1.0" });
  expect(found([0.1, 2], {})).toBeUndefined();
  judged(models, one, { values: [3, 4] }, 400, undefined);
  expect(found([3, 4], {})).toContain("which no accepted write gave it");
  judged(models, one, { metadata: { a: 1 } }, 200, {});
  expect(found([0.1, 2], { a: 1 })).toBeUndefined();
  expect(found([0.1, 2], {})).toContain("shows {}");
  expect(judged(models, ["GET", `${PATH}/lane1.0`], {}, 404, undefined)).toContain("shows deleted");
  const batch = {
    vectors: [
      { id: "lane1.0", values: [5, 6] },
      { id: "lane1.1", values: [1] },
    ],
  };
  const error = { code: "invalidRequest" };
  const post = ["POST", `${PATH}/batch`] as const;
  expect(judged(models, post, batch, 200, { results: [{ id: "lane1.0" }] })).toBe("2 vectors, 1 results");
  judged(models, post, batch, 200, { results: [{ id: "lane1.0" }, { id: "lane1.1", error }] });
  expect(found([5, 6], {})).toBeUndefined();
  expect(problemsOfRows(models, [{ id: "lane1.1", values: [1] }])).toHaveLength(4);
  judged(models, ["POST", `${PATH}/delete`], { ids: ["lane1.0"] }, 200, { deleted: 1 });
  expect(problemsOfRows(models, [])).toEqual([]);
  expect(problemsOfRows(models, [{ id: "lane1.0", values: [5, 6] }])).toHaveLength(2);
});
