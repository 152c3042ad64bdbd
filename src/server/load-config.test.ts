// Configuration: precedence, strictness, and messages an operator can act on.

import { mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { defaultSettings, InvalidSettings, parseSettings } from "../cluster/settings.ts";
import { workerSettings } from "./config-schema.ts";
import { type ConfigFlags, loadConfig } from "./load-config.ts";
import { nearestName } from "./nearest-name.ts";
import { OperatorError } from "./problem.ts";

function yaml(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "jade-config-")), "jade.yaml");
  writeFileSync(path, text);
  return path;
}

function failure(flags: ConfigFlags, env: NodeJS.ProcessEnv = {}): OperatorError {
  try {
    loadConfig(flags, env);
  } catch (error) {
    if (error instanceof OperatorError) return error;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

describe("precedence", () => {
  const file = yaml("server: { port: 1001 }\nlog: { level: warn }\n");

  it("is flags, then environment, then file, then defaults", () => {
    const env = { JADE_PORT: "1002", JADE_CONFIG_FILE: file };
    expect(loadConfig({ port: "1003" }, env).config.server).toMatchObject({ host: "127.0.0.1", port: 1003 });
    expect(loadConfig({}, env).config.server.port).toBe(1002);
    expect(loadConfig({ config: file }, {}).config.server.port).toBe(1001);
    expect(loadConfig({}, {}).config.server.port).toBe(8787);
    expect(loadConfig({}, env).config.log.level).toBe("warn");
  });

  it("takes an empty variable for unset, and an empty file or section for defaults", () => {
    expect(loadConfig({}, { JADE_PORT: "", JADE_CONFIG_FILE: "" }).config.server.port).toBe(8787);
    expect(loadConfig({ config: yaml("") }, {}).config.server.port).toBe(8787);
    expect(loadConfig({ config: yaml("server:\n# port: 1\n") }, {}).config.server.port).toBe(8787);
  });
});

describe("a wrong configuration", () => {
  it("lists every field with value, limit and the nearest name, and exits with 2", () => {
    const file = yaml(
      "server: { port: 99999, hots: x }\nstorage: { nodes: 2 }\nkeyVlaue: {}\nlimits: { maxValueBytes: 1048577 }\nlog: { requests: maybe }\n",
    );
    const { message, exitCode } = failure({ config: file });
    expect(exitCode).toBe(2);
    expect(message).toContain("server.port = 99999: must be at most 65535");
    expect(message).toContain('server.hots = "x": unknown field; did you mean `host`?');
    expect(message).toContain("storage.nodes = 2: 2 storage nodes cannot fill 3 zones");
    expect(message).toContain("keyVlaue = {}: unknown field; did you mean `keyValue`?");
    expect(message).toContain("limits.maxValueBytes = 1048577: must be at most 1048576");
    expect(message).toContain('log.requests = "maybe": must be of type boolean');
  });

  it.each([
    ["JADE_PORT", {}, { JADE_PORT: "abc" }, 'server.port (from JADE_PORT) = "abc"'],
    ["--log-level", { logLevel: "loud" }, {}, 'log.level (from --log-level) = "loud": must be one of debug, info'],
    ["a public address over HTTP", { host: "0.0.0.0" }, {}, "--insecure-public-http"],
    ["a file that is not there", { config: "/no/such.yaml" }, {}, "does not exist"],
  ])("names %s as the source", (_, flags, env, text) => {
    const { message, exitCode } = failure(flags, env);
    expect(message).toContain(text);
    expect(exitCode).toBe(2);
  });

  it.each([
    ["broken YAML", "server: [", "is not valid YAML"],
    ["a field twice", "server:\n  port: 1\n  port: 2\n", "duplicated mapping key"],
    ["a list at the top", "- a\n", "must hold sections"],
    ["a section that is a number", "server: 3\n", "server = 3: must be of type object"],
    ["r2 on one's own machine", "storage: { blobStore: r2 }\n", "exists on Cloudflare only"],
    ["archives in r2 on one's own machine", "vectors: { archiveStore: r2 }\n", "use none or disk"],
    ["cold values without a place", "vectors: { hotMiB: 10 }\n", "needs vectors.archiveStore"],
    [
      "hints that outlive tombstones",
      "keyValue: { hintTtlSeconds: 600, tombstoneGraceSeconds: 1200 }\n",
      "not less than half",
    ],
    ["a retention under a day", "keyValue: { idempotencyRetentionHours: 23 }\n", "must be at least 24"],
  ])("refuses %s", (_, text, message) => {
    expect(failure({ config: yaml(text) }).message).toContain(message);
  });

  it("lets a public address pass when told to", () => {
    expect(loadConfig({ host: "0.0.0.0", insecurePublicHttp: true }, {}).config.server.host).toBe("0.0.0.0");
  });
});

describe("templates", () => {
  it.each(readdirSync("templates").map((name) => [name]))("%s is valid", (name) => {
    expect(loadConfig({ config: `templates/${name}` }, {}).file).toBe(`templates/${name}`);
  });
});

describe("the Worker's settings", () => {
  it("travel as JSON and come back the same, without paths and addresses", () => {
    const { config } = loadConfig({ config: "templates/production.yaml" }, {});
    const text = JSON.stringify(workerSettings(config));
    expect(parseSettings(text)).toEqual(workerSettings(config));
    expect(text).not.toContain("/var/lib");
    expect(workerSettings(loadConfig({}, {}).config)).toEqual({ ...defaultSettings, etcd: { allowAnonymous: true } });
  });

  it("[CF-61] allow etcd's API without credentials on a loopback listener only, unless the operator says otherwise", () => {
    const allowed = (flags: object) => workerSettings(loadConfig(flags, {}).config).etcd.allowAnonymous;
    for (const host of ["127.0.0.1", "localhost", "::1", "127.3.2.1"]) expect(allowed({ host }), host).toBe(true);
    expect(workerSettings(loadConfig({ config: "templates/production.yaml" }, {}).config).etcd.allowAnonymous).toBe(
      false,
    );
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "db.example"])
      expect(allowed({ host, insecurePublicHttp: true }), host).toBe(false);
  });

  it("are defaults when nothing is given, and an error that names the field when wrong", () => {
    expect(parseSettings(undefined)).toEqual(defaultSettings);
    expect(parseSettings('{"log":{"level":"warn"}}').log).toEqual({ level: "warn", requests: false });
    expect(() => parseSettings("{")).toThrow(InvalidSettings);
    expect(() => parseSettings('{"storage":{"zones":0}}')).toThrow(/storage\.zones/);
  });
});

describe("nearestName", () => {
  it("finds swaps, case and separators, and stays silent when nothing is near", () => {
    const known = ["memtableMiB", "dataDir", "blobStore"];
    expect(["memtableMB", "data_dir", "blobStroe", "quux"].map((name) => nearestName(name, known))).toEqual([
      "memtableMiB",
      "dataDir",
      "blobStore",
      undefined,
    ]);
  });
});
