// The SDK's body hash is the gateway's.
import { expect, it } from "vitest";
import { bodyHashOf as gatewayHash } from "../gateway/write-identity.ts";
import { bodyHashOf } from "./body-hash.ts";
import { clockAt } from "./fake-server.ts";

it("hashes puts and deletes, with and without a clock, as the gateway does", async () => {
  const value = new TextEncoder().encode('{"n":1.0}');
  const writes = [
    { op: "put", key: "ü", value },
    { op: "put", key: "a", value, clock: clockAt(7) },
    { op: "delete", key: "a" },
    { op: "delete", key: "a", clock: clockAt(7) },
  ] as const;
  for (const write of writes) expect(await bodyHashOf(write)).toEqual(await gatewayHash([write]));
});
