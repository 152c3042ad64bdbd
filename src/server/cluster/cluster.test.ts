// An instance of a cluster: what its processes are given, what it refuses to start with, in which order it stops.
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { firstNodes } from "../../access/ring-start.ts";
import { defaultSettings } from "../../cluster/settings.ts";
import { workerSettings } from "../config-schema.ts";
import { assertNoInstance, assertNoSingleNode, prepareDataDir } from "../data-dir.ts";
import { loadConfig } from "../load-config.ts";
import { objectClasses } from "../object-classes.ts";
import { environmentProblems, serveProblems } from "../serve-problems.ts";
import type { Supervisor } from "../supervisor.ts";
import { workerdConfig } from "../workerd-config.ts";
import { clusterIdentity } from "./identity.ts";
import { Instance } from "./instance.ts";

const peers = { z1: "unix:/data/z1/zone.sock", z2: "unix:/data/z2/zone.sock" };
const flags = { cluster: "s3://jade/p", peer: Object.entries(peers).map((pair) => pair.join("=")) };

function configOf(role: "zone" | "leaders", sharedAddress?: string): string {
  const place = { role, zone: "z2", zones: ["z1", "z2"], nodes: { n1: "z1", n2: "z2" } };
  const boardAddress = "unix:/data/z2/board.sock";
  const ways = {
    boardAddress,
    relayAddress: `unix:/data/z2/${role}.sock`,
    leaders: { z1: "unix:/data/z1/zone-leaders.sock", z2: "unix:/data/z2/zone-leaders.sock" },
    sharedAddress,
    peers,
    tellAddress: `unix:/data/z2/tell-${role}.sock`,
    supervisorAddress: "unix:/data/z2/zone-gossip.sock",
  };
  const cluster = { place, ...ways, bucket: "s3://jade/p", address: "10.0.0.2:7000", key: 'secret "key"' };
  const data = { objectsDir: "/data/z2/objects", blobsDir: "/data/z2/blobs" };
  const modules = [{ name: "worker.js", kind: "esModule" } as const];
  const settings = defaultSettings;
  return workerdConfig({ address: "127.0.0.1:1", ...data, modules, settings, rootKeyHash: "ab".repeat(32), cluster });
}

describe("the processes of an instance", () => {
  it("[CL-4] the zone's listens for clients and has a way to leaders and to the other zones", () => {
    const text = configOf("zone");
    expect(text).toContain('name = "http", address = "127.0.0.1:1"');
    expect(text).not.toContain("cluster = (");
    expect(text).not.toContain('secret \\"key');
    expect(text).toContain('(name = "LEADERS", service = "leaders")');
    expect(text).toContain('(name = "zone-z1", external = (address = "unix:/data/z1/zone.sock"');
    expect(text).not.toContain("ZONE_z2");
    expect(text).toContain('(name = "LEADERS_z1", service = "leaders-z1")');
    expect(text).toContain('(name = "supervisor", external = (address = "unix:/data/z2/zone-gossip.sock", http = ()))');
    expect(text).toContain('(name = "tell", address = "unix:/data/z2/tell-zone.sock", http = ()');
    expect(text).not.toContain("board");
    const bound = objectClasses.filter(({ className }) => text.includes(`durableObjectNamespace = "${className}"`));
    expect(bound.map(({ className }) => className)).toEqual([
      ...["Coordinator", "KeyValueReplica", "ConfigFollower", "VectorFollower", "ZoneViews"],
    ]);
  });

  it("[CL-4] the leaders' is in cluster mode, has a way to every zone, and nothing for clients", () => {
    const text = configOf("leaders");
    expect(text).not.toContain('name = "http"');
    expect(text).toContain('cluster = (bucket = "s3://jade/p", address = "10.0.0.2:7000", key = "secret \\"key\\""');
    for (const zone of ["z1", "z2"]) expect(text).toContain(`(name = "ZONE_${zone}", service = "zone-${zone}")`);
    expect(text).not.toContain("LEADERS");
    expect(text).toContain('entrypoint = "Relay"');
    expect(text).toContain('(name = "board", address = "unix:/data/z2/board.sock", http = (), service = "board")');
    const bound = objectClasses.filter(({ className }) => text.includes(`durableObjectNamespace = "${className}"`));
    expect(bound.map(({ className }) => className).sort()).toEqual(
      ["ConfigKeyspace", "Directory", "Tenant", "VectorShard", "WebhookSender"].sort(),
    );
  });

  it("[CL-13] stop one after the other, the zone's first; a second request hurries both", async () => {
    const seen: string[] = [];
    const supervisor = (name: string) => {
      const { promise, resolve } = Promise.withResolvers<number>();
      const end = () => {
        seen.push(`${name} ended`);
        resolve(0);
      };
      const fake = {
        keep: () => promise,
        start: async () => 1234,
        run: () => promise,
        stop: () => void seen.push(`${name} stops`),
      };
      return { end, supervisor: fake as unknown as Supervisor };
    };
    const [zone, leaders] = [supervisor("zone"), supervisor("leaders")];
    const instance = new Instance({ gateway: zone.supervisor, others: [leaders.supervisor] });
    expect(await instance.start()).toBe(1234);
    const ended = instance.run();
    instance.stop();
    expect(seen).toEqual(["zone stops"]);
    zone.end();
    await new Promise(setImmediate);
    expect(seen).toEqual(["zone stops", "zone ended", "leaders stops"]);
    instance.stop();
    leaders.end();
    expect(await ended).toBe(0);
    expect(seen.slice(3)).toEqual(["zone stops", "leaders stops", "leaders ended"]);
  });
});

