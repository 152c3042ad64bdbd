// What the doctor says of machines, disks and configurations, and that its bundle keeps secrets.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { configSchema } from "../config-schema.ts";
import { hasOpenssl, selfSigned } from "../tls/test-certificates.ts";
import { certificate, clusterFindings, instanceFindings } from "./cluster.ts";
import { contents, fileSystem, space, syncSpeed } from "./disk.ts";
import { runDoctor } from "./doctor.ts";
import { descriptors, memory, nodeVersion, operatingSystem, workerd } from "./machine.ts";
import { redact } from "./redact.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "jade-doctor-"));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const verdict = (finding: { readonly verdict: string }) => finding.verdict;

describe("doctor of a cluster", () => {
  const listening = async (server: Server): Promise<number> => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  };

  it("[CL-129] tells a bucket that is away or of another time, peers that are not there, and what the environment lacks", async () => {
    let aheadMs = 0;
    const server = createServer((_, response) => {
      response.writeHead(403, { date: new Date(Date.now() + aheadMs).toUTCString() }).end();
    });
    const port = await listening(server);
    const [here, gone] = [`127.0.0.1:${port}`, "127.0.0.1:1"];
    const cluster = { bucket: "s3://jade/p", zone: "z1", peers: { z1: gone, z2: here, z3: gone } };
    const config = configSchema.parse({ cluster });
    const keys = { JADE_ROOT_KEY: "r".repeat(32), JADE_CLUSTER_KEY: "k".repeat(32), AWS_CREDENTIALS_FILE: "/keys" };
    const told = async (env: NodeJS.ProcessEnv) =>
      (await clusterFindings(config, env)).map(({ check, verdict }) => `${check} ${verdict}`);
    const good = { ...keys, AWS_ENDPOINT_URL: `http://${here}` };
    const ways = ["peer z2 ok", "peer z3 warn"];
    expect(await told(good)).toEqual(["environment ok", "bucket ok", "bucket's clock ok", ...ways]);
    aheadMs = 60_000;
    expect(await told(good)).toContain("bucket's clock fail");
    server.close();
    server.closeAllConnections();
    const without = { ...keys, JADE_CLUSTER_KEY: "short secret", AWS_ENDPOINT_URL: `http://${gone}` };
    expect(await told(without)).toEqual(["environment fail", "bucket fail", "peer z2 warn", "peer z3 warn"]);
    const findings = JSON.stringify(await clusterFindings(config, without));
    expect(findings).not.toContain("short secret");
    // Node asks no such port.
    expect(findings).toContain("does not answer: bad port");
    expect(await clusterFindings(configSchema.parse({}), {})).toEqual([]);
  });

  it("[CL-129] tells instances that are away, and fails only without a majority", () => {
    const instance = (zone: string, zoneProcess = "answering", leadersProcess = "answering") => {
      const nodes = [{ nodeId: `n of ${zone}`, answering: zoneProcess === "answering" }];
      return { zone, zoneProcess, leadersProcess, nodes };
    };
    const told = (...instances: ReturnType<typeof instance>[]) =>
      instanceFindings({ directory: "answering", instances })[0]!;
    const [first, second] = [instance("z1"), instance("z2")];
    expect(told(first, second, instance("z3")).verdict).toBe("ok");
    const one = told(first, second, instance("z3", "away", "unknown"));
    expect(one).toMatchObject({ verdict: "warn", found: "away: the zone's process of z3, n of z3 in z3" });
    expect(told(first, instance("z2", "away"), instance("z3", "away")).verdict).toBe("fail");
    expect(told(first, instance("z2", "answering", "away")).found).toContain("the leaders' process of z2");
    expect(instanceFindings({ directory: "away", instances: [first] })[0]!.found).toBe("away: the Directory");
  });

  it.skipIf(!hasOpenssl())("[CL-129] tells certificates that end soon (skipped where openssl is not installed)", () => {
    const files = selfSigned(directory, "server");
    const inDays = (days: number) => verdict(certificate(files, Date.now() + days * 86_400_000));
    expect([0, 20, 31].map(inDays)).toEqual(["ok", "warn", "fail"]);
  });
});

