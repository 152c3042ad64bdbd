// Requests to a copy: what waits for its origin, in which order it goes on, and what happens without it.
import { describe, expect, it } from "vitest";
import type { WatchRequest } from "../wire/config-watch.ts";
import { MAX_WAITING_REQUEST_BYTES } from "./limits.ts";
import { CopyRequests } from "./watch-copy.ts";
import { WatchHub } from "./watch-hub.ts";

const none = (): undefined => undefined;

const create = (watchId: number, startRevision = 0): WatchRequest => ({
  kind: "create",
  key: "a",
  rangeEnd: "",
  watchId,
  startRevision,
});

function setup() {
  const source = { revision: 2, term: 1, compactedRevision: 0, lastSeq: 0, log: () => [], endedBy: none };
  const registry = { added: none, removed: none, ended: none, remember: none };
  const hub = new WatchHub({ source, registry, now: () => 0 });
  const answers: ((isCaughtUp: boolean) => void)[] = [];
  const caughtUp = (): Promise<boolean> => new Promise((resolve) => answers.push(resolve));
  const requests = new CopyRequests({ hub, caughtUp, afterwards: () => undefined });
  const closed: string[] = [];
  const told: string[] = [];
  const encoding = {
    message: ({ kind, header }: { readonly kind: string; readonly header: { readonly revision: number } }) =>
      `${kind} ${header.revision}`,
    events: () => ["events"],
  };
  const port = {
    send: (frame: unknown) => void told.push(String(frame)),
    close: (code: number, reason: string) => void closed.push(`${code} ${reason}`),
  };
  const connection = hub.connect(99, port, encoding);
  const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
  return { source, requests, connection, answers, closed, told, settled };
}

describe("requests to a copy", () => {
  it("[CF-176] that name the present wait until the copy has caught up; those behind them keep their order", async () => {
    const { source, requests, connection, answers, told, settled } = setup();
    requests.take(connection, [create(0)], 10);
    requests.take(connection, [{ kind: "cancel", watchId: 0 }], 10);
    requests.take(connection, [{ kind: "progress" }], 10);
    await settled();
    expect(told).toEqual([]);
    source.revision = 4;
    answers[1]!(true);
    await settled();
    expect(told).toEqual([]);
    answers[0]!(true);
    await settled();
    expect(told).toEqual(["created 4", "canceled 4", "progress 4"]);
    // Nothing waits any more: what names no present goes straight through.
    requests.take(connection, [{ kind: "pong", mark: 1 }], 10);
    expect(answers).toHaveLength(2);
  });

  it("[CF-176] without its owner a copy serves what is placed by a revision, and closes what asks for now", async () => {
    const { requests, connection, answers, told, closed, settled } = setup();
    requests.take(connection, [create(0, 3)], 10);
    answers[0]!(false);
    await settled();
    expect([told[0], closed]).toEqual(["created 2", []]);
    requests.take(connection, [create(1)], 10);
    answers[1]!(false);
    await settled();
    expect(closed).toEqual(["1013 the keyspace's owner does not answer: connect again"]);
    expect(connection.isClosed).toBe(true);
  });

  it("[CF-183] what waits of a connection is bounded", async () => {
    const { requests, connection, closed } = setup();
    requests.take(connection, [create(0)], MAX_WAITING_REQUEST_BYTES);
    expect(closed).toEqual([]);
    requests.take(connection, [create(1)], 1);
    expect(closed).toEqual(["1013 too many requests wait"]);
  });
});
