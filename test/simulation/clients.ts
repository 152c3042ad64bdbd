// The clients of a simulated run: they write, read, delete, batch, wait, give up, try again, and tell the history what they were told.
// Must not: look inside the replicas; only the checks do.
import { tokenOf } from "../../src/cluster/token.ts";
import { covers } from "../../src/kv/clock.ts";
import { sameBytes } from "../../src/kv/key-state.ts";
import { hex } from "../../src/replication/hex.ts";
import { majority } from "../../src/replication/tally.ts";
import { type Clock, EMPTY_CLOCK } from "../../src/wire/clock.ts";
import type { Consistency, SessionAnswer, SessionRequest } from "../../src/wire/session.ts";
import { checkAnswer, checkRead } from "./checker.ts";
import type { WriteInfo } from "./history.ts";
import { mix, Random } from "./random.ts";
import type { RandomRun } from "./random-run.ts";
import type { BatchStep, ReadStep, ScheduledEvent, WriteStep } from "./schedule.ts";

const MAX_ATTEMPTS = 4;
/** A coordinator that died does not answer; its client gives up after this. */
const CLIENT_TIMEOUT_MS = 1500;

interface Known {
  readonly clock: Clock;
  readonly isStrong: boolean;
}

type Request = Omit<SessionRequest, "id">;

interface Attempt {
  readonly client: number;
  readonly write: WriteInfo;
  readonly request: Request;
  readonly number: number;
  readonly random: Random;
  /** The coordinator asked; later attempts ask any. */
  readonly place?: number;
}

const encoder = new TextEncoder();

export function briefClock(clock: Clock): string {
  const dots = (list: Clock["dots"]): string =>
    list.map((dot) => `${Math.floor(dot.actor / 4096)}.${dot.actor % 4096}:${dot.counter}`).join(" ");
  return `{${dots(clock.vector)}|${dots(clock.dots)}}`;
}

export class Clients {
  readonly #run: RandomRun;
  readonly #known = new Map<string, Known>();

  constructor(run: RandomRun) {
    this.#run = run;
  }