describe("doctor", () => {
  it("tells machines that can run the server from those that cannot", () => {
    expect([nodeVersion("24.1.0"), nodeVersion("20.0.0"), nodeVersion("18.9.1")].map(verdict)).toEqual([
      "ok",
      "ok",
      "fail",
    ]);
    const linux = { platform: "linux", arch: "x64" };
    const systems = ["2.36", "2.35", "2.31", undefined].map((glibc) => operatingSystem({ ...linux, glibc }));
    expect(systems.map(verdict)).toEqual(["ok", "ok", "fail", "warn"]);
    expect(verdict(operatingSystem({ platform: "darwin", arch: "arm64", glibc: undefined }))).toBe("warn");
    expect(workerd()).toMatchObject({ verdict: "ok", found: expect.stringContaining("workerd") });
    const limits = (hard: number) =>
      descriptors(`Limit  Soft  Hard\nMax open files            1024                 ${hard}                files\n`);
    expect([limits(20_000), limits(1024)].map(verdict)).toEqual(["ok", "warn"]);
    const config = configSchema.parse({});
    expect([memory(config, 16 * 2 ** 30), memory(config, 2 ** 29)].map(verdict)).toEqual(["ok", "warn"]);
  });

  it("looks at the disk and leaves nothing there", () => {
    const later = join(directory, "not", "yet");
    for (const path of [directory, later]) {
      expect(syncSpeed(path)).toMatchObject({
        verdict: expect.stringMatching(/ok|warn/),
        found: expect.stringContaining("ms"),
      });
      expect(space(path).found).toMatch(/GiB free/);
    }
    expect(contents(later)).toMatchObject({ verdict: "ok" });
    expect(readdirSync(directory)).toEqual([]);
    mkdirSync(join(directory, "objects"));
    writeFileSync(join(directory, "objects", "a.sqlite"), "x".repeat(2 ** 20));
    expect(contents(directory).found).toBe("1 files, 1.0 MiB");
    writeFileSync(join(directory, "format"), "99\n");
    expect(contents(directory)).toMatchObject({ verdict: "fail", found: expect.stringContaining("format 99") });
    const mounts = `dev / ext4 rw 0 0\nhost:/x ${directory} nfs4 rw 0 0\n`;
    expect([fileSystem(directory, mounts), fileSystem("/", mounts)].map(verdict)).toEqual(["fail", "ok"]);
    expect(verdict(syncSpeed("/proc"))).toBe("fail");
  });

  it("[CL-129] asks the server that the configuration names, and tells what is away though it can serve", async () => {
    const answers: Record<string, object> = {
      "/v1/health": {},
      "/v1/ready": { data: { ready: true, degraded: ["directory"] } },
      "/v1/status": { data: { mode: "cluster" } },
    };
    const server = createServer((request, response) => {
      const body = answers[request.url!];
      response.writeHead(body ? 200 : 403, { "content-type": "application/json" }).end(JSON.stringify(body ?? {}));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const file = join(directory, "jade.yaml");
    writeFileSync(file, `server: { port: ${(server.address() as AddressInfo).port} }\n`);
    const findings = await runDoctor({ flags: { config: file }, env: {} });
    server.closeAllConnections();
    server.close();
    const told = (name: string) => findings.find(({ check }) => check === name);
    expect(told("readiness")).toMatchObject({ verdict: "warn", found: "it can serve, without: directory" });
    expect(told("instances")).toMatchObject({ found: expect.stringContaining("JADE_ROOT_KEY") });
  });

  it("names a wrong configuration, and a server that does not answer is no failure", async () => {
    const file = join(directory, "jade.yaml");
    writeFileSync(file, "server:\n  prot: 1\n");
    const findings = await runDoctor({ flags: { config: file }, env: {}, url: "http://127.0.0.1:9" });
    expect(findings.find(({ check }) => check === "configuration")).toMatchObject({
      verdict: "fail",
      found: expect.stringContaining("server.prot"),
    });
    expect(findings.find(({ check }) => check === "server")).toMatchObject({ verdict: "warn" });
  });

  it("keeps secrets out of a bundle, whatever field or text they stand in", async () => {
    const secrets = ["jdb.root.AbC-123", "jdb.acme.k1.s3cret", "eyJhbGciOi.eyJzdWIi.c2ln", "hunter2", "whsec_c2VjcmV0"];
    const [root = "", api = "", token = "", password = "", hook = ""] = secrets;
    // Of any form: only the environment tells that they are secrets.
    const env = { JADE_ROOT_KEY: root, JADE_CLUSTER_KEY: "0123456789abcdef", AWS_SECRET_ACCESS_KEY: "chosen by hand" };
    const held = Object.values(env).join(" and ");
    secrets.push(...Object.values(env), "unset-here");
    const text = `GET / Authorization: Bearer ${api}\nroot key ${root} ${token} https://me:${password}@host/x ${hook}\nAWS_SECRET_ACCESS_KEY=unset-here\n`;
    const clean = redact({
      apiKey: password,
      nested: [{ rootKey: root }],
      note: text,
      keyValue: { nodes: 3 },
      keyId: "k1",
    });
    for (const secret of secrets) expect(JSON.stringify(clean)).not.toContain(secret);
    expect(clean).toMatchObject({ keyValue: { nodes: 3 }, keyId: "k1", note: expect.stringContaining("GET /") });
    const [log, bundle] = [join(directory, "log"), join(directory, "bundle.gz")];
    writeFileSync(log, `${text}${held}\n`);
    const flags = { dataDir: join(directory, "data") };
    await runDoctor({ flags, env, url: "http://127.0.0.1:9", rootKey: root, bundle, log });
    const written = gunzipSync(readFileSync(bundle)).toString();
    for (const secret of secrets) expect(written).not.toContain(secret);
    expect(JSON.parse(written)).toMatchObject({
      config: { server: { port: 8787 } },
      log: expect.stringContaining("GET /"),
    });
  });
});
