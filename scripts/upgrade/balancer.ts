// What stands in front of a cluster in production: new connections go to instances that are ready and not taken out. Connections stay as they are.
// Must not: look at what passes, or send anything twice.
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

const LOOK_EVERY_MS = 100;
const ANSWER_MS = 2000;

export class Balancer {
  readonly #urls: ReadonlyMap<string, string>;
  readonly #ready = new Set<string>();
  readonly #out = new Set<string>();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;

  constructor(urls: ReadonlyMap<string, string>) {
    this.#urls = urls;
    this.#server = createServer((socket) => this.#pass(socket));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.#timer = setInterval(() => void this.#look(), LOOK_EVERY_MS);
    await this.#look();
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** No new connections; those that are there stay. */
  takeOut(name: string): void {
    this.#out.add(name);
  }

  putBack(name: string): void {
    this.#out.delete(name);
  }

  async #look(): Promise<void> {
    const look = async ([name, url]: readonly [string, string]): Promise<void> => {
      const response = await fetch(`${url}/v1/ready`, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(
        () => undefined,
      );
      await response?.arrayBuffer().catch(() => undefined);
      if (response?.ok) this.#ready.add(name);
      else this.#ready.delete(name);
    };
    await Promise.all([...this.#urls].map(look));
  }

  #pass(socket: Socket): void {
    const there = [...this.#ready].filter((name) => !this.#out.has(name));
    const name = there[this.#turn++ % Math.max(1, there.length)];
    if (name === undefined) return void socket.destroy();
    const { hostname, port } = new URL(this.#urls.get(name)!);
    const behind = connect({ host: hostname, port: Number(port), noDelay: true });
    this.#sockets.add(socket);
    socket.setNoDelay(true).on("error", () => behind.destroy());
    socket.once("close", () => {
      this.#sockets.delete(socket);
      behind.destroy();
    });
    behind.on("error", () => socket.destroy()).on("close", () => socket.destroySoon());
    behind.pipe(socket).pipe(behind);
  }
}
