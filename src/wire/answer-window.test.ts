import { describe, expect, it } from "vitest";
import { ANSWER_WINDOW_BYTES, AnswerWindow } from "./answer-window.ts";

/** Starts reads until the window closes. */
function fill(window: AnswerWindow): number {
  let count = 0;
  for (; window.isOpen; count++) window.started();
  return count;
}

describe("answer window", () => {
  it("lets few reads through before it has seen an answer, more once answers are small, fewer when they are large", () => {
    const window = new AnswerWindow();
    const first = fill(window);
    expect(first).toBe(64);
    for (let i = 0; i < first; i++) window.answered(100);
    expect(fill(window)).toBeGreaterThan(5000);

    const large = new AnswerWindow();
    for (let i = 0; i < 50; i++) {
      large.started();
      large.answered(1024 * 1024);
    }
    expect(fill(large)).toBeLessThan(8);
  });

  it("closes while the client has too much unread, and opens when it has read", () => {
    const window = new AnswerWindow();
    window.sent(ANSWER_WINDOW_BYTES - 1);
    expect(window.isOpen).toBe(true);
    window.sent(1);
    expect(window.isOpen).toBe(false);
    window.acknowledged(1);
    expect(window.isOpen).toBe(true);
    expect(window.unreadBytes).toBe(ANSWER_WINDOW_BYTES - 1);
  });

  it("one answer larger than the window opens it again once it is read", () => {
    const window = new AnswerWindow();
    window.started();
    window.answered(3 * ANSWER_WINDOW_BYTES);
    window.sent(3 * ANSWER_WINDOW_BYTES);
    expect(window.isOpen).toBe(false);
    window.acknowledged(3 * ANSWER_WINDOW_BYTES);
    expect(window.isOpen).toBe(true);
  });

  it("counts past 2^32, and ignores positions that cannot be", () => {
    const window = new AnswerWindow();
    let position = 0;
    const step = 1024 * 1024 * 1024;
    for (let i = 0; i < 9; i++) {
      window.sent(step);
      position = (position + step) % 2 ** 32;
      expect(window.unreadBytes).toBe(step);
      window.acknowledged((position + 5) % 2 ** 32);
      expect(window.unreadBytes).toBe(step);
      window.acknowledged(position);
      expect(window.unreadBytes).toBe(0);
    }
  });
});
