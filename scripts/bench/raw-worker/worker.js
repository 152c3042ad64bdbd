// The baseline `raw` of every key-value benchmark: an object that does one SQL upsert per HTTP request. Nothing else.
// PUT /<key> with the value as the body; POST /preload?count=N&bytes=B fills the table in one commit.
// GET /hop does the RPC and nothing else: the bound of every HTTP request that reaches an object.
// Its form (one RPC from the Worker, an ordinary table) is that of the spike from which the targets were taken.
import { DurableObject } from "cloudflare:workers";

const UPSERT = "INSERT INTO kv (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

export class Raw extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL)");
  }

  put(key, value) {
    this.ctx.storage.sql.exec(UPSERT, key, value);
    return 1;
  }

  hop() {
    return 1;
  }

  preload(count, bytes) {
    const value = new Uint8Array(bytes).fill(120);
    for (let i = 0; i < count; i++) this.ctx.storage.sql.exec(UPSERT, `live-${i}`, value);
  }
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const raw = env.RAW.get(env.RAW.idFromName("raw"));
    if (request.method === "GET") await raw.hop();
    else if (request.method === "POST")
      await raw.preload(Number(searchParams.get("count")), Number(searchParams.get("bytes")));
    else await raw.put(pathname.slice(1), new Uint8Array(await request.arrayBuffer()));
    return new Response("ok");
  },
};
