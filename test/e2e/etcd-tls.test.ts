// The gRPC listener with TLS, and hostile bytes on it.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { join } from "node:path";
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningServer } from "../../scripts/lib/server-process.mjs";
import { KEYSPACE_METHODS } from "../../src/etcd/methods.ts";
import { SERVICE_METHODS } from "../../src/etcd/services.ts";
import { etcdctl } from "./etcd/etcdctl.ts";
import { startWithGrpc } from "./etcd/grpc-front.ts";
import { whyNoEtcd } from "./etcd/real-etcd.ts";
import { removeDir, temporaryDir } from "./serve-process.ts";

const dir = temporaryDir();
const file = (name: string): string => join(dir, name);

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { cwd: dir, stdio: "ignore" });
}

function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return true;
  } catch {
    return false; // the tests say so
  }
}

/** An authority, and a certificate of it for 127.0.0.1 and for clients. */
function makeCertificates(): void {
  const subject = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=jade test"];
  openssl("req", "-x509", ...subject, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2");
  openssl("req", ...subject, "-keyout", "key.pem", "-out", "request.pem", "-addext", "subjectAltName=IP:127.0.0.1");
  const signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-copy_extensions", "copy"];
  openssl("x509", "-req", "-in", "request.pem", ...signing, "-out", "cert.pem");
}

afterAll(() => removeDir(dir));

describe.skipIf(!hasOpenssl())("TLS (skipped where openssl is not installed)", () => {
  let server: RunningServer;
  let url = "";

  beforeAll(async () => {
    makeCertificates();
    const tls = ["--grpc-cert", file("cert.pem"), "--grpc-key", file("key.pem"), "--grpc-client-ca", file("ca.pem")];
    const started = await startWithGrpc(tls);
    server = started.server;
    url = `https://${started.grpc}`;
  });
  afterAll(() => server?.dispose());

  it("[CF-70] a client with a certificate of the authority is served, one without is not", async () => {
    const [rootCertificate, privateKey, certChain] = ["ca.pem", "key.pem", "cert.pem"].map((name) =>
      readFileSync(file(name)),
    );
    const client = new Etcd3({ hosts: url, credentials: { rootCertificate, privateKey, certChain } as never });
    await client.put("tls").value("yes");
    expect(await client.get("tls").string()).toBe("yes");
    client.close();
    const stranger = new Etcd3({ hosts: url, credentials: { rootCertificate } as never });
    await expect(stranger.get("tls").string()).rejects.toThrow();
    stranger.close();
    const plain = new Etcd3({ hosts: url.replace("https:", "http:") });
    await expect(plain.get("tls").string()).rejects.toThrow();
    plain.close();
  });

  it.skipIf(whyNoEtcd() !== undefined)("[CF-70] etcdctl with --cacert, --cert and --key, by URL too", async () => {
    const tls = ["--cacert", file("ca.pem"), "--cert", file("cert.pem"), "--key", file("key.pem")];
    expect(await etcdctl(url, [...tls, "put", "a", "b"])).toMatchObject({ code: 0, stdout: "OK\n" });
    expect((await etcdctl(url, [...tls, "endpoint", "status", "--cluster"])).stdout).toContain(url);
  });
});

describe("hostile bytes", () => {
  let server: RunningServer;
  let session: ClientHttp2Session;
  let url = "";

  beforeAll(async () => {
    const started = await startWithGrpc();
    server = started.server;
    url = `http://${started.grpc}`;
    session = connect(url);
  });
  afterAll(async () => {
    session?.destroy();
    await server?.dispose();
  });

  function send(path: string, body: Buffer, more: Record<string, string> = {}): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...more };
      const stream = session.request(headers);
      let status = "none";
      const note = (got: Record<string, unknown>): void => {
        if (got["grpc-status"] !== undefined) status = String(got["grpc-status"]);
      };
      stream.on("response", note).on("trailers", note).on("error", reject).resume();
      stream.on("close", () => resolve(status));
      stream.end(body);
    });
  }

  it("[CF-61] a call without a token that a proxy sent on is refused", async () => {
    const message = Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x61]);
    expect(await send("/etcdserverpb.KV/Range", message)).toBe("0");
    for (const name of ["x-forwarded-for", "via", "forwarded", "origin"])
      expect(await send("/etcdserverpb.KV/Range", message, { [name]: "elsewhere" }), name).toBe("7");
  });

  /** A number or some bytes under a field number that messages have. */
  function fieldOf(random: (below: number) => number): readonly number[] {
    const tag = (1 + random(8)) << 3;
    if (random(2) === 0) return [tag, random(128)];
    const bytes = Array.from({ length: random(6) }, () => random(256));
    return [tag | 2, bytes.length, ...bytes];
  }

  it("[CF-63] random messages to every method end in a status, and the front goes on", async () => {
    const waiting = new Set(["/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign"]);
    const methods = [...KEYSPACE_METHODS, ...SERVICE_METHODS].map(({ rpc }) => rpc).filter((rpc) => !waiting.has(rpc));
    let state = 12345;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    const statuses = new Map<string, number>();
    for (let round = 0; round < 40; round++) {
      const answers = methods.map((rpc) => {
        const fields = Array.from({ length: random(4) }, () => fieldOf(random));
        const message = Buffer.from(fields.flat().map((byte) => (random(40) ? byte : random(256))));
        const head = Buffer.from([random(20) ? 0 : 1, 0, 0, 0, random(20) ? message.length : random(256)]);
        return send(rpc, Buffer.concat([head, message]));
      });
      for (const status of await Promise.all(answers)) statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    expect(statuses.get("none")).toBeUndefined();
    // 2 = unknown, 14 = unavailable, 15 = data lost: nothing that a message may cause.
    for (const fault of ["2", "14", "15"]) expect(statuses.get(fault), fault).toBeUndefined();
    for (const status of ["0", "3", "13"]) expect(statuses.get(status), status).toBeGreaterThan(20);
    const client = new Etcd3({ hosts: url });
    await client.put("still").value("here");
    expect(await client.get("still").string()).toBe("here");
    client.close();
  });
});
