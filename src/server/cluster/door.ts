// Stands at the gateway's port while its process is away, and answers 503 with Retry-After: nothing was done, ask again or elsewhere.
// The process is given the listening socket itself, so that from its start on no connection is refused.
// Guarantees: at most one of both answers a connection; the port stays the same. Must not: pass anything on.
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ERROR_CODES } from "../../wire/error-codes.ts";

const RETRY_AFTER_SECONDS = 1;
/** Connections that wait to be accepted, while the process starts. */
const BACKLOG = 4096;

function refuse(response: ServerResponse): void {
  const { status, category, retryable } = ERROR_CODES.unavailable;
  const message = "the process that serves this port is being restarted; nothing was done";
  const body = { status: "error", code: "unavailable", message, details: {}, category, retryable };
  const text = JSON.stringify({ ...body, timestamp: new Date().toISOString() });
  // Closed, so that the next request does not find this connection again.
  const headers = {
    "content-type": "application/json",
    "retry-after": String(RETRY_AFTER_SECONDS),
    connection: "close",
  };
  response.writeHead(status, headers).end(text);
}

interface DoorPlace {
  readonly host: string;
  readonly port: number;
  /** Others listen there too. */
  readonly reusePort?: boolean;
}

export class Door {
  readonly #host: string;
  readonly #reusePort: boolean;
  #port: number;
  #server: Server | undefined;
  #isShut = false;

  constructor({ host, port, reusePort = false }: DoorPlace) {
    this.#reusePort = reusePort;
    this.#host = host.replace(/^\[(.*)\]$/, "$1");
    this.#port = port;
  }

  /** Resolves when it listens. One that stands there already stays. */
  async come(): Promise<void> {
    if (this.#server || this.#isShut) return;
    const server = createServer((_, response) => refuse(response));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: this.#host, port: this.#port, reusePort: this.#reusePort, backlog: BACKLOG }, resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
    if (this.#isShut) this.go();
  }

  /** The listening socket, to be inherited; undefined = it is not here, or this Node does not tell. */
  get descriptor(): number | undefined {
    // Not a documented member, and the only way to a listening socket's number. Without it the process listens by itself.
    const handle = (this.#server as unknown as { readonly _handle?: { readonly fd?: number } } | undefined)?._handle;
    return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
  }

  /** The process listens. */
  go(): void {
    this.#server?.close();
    this.#server?.closeIdleConnections();
    this.#server = undefined;
  }

  /** For good: whoever asks now is to go elsewhere. */
  shut(): void {
    this.#isShut = true;
    this.go();
  }
}
