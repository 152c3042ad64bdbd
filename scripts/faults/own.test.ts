// What instances have of their own, so that it can be broken: each does what it says. Where the machine does not permit one, its test is left out.
import { execFileSync, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../lib/server-process.mjs";
import { BucketWay } from "./bucket-way.ts";
import { Clocks } from "./clock.ts";
import { Disk } from "./disk.ts";
import { Network } from "./network.ts";

const refused = { network: Network.refusal(), clock: Clocks.refusal(), disk: Disk.refusal("/tmp/jade-own-test") };
const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function directory(): Promise<string> {
  const path = await temporaryDirectory("own");
  ends.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

describe("the way to the bucket", () => {
  const seen: string[] = [];

  async function open(): Promise<BucketWay> {
    seen.length = 0;
    const bucket: Server = createServer((asked, answer) => {
      asked.on("data", (text) => seen.push(`${asked.headers.host} ${text}`)).on("end", () => answer.end("taken"));
    });
    await new Promise<void>((resolve) => bucket.listen(0, "127.0.0.1", resolve));
    const { port } = bucket.address() as AddressInfo;
    const way = await BucketWay.open(`http://127.0.0.1:${port}`, "127.0.0.1", ["z1", "z2"]);
    ends.push(
      () => bucket.close(),
      () => bucket.closeAllConnections(),
      () => way.close(),
    );
    return way;
  }

  /** Its status, or how it broke. */
  function put(url: string, body: string, abortAfterMs?: number): Promise<number | string> {
    return new Promise((resolve) => {
      const asking = request(`${url}/jade/log`, { method: "PUT", headers: { host: "signed" } }, (answer) => {
        answer.resume().on("end", () => resolve(answer.statusCode!));
      });
      asking.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "broken")).end(body);
      if (abortAfterMs !== undefined) setTimeout(() => asking.destroy(new Error("killed")), abortAfterMs);
    });
  }

  it("[CL-114] fails one PUT or breaks it, once, and passes all else as it was signed", async () => {
    const way = await open();
    for (const kind of ["fail", "reset"] as const) {
      const played = way.play({ kind, path: "log" });
      const answers = [await put(way.endpoint("z2"), kind), await put(way.endpoint("z1"), `${kind} again`)];
      expect(answers).toEqual([kind === "fail" ? 500 : "ECONNRESET", 200]);
      expect(await played).toMatchObject({ zone: "z2", path: "/jade/log" });
    }
    expect(seen).toEqual(["signed fail again", "signed reset again"]);
  });

  it("[CL-114] holds one PUT back, which arrives although who sent it is gone; makes all requests slow", async () => {
    const way = await open();
    const played = way.play({ kind: "hold", path: "log", forMs: 300 });
    expect(await put(way.endpoint("z1"), "late", 100)).toBe("broken");
    await played;
    expect(seen).toEqual([]);
    expect(await put(way.endpoint("z1"), "in between")).toBe(200);
    while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(seen).toEqual(["signed in between", "signed late"]);
    way.delay(150);
    const beganMs = performance.now();
    expect(await put(way.endpoint("z2"), "slow")).toBe(200);
    expect(performance.now() - beganMs).toBeGreaterThan(140);
  });
});

describe.skipIf(refused.network)("networks of their own", () => {
  it("[CL-115] are cut from the bucket, from peers or from both, never from clients, and healed", () => {
    const network = Network.open(2);
    ends.push(() => network.close());
    // Refused is reached: nobody listens there.
    const script = `for (const host of process.argv.slice(1)) {
      const socket = require("net").connect({ port: 9, host, timeout: 400 });
      socket.on("timeout", () => socket.destroy()).on("error", (e) => e.code === "ECONNREFUSED" && console.log(host));
    }`;
    const reached = (index: number, ...addresses: string[]): string[] => {
      const [command, ...args] = network.through(index);
      const { stdout } = spawnSync(command!, [...args, process.execPath, "-e", script, ...addresses]);
      return addresses.filter((address) => String(stdout).split("\n").includes(address));
    };
    const [bucket, peer, clients] = [network.bucketAddress, network.address(1), network.clientsAddress];
    const seen = (): string[] => reached(0, bucket, peer, clients);
    expect(seen()).toEqual([bucket, peer, clients]);
    network.cut(0, "bucket");
    expect(seen()).toEqual([peer, clients]);
    network.heal(0, "bucket");
    network.cut(0, "both");
    expect(seen()).toEqual([clients]);
    expect(reached(1, network.address(0))).toEqual([]);
    network.heal(0, "both");
    expect(seen()).toEqual([bucket, peer, clients]);
  });
});

describe.skipIf(refused.clock)("clocks of their own", () => {
  it("[CL-115] step while a process runs, and leave its monotonic clock alone", async () => {
    const clocks = Clocks.open(await directory());
    const env = { ...process.env, PATH: clocks.path("z1") };
    const script = `const began=performance.now();setTimeout(()=>console.log(Date.now(),Math.round(performance.now()-began)),100)`;
    const read = () => {
      const text = execFileSync("setpriv", ["--pdeathsig", "KILL", process.execPath, "-e", script], { env });
      const [wall, monotonic] = String(text).split(" ").map(Number);
      return { offMs: wall! - Date.now(), monotonic: monotonic! };
    };
    for (const ms of [0, 8000, -3000]) {
      clocks.step("z1", ms);
      const { offMs, monotonic } = read();
      expect(Math.abs(offMs - ms)).toBeLessThan(1500);
      expect(monotonic).toBeLessThan(5000);
    }
  });
});

describe.skipIf(refused.disk)("disks of their own", () => {
  it("[CL-115] are filled until no page goes in, and emptied", async () => {
    const disk = Disk.open(join(await directory(), "z1"), 16 * 2 ** 20);
    ends.push(() => disk.close());
    await disk.fill();
    // Less than a page of SQLite's.
    expect(disk.freeBytes).toBeLessThan(4096);
    disk.empty();
    expect(disk.freeBytes).toBeGreaterThan(2 ** 20);
  });
});
