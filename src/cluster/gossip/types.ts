// What instances tell each other about who is there. Pure types.

/** `suspect` = did not answer, may still object; `failed` = had its time to object; `left` = said so itself. */
export type MemberState = "alive" | "suspect" | "failed" | "left";

export interface Member {
  readonly id: string;
  readonly address: string;
  readonly zone: string;
  /** Raised by the member itself only, to object to what is said of it. */
  readonly incarnation: number;
  readonly state: MemberState;
}

/** `sync` asks for all of the other's table and brings one's own; `request` asks a third one to ping `target`. */
export type GossipKind = "ping" | "ack" | "request" | "sync" | "synced";

export interface GossipMessage {
  readonly kind: GossipKind;
  readonly from: string;
  readonly address: string;
  /** Of the ping that is answered. */
  readonly sequence: number;
  /** Of a request: the member to ping. */
  readonly target?: string | undefined;
  readonly updates: readonly Member[];
}

export interface Send {
  readonly to: string;
  readonly message: GossipMessage;
}

/** `alive` comes late for a member that keeps failing and returning. */
export interface GossipEvent {
  readonly kind: "alive" | "suspect" | "failed" | "left";
  readonly member: Member;
}

export interface GossipLimits {
  /** One member is probed each so long. Ms. */
  readonly periodMs: number;
  /** After so long without an answer others are asked to try. Ms. */
  readonly directMs: number;
  readonly helpers: number;
  /** Whole tables are compared with some member each so long. Ms. */
  readonly syncMs: number;
  readonly updatesPerMessage: number;
  /** Whom nothing has reached for so long takes itself for cut off. Ms. */
  readonly silenceMs: number;
  /** Failures of a member that count as flapping are those of so long. Ms. */
  readonly flapWindowMs: number;
  /** A member that returns is trusted after so long, twice as long each time it failed before. Ms. */
  readonly probationMs: number;
  readonly maxProbationMs: number;
  /** Who failed or left is forgotten after so long. Ms. */
  readonly forgetMs: number;
}

export const GOSSIP_LIMITS: GossipLimits = {
  periodMs: 1000,
  directMs: 300,
  helpers: 3,
  syncMs: 10_000,
  updatesPerMessage: 16,
  silenceMs: 5000,
  flapWindowMs: 600_000,
  probationMs: 5000,
  maxProbationMs: 300_000,
  forgetMs: 86_400_000,
};
