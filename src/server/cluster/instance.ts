// The processes of an instance as one: started together, restarted apart, stopped in the order that loses least.
// Guarantees: the process with the gateway starts and serves whether or not the others come up; at a stop it ends first, while its requests
// still reach them; then they end (leaders hand their objects over).
import type { Supervisor } from "../supervisor.ts";

export interface InstanceProcesses {
  /** Of a zone, or the one of a single node. */
  readonly gateway: Supervisor;
  /** The leaders', and the one that runs models. */
  readonly others: readonly Supervisor[];
}

export class Instance {
  readonly #gateway: Supervisor;
  readonly #others: readonly Supervisor[];
  #othersEnded: Promise<unknown> = Promise.resolve();
  #stopRequests = 0;

  constructor({ gateway, others }: InstanceProcesses) {
    this.#gateway = gateway;
    this.#others = others;
  }

  /** As {@link Supervisor.start} of the gateway's process. */
  async start(): Promise<number | undefined> {
    this.#othersEnded = Promise.all(this.#others.map((other) => other.keep()));
    try {
      return await this.#gateway.start();
    } catch (error) {
      await this.#stopOthers();
      throw error;
    }
  }

  async run(): Promise<number> {
    const exitCode = await this.#gateway.run();
    await this.#stopOthers();
    return exitCode;
  }

  async #stopOthers(): Promise<void> {
    for (const other of this.#others) other.stop();
    await this.#othersEnded;
  }

  /** The first call asks politely, the second does not. */
  stop(): void {
    this.#stopRequests += 1;
    this.#gateway.stop();
    if (this.#stopRequests > 1) for (const other of this.#others) other.stop();
  }
}
