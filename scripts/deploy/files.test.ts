// The files in deploy/: every instance that they start has a configuration that the server takes.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/server/load-config.ts";
import { environmentProblems } from "../../src/server/serve-problems.ts";
import { hasOpenssl, selfSigned } from "../../src/server/tls/test-certificates.ts";
import { kubernetesObjects, startedInstances } from "./files.ts";

const directory = mkdtempSync(join(tmpdir(), "jade-deploy-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Pod {
  readonly containers: readonly {
    readonly args: readonly string[];
    readonly env: readonly { readonly name: string }[];
    readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  }[];
}

describe.skipIf(!hasOpenssl())("the files of deploy/ (skipped where openssl is not installed)", () => {
  it("[CL-128] start instances whose configuration is good, each with its own zone, and all with one table", () => {
    const started = startedInstances({ directory, cert: selfSigned(directory, "server") });
    expect(started.map(({ name }) => name)).toHaveLength(9);
    const tables = new Map<string, Set<string>>();
    for (const { name, flags, env } of started) {
      const { config } = loadConfig(flags, env);
      expect(environmentProblems(config, env), name).toEqual([]);
      expect(Object.keys(config.cluster.peers), name).toContain(config.cluster.zone);
      const kind = name.split(" ")[0]!;
      const table = JSON.stringify([config.cluster.bucket, config.cluster.peers]);
      tables.set(kind, (tables.get(kind) ?? new Set()).add(`${table}`));
      // Names of its own, as the others reach it.
      const { zone, peers, advertise, address } = config.cluster;
      const [own, leaders] = [peers[zone]!, advertise ?? address].map((text) => text.split(":")[0]);
      expect(leaders, name).toBe(own);
    }
    expect([...tables.values()].map((set) => set.size)).toEqual([1, 1, 1]);
    const zones = started.map(({ flags, env }) => loadConfig(flags, env).config.cluster.zone);
    expect(zones).toEqual([..."123123123"].map((number) => `z${number}`));
  });

  it("[CL-128] a pod's command makes zone and name of its host name, and ports are named as they are listened on", () => {
    const set = kubernetesObjects().find(({ kind }) => kind === "StatefulSet")!;
    const { template } = set["spec"] as { template: { spec: Pod } };
    const [container] = template.spec.containers;
    const text = container!.args.join(" ").replace(/^exec /, "echo ");
    const told = execFileSync("sh", ["-c", text], { env: { HOSTNAME: "jade-db-2", PATH: process.env["PATH"] } });
    expect(told.toString()).toContain("--zone z3 --cluster-advertise jade-db-2.jade-db-peers:8701");
    expect(container!.ports.map(({ containerPort }) => containerPort)).toEqual([8787, 8700, 8701]);
    const dockerfile = readFileSync("deploy/docker/Dockerfile", "utf8");
    expect(dockerfile).toMatch(/^EXPOSE 8787 8700 8701$/m);
    expect(dockerfile.slice(dockerfile.lastIndexOf("FROM"))).toMatch(/^USER 10001:10001$/m);
  });
});

it("[CL-128] alerts ask for metrics that there are", () => {
  const text = readFileSync("deploy/prometheus/alerts.yaml", "utf8");
  const named = [...text.matchAll(/jade_[a-z_]+/g)].map(([name]) => name);
  const known = new Set(readFileSync("src/telemetry/catalog.ts", "utf8").match(/jade_[a-z_]+/g));
  expect(named.filter((name) => !known.has(name))).toEqual([]);
  expect(named.length).toBeGreaterThan(5);
});
