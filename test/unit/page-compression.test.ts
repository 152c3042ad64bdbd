// Pages between objects: the same bytes come out, compressed where that pays, and never more than they may be.
import { describe, expect, it } from "vitest";
import { PageCompression, unpacked } from "../../objects/page-compression.ts";
import { COMPRESS_PAUSE_PAGES } from "../../src/vector/replica/limits.ts";

const random = (length: number) => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
};

describe("pages of log", () => {
  it("[VE-202] are packed where it pays, as they are where not, and come out as they went in", async () => {
    const pages = new PageCompression();
    const text = new TextEncoder().encode('{"kind":"drink","price":3.5}'.repeat(5000));
    for (const bytes of [new Uint8Array(0), random(100), text, random(300_000), text]) {
      const page = await pages.pack(bytes);
      expect(await unpacked(page, 1_000_000)).toEqual(bytes);
      expect(page.length).toBeLessThanOrEqual(bytes.length + 1);
    }
    // After one that did not shrink the next ones are not tried.
    for (let at = 1; at < COMPRESS_PAUSE_PAGES; at++) expect((await pages.pack(text)).length).toBe(text.length + 1);
    const packed = await pages.pack(text);
    expect(packed.length).toBeLessThan(text.length / 10);
    await expect(unpacked(packed, text.length - 1)).rejects.toThrow("unpacks to more than");
    await expect(unpacked(Uint8Array.of(9), 10)).rejects.toThrow("form 9");
  });
});
