// The place where the Coordinator's sessions meet the vector databases. Which shards a call concerns is the gateway's to know, and objects do not
// import the gateway: worker.ts brings the two together.
import type { RateGate, RateSubject } from "../src/access/rate-gate.ts";
import type { Caller } from "../src/access/types.ts";
import type { SessionAnswer, SessionRequest } from "../src/wire/session.ts";
import type { Env } from "./env.ts";

/** One call of wire/vector-session.ts. */
export interface SessionVectorCall {
  readonly caller: Caller;
  readonly request: SessionRequest;
  /** Whose rate pays for more than the one request that is paid; undefined = unlimited. */
  readonly rate: RateSubject | undefined;
  readonly done: (answer: SessionAnswer) => void;
}

export interface SessionVectors {
  submit(call: SessionVectorCall): void;
}

/** What the Coordinator gives. */
export interface SessionVectorsHost {
  readonly env: Env;
  readonly rates: RateGate;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** Runs once, after what is being handled now. */
  readonly schedule: (run: () => void) => void;
  readonly report: (delta: Record<string, number>) => Promise<void>;
}

let make: ((host: SessionVectorsHost) => SessionVectors) | undefined;

export function provideSessionVectors(factory: (host: SessionVectorsHost) => SessionVectors): void {
  make = factory;
}

export function sessionVectors(host: SessionVectorsHost): SessionVectors {
  if (!make) throw new Error("nobody provides vectors over sessions");
  return make(host);
}
