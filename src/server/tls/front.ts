// Ends TLS in front of a server that speaks plain HTTP on this machine: bytes in, bytes out, so sessions and streams pass as they are.
// Guarantees: no byte passes before the handshake is over, and that takes a bounded time; a renewed certificate serves the next connection
// without ending one. Must not: look at what passes.
import { type AddressInfo, connect, type Socket } from "node:net";
import { createServer, type Server } from "node:tls";
import { type CertificateFiles, keepCertificate, readCertificate } from "./certificate.ts";
import { ACCEPT_BACKLOG, HANDSHAKE_MS, KEEP_ALIVE_MS, STOP_MS } from "./limits.ts";

export interface Listen {
  readonly host: string;
  readonly port: number;
  /** Other processes listen on the port too. */
  readonly reusePort?: boolean | undefined;
}

export interface TlsFrontOptions {
  /** Of the server behind, on loopback. */
  readonly behind: { readonly host: string; readonly port: number };
  readonly listens: readonly Listen[];
  readonly files: CertificateFiles;
  readonly everyMs?: number;
}

export class TlsFront {
  readonly #options: TlsFrontOptions;
  readonly #servers: readonly Server[];
  readonly #sockets = new Set<Socket>();
  readonly #ends: (() => void)[] = [];

  /** @throws BadCertificate */
  constructor(options: TlsFrontOptions, report: (line: string) => void) {
    this.#options = options;
    const { cert, key } = readCertificate(options.files);
    const { files, everyMs } = options;
    this.#servers = options.listens.map(() => {
      const settings = { minVersion: "TLSv1.2", ALPNProtocols: ["http/1.1"], handshakeTimeout: HANDSHAKE_MS } as const;
      const tcp = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
      const server = createServer({ cert, key, ...settings, ...tcp }, (socket) => this.#pass(socket));
      // A client that does not trust the certificate, speaks no TLS or takes too long.
      server.on("tlsClientError", (_, socket) => socket.destroy());
      return server;
    });
    // Both would tell the same.
    const users = {
      setSecureContext: (pair: object): void => {
        for (const server of this.#servers) server.setSecureContext(pair);
      },
    };
    this.#ends.push(keepCertificate(files, users, { report, ...(everyMs === undefined ? {} : { everyMs }) }));
  }

  /** Gives the ports. */
  listen(): Promise<readonly number[]> {
    return Promise.all(this.#servers.map((server, index) => this.#listen(server, this.#options.listens[index]!)));
  }

  #listen(server: Server, { host, port, reusePort = false }: Listen): Promise<number> {
    const at = { host: host.replace(/^\[(.*)\]$/, "$1"), port, reusePort, backlog: ACCEPT_BACKLOG };
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(at, () => {
        server.off("error", reject);
        resolve((server.address() as AddressInfo).port);
      });
    });
  }

  #pass(socket: Socket): void {
    const behind = connect({ ...this.#options.behind, noDelay: true });
    this.#sockets.add(socket);
    socket
      .on("error", () => behind.destroy())
      .once("close", () => {
        this.#sockets.delete(socket);
        behind.destroy();
      });
    behind.on("error", () => socket.destroy()).on("close", () => socket.destroySoon());
    behind.pipe(socket).pipe(behind);
  }

  /** Takes no more; what passes may end by itself for a while. */
  async stop(): Promise<void> {
    for (const end of this.#ends) end();
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, STOP_MS);
    await Promise.all(closed);
    clearTimeout(timer);
  }
}
