// The fuzzer's own judges must find what they are there for.
import { describe, expect, it } from "vitest";
import { parseAnswer } from "./http.ts";
import { TenantModel } from "./model.ts";

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
