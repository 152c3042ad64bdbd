// Two instances' supervisors over their sockets: what each tells its own zone's process, and what it answers.
import { mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { ClusterSeen, Told } from "../../cluster/told.ts";
import { networkBytes } from "./figures.ts";
import { Membership } from "./membership.ts";
import { callSocket } from "./peer-desk.ts";

const directory = mkdtempSync(join(tmpdir(), "jade-members-"));
const supervisors = { z1: `unix:${directory}/z1.sock`, z2: `unix:${directory}/z2.sock` };
const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

interface Heard {
  readonly path: string;
  readonly body: unknown;
}

/** Where a process is told; gives what it was. */
async function listener(path: string): Promise<Heard[]> {
  const heard: Heard[] = [];
  const server = createServer(async (incoming, response) => {
    let text = "";
    for await (const part of incoming) text += String(part);
    heard.push({ path: incoming.url!, body: JSON.parse(text) });
    response.writeHead(204).end();
  });
  ends.push(() => void server.close().closeAllConnections());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return heard;
}

async function instance(zone: "z1" | "z2") {
  const leaders = { pid: process.pid as number | undefined, isAnswering: true, isResting: false };
  const dataDir = mkdtempSync(join(directory, "data-"));
  const bulletin = (role: string): string => `unix:${directory}/${zone}-${role}.sock`;
  const told = await listener(`${directory}/${zone}-zone.sock`);
  const directoryTold = await listener(`${directory}/${zone}-leaders.sock`);
  const membership = new Membership({
    ...{ zone, zones: ["z1", "z2"], ways: { supervisors, bulletin }, dataDir, leadersDir: dataDir },
    processes: { zone: { pid: process.pid, isAnswering: true, isResting: false }, leaders },
    report: () => undefined,
  });
  await membership.open();
  membership.join();
  ends.push(() => membership.stop());
  const last = () => told.at(-1)?.body as Told | undefined;
  return { membership, leaders, directoryTold, last };
}

async function until(check: () => boolean): Promise<void> {
  for (const end = performance.now() + 20_000; !check() && performance.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(check()).toBe(true);
}

it("[CL-93] [CL-95] [CL-98] tell their processes who is there and the way to leaders, and the Directory nothing while all are well", async () => {
  const [first, second] = [await instance("z1"), await instance("z2")];
  const states = () => first.last()?.members.map(({ zone, state, isTrusted }) => `${zone} ${state} ${isTrusted}`);
  await until(() => states()?.length === 2);
  expect(states()).toEqual(["z1 alive true", "z2 alive true"]);
  expect(first.last()).toMatchObject({ leadersVia: "z1", drained: null });
  first.leaders.isAnswering = false;
  await until(() => first.last()?.leadersVia === "z2");
  second.leaders.isAnswering = false;
  first.leaders.isResting = true;
  await until(() => first.last()?.leadersVia === "z1");
  first.membership.drain("because");
  await until(() => first.last()?.drained === "because");
  const ask = { method: "GET", path: "/seen", body: "", timeoutMs: 5000 } as const;
  const seen = JSON.parse(await callSocket({ ...ask, socketPath: `${directory}/z2.sock` })) as ClusterSeen;
  expect(seen.figures["z1"]).toMatchObject({ leaders: "resting", drained: "because", owners: {} });
  const [supervisor] = seen.figures["z1"]!.processes;
  expect(supervisor).toMatchObject({ role: "supervisor", pid: process.pid });
  expect(supervisor!.residentBytes).toBeGreaterThan(10 * 1024 * 1024);
  expect(supervisor!.cpuSeconds).toBeGreaterThan(0);
  expect(seen.figures["z1"]!.disk.totalBytes).toBeGreaterThan(seen.figures["z1"]!.disk.freeBytes);
  await second.membership.leave();
  await until(() => states()?.[1] === "z2 left false");
  expect([...first.directoryTold, ...second.directoryTold]).toEqual([]);
});

it("[CL-90] refuse what is no message, and what nobody offers", async () => {
  await instance("z1");
  const socketPath = `${directory}/z1.sock`;
  const post = (path: string, body: string) =>
    callSocket({ socketPath, method: "POST", path, body, timeoutMs: 5000 }).catch(String);
  for (const body of ["", "{}", '{"kind":"ping"}', "x".repeat(300_000)])
    expect(await post("/gossip", body), body.slice(0, 20)).toContain("400");
  expect(await post("/nothing", "{}")).toContain("404");
  const ping = { kind: "ping", from: "z2", address: "z2", sequence: 1, updates: [] };
  expect(await post("/gossip", JSON.stringify(ping))).toBe("");
});

it("[CL-93] network figures are those of all interfaces but loopback", () => {
  const text = [
    "Inter-|   Receive  |  Transmit",
    " face |bytes packets|bytes packets",
    "    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0",
    "  eth0: 100 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0",
    "wlan0:7 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0",
  ].join("\n");
  expect(networkBytes(text)).toEqual({ receivedBytes: 107, sentBytes: 25 });
});
