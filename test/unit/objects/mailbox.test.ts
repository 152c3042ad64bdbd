// The mailbox by itself. In Node there is one context for all, so an answer always arrives where it was given: the case that the
// mailbox must notice. How it works between contexts is shown in test/objects/mailbox.test.ts.
import { describe, expect, it } from "vitest";
import { Mailbox, type Parcel } from "../../../objects/mailbox.ts";
import { DeadlineExceeded } from "../../../objects/with-deadline.ts";
import type { Caller } from "../../../src/access/types.ts";
import type { SessionAnswer, SessionRequest } from "../../../src/wire/session.ts";

const caller: Caller = {
  tenant: 1,
  canWrite: true,
  replicationFactor: 3,
  defaultConsistency: "quorum",
  conflictPolicy: "siblings",
};
const requests: SessionRequest[] = [{ id: 0, op: "get", key: "k" }];
const answers: SessionAnswer[] = [{ id: 0, kind: "pong" }];

function world(wake: () => Promise<void>) {
  const mailbox = new Mailbox();
  mailbox.open();
  const state = { nowMs: 1000, wakes: 0, deadlineMs: 10_000 };
  const send = (): Promise<SessionAnswer[]> =>
    mailbox.send(caller, requests, {
      wake: () => {
        state.wakes++;
        return wake();
      },
      waitUntil: () => undefined,
      now: () => state.nowMs,
      deadlineMs: state.deadlineMs,
    });
  return { mailbox, state, send };
}

/** As in a context of its own: not by `settle`, which looks out for the same one. */
const answer = (parcels: readonly Parcel[]): void => {
  for (const parcel of parcels) parcel.resolve(answers);
};

describe("mailbox", () => {
  it("wakes once for all that waits, and again after it was emptied", async () => {
    const { mailbox, state, send } = world(() => new Promise(() => undefined));
    const first = [send(), send(), send()];
    expect(state.wakes).toBe(1);
    answer(mailbox.take());
    expect(await Promise.all(first)).toEqual([answers, answers, answers]);
    const second = send();
    expect(state.wakes).toBe(2);
    answer(mailbox.take());
    expect(await second).toEqual(answers);
    expect(mailbox.take()).toEqual([]);
  });

  it("wakes again when the call that woke was lost", async () => {
    const { mailbox, state, send } = world(() => new Promise(() => undefined));
    const first = send();
    state.nowMs += 99;
    const second = send();
    expect(state.wakes).toBe(1);
    state.nowMs += 1;
    const third = send();
    expect(state.wakes).toBe(2);
    answer(mailbox.take());
    await Promise.all([first, second, third]);
  });

  it("fails what a failed call carried, taken or not, but what was answered", async () => {
    const lose: ((error: Error) => void)[] = [];
    const { mailbox, send } = world(() => new Promise((_, reject) => lose.push(reject)));
    const [answered, taken] = [send(), send()];
    answer(mailbox.take().slice(0, 1));
    const waiting = send();
    expect(lose).toHaveLength(2);
    lose[0]!(new Error("reset"));
    expect(await answered).toEqual(answers);
    await expect(taken).rejects.toThrow("reset");
    lose[1]!(new Error("reset again"));
    await expect(waiting).rejects.toThrow("reset again");
    expect(mailbox.take()).toEqual([]);
    expect(mailbox.isOpen).toBe(true);
  });

  it("closes when a call returns and nothing was taken", async () => {
    const { mailbox, send } = world(() => Promise.resolve());
    await expect(send()).rejects.toThrow("does not share this isolate");
    expect(mailbox.isOpen).toBe(false);
  });

  it("closes when an answer arrives before the turn that gave it has ended", async () => {
    const { mailbox, send } = world(() => new Promise(() => undefined));
    const sent = send();
    for (const parcel of mailbox.take()) mailbox.settle(parcel, answers);
    await expect(sent).rejects.toThrow("in the Coordinator's context");
    expect(mailbox.isOpen).toBe(false);
  });

  it("fails a request at its deadline", async () => {
    const { state, send } = world(() => new Promise(() => undefined));
    state.deadlineMs = 5;
    await expect(send()).rejects.toBeInstanceOf(DeadlineExceeded);
  });
});
