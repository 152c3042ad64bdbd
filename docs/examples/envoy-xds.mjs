// A configuration source for proxies that ask as Envoy does (xDS as JSON over HTTP): resources of a watched prefix, in snapshots of one
// version, answered when they are newer than what the proxy has; a nonce for each answer; a refusal (NACK) noted, the last good version kept.
// Shows: config.cached over a prefix, its revision as the version of a snapshot, a transaction that changes clusters and routes at once.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/envoy-xds.mjs
import { once } from "node:events";
import { createServer } from "node:http";
import { configOp, JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-xds");
const HOLD_MS = 10_000;
/** Path of a request → type of its resources, and where they are. */
const TYPES = {
  "/v3/discovery:clusters": { typeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster", prefix: "xds/clusters/" },
  "/v3/discovery:routes": {
    typeUrl: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    prefix: "xds/routes/",
  },
};

/** The server: holds what is below `xds/`, and answers polls when there is something newer. */
async function openSource() {
  const resources = await config.cached({ prefix: "xds/" });
  const refusals = [];
  let lastNonce = 0;

  const answer = ({ typeUrl, prefix }, { resource_names: names = [] }) => {
    const found = [...resources.entries()].filter(({ key }) => key.startsWith(prefix));
    const wanted = found.filter(({ value }) => names.length === 0 || names.includes(value.name));
    return {
      // One for all types: what is held is the state of one revision, so clusters and routes of a version fit together.
      version_info: String(resources.revision),
      resources: wanted.map(({ value }) => ({ "@type": typeUrl, ...value })),
      type_url: typeUrl,
      nonce: String(++lastNonce),
    };
  };

  const server = createServer(async (request, response) => {
    const type = TYPES[request.url];
    const chunks = await request.toArray();
    if (!type || request.method !== "POST") return void response.writeHead(404).end();
    const asked = JSON.parse(Buffer.concat(chunks).toString());
    if (asked.error_detail) refusals.push({ version: asked.version_info, why: asked.error_detail.message });
    const endMs = performance.now() + HOLD_MS;
    // A proxy that has refused a version is given the next one, not the same again.
    const seen = Math.max(Number(asked.version_info || 0), Number(asked.refused_version || 0));
    for (;;) {
      const revision = resources.revision;
      const current = answer(type, asked);
      if (Number(current.version_info) > seen) {
        return void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(current));
      }
      const leftMs = endMs - performance.now();
      if (leftMs <= 0 || response.destroyed) return void response.writeHead(304).end();
      await Promise.race([resources.atLeast(revision + 1), new Promise((resolve) => setTimeout(resolve, leftMs))]);
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.close();
    server.closeAllConnections();
    resources.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, refusals, close };
}

/** A proxy: takes what is well formed, refuses the rest and keeps what it has. */
class EnvoyProxy {
  version = "";
  resources = [];
  nonces = new Set();
  #url;
  #refused = "";
  #error;

  constructor(url) {
    this.#url = url;
  }

  async poll(path) {
    const body = JSON.stringify({
      version_info: this.version,
      node: { id: "proxy-1" },
      refused_version: this.#refused,
      error_detail: this.#error,
    });
    this.#error = undefined;
    const response = await fetch(this.#url + path, { method: "POST", body });
    if (response.status !== 200) return;
    const { version_info, resources, nonce } = await response.json();
    this.nonces.add(nonce);
    const bad = resources.find(({ name }) => typeof name !== "string");
    if (bad) {
      this.#refused = version_info;
      this.#error = { message: "a resource has no name" };
      return;
    }
    this.version = version_info;
    this.resources = resources;
  }
}

const cluster = (name, port) => ({ name, type: "STRICT_DNS", hosts: [{ address: `${name}.local`, port }] });
const route = (name, to) => ({
  name,
  virtual_hosts: [{ name, domains: ["*"], routes: [{ prefix: "/", cluster: to }] }],
});

await config.deleteRange({ prefix: "xds/" });
await config.put("xds/clusters/web", cluster("web", 8080));
await config.put("xds/routes/main", route("main", "web"));
const source = await openSource();
const clusters = new EnvoyProxy(source.url);
const routes = new EnvoyProxy(source.url);
await Promise.all([clusters.poll("/v3/discovery:clusters"), routes.poll("/v3/discovery:routes")]);
const first = { clusters: clusters.resources.length, routes: routes.resources.length };

// Both wait for what is newer; one transaction adds a cluster and sends the traffic there.
const beganMs = performance.now();
const waiting = Promise.all([clusters.poll("/v3/discovery:clusters"), routes.poll("/v3/discovery:routes")]);
await config
  .txn()
  .onSuccess(
    configOp.put("xds/clusters/canary", cluster("canary", 8081)),
    configOp.put("xds/routes/main", route("main", "canary")),
  )
  .commit();
await waiting;
const pushMs = Math.round(performance.now() - beganMs);
const target = routes.resources[0].virtual_hosts[0].routes[0].cluster;
const isWhole = clusters.version === routes.version && clusters.resources.some(({ name }) => name === target);

// A mistake: the proxy refuses it, goes on with what it has, and takes the correction.
await config.put("xds/clusters/broken", { type: "STATIC" });
await clusters.poll("/v3/discovery:clusters");
const kept = clusters.resources.length;
const correcting = clusters.poll("/v3/discovery:clusters");
await config.put("xds/clusters/broken", cluster("mended", 8082));
await correcting;
const nonces = clusters.nonces.size;
const results = {
  first,
  isWhole,
  target,
  kept,
  refusals: source.refusals.length,
  now: clusters.resources.length,
  nonces,
};
console.log(JSON.stringify({ ...results, pushMs }));
source.close();
client.close();
