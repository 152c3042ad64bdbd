import { describe, expect, it } from "vitest";
import { isInNetwork, isRefusedAddress, parseAddress, parseNetwork } from "./networks.ts";

const isRefused = (text: string): boolean => isRefusedAddress(parseAddress(text)!);

describe("addresses", () => {
  it("[CF-130] private, loopback, link-local, metadata and reserved ones are refused, also as IPv4 inside IPv6", () => {
    const refused = [
      ...["0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1"],
      ...["172.31.255.255", "192.0.0.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
      ...["::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1"],
      ...["2002:7f00:1::", "2002:c0a8:101::1", "fc00::1", "fd12:3456::1", "fe80::1", "ff02::1", "fd00:ec2::254"],
      ...["2001:db8::1", "100::1", "64:ff9b:1::1"],
    ];
    for (const address of refused) expect([address, isRefused(address)]).toEqual([address, true]);
    const open = [
      "1.1.1.1",
      "8.8.8.8",
      "172.32.0.1",
      "100.128.0.1",
      "2606:4700::1111",
      "64:ff9b::8.8.8.8",
      "2002:808:808::",
    ];
    for (const address of open) expect([address, isRefused(address)]).toEqual([address, false]);
  });

  it("texts that are no address or no network are told", () => {
    for (const text of [
      "",
      "1.2.3",
      "256.1.1.1",
      "01.2.3.4",
      "1.2.3.4.5",
      ":::",
      "1::2::3",
      "g::1",
      "1:2:3:4:5:6:7",
      "::1%eth0",
    ])
      expect([text, parseAddress(text)]).toEqual([text, undefined]);
    for (const text of ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/8/8", "host/8", "fd00::1/8"])
      expect([text, parseNetwork(text)]).toEqual([text, undefined]);
    expect(isInNetwork(parseAddress("127.0.0.9")!, parseNetwork("127.0.0.0/8")!)).toBe(true);
    expect(isInNetwork(parseAddress("127.0.0.9")!, parseNetwork("127.0.0.1")!)).toBe(false);
    expect(isInNetwork(parseAddress("fd00::9")!, parseNetwork("fd00::/8")!)).toBe(true);
    expect(isInNetwork(parseAddress("10.0.0.1")!, parseNetwork("0.0.0.0/0")!)).toBe(true);
    expect(isInNetwork(parseAddress("::1")!, parseNetwork("0.0.0.0/0")!)).toBe(false);
  });
});
