// The configuration workerd is given: escaped, stable, without secrets; wrangler.toml binds the same classes.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { defaultSettings, parseSettings } from "../cluster/settings.ts";
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from "./capnp-parts.ts";
import { capnpText } from "./capnp-text.ts";
import { modelsConfig } from "./models-config.ts";
import { embedderClass, objectClasses } from "./object-classes.ts";
import { secretEnvironment } from "./provider-secrets.ts";
import { workerdConfig } from "./workerd-config.ts";

const base = {
  address: "127.0.0.1:8787",
  objectsDir: '/tmp/with "quotes"/objects',
  blobsDir: "/tmp/blobs",
  modules: [
    { name: "worker.js", kind: "esModule" },
    { name: "kernels.wasm", kind: "wasm" },
  ],
  embedderModules: [
    { name: "embedder.js", kind: "esModule" },
    { name: "words.jwv", kind: "data" },
  ],
  settings: defaultSettings,
  rootKeyHash: "ab".repeat(32),
} as const;

describe("workerdConfig", () => {
  it("escapes text as Cap'n Proto does", () => {
    expect(capnpText('a"b\\c')).toBe('"a\\"b\\\\c"');
    expect(capnpText("line\nnext\u0085é")).toBe('"line\\x0anext\\xc2\\x85é"');
  });

  it("embeds the modules, entry first, and keeps every class in SQLite under its unique key", () => {
    const text = workerdConfig(base);
    expect(text.indexOf('esModule = embed "worker.js"')).toBeLessThan(text.indexOf('wasm = embed "kernels.wasm"'));
    for (const { className, uniqueKey } of objectClasses) {
      expect(text).toContain(`className = "${className}", uniqueKey = "${uniqueKey}", enableSql = true`);
    }
    expect(text).toContain('path = "/tmp/with \\"quotes\\"/objects"');
  });

  it("runs the embedder as a Worker of its own, reached by a binding and by no socket", () => {
    const text = workerdConfig(base);
    const embedder = text.slice(text.indexOf("const embedder :Workerd.Worker"));
    expect(embedder).toContain('(name = "embedder.js", esModule = embed "embedder/embedder.js")');
    expect(embedder).toContain('(name = "words.jwv", data = embed "embedder/words.jwv")');
    expect(embedder).toContain('className = "Embedder", uniqueKey = "jade-embedder", enableSql = true');
    expect(embedder).not.toContain("DIRECTORY");
    expect(embedder).toContain('(name = "MODEL_RUNNER", service = "models")');
    expect(text).toContain('(name = "models", external = (address = "unix:models.sock"');
    expect(text).toContain('(name = "EMBEDDER", service = (name = "embedder", entrypoint = "EmbedderService"))');
    expect(text.match(/sockets = \[[^\]]*\]/)?.[0]).not.toContain("embedder");
  });

  it("[EM-62] models run in a process that has their modules, a socket in its own directory, and nothing else", () => {
    const text = modelsConfig(base.embedderModules, defaultSettings);
    expect(text).toContain('esModule = embed "models/embedder.js"');
    expect(text).toContain('address = "unix:models.sock"');
    expect(text).toContain('service = (name = "models", entrypoint = "ModelRunner")');
    for (const none of ["durableObject", "disk =", "network =", "ROOT_KEY"]) expect(text).not.toContain(none);
  });

  it("[EM-57] keys of providers come from the environment into the embedder alone; its requests go through a network of their own", () => {
    const secrets = [{ name: "OPENAI_KEY", url: "https://api.openai.com/v1/" }];
    const embedding = { ...defaultSettings.embedding, secrets, allowedNetworks: ["10.0.0.0/8"] };
    const text = workerdConfig({ ...base, settings: { ...defaultSettings, embedding } });
    const [gateway, embedder] = text.split("const embedder :Workerd.Worker") as [string, string];
    expect(embedder).toContain('(name = "OPENAI_KEY", fromEnvironment = "OPENAI_KEY")');
    expect(gateway).not.toContain("fromEnvironment");
    expect(embedder).toContain('(name = "EMBEDDING_NETWORK", service = "providers")');
    expect(gateway).toMatch(
      /name = "providers", network = \(allow = \["public", "10.0.0.0\/8"\], deny = \[(?!.*"10.0.0.0\/8")/,
    );
    const env = { OPENAI_KEY: "sk-1", JADE_ROOT_KEY: "never" };
    expect(secretEnvironment(embedding, env)).toEqual({ OPENAI_KEY: "sk-1" });
    expect(secretEnvironment(embedding, {})).toEqual({});
    for (const name of ["JADE_ROOT_KEY", "AI", "EMBEDDING_NETWORK", "BLOBS", "lower"]) {
      const wrong = JSON.stringify({ embedding: { secrets: [{ name, url: "https://a.example" }] } });
      expect(() => parseSettings(wrong), name).toThrow("embedding.secrets");
    }
  });

  it("[EM-63] in a cluster the leaders' process keeps the models, and the zone's asks it by a socket", () => {
    const place = { zone: "z1", zones: ["z1"], nodes: { n1: "z1" } };
    const ways = {
      relayAddress: "unix:/d/zone.sock",
      peers: { z1: "unix:/d/zone.sock" },
      leaders: { z1: "unix:/d/leaders.sock" },
      tellAddress: "unix:/d/tell.sock",
      supervisorAddress: "unix:/d/gossip.sock",
    };
    const rest = { bucket: "s3://b/p", boardAddress: "unix:/d/board.sock", address: "127.0.0.1:0", key: "k" };
    const of = (role: "zone" | "leaders") =>
      workerdConfig({ ...base, cluster: { place: { ...place, role }, ...ways, ...rest } });
    expect(of("zone")).toContain('(name = "EMBEDDER", service = "embedder")');
    expect(of("zone")).toContain('(name = "embedder", external = (address = "unix:embedder.sock"');
    expect(of("zone")).not.toContain("const embedder");
    expect(of("leaders")).toContain('(name = "embedder", address = "unix:embedder.sock"');
    expect(of("leaders")).toContain('className = "Embedder", uniqueKey = "jade-embedder"');
  });

  it("offers the blob directory only when the blob store is disk", () => {
    expect(workerdConfig(base)).not.toContain("BLOB_DISK");
    const storage = { ...defaultSettings.storage, blobStore: "disk" } as const;
    expect(workerdConfig({ ...base, settings: { ...defaultSettings, storage } })).toContain("BLOB_DISK");
  });

  it("never changes the unique keys: they name directories with data", () => {
    expect(objectClasses.map(({ className, uniqueKey }) => [className, uniqueKey])).toEqual([
      ["Directory", "jade-directory"],
      ["Tenant", "jade-tenant"],
      ["Coordinator", "jade-coordinator"],
      ["KeyValueReplica", "jade-key-value-replica"],
      ["ConfigKeyspace", "jade-config-keyspace"],
      ["ConfigFollower", "jade-config-follower"],
      ["WebhookSender", "jade-webhook-sender"],
      ["VectorShard", "jade-vector-shard"],
      ["VectorFollower", "jade-vector-follower"],
      ["ZoneViews", "jade-zone-views"],
    ]);
    expect(embedderClass.uniqueKey).toBe("jade-embedder");
  });
});

describe("wrangler.embedder.toml", () => {
  const text = readFileSync("wrangler.embedder.toml", "utf8");

  it("has the class, the date and the flags that self-hosting has; wrangler.toml binds its service", () => {
    expect(text).toContain(`name = "${embedderClass.binding}"\nclass_name = "${embedderClass.className}"`);
    expect(text).toContain(`new_sqlite_classes = ["${embedderClass.className}"]`);
    expect(text).toContain(`compatibility_date = "${COMPATIBILITY_DATE}"`);
    expect(text).toContain(`compatibility_flags = ${JSON.stringify(COMPATIBILITY_FLAGS)}`);
    const service = /binding = "EMBEDDER"\nservice = "(.*)"\nentrypoint = "EmbedderService"/.exec(
      readFileSync("wrangler.toml", "utf8"),
    );
    expect(text).toContain(`name = "${service?.[1]}"`);
  });
});

describe("wrangler.toml", () => {
  const text = readFileSync("wrangler.toml", "utf8");

  it("binds the same classes under the same names", () => {
    const bound = [...text.matchAll(/name = "(\w+)"\nclass_name = "(\w+)"/g)].map(([, binding, className]) => [
      binding,
      className,
    ]);
    expect(bound).toEqual(objectClasses.map(({ binding, className }) => [binding, className]));
    const migrated = [...text.matchAll(/new_sqlite_classes = \[([^\]]*)\]/g)].flatMap(([, list = ""]) =>
      [...list.matchAll(/"(\w+)"/g)].map(([, className]) => className),
    );
    expect(migrated.sort()).toEqual(objectClasses.map(({ className }) => className).sort());
  });

  it("has the same compatibility date and flags", () => {
    expect(text).toContain(`compatibility_date = "${COMPATIBILITY_DATE}"`);
    expect(text).toContain(`compatibility_flags = ${JSON.stringify(COMPATIBILITY_FLAGS)}`);
  });
});
