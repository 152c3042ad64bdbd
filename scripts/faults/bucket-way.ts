// The instances' way to the bucket (bucket-front.ts), and what can be done on it.
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { root } from "../lib/root.mjs";

const TRICK_MS = 30_000;

/** Done to the next PUT whose path matches, once. */
export type Trick = { readonly path: string } & (
  | { readonly kind: "fail" | "reset" }
  | { readonly kind: "hold"; readonly forMs: number }
);

export type ToFront =
  | { readonly kind: "listen"; readonly to: string; readonly host: string; readonly zones: readonly string[] }
  | { readonly kind: "latency"; readonly ms: number }
  | { readonly kind: "trick"; readonly trick: Trick };

export type Told =
  | { readonly kind: "listening"; readonly ports: Readonly<Record<string, number>> }
  | { readonly kind: "did"; readonly zone: string; readonly path: string };

export class BucketWay {
  readonly #process: ChildProcess;
  readonly #host: string;
  #ports: Readonly<Record<string, number>> = {};

  private constructor(host: string) {
    this.#host = host;
    this.#process = fork(join(root, "scripts/faults/bucket-front.ts"), { execArgv: [] });
  }

  /** `to`: the bucket's address; `host`: where the instances reach this. */
  static async open(to: string, host: string, zones: readonly string[]): Promise<BucketWay> {
    const way = new BucketWay(host);
    const listening = way.#told("listening");
    way.#say({ kind: "listen", to, host, zones });
    const told = await listening;
    if (told.kind === "listening") way.#ports = told.ports;
    return way;
  }

  get pid(): number {
    return this.#process.pid!;
  }

  endpoint(zone: string): string {
    return `http://${this.#host}:${this.#ports[zone]}`;
  }

  #say(message: ToFront): void {
    this.#process.send(message);
  }

  #told(kind: Told["kind"]): Promise<Told> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#process.off("message", hear);
      };
      const hear = (message: Told): void => {
        if (message.kind !== kind) return;
        end();
        resolve(message);
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`the front of the bucket did not tell "${kind}" within ${TRICK_MS / 1000} s`));
      }, TRICK_MS);
      this.#process.on("message", hear);
    });
  }

  /** Of every request, before it goes on. */
  delay(ms: number): void {
    this.#say({ kind: "latency", ms });
  }

  /** Resolves when it is done, or begun: to whose PUT of what. */
  async play(trick: Trick): Promise<{ readonly zone: string; readonly path: string }> {
    const did = this.#told("did");
    this.#say({ kind: "trick", trick });
    const told = await did;
    if (told.kind !== "did") throw new Error(`the front of the bucket told "${told.kind}"`);
    return told;
  }

  close(): void {
    this.#process.kill("SIGKILL");
  }
}
