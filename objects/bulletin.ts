// The entrypoint by which a supervisor tells its processes what the cluster agreed on, and that they are about to be stopped.
// Guarantees: what the zone's process is told stays in its memory and wakes no object; what leaders are told goes to the Directory.
// Must not: be reachable by anyone but the supervisor: it listens in a directory that only its user enters.
import { WorkerEntrypoint } from "cloudflare:workers";
import { toldShape, viewShape } from "../src/cluster/told.ts";
import type { Env } from "./env.ts";
import { leave } from "./leaving.ts";
import { reach } from "./reach.ts";
import type { DirectoryAdminRpc } from "./tenancy-rpc.ts";
import { hear } from "./told.ts";

export class Bulletin extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/leave") {
      await leave(reach(this.env));
      return new Response(null, { status: 204 });
    }
    const body: unknown = await request.json();
    if (pathname === "/told") hear(toldShape.parse(body));
    else if (pathname === "/view") {
      const objects = this.env.DIRECTORY;
      await (objects.get(objects.idFromName("system")) as DirectoryAdminRpc).noteView(viewShape.parse(body));
    } else return new Response(null, { status: 404 });
    return new Response(null, { status: 204 });
  }
}
