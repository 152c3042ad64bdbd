// Which addresses nobody outside may make the server ask: private, loopback, link-local, metadata, reserved; and networks in CIDR form.
// Guarantees: an address is judged by what it reaches: IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4) as that IPv4 address.
// Must not: resolve names; where a name leads is judged where the connection is made.

/** Sixteen bytes; IPv4 as `::ffff:a.b.c.d`. */
export type Address = readonly number[];

export interface Network {
  readonly address: Address;
  /** Of 128. */
  readonly prefixLength: number;
}

const MAPPED: Address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const MAPPED_BITS = 96;

/** IANA's special-purpose registries: everything that is not plainly global unicast. */
export const REFUSED_NETWORKS: readonly string[] = [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
  ...["192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"],
  ...["224.0.0.0/4", "240.0.0.0/4"],
  ...["::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16"],
  ...["fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"],
];

/** IPv6 networks whose addresses hold an IPv4 address from this byte on. */
const HOLDING_IPV4: readonly { readonly network: string; readonly byte: number }[] = [
  { network: "64:ff9b::/96", byte: 12 },
  { network: "2002::/16", byte: 2 },
];

function parseIpv4(text: string): readonly number[] | undefined {
  if (!/^(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}$/.test(text)) return undefined;
  const bytes = text.split(".").map(Number);
  return bytes.every((byte) => byte < 256) ? bytes : undefined;
}

function parseIpv6(text: string): Address | undefined {
  let plain = text;
  const dotted = /(^|:)([0-9.]+\.[0-9.]+)$/.exec(text);
  if (dotted) {
    const bytes = parseIpv4(dotted[2]!);
    if (!bytes) return undefined;
    const [a, b, c, d] = bytes as [number, number, number, number];
    const groups = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
    plain = text.slice(0, text.length - dotted[2]!.length) + groups;
  }
  const halves = plain.split("::");
  if (halves.length > 2) return undefined;
  const [head = [], tail = []] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<string>(halves.length === 1 ? 0 : missing).fill("0"), ...tail];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return groups.map((group) => Number.parseInt(group, 16)).flatMap((value) => [value >> 8, value & 0xff]);
}

/** Dotted IPv4, or IPv6 without brackets and zone. Undefined = it is no address. */
export function parseAddress(text: string): Address | undefined {
  const bytes = parseIpv4(text);
  return bytes ? [...MAPPED, ...bytes] : parseIpv6(text);
}

/** `10.0.0.0/8`, `fd00::/8`; a bare address is a network of one. Undefined = it is none, or has bits behind its length. */
export function parseNetwork(text: string): Network | undefined {
  const [host = "", length, more] = text.split("/");
  const address = parseAddress(host);
  if (!address || more !== undefined) return undefined;
  const isIpv4 = !host.includes(":");
  const most = isIpv4 ? 32 : 128;
  if (length !== undefined && !/^(0|[1-9][0-9]{0,2})$/.test(length)) return undefined;
  const own = length === undefined ? most : Number(length);
  if (own > most) return undefined;
  const network = { address, prefixLength: isIpv4 ? own + MAPPED_BITS : own };
  const masked = address.every((byte, at) => (byte & ~maskAt(network.prefixLength, at) & 0xff) === 0);
  return masked ? network : undefined;
}

/** The bits of byte `at` that a prefix of so many bits covers. */
function maskAt(prefixLength: number, at: number): number {
  const bits = Math.min(8, Math.max(0, prefixLength - at * 8));
  return (0xff00 >> bits) & 0xff;
}

export function isInNetwork(address: Address, { address: base, prefixLength }: Network): boolean {
  return base.every((byte, at) => ((byte ^ address[at]!) & maskAt(prefixLength, at)) === 0);
}

/** For whoever knows networks only and cannot look inside an address. */
export const UNJUDGED_NETWORKS: readonly string[] = HOLDING_IPV4.map(({ network }) => network);

const REFUSED = REFUSED_NETWORKS.map((text) => parseNetwork(text)!);
const HOLDERS = HOLDING_IPV4.map(({ network, byte }) => ({ network: parseNetwork(network)!, byte }));

/** True = only an operator's permission makes it reachable. */
export function isRefusedAddress(address: Address): boolean {
  const holder = HOLDERS.find(({ network }) => isInNetwork(address, network));
  if (holder) return isRefusedAddress([...MAPPED, ...address.slice(holder.byte, holder.byte + 4)]);
  return REFUSED.some((network) => isInNetwork(address, network));
}
