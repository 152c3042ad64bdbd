// A network of its own for each instance, and one bridge between them, so that each can be cut off as by a broken cable: Linux network
// namespaces by iproute2. A cut sends what is said to the other side to a hardware address that nobody has; nothing is refused.
// Guarantees: `close` leaves nothing. Must not: touch what it did not make. Needs the right to make namespaces (root).
import { spawnSync } from "node:child_process";

const NOBODY = "02:00:00:00:00:01";
const BUCKET_HOST = 253;
const CLIENTS_HOST = 254;

/** Whom an instance cannot reach, nor be reached by. Clients reach it all the same. */
export type Cut = "bucket" | "peers" | "both";

function ip(...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${error ?? stderr.trim()}`);
  return stdout;
}

export class Network {
  readonly #name: string;
  readonly #prefix: string;
  readonly #count: number;

  private constructor(name: string, prefix: string, count: number) {
    this.#name = name;
    this.#prefix = prefix;
    this.#count = count;
  }

  /** Why this machine permits none; undefined = it does. */
  static refusal(): string | undefined {
    try {
      Network.open(0).close();
      const { error } = spawnSync("nsenter", ["--version"]);
      return error && String(error);
    } catch (error) {
      return String(error);
    }
  }

  static open(count: number): Network {
    const used = ip("-o", "addr", "show");
    let third = process.pid % 250;
    while (used.includes(` 10.77.${third}.`)) third = (third + 1) % 250;
    const network = new Network(`jf${third}`, `10.77.${third}`, count);
    try {
      network.#make();
    } catch (error) {
      network.close();
      throw error;
    }
    return network;
  }

  get clientsAddress(): string {
    return `${this.#prefix}.${CLIENTS_HOST}`;
  }

  get bucketAddress(): string {
    return `${this.#prefix}.${BUCKET_HOST}`;
  }

  address(index: number): string {
    return `${this.#prefix}.${index + 1}`;
  }

  /** The beginning of a command line that runs in an instance's network. */
  through(index: number): readonly string[] {
    return ["nsenter", `--net=/run/netns/${this.#space(index)}`];
  }

  #space(index: number): string {
    return `${this.#name}n${index + 1}`;
  }

  #make(): void {
    const bridge = `${this.#name}b`;
    ip("link", "add", bridge, "type", "bridge");
    for (const address of [this.clientsAddress, this.bucketAddress]) ip("addr", "add", `${address}/24`, "dev", bridge);
    ip("link", "set", bridge, "up");
    for (let index = 0; index < this.#count; index++) {
      const [space, cable] = [this.#space(index), `${this.#name}v${index + 1}`];
      ip("netns", "add", space);
      ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space);
      ip("link", "set", cable, "master", bridge, "up");
      ip("-n", space, "addr", "add", `${this.address(index)}/24`, "dev", "eth0");
      ip("-n", space, "link", "set", "eth0", "up");
      ip("-n", space, "link", "set", "lo", "up");
    }
  }

  /** Pairs of: in whose network, which address. */
  #sides(index: number, from: Cut): (readonly [space: string, address: string])[] {
    const sides: (readonly [string, string])[] = [];
    if (from !== "peers") sides.push([this.#space(index), this.bucketAddress]);
    if (from === "bucket") return sides;
    for (let other = 0; other < this.#count; other++) {
      if (other === index) continue;
      sides.push([this.#space(index), this.address(other)], [this.#space(other), this.address(index)]);
    }
    return sides;
  }

  cut(index: number, from: Cut): void {
    for (const [space, address] of this.#sides(index, from))
      ip("-n", space, "neigh", "replace", address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent");
  }

  heal(index: number, from: Cut): void {
    for (const [space, address] of this.#sides(index, from)) ip("-n", space, "neigh", "del", address, "dev", "eth0");
  }

  close(): void {
    const remove = (...args: readonly string[]): void => void spawnSync("ip", args); // it may not be there
    for (let index = 0; index < this.#count; index++) {
      remove("link", "del", `${this.#name}v${index + 1}`);
      remove("netns", "del", this.#space(index));
    }
    remove("link", "del", `${this.#name}b`);
  }
}