describe("the configuration of an instance", () => {
  const failure = (given: object): string => {
    try {
      loadConfig({ ...flags, ...given }, {});
    } catch (error) {
      return String(error);
    }
    throw new Error("the configuration was accepted");
  };

  it("[CL-4] the ring has the zones of the table, and a storage node in each", () => {
    const { config } = loadConfig({ ...flags, zone: "z2" }, {});
    expect(config.cluster).toMatchObject({ bucket: "s3://jade/p", zone: "z2", peers, address: "127.0.0.1:0" });
    expect(workerSettings(config).storage).toMatchObject({ zones: 2, nodes: 3 });
    expect(workerSettings(loadConfig({}, {}).config).storage).toEqual(defaultSettings.storage);
  });

  it("[CL-146] the first storage nodes stay in the zones that they began in when the table is longer, where it is said how many these were", () => {
    const { config } = loadConfig({ ...flags, zone: "z2", peer: [...flags.peer, "z3=unix:/c"] }, {});
    expect(workerSettings(config).storage).toMatchObject({ zones: 3, nodes: 3 });
    const grown = { ...config, cluster: { ...config.cluster, firstZones: 2 } };
    const { zones, nodes } = workerSettings(grown).storage;
    expect(firstNodes(nodes, zones).map(({ id, zone }) => `${id} ${zone}`)).toEqual(["n1 z1", "n2 z2", "n3 z1"]);
  });

  it("[CL-5] refuses a table with gaps or without its own zone, ways that are open to others, files of one machine", () => {
    expect(failure({ peer: undefined })).toContain("cluster.peers: is empty");
    expect(failure({ zone: "z3" })).toContain("has no entry for this instance's zone z3");
    expect(failure({ peer: ["z1=unix:/a", "z3=unix:/b"] })).toContain("has z3, but not z2: 2 zones are named z1 to z2");
    expect(failure({ peer: ["z1=10.0.0.1"] })).toContain('cluster.peers.z1 = "10.0.0.1": must be unix:/path or host');
    expect(failure({ peer: ["z1=10.0.0.1:7000"] })).toContain('cluster.address = "127.0.0.1:0": is loopback');
    expect(() => loadConfig({ ...flags, peer: ["z1=127.0.0.1:7000"] }, {})).not.toThrow();
    const apart = { peer: ["z1=10.0.0.1:7000"], clusterAddress: "10.0.0.1:7001" };
    expect(() => loadConfig({ ...flags, ...apart, privateNetwork: true }, {})).not.toThrow();
    expect(failure({ peer: ["nonsense"] })).toContain("has nonsense, but not z1");
    expect(failure({ cluster: "http://x" })).toContain("must be s3://bucket/prefix");
    const file = join(mkdtempSync(join(tmpdir(), "jade-cluster-")), "jade.yaml");
    writeFileSync(file, "storage: { blobStore: disk }\n");
    expect(failure({ config: file })).toContain("leaders move between machines");
  });

  it("[CL-125] lets nothing pass unencrypted between machines unless the operator says that their network is private", () => {
    const apart = (clusterAddress: string, more: object = {}) => ({
      peer: ["z1=10.0.0.1:7000"],
      clusterAddress,
      ...more,
    });
    expect(failure(apart("10.0.0.1:7001"))).toContain("signed but not encrypted: say --private-network");
    const behind = apart("0.0.0.0:7001", { clusterAdvertise: "10.0.0.1:7001" });
    expect(failure(behind)).toContain("cluster.advertise");
    for (const address of ["203.0.113.7:7001", "[2001:4860::1]:7001"])
      expect(failure(apart(address, { privateNetwork: true })), address).toContain("is a public address");
    for (const address of ["100.64.0.1:7001", "[fd00::1]:7001", "z1.jade:7001"])
      expect(() => loadConfig({ ...flags, ...apart(address, { privateNetwork: true }) }, {}), address).not.toThrow();
    const { config } = loadConfig(flags, {});
    const good = { JADE_ROOT_KEY: "r".repeat(32), JADE_CLUSTER_KEY: "k".repeat(32), AWS_CREDENTIALS_FILE: "/keys" };
    const judged = (env: NodeJS.ProcessEnv, privateNetwork = false) => {
      const given = { ...config, cluster: { ...config.cluster, privateNetwork } };
      return environmentProblems(given, { ...good, ...env }).map(({ field }) => field);
    };
    expect(judged({})).toEqual([]);
    const http = { AWS_ENDPOINT_URL: "http://10.0.0.9:9000" };
    expect([judged(http), judged(http, true)]).toEqual([["AWS_ENDPOINT_URL"], []]);
    for (const url of ["http://127.0.0.1:9000", "http://[::1]:9000", "https://s3.example"])
      expect(judged({ AWS_ENDPOINT_URL: url }), url).toEqual([]);
    expect(judged({ AWS_ENDPOINT_URL: "s3.example" })).toEqual(["AWS_ENDPOINT_URL"]);
    const secret = "short secret";
    const nothing = { JADE_ROOT_KEY: "", JADE_CLUSTER_KEY: secret, AWS_CREDENTIALS_FILE: "" };
    expect(judged(nothing)).toEqual([
      ...["JADE_ROOT_KEY", "JADE_CLUSTER_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
    ]);
    expect(JSON.stringify(environmentProblems(config, { ...good, ...nothing }))).not.toContain(secret);
    expect(environmentProblems(loadConfig({}, {}).config, {})).toEqual([]);
  });

  it("[CL-127] listens for its peers where it is told to, whatever they call it", () => {
    const peer = ["z1=a.jade:8700", "z2=b.jade:8700"];
    const given = { cluster: flags.cluster, peer, clusterAddress: "0.0.0.0:8701", privateNetwork: true };
    const { config } = loadConfig({ ...given, peerListen: "0.0.0.0:8700" }, {});
    expect(config.cluster).toMatchObject({ listen: "0.0.0.0:8700", peers: { z1: "a.jade:8700" } });
    expect(failure({ peerListen: "0.0.0.0:8700" })).toContain("needs host:port for this instance's zone z1");
    expect(failure({ ...given, peerListen: "8700" })).toContain("must be host:port");
  });

  it("[CL-126] a port that instances share is theirs together, beside each one's own", () => {
    expect(failure({ sharedPort: "9000", port: "9000" })).toContain("is server.port, which is this instance's alone");
    expect(() => loadConfig({ ...flags, sharedPort: "9000", port: "9001" }, {})).not.toThrow();
    const shared = loadConfig({ ...flags, sharedPort: "9000", port: "9001" }, {}).config;
    expect(serveProblems(shared, {}, "20.20.2").map(({ field }) => field)).toEqual(["server.sharedPort"]);
    expect(failure({ cluster: undefined, peer: undefined, sharedPort: "9000" })).toContain("needs cluster.bucket");
    expect(configOf("zone", "127.0.0.1:9000")).toContain('(name = "shared", address = "127.0.0.1:9000", http = ()');
    for (const role of ["zone", "leaders"] as const) expect(configOf(role)).not.toContain('"shared"');
  });

  it("[CL-5] needs the root key or its hash, and a long enough key of the cluster", () => {
    const JADE_CLUSTER_KEY = "k".repeat(32);
    const JADE_ROOT_KEY_HASH = "AB".repeat(32);
    expect(clusterIdentity({ JADE_CLUSTER_KEY, JADE_ROOT_KEY_HASH }).rootKeyHash).toBe("ab".repeat(32));
    expect(clusterIdentity({ JADE_CLUSTER_KEY, JADE_ROOT_KEY: "jdb.root.test" }).rootKeyHash).toBe(
      "45295b3fee2dd2e0eacf099132df6fc1d984876a49901a6c83afa5533cbf696e",
    );
    expect(() => clusterIdentity({ JADE_CLUSTER_KEY })).toThrow("JADE_ROOT_KEY is not set");
    expect(() => clusterIdentity({ JADE_CLUSTER_KEY, JADE_ROOT_KEY_HASH: "key" })).toThrow("is not a SHA-256");
    expect(() => clusterIdentity({ JADE_ROOT_KEY_HASH })).toThrow("JADE_CLUSTER_KEY is not set");
    expect(() => clusterIdentity({ JADE_ROOT_KEY_HASH, JADE_CLUSTER_KEY: "short" })).toThrow("has 5 characters");
  });

  it("[CL-8] the data of a single node and of an instance are told apart", () => {
    const [single, instance] = ["single", "instance"].map(() => prepareDataDir(mkdtempSync(join(tmpdir(), "jade-"))));
    mkdirSync(join(single!.objects, "jade-directory"));
    mkdirSync(instance!.leaders);
    expect(() => assertNoSingleNode(single!)).toThrow("is of a single node");
    expect(() => assertNoInstance(single!)).not.toThrow();
    expect(() => assertNoInstance(instance!)).toThrow("is of an instance of a cluster");
    expect(() => assertNoSingleNode(instance!)).not.toThrow();
  });
});
