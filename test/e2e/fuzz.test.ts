// The short form of `npm run fuzz`: every route of the OpenAPI document, and sessions, under random and broken requests.
import { afterAll, beforeAll, expect, it } from "vitest";
import { RawConnection } from "../../scripts/fuzz/http.ts";
import { FuzzRun } from "../../scripts/fuzz/run.ts";
import { fuzzSessions } from "../../scripts/fuzz/sessions.ts";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";

let server: RunningServer;
const lines: string[] = [];
const report = (line: string) => void lines.push(line);

beforeAll(async () => {
  server = await startServer({ env: { JADE_LOG_LEVEL: "warn" } });
});
afterAll(() => server.dispose());

it("[GW-1] [GW-6] [GW-16] 3000 random requests over every route: documented answers only, nothing written by a refused one", async () => {
  const { problems, ...counts } = await new FuzzRun({
    ...{ server, requests: 3000, seed: 1, compareEvery: 1500, report },
  }).run();
  expect(problems, lines.join("\n").slice(0, 5000)).toEqual([]);
  expect(counts).toMatchObject({ sent: 3000, compared: 2 });
  expect(counts.keys).toBeGreaterThan(100);
  expect(counts.vectors).toBeGreaterThan(15);
  for (const status of ["200", "201", "204", "400", "401", "403", "404", "405", "415"])
    expect(counts.statuses[status], status).toBeGreaterThan(0);
});

async function answerTo(...lines: string[]): Promise<string> {
  const connection = new RawConnection(server.port);
  const bytes = Buffer.from(lines.join("\r\n"), "latin1");
  const outcome = await connection.exchange({
    bytes,
    ...{ isHead: false, halfClose: false, isLast: true, deadlineMs: 10_000 },
  });
  if (outcome.kind !== "answer") throw new Error(outcome.kind);
  return `${outcome.answer.status} ${outcome.answer.body}`;
}

it("[GW-1] a Host header that makes no URL is 400 and named, whatever the route and method", async () => {
  for (const host of ["[::1", "a b", "%", "127.0.0.1:99999"]) {
    for (const start of ["GET /v1/health", "POST /v1/key-value", "OPTIONS /v1/tenants", "GET /nothing"]) {
      const answer = await answerTo(`${start} HTTP/1.1`, `Host: ${host}`, "Content-Length: 0", "", "");
      expect(answer, `${start} ${host}`).toMatch(/^400 .*"code":"invalidRequest".*"path":"Host"/);
    }
  }
});

it("[GW-11] a HEAD that came with a body is answered as one without", async () => {
  for (const [path, status] of [
    ["/v1/health", 200],
    ["/v1/tenants", 401],
    ["/v1/nothing", 404],
  ] as const) {
    const bytes = Buffer.from(`HEAD ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}`);
    const connection = new RawConnection(server.port);
    const options = { isHead: true, halfClose: false, isLast: true, deadlineMs: 10_000 };
    expect(await connection.exchange({ bytes, ...options })).toMatchObject({ kind: "answer", answer: { status } });
  }
});

it("random frames close their own session or are answered; another session is served throughout", async () => {
  const { problems, ...counts } = await fuzzSessions({ server, seed: 1, seconds: 2, report });
  expect(problems).toEqual([]);
  expect(counts.frames).toBeGreaterThan(100);
  expect(counts.closes["1007"]).toBeGreaterThan(0);
  expect(counts.closes["1003"]).toBeGreaterThan(0);
  expect(counts.answers).toBeGreaterThan(0);
  expect(counts.witnessed).toBeGreaterThan(5);
});
