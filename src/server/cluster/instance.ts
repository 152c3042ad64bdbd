// The two processes of an instance as one: started together, restarted apart, stopped in the order that loses least.
// Guarantees: the zone's process starts and serves whether or not the leaders' comes up; at a stop it ends first, while its requests still
// reach leaders here; then the leaders' process hands its objects over and ends.
import type { Supervisor } from "../supervisor.ts";

export class Instance {
  readonly #zone: Supervisor;
  readonly #leaders: Supervisor;
  #leadersEnded: Promise<number> = Promise.resolve(0);
  #stopRequests = 0;

  constructor({ zone, leaders }: { readonly zone: Supervisor; readonly leaders: Supervisor }) {
    this.#zone = zone;
    this.#leaders = leaders;
  }

  /** As {@link Supervisor.start} of the zone's process. */
  async start(): Promise<number | undefined> {
    this.#leadersEnded = this.#leaders.keep();
    try {
      return await this.#zone.start();
    } catch (error) {
      this.#leaders.stop();
      await this.#leadersEnded;
      throw error;
    }
  }

  async run(): Promise<number> {
    const exitCode = await this.#zone.run();
    this.#leaders.stop();
    await this.#leadersEnded;
    return exitCode;
  }

  /** The first call asks politely, the second does not. */
  stop(): void {
    this.#stopRequests += 1;
    this.#zone.stop();
    if (this.#stopRequests > 1) this.#leaders.stop();
  }
}
