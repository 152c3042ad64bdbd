// What an instance knows of the others, and who learns it: gossip with the other supervisors, told on to this instance's own processes.
// Guarantees: the zone's process hears of a change within half a second, and nothing that is old; the Directory is told only while something
// has failed, so that a cluster that is well wakes no object. Must not: decide who is there (cluster/gossip) or what is done about it.
import type { ClusterSeen, InstanceFigures, Told } from "../../cluster/told.ts";
import type { Supervisor } from "../supervisor.ts";
import { Figures } from "./figures.ts";
import { GossipRunner } from "./gossip-runner.ts";
import { Incarnation } from "./incarnation.ts";
import { callSocket, PeerCalls, PeerDesk } from "./peer-desk.ts";
import { socketPath, type Ways } from "./ways.ts";

/** How often it is looked whether there is something to tell. Ms. */
const LOOK_EVERY_MS = 250;
/** Told again though nothing changed: a process that was started meanwhile knows nothing. Ms. Below what objects/told.ts forgets after. */
const TELL_EVERY_MS = 5000;
/** While something has failed, the Directory is told again. Ms. */
const TELL_FAILURES_EVERY_MS = 10_000;
/** A neighbour that is the way to leaders is looked for again. Ms. */
const SEEK_EVERY_MS = 1000;
const TELL_TIMEOUT_MS = 2000;
/** The others' figures are asked for again. Ms. */
const SEEN_CACHE_MS = 1000;

type Watched = Pick<Supervisor, "pid" | "isAnswering" | "isResting">;

export interface MembershipOptions {
  readonly zone: string;
  /** Of all instances. */
  readonly zones: readonly string[];
  readonly ways: Pick<Ways, "supervisors" | "bulletin">;
  readonly dataDir: string;
  readonly leadersDir: string;
  readonly processes: { readonly zone: Watched; readonly leaders: Watched };
  readonly report: (line: string) => void;
}

