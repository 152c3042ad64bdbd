// The front that ends TLS, before a plain HTTP server; certificates by openssl.
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { request } from "node:https";
import { type AddressInfo, connect as connectPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type CertificateFiles, readCertificate } from "./certificate.ts";
import { TlsFront } from "./front.ts";
import { hasOpenssl, selfSigned } from "./test-certificates.ts";

const directory = mkdtempSync(join(tmpdir(), "jade-tls-"));
let first: CertificateFiles;
let second: CertificateFiles;
let behind: Server;
const fronts: TlsFront[] = [];
const said: string[] = [];

beforeAll(async () => {
  if (!hasOpenssl()) return;
  first = selfSigned(directory, "first");
  second = selfSigned(directory, "second");
  behind = createServer((asked, response) => void asked.pipe(response));
  await new Promise<void>((resolve) => behind.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  said.length = 0;
  await Promise.all(fronts.splice(0).map((front) => front.stop()));
});
afterAll(() => {
  behind?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Files of its own, so that they can be renewed. */
async function started(name: string): Promise<{ port: number; files: CertificateFiles }> {
  const files = { certFile: join(directory, `${name}.live.pem`), keyFile: join(directory, `${name}.live.key`) };
  copyFileSync(first.certFile, files.certFile);
  copyFileSync(first.keyFile, files.keyFile);
  const { port } = behind.address() as AddressInfo;
  const listens = [{ host: "127.0.0.1", port: 0 }];
  const place = { behind: { host: "127.0.0.1", port }, listens, files, everyMs: 10 };
  const front = new TlsFront(place, (line) => said.push(line));
  fronts.push(front);
  return { port: (await front.listen())[0]!, files };
}

const trusted = (): Buffer[] => [first, second].map(({ certFile }) => readFileSync(certFile));

function post(port: number, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: "127.0.0.1", port, ca: trusted(), method: "POST", agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part: string) => (text += part));
      answer.on("end", () => resolve(text)).on("error", reject);
    });
    asking.on("error", reject).end(body);
  });
}

function connected(port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, ca: trusted() }, () => resolve(socket)).once("error", reject);
  });
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await isTrue())) {
    if (performance.now() > end) throw new Error(`it did not come to it; said: ${said.join("; ")}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function nameShown(port: number): Promise<string> {
  const socket = await connected(port);
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

describe.skipIf(!hasOpenssl())("the TLS front (skipped where openssl is not installed)", () => {
  it("[GW-22] carries requests both ways, a mebibyte too; who speaks no TLS gets nothing", async () => {
    const { port } = await started("carries");
    for (const body of ["hello", "x".repeat(1024 * 1024)]) expect(await post(port, body)).toBe(body);
    const plain = await new Promise<string>((resolve) => {
      let got = "";
      const socket = connectPlain(port, "127.0.0.1", () => void socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
      socket.on("data", (bytes) => (got += bytes.toString("latin1")));
      socket.on("error", () => undefined).on("close", () => resolve(got));
    });
    expect(plain).not.toContain("HTTP");
  });

  it("[GW-23] a renewed certificate serves the next connection and ends none; a pair that does not fit changes nothing", async () => {
    const { port, files } = await started("renewed");
    const open = await connected(port);
    expect(await nameShown(port)).toBe("first");
    const put = (from: string, to: string): void => {
      copyFileSync(from, `${to}.new`);
      renameSync(`${to}.new`, to);
    };
    put(second.certFile, files.certFile);
    await until(() => said.some((line) => line.includes("stays as it was")));
    expect(await nameShown(port)).toBe("first");
    put(second.keyFile, files.keyFile);
    await until(() => said.some((line) => line.includes("was read again")));
    expect(await nameShown(port)).toBe("second");
    const answered = new Promise<string>((resolve) => open.once("data", (bytes) => resolve(bytes.toString())));
    open.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nping");
    expect(await answered).toContain("200 OK");
    open.destroy();
  });

  it("[GW-23] says which file is wrong", () => {
    const judged = (files: CertificateFiles): string => {
      try {
        readCertificate(files);
      } catch (error) {
        return `${(error as { file: string }).file}: ${(error as Error).message}`;
      }
      return "good";
    };
    const nothing = join(directory, "nothing.pem");
    writeFileSync(nothing, "nothing");
    expect(judged(first)).toBe("good");
    expect(judged({ ...first, certFile: nothing })).toBe("cert: is no PEM certificate");
    expect(judged({ ...first, keyFile: nothing })).toBe("key: is no PEM private key without password");
    expect(judged({ ...first, keyFile: second.keyFile })).toBe(`key: is not the key of ${first.certFile}`);
    expect(judged({ ...first, keyFile: "/no/such" })).toContain("key: cannot be read: ENOENT");
  });
});