  perform({ id, step }: ScheduledEvent & { step: WriteStep | ReadStep | BatchStep }): void {
    const random = new Random(mix(this.#run.schedule.seed, 2, id));
    const place = random.between(0, this.#run.placeCount - 1);
    if (step.kind === "read") this.#read(step, { random, place });
    else if (step.kind === "write") this.#write(step, { random, place, name: `w${id}` });
    else {
      for (const [i, item] of step.items.entries()) {
        const own = new Random(mix(this.#run.schedule.seed, 2, id, i));
        if (item.kind === "read") this.#read(item, { random: own, place });
        else this.#write(item, { random: own, place, name: `w${id}.${i}` });
      }
    }
  }

  #submit(request: Request, place: number, done: (answer: SessionAnswer | undefined) => void): void {
    const run = this.#run;
    let open = true;
    const once = (answer: SessionAnswer | undefined): void => {
      if (!open) return;
      open = false;
      timer.cancelled = true;
      run.step++;
      done(answer);
    };
    const timer = run.world.after(CLIENT_TIMEOUT_MS, () => once(undefined));
    run.coreOf(place).submit(run.caller, { id: 1, ...request }, once);
  }

  #brief(answer: SessionAnswer | undefined): string {
    if (!answer) return "no answer";
    if (answer.kind === "error") return `${answer.code} (${answer.message})`;
    if (!("clock" in answer)) return answer.kind;
    return `${answer.kind} ${briefClock(answer.clock)}`;
  }

  #learn(random: Random, at: string, known: Known): void {
    if (random.chance(0.7)) this.#known.set(at, known);
  }

  // Reads

  #read({ client, key, level }: ReadStep, { random, place }: { random: Random; place: number }): void {
    const run = this.#run;
    const { history } = run;
    const startStep = ++run.step;
    run.note(() => `client ${client} reads ${key} at ${level} from c${place}, step ${startStep}`);
    this.#submit({ op: "get", key, consistency: level }, place, (answer) => {
      run.count("read", answer);
      const read = answer && history.readInfo({ key, level, startStep, endStep: run.step }, answer);
      run.note(() => `  read ${startStep}: ${this.#brief(answer)} ${read?.shown.map(({ name }) => name) ?? ""}`);
      if (!read) return;
      this.judge(read);
      this.#learn(random, `${client}/${key}`, { clock: read.clock, isStrong: level !== "one" });
    });
  }

  judge(read: Parameters<typeof checkRead>[1]): void {
    const { history, schedule } = this.#run;
    if (read.level === "one") return;
    for (const text of checkRead(history, read, schedule.policy)) history.problem(text);
    history.reads.push(read);
  }

  // Writes

  #context(step: WriteStep): Known | undefined {
    if (step.context === "empty") return { clock: EMPTY_CLOCK, isStrong: true };
    return step.context === "seen" ? this.#known.get(`${step.client}/${step.key}`) : undefined;
  }

  #write(step: WriteStep, { random, place, name }: { random: Random; place: number; name: string }): void {
    const run = this.#run;
    const { client, key, isDelete, hasOwnId } = step;
    const writeId = random.bytes(16);
    const known = this.#context(step);
    if (known && !known.isStrong) run.history.expose(key, known.clock);
    const strict = step.level !== "one" || hasOwnId;
    const clock = known?.clock;
    const write = run.history.begin({ id: hex(writeId), name, key, isDelete, clock, strict });
    const request: Request = {
      op: isDelete ? "delete" : "put",
      key,
      consistency: step.level,
      writeId,
      clock,
      value: isDelete ? undefined : encoder.encode(`{"${name}":1}`),
      bodyHash: hasOwnId ? writeId.slice(0, 8) : undefined,
    };
    run.note(
      () =>
        `client ${client} ${request.op}s ${key} as ${name} at ${step.level} through c${place}${hasOwnId ? " with its own id" : ""} knowing ${clock ? briefClock(clock) : "nothing"}`,
    );
    this.#attempt({ client, write, request, number: 1, random, place });
    if (step.reuseAfterMs !== undefined && !isDelete) {
      const other = { ...request, value: encoder.encode(`{"${name}":2}`), bodyHash: writeId.slice(8) };
      const again = {
        client,
        write,
        request: other,
        number: MAX_ATTEMPTS,
        random: new Random(mix(random.between(0, 1e9))),
      };
      run.world.after(step.reuseAfterMs, () => this.#attempt(again));
    }
  }

  #again(attempt: Attempt, delayMs: number): void {
    const { request, number } = attempt;
    if (number >= MAX_ATTEMPTS) return;
    // Of a client's own id the house does not know which attempt it is: the vote says.
    const isRetry = request.bodyHash === undefined;
    const { place: _, ...rest } = attempt;
    this.#run.world.after(delayMs, () =>
      this.#attempt({ ...rest, request: { ...request, isRetry }, number: number + 1 }),
    );
  }

  #attempt(attempt: Attempt): void {
    const { client, write, request, number, random } = attempt;
    const run = this.#run;
    const place = attempt.place ?? random.between(0, run.placeCount - 1);
    if (number > 1) run.note(() => `client ${client} sends ${write.name} again through c${place}, attempt ${number}`);
    if (random.chance(0.08)) this.#again(attempt, random.between(1, 150));
    write.inDoubt++;
    const { rebuilds } = run;
    this.#submit(request, place, (answer) => {
      run.note(() => `  ${write.name}: ${this.#brief(answer)}`);
      run.count("write", answer);
      if (answer?.kind === "written") {
        this.#written(attempt, answer.clock, rebuilds);
        if (random.chance(0.15)) this.#again(attempt, random.between(1, 3000));
        return;
      }
      if (answer?.kind === "error" && answer.code !== "unknownOutcome") {
        write.inDoubt--;
        this.#refused(write, answer.code);
      }
      if (random.chance(0.7)) this.#again(attempt, random.between(1, random.chance(0.3) ? 3000 : 300));
    });
  }

  /** "Nothing was written" must be true (RP-35), where no other attempt is under way or in doubt. */
  #refused(write: WriteInfo, code: string): void {
    const isAlone = write.inDoubt === 0 && write.answers.length === 0 && !write.isRepeated;
    if (code !== "idempotencyKeyReused" && isAlone && write.dots.length > 0)
      this.#run.history.problem(
        `${write.name} is answered ${code}, which says that nothing was written, and it was stamped`,
      );
  }

  #written({ client, write, request, random }: Attempt, clock: Clock, rebuilds: number): void {
    const run = this.#run;
    const { history } = run;
    const level = request.consistency!;
    const isStrong = level !== "one" || request.bodyHash !== undefined;
    if (request.value && write.value && !sameBytes(request.value, write.value))
      history.problem(`${write.name} is answered as written, and another body than this one was stamped`);
    write.answers.push(clock);
    if (isStrong) write.acknowledgedAt = Math.min(write.acknowledgedAt, run.step);
    for (const text of checkAnswer(history, write, clock)) history.problem(text);
    if (rebuilds === run.rebuilds && rebuilds % 2 === 0) this.#checkHolders(write, isStrong ? level : "one");
    this.#learn(random, `${client}/${write.key}`, { clock, isStrong });
  }

  /** As many replicas as the level says hold the write, or what superseded it (RP-10). */
  #checkHolders(write: WriteInfo, level: Consistency): void {
    const { world, caller, history } = this.#run;
    const { replicationFactor, tenant } = caller;
    const needed = level === "one" ? 1 : level === "all" ? replicationFactor : majority(replicationFactor);
    const row = { tenant, key: write.key, token: tokenOf(tenant, write.key) };
    let holders = 0;
    const times: number[] = [];
    for (const { engine } of world.nodes.values()) {
      const held = engine.get(row);
      const state = held && history.decode(held);
      if (!state || !write.dots.some((dot) => covers(state.clock, dot))) continue;
      holders++;
      for (const version of state.versions) if (hex(version.writeId) === write.id) times.push(version.time);
    }
    const heldBySo = times.sort((a, b) => b - a)[needed - 1];
    if (level !== "one" && heldBySo !== undefined)
      write.acknowledgedTimes.push({ step: this.#run.step, time: heldBySo });
    if (holders < needed)
      history.problem(
        `${write.name} is answered as written at ${level}, and ${holders} replicas hold it; ${needed} must`,
      );
  }
}
