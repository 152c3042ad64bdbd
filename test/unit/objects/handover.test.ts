// Frames in memory by themselves. That replicas answer so, and hold answers until their commit is durable, test/objects shows.
import { expect, it } from "vitest";
import { Handover } from "../../../objects/handover.ts";

const frame = new Uint8Array([1, 2, 3]);
const answer = new Uint8Array([4]);

function opened(): Handover {
  const handover = new Handover();
  handover.open();
  return handover;
}

it("[RP-115] an answer is taken when the call that carries its number has returned, and not before", async () => {
  const handover = opened();
  const returned = Promise.withResolvers<boolean>();
  let answered: unknown = "not yet";
  const sending = handover.send(frame, (number) => {
    const handed = handover.take(number)!;
    expect(handed.frame).toBe(frame);
    expect(handover.take(number)).toBeUndefined(); // a repeated call does nothing
    handed.answer = answer;
    return returned.promise;
  });
  void sending.then((value) => {
    answered = value;
  });
  for (let i = 0; i < 10; i++) await null;
  expect(answered).toBe("not yet");
  returned.resolve(true);
  expect(await sending).toBe(answer);
  expect(handover.size).toBe(0);
});

it("[RP-115] of a call that failed nothing is kept, though the replica took the frame or answers later", async () => {
  const handover = opened();
  const numbers: number[] = [];
  const fail = (number: number): Promise<boolean> => {
    numbers.push(number);
    return Promise.reject(new Error("the object was reset"));
  };
  await expect(handover.send(frame, fail)).rejects.toThrow("reset");
  expect(handover.take(numbers[0]!)).toBeUndefined();
  const failTaken = (number: number): Promise<boolean> => {
    handover.take(number)!.answer = answer;
    return fail(number);
  };
  await expect(handover.send(frame, failTaken)).rejects.toThrow("reset");
  expect(handover.size).toBe(0);
  expect(handover.isOpen).toBe(true);
});

it("[RP-115] a replica that does not find the frame closes the way: what comes goes by RPC", async () => {
  const handover = opened();
  expect(await handover.send(frame, async () => false)).toBeUndefined();
  expect(handover.isOpen).toBe(false);
  expect(handover.size).toBe(0);
});
