import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keyOfBytes } from "../wire/config-keys.ts";
import { EtcdError } from "./errors.ts";
import { jsonOf, messageOfJson, messagesOfJson } from "./json.ts";
import { KeyValue, PutRequest, RangeRequest, TxnRequest } from "./messages.ts";
import { txnOf } from "./operations.ts";
import { bytesOfMessage, messageOfBytes } from "./protobuf.ts";

const binary = fc.uint8Array({ maxLength: 300 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const safe = fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });

/** Fields at zero are absent after a round trip. */
function withoutZeros(fields: Record<string, unknown>): object {
  const kept = Object.entries(fields).filter(([, value]) => {
    return value !== 0 && value !== "" && value !== false && (value as Uint8Array).length !== 0;
  });
  return Object.fromEntries(kept);
}

const keyValue = fc.record({
  key: binary.map(keyOfBytes),
  createRevision: safe,
  modRevision: safe,
  version: safe,
  value: binary,
  lease: int64.map((value) => (value === 0n ? "" : String(value))),
});

describe("codecs of etcd's messages", () => {
  it("[CF-64] any key-value comes back from JSON and from protobuf as it was", () => {
    const property = fc.property(keyValue, (kv) => {
      const plain = withoutZeros(kv);
      expect(messageOfJson(KeyValue, jsonOf(KeyValue, kv))).toEqual(plain);
      expect(messageOfBytes(KeyValue, bytesOfMessage(KeyValue, kv))).toEqual(plain);
    });
    fc.assert(property, { numRuns: 2000 });
  });

  it("[CF-64] a transaction in a transaction comes back, with members of a oneof that are zero", () => {
    const inner = { success: [{ requestPut: { key: "a", value: new Uint8Array([1]) } }] };
    const txn = { compare: [{ key: "k", version: 0 }], success: [{ requestTxn: inner }, { requestRange: {} }] };
    expect(messageOfJson(TxnRequest, jsonOf(TxnRequest, txn))).toEqual(txn);
    expect(messageOfBytes(TxnRequest, bytesOfMessage(TxnRequest, txn))).toEqual(txn);
  });

  it("[CF-64] bytes of the published encoding are read: field numbers, wire types, a length over 127", () => {
    // key "foo", value 200 x "v", lease 7587845678901234567, prev_kv; field 99 is unknown.
    const value = Array.from({ length: 200 }, () => 0x76);
    const lease = [0x18, 0x87, 0x97, 0x90, 0xeb, 0x95, 0xae, 0xdc, 0xa6, 0x69];
    const bytes = [0x0a, 3, 0x66, 0x6f, 0x6f, 0x12, 0xc8, 1, ...value, ...lease, 0x20, 1, 0x9a, 6, 2, 1, 2];
    const put = messageOfBytes(PutRequest, Uint8Array.from(bytes));
    expect(put).toEqual({ key: "foo", value: Uint8Array.from(value), lease: "7587845678901234567", prevKv: true });
    expect([...bytesOfMessage(PutRequest, put)]).toEqual(bytes.slice(0, -5));
  });

  it("[CF-64] a number that JSON alone would round keeps its digits", () => {
    expect(messageOfJson(PutRequest, '{"key":"YQ==","lease":7587845678901234567}').lease).toBe("7587845678901234567");
    expect(messageOfJson(PutRequest, '{"lease":-9223372036854775808}').lease).toBe("-9223372036854775808");
  });

  it("[CF-60] both spellings of a field are read, unknown fields and what follows the object are passed over", () => {
    expect(messageOfJson(RangeRequest, '{"range_end":"Yg==","keysOnly":true,"other":{}} x')).toEqual({
      rangeEnd: "b",
      keysOnly: true,
    });
    expect(messagesOfJson(PutRequest, '{"lease":"1"} {"lease":"2"}\n', 5)).toEqual([{ lease: "1" }, { lease: "2" }]);
    expect(() => messagesOfJson(PutRequest, "{}{}{}", 2)).toThrow(EtcdError);
  });

  it("[CF-63] broken bytes and broken JSON are refused by an EtcdError, or read", () => {
    const whole = bytesOfMessage(TxnRequest, { success: [{ requestPut: { key: "abc", lease: "9007199254740993" } }] });
    const property = fc.property(fc.nat(whole.length), fc.uint8Array({ maxLength: 12 }), (at, noise) => {
      const bytes = Uint8Array.from([...whole.subarray(0, at), ...noise, ...whole.subarray(at + noise.length)]);
      for (const read of [
        () => messageOfBytes(TxnRequest, bytes),
        () => messageOfJson(TxnRequest, keyOfBytes(bytes)),
        () => messageOfJson(TxnRequest, `{"success":${keyOfBytes(noise)}}`),
      ]) {
        try {
          read();
        } catch (error) {
          if (!(error instanceof EtcdError)) throw error;
        }
      }
    });
    fc.assert(property, { numRuns: 5000 });
  });

  it("[CF-63] JSON too deep for the way that keeps the digits of numbers is refused", () => {
    const deep = `{"lease":7587845678901234567,"other":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    expect(() => messageOfJson(PutRequest, deep)).toThrow(EtcdError);
  });

  it("[CF-63] messages nested without end are refused", () => {
    let text = "{}";
    let bytes: Uint8Array = new Uint8Array();
    for (let i = 0; i < 60; i++) {
      text = `{"success":[{"request_txn":${text}}]}`;
      bytes = bytesOfMessage(TxnRequest, { success: [{ requestRange: { key: keyOfBytes(bytes) } }] });
    }
    expect(() => txnOf(messageOfJson(TxnRequest, text))).toThrow(/nested/);
    expect(messageOfBytes(TxnRequest, bytes)).toBeDefined();
  });
});
