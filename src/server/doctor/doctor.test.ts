// What the doctor says of machines, disks and configurations, and that its bundle keeps secrets.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { configSchema } from "../config-schema.ts";
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
    const secrets = ["jdb.root.AbC-123", "jdb.acme.k1.s3cret", "eyJhbGciOi.eyJzdWIi.c2ln", "hunter2"];
    const [root = "", api = "", token = "", password = ""] = secrets;
    const text = `GET / Authorization: Bearer ${api}\nroot key ${root} ${token} https://me:${password}@host/x\n`;
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
    writeFileSync(log, text);
    const flags = { dataDir: join(directory, "data") };
    await runDoctor({ flags, env: { JADE_ROOT_KEY: root }, url: "http://127.0.0.1:9", rootKey: root, bundle, log });
    const written = gunzipSync(readFileSync(bundle)).toString();
    for (const secret of secrets) expect(written).not.toContain(secret);
    expect(JSON.parse(written)).toMatchObject({
      config: { server: { port: 8787 } },
      log: expect.stringContaining("GET /"),
    });
  });
});