export class Membership {
  readonly #options: MembershipOptions;
  readonly #gossip: GossipRunner;
  readonly #calls: PeerCalls;
  readonly #desk: PeerDesk;
  readonly #figures: Figures;
  #drained: string | null = null;
  #told = { text: "", atMs: Number.NEGATIVE_INFINITY };
  #toldFailuresMs: number | undefined;
  #neighbour: { readonly zone: string; readonly atMs: number } | undefined;
  #seen: { readonly atMs: number; readonly answer: Promise<ClusterSeen> } | undefined;
  #isTelling = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: MembershipOptions) {
    this.#options = options;
    const { zone, zones, ways, dataDir, leadersDir, processes, report } = options;
    const paths = Object.entries(ways.supervisors).map(([name, address]) => [name, socketPath(address)] as const);
    this.#calls = new PeerCalls(Object.fromEntries(paths));
    const incarnation = new Incarnation(dataDir);
    const post: PeerCalls["post"] = (to, message) => this.#calls.post(to, message);
    this.#gossip = new GossipRunner({ zone, zones, incarnation, post, report });
    const pids = () => ({ supervisor: process.pid, ...pidOf("zone", processes), ...pidOf("leaders", processes) });
    this.#figures = new Figures({ dataDir, leadersDir, pids });
    this.#desk = new PeerDesk({
      gossip: (message) => this.#gossip.receive(message),
      about: () => this.#about(),
      seen: () => this.#seenNow(),
    });
  }

  /** From now on the others may ask. */
  async open(): Promise<void> {
    await this.#desk.listen(socketPath(this.#options.ways.supervisors[this.#options.zone]!));
  }

  /** From now on this instance is a member. */
  join(): void {
    this.#gossip.start();
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  async leave(): Promise<void> {
    clearInterval(this.#timer);
    await this.#gossip.leave();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#desk.stop();
    this.#calls.stop();
  }

  get together(): readonly string[] {
    return this.#gossip.together;
  }

  /** @param why null = this instance is to be given work again */
  drain(why: string | null): void {
    this.#drained = why;
  }

  /** Tells what there is to tell. */
  async look(): Promise<void> {
    if (this.#isTelling) return;
    this.#isTelling = true;
    try {
      await this.#tellZone();
      await this.#tellDirectory();
    } finally {
      this.#isTelling = false;
    }
  }

  async #tellZone(): Promise<void> {
    const { members } = this.#gossip;
    const told: Told = { members, drained: this.#drained, leadersVia: await this.#wayToLeaders() };
    // Times of one and the same change differ by a millisecond, as they are computed.
    const text = JSON.stringify({ ...told, members: members.map(({ sinceMs: _, ...member }) => member) });
    const nowMs = performance.now();
    if (text === this.#told.text && nowMs - this.#told.atMs < TELL_EVERY_MS) return;
    if (await this.#tell("zone", "/told", JSON.stringify(told))) this.#told = { text, atMs: nowMs };
  }

  async #tellDirectory(): Promise<void> {
    const { members } = this.#gossip;
    const hasFailed = members.some(({ state }) => state === "failed");
    const isDue = performance.now() - (this.#toldFailuresMs ?? Number.NEGATIVE_INFINITY) >= TELL_FAILURES_EVERY_MS;
    // Once more when all is well again.
    if (hasFailed ? !isDue : this.#toldFailuresMs === undefined) return;
    if (!this.#options.processes.leaders.isAnswering || this.#drained !== null) return;
    if (await this.#tell("leaders", "/view", JSON.stringify({ zone: this.#options.zone, members })))
      this.#toldFailuresMs = hasFailed ? performance.now() : undefined;
  }

  /** False = it could not be told. */
  async #tell(role: "zone" | "leaders", path: string, body: string): Promise<boolean> {
    const where = socketPath(this.#options.ways.bulletin(role));
    return callSocket({ socketPath: where, method: "POST", path, body, timeoutMs: TELL_TIMEOUT_MS }).then(
      () => true,
      () => false,
    );
  }

  /** Of this instance; while they are away, of a member that says its own answer. */
  async #wayToLeaders(): Promise<string> {
    const { zone, processes } = this.#options;
    if (processes.leaders.isAnswering) {
      this.#neighbour = undefined;
      return zone;
    }
    const nowMs = performance.now();
    if (this.#neighbour && nowMs - this.#neighbour.atMs < SEEK_EVERY_MS) return this.#neighbour.zone;
    const others = this.#gossip.members.filter((member) => member.zone !== zone && member.state === "alive");
    let via = zone;
    for (const member of others) {
      if ((await this.#calls.about(member.zone))?.leaders !== "answering") continue;
      via = member.zone;
      break;
    }
    this.#neighbour = { zone: via, atMs: nowMs };
    return via;
  }

  async #about(): Promise<InstanceFigures> {
    const { leaders } = this.#options.processes;
    const state = leaders.isAnswering ? "answering" : leaders.isResting ? "resting" : "away";
    return { ...(await this.#figures.read()), leaders: state, drained: this.#drained };
  }

  #seenNow(): Promise<ClusterSeen> {
    const nowMs = performance.now();
    if (!this.#seen || nowMs - this.#seen.atMs > SEEN_CACHE_MS) this.#seen = { atMs: nowMs, answer: this.#seeAll() };
    return this.#seen.answer;
  }

  async #seeAll(): Promise<ClusterSeen> {
    const { zone, zones } = this.#options;
    const each = zones.map(async (other) => {
      return [other, await (other === zone ? this.#about() : this.#calls.about(other))] as const;
    });
    const answered = (await Promise.all(each)).filter((pair): pair is [string, InstanceFigures] => Boolean(pair[1]));
    return { members: this.#gossip.members, figures: Object.fromEntries(answered) };
  }
}

function pidOf(role: "zone" | "leaders", processes: MembershipOptions["processes"]): Record<string, number> {
  const { pid } = processes[role];
  return pid === undefined ? {} : { [role]: pid };
}
